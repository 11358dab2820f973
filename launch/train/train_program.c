/* launch/train/train_program.c - see train_program.h. The process becomes sluice-train, so signals,
 * launchers and exit codes know no difference. */
#include "launch/train/train_program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/machine/cores.h"
#include "launch/pipeline/engine.h"
#include "launch/train/train_commands.h"
#include "launch/train/train_options.h"
#include "runtime/base/limits.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "runtime/train/dense.h"

enum { PATH_BYTES = 4096 };

/* Ranks that the launcher starts on this host, by what it says in the environment; 1: it does
 * not. */
static int ranks_on_host(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS",
                                        "SLURM_STEP_TASKS_PER_NODE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        int ranks = text ? (int)strtol(text, NULL, 10) : 0; /* "4(x2)" has the first host's */
        if (ranks > 0) return ranks;
    }
    return 1;
}

/* OpenBLAS and OpenMP read these as they are loaded, and know neither -t nor our stacks. */
static void tell_threads(int threads)
{
    char text[32];
    snprintf(text, sizeof text, "%d", threads);
    setenv("OMP_NUM_THREADS", text, 1);
    setenv("OPENBLAS_NUM_THREADS", text, 1);
    snprintf(text, sizeof text, "%zuB", SL_THREAD_STACK_BYTES);
    setenv("OMP_STACKSIZE", text, 1);
}

/* The program beside this one. */
static sl_status find_program(char *path, size_t path_bytes)
{
    ssize_t n = readlink("/proc/self/exe", path, path_bytes - 1);
    path[n > 0 ? n : 0] = '\0';
    char *name = strrchr(path, '/');
    size_t used = name ? (size_t)(name + 1 - path) : 0;
    int more = snprintf(path + used, path_bytes - used, "sluice-train");
    if (used + (size_t)more >= path_bytes) return SL_ERR_FILE;
    if (access(path, X_OK) == 0) return SL_OK;
    sl_error("training needs the program sluice-train beside sluice: %s: %s. cmake --install puts "
             "both into one folder; copy both, on every host",
             path, strerror(errno));
    return SL_ERR_FILE;
}

/* argv of the program: its path, and all that the command was given, its word first. */
static char **program_argv(char *path, char **given)
{
    size_t n = 0;
    while (given[n]) n++;
    char **argv = calloc(n + 2, sizeof *argv);
    if (!argv) return NULL;
    argv[0] = path;
    memcpy(argv + 1, given, n * sizeof *argv);
    return argv;
}

static int become_program(sl_settings *settings)
{
    char path[PATH_BYTES];
    int threads = sl_cores_threads(settings->threads, ranks_on_host());
    sl_status status = find_program(path, sizeof path);
    if (status == SL_OK)
        status = sl_limits_check(sl_dense_load_bytes(threads) + sl_dense_call_bytes(threads),
                                 "training with OpenBLAS");
    if (status != SL_OK) return sl_exit_code(status);
    tell_threads(threads);
    char **argv = program_argv(path, settings->argv);
    if (!argv) return sl_exit_code(SL_ERR_MEMORY);
    execv(path, argv);
    sl_error("cannot start %s: %s", path, strerror(errno));
    free(argv);
    return SL_EXIT_INPUT;
}

static const sl_option TEXTS[] = {
    {"text", 0, "FILE,...", NULL, "texts to learn from", SL_SETS_LIST_READ(text)},
    {0},
};

static const sl_option WARM[] = {
    {"ridge-pieces", 0, "N", "32", "pieces for ridge regression; 0: start from the gates' weights",
     SL_SETS_COUNT(ridge_pieces, 0, 1e6)},
    {"pieces", 0, "N", "96", "pieces for AdamW after it", SL_SETS_COUNT(pieces, 0, 1e6)},
    {"rate", 0, "X", "0.001", "AdamW's learning rate at its highest", SL_SETS_REAL(rate, 1e-9, 1)},
    {"repeat", 0, "X", "0.1", "share of pieces that are a passage and an order to repeat it",
     SL_SETS_REAL(repeat_share, 0, 1)},
    {0},
};

static const sl_option CPT[] = {
    {"pieces", 0, "N", "96", "of text to learn from", SL_SETS_COUNT(pieces, 1, 1e6)},
    {"lengths", 0, "N,...", "2048", "tokens of the pieces, taking turns",
     SL_SETS_COUNTS(lengths, 64, 1 << 20)},
    {"repeat", 0, "X", "0.1", "share of pieces that are a passage and an order to repeat it",
     SL_SETS_REAL(repeat_share, 0, 1)},
    {0},
};

static const sl_option SFT[] = {
    {"records", 0, "FILE,...", NULL, "instructions and answers: JSON arrays, or lines",
     SL_SETS_LIST_READ(records)},
    {"pieces", 0, "N", "4096", "records to learn from", SL_SETS_COUNT(pieces, 1, 1e9)},
    {"batch", 0, "N", "16", "records that a rank reads for a step", SL_SETS_COUNT(batch, 1, 4096)},
    {"longest", 0, "N", "1024", "tokens; longer records are skipped",
     SL_SETS_COUNTS(lengths, 16, 1 << 20)},
    {"lora-rank", 0, "N", "8", "of the adapter; 0: tune gates alone",
     SL_SETS_COUNT(lora_rank, 0, 256)},
    {"lora-alpha", 0, "X", "16", "the adapter counts alpha / rank times",
     SL_SETS_REAL(lora_alpha, 1e-6, 1e6)},
    {"lora-maps", 0, "NAME,...", "q,k,v,o", "what it adapts: these, gate, up, down",
     SL_SETS_TEXT(lora_maps)},
    {0},
};

static const sl_option TUNING[] = {
    {"loss", 0, "NAME", "lm", "lm: of the next token; kl: to the model that keeps all; both",
     SL_SETS_TEXT(loss)},
    {"rates", 0, "X,...", "0.5,0.25,0.125,0.0625,0.03125", "kept shares to draw from",
     SL_SETS_REALS(rates, 1e-6, 1)},
    {"rates-each", 0, "N", NULL, "for each piece, one of each part of the list [2; 1 of one rate]",
     SL_SETS_COUNT(rates_each, 1, 64)},
    {"eviction-loss", 0, "X", "0", "weight of |kept - rate|; 0: a threshold holds the rate",
     SL_SETS_REAL(eviction_loss, 0, 1e6)},
    {"soft", 0, "X", "0", "soft flags, sigmoids so wide; 0: hard ones, straight through",
     SL_SETS_REAL(softness, 0, 1e6)},
    {"rate", 0, "X", "0.005", "AdamW's highest, relative to the size of each tensor",
     SL_SETS_REAL(rate, 1e-9, 0.1)},
    {"clip", 0, "X", "0.02", "the most that a step's gradients may measure together",
     SL_SETS_REAL(clip, 1e-9, 1e9)},
    {"mean", 0, "X", "0.9", "of the mean of weights, what each step leaves as it was",
     SL_SETS_REAL(mean_share, 0, 0.999999)},
    {0},
};

static const sl_option LEARNING[] = {
    {"ahead", 0, "N,...", "15,32", "look-aheads of window gates, one for each step by chance",
     SL_SETS_COUNTS(ahead, 0, 1 << 20)},
    {"checkpoint", 0, "FILE", NULL, "where a stopped run goes on from [OUTPUT.checkpoint]",
     SL_SETS_WRITTEN(checkpoint)},
    {"checkpoint-minutes", 0, "X", "3", "between checkpoints",
     SL_SETS_REAL(checkpoint_minutes, 0, 1e6)},
    {"log", 0, "FILE", NULL, "the run's log, JSON lines [OUTPUT.log.jsonl]",
     SL_SETS_WRITTEN(train_log)},
    {0},
};

const sl_command sl_cmd_train_warm = {
    .name = "train warm",
    .summary = "fit gates by forward passes alone",
    .usage = "-m MODEL -g GATE --text FILE,... -o GATE",
    .about = "Fit the gates of a file (from train init) to how much each token is missed by the "
             "model's attention when it is gone: ridge regression for the linear part, then AdamW "
             "for all of it. Texts are files, or .jsonl with {\"text\"} or {\"messages\"} a line. "
             "Stopped by SIGTERM, the same command goes on. Under mpirun ranks share the pieces.",
    .examples =
        "  sluice train init -m model.gguf -o start.gguf\n"
        "  sluice train warm -m model.gguf -g start.gguf --text book.txt,chat.jsonl -o "
        "warm.gguf\n"
        "  sluice train calibrate -m model.gguf -g warm.gguf --text other.txt -o gate.gguf\n"
        "  sluice show report warm.gguf.log.jsonl -o curves.png",
    .groups = {sl_options_model, sl_options_chat_template, sl_options_seed, sl_train_options_output,
               sl_train_options_gate, TEXTS, sl_train_options_lengths, WARM, LEARNING,
               sl_train_options_type, sl_options_threads, sl_options_sinks, sl_options_window,
               sl_options_talk},
    .run = become_program,
};

const sl_command sl_cmd_train_cpt = {
    .name = "train cpt",
    .summary = "tune gates through the frozen model",
    .usage = "-m MODEL -g GATE --text FILE,... -o GATE",
    .about =
        "Tune the gates of a file through the model, which does not change, by continual "
        "pre-training (arXiv 2410.12876): its loss tells every flag whether the other answer "
        "had been better. Stopped by SIGTERM, the same command goes on. Under mpirun ranks share "
        "the pieces.",
    .examples =
        "  sluice train cpt -m model.gguf -g warm.gguf --text book.txt,chat.jsonl -o tuned.gguf\n"
        "  sluice train calibrate -m model.gguf -g tuned.gguf --text other.txt -o gate.gguf\n"
        "  sluice train cpt -m model.gguf -g prompt.gguf --text book.txt -o paper.gguf\n"
        "    --eviction-loss 1 --rates 0.5   as in the paper, of --span prompt",
    .groups = {sl_options_model, sl_options_chat_template, sl_options_seed, sl_train_options_output,
               sl_train_options_gate, TEXTS, CPT, TUNING, LEARNING, sl_train_options_type,
               sl_options_threads, sl_options_sinks, sl_options_window, sl_options_talk},
    .run = become_program,
};

const sl_command sl_cmd_train_sft = {
    .name = "train sft",
    .summary = "tune gates and a LoRA adapter on answers",
    .usage = "-m MODEL -g GATE --records FILE,... -o GATE",
    .about = "Tune gates, and with them a LoRA adapter (GATE.lora.gguf), by the loss of answers "
             "alone. Records have {\"instruction\", \"output\"} or {\"messages\"}. --rates 1: the "
             "adapter with the full cache.",
    .examples = "  sluice train sft -m model.gguf -g prompt.gguf --records boolq.json -o sft.gguf\n"
                "  sluice run -m model.gguf -g sft.gguf --lora sft.lora.gguf --chat -p ...",
    .groups = {sl_options_model, sl_options_chat_template, sl_options_seed,
               sl_train_options_outputs, sl_train_options_gate, SFT, TUNING, LEARNING,
               sl_train_options_type, sl_options_threads, sl_options_sinks, sl_options_window,
               sl_options_talk},
    .run = become_program,
};
