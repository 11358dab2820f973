/* launch/bench/cmd_bench.c - `sluice bench`: how fast prompts are read and tokens generated, at
 * depth.
 *
 * A measure is one request of random tokens, or --sequences of them that generate together: then
 * the clock runs from when the last of them has begun until all have had n tokens on average. A
 * prompt's clock starts when the `depth` tokens before it have passed all ranks
 * (sl_request.pause_after) and stops when its last token has; generation runs from its first token
 * to its last, so reading the prompt is not in it. Measures of a row are spread over the whole run,
 * one round after another, so that a slow minute hits all rows alike. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/bench/bench_codec.h"
#include "launch/bench/bench_commands.h"
#include "launch/bench/bench_compare.h"
#include "launch/bench/bench_figure3.h"
#include "launch/bench/bench_link.h"
#include "launch/bench/bench_profile.h"
#include "launch/bench/bench_rows.h"
#include "launch/machine/launcher.h"
#include "launch/output/progress.h"
#include "launch/output/report.h"
#include "launch/pipeline/engine.h"
#include "launch/setup/rank0_command.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

typedef struct {
    sl_bench_rows rows;
    sl_engine *engine;
    uint32_t measure, n_measures; /* the one under way; the first warms up and is not counted */
    uint32_t n_given, n_begun, n_done; /* requests of it */
    uint64_t n_tokens, kv_bytes;       /* generated since all have begun; of all their caches */
    sl_driver_progress before;         /* as of the measure before this one */
    int64_t begin_ns, end_ns;          /* of the measure; 0: not yet */
    sl_progress progress;
    sl_profile profile, profile_before; /* with --profile */
} bench;

/* Of the measure under way. */
static sl_bench_row *current_row(const bench *b)
{
    return &b->rows.items[b->measure > 0 ? (b->measure - 1) % b->rows.n : 0];
}

/* ---- requests ---- */

/* Ordinary tokens, the same ones every time, others in each request of a measure. */
static void fill_prompt(const bench *b, sl_request *request)
{
    const sl_tokenizer *tokenizer = sl_engine_tokenizer(b->engine);
    uint32_t n_tokens = (uint32_t)sl_tokenizer_n_tokens(tokenizer);
    uint64_t state = b->n_given;
    for (size_t i = 0; i < request->n_prompt; i++) {
        int32_t id;
        uint32_t tries = 0;
        do {
            state = state * 6364136223846793005U + 1442695040888963407U;
            id = (int32_t)((state >> 33) % n_tokens);
        } while (sl_tokenizer_is_control(tokenizer, id) && ++tries < 100);
        request->prompt[i] = id;
    }
}

static sl_status make_request(const bench *b, const sl_bench_row *row, sl_request **request_out)
{
    sl_request *request = calloc(1, sizeof *request);
    if (!request) return SL_ERR_MEMORY;
    bool decodes = row->test == SL_BENCH_DECODE;
    request->n_prompt = decodes ? (row->depth > 0 ? row->depth : 1) : row->depth + row->n;
    request->prompt = malloc(request->n_prompt * sizeof *request->prompt);
    request->n_choices = 1;
    request->score_from = SIZE_MAX;
    request->ignore_eos = true;
    request->max_tokens = decodes ? sl_bench_row_generates(row, b->rows.settings) : 0;
    request->pause_after = decodes ? 0 : row->depth;
    request->sampling = (sl_sampling){.top_p = 1, .repetition_penalty = 1, .n_logprobs = -1};
    if (!request->prompt || sl_request_bind(request) != SL_OK) {
        sl_request_free(request);
        return SL_ERR_MEMORY;
    }
    fill_prompt(b, request);
    *request_out = request;
    return SL_OK;
}

static sl_status next(void *context, sl_request **request_out)
{
    bench *b = context;
    if (b->n_given == current_row(b)->n_sequences) {
        if (b->n_done < b->n_given) return SL_AGAIN;
        b->measure++;
        b->n_given = b->n_begun = b->n_done = 0;
        b->n_tokens = b->kv_bytes = 0;
        b->begin_ns = b->end_ns = 0;
    }
    if (b->measure == b->n_measures) return SL_END;
    b->n_given++;
    const sl_bench_row *row = current_row(b);
    if (row->test == SL_BENCH_PROMPT && row->depth == 0) b->begin_ns = sl_clock_now_ns();
    return make_request(b, row, request_out);
}

static void on_prompt(void *context, const sl_request *request, size_t n_tokens)
{
    bench *b = context;
    if (current_row(b)->test != SL_BENCH_PROMPT) return;
    if (n_tokens == request->pause_after) b->begin_ns = sl_clock_now_ns();
    if (n_tokens == request->n_prompt) b->end_ns = sl_clock_now_ns();
}

static void on_token(void *context, const sl_request *request, uint32_t choice, int32_t token)
{
    (void)choice, (void)token;
    bench *b = context;
    const sl_bench_row *row = current_row(b);
    if (b->begin_ns > 0) b->n_tokens++;
    if (request->choices[0].n_tokens == 1 && ++b->n_begun == row->n_sequences)
        b->begin_ns = sl_clock_now_ns();
    if (b->n_tokens == (uint64_t)row->n * row->n_sequences && b->end_ns == 0)
        b->end_ns = sl_clock_now_ns();
}

static sl_status done(void *context, sl_request *request)
{
    bench *b = context;
    sl_bench_row *row = current_row(b);
    b->n_done++;
    if (request->error.http_status != 0) {
        sl_error("%s of %u at depth %u: %s", sl_bench_test_name(row->test), row->n, row->depth,
                 request->error.message);
        sl_request_free(request);
        return SL_ERR_MEMORY; /* the one way a request without fields can fail */
    }
    b->kv_bytes += request->choices[0].cache_bytes;
    sl_request_free(request);
    if (b->n_done < row->n_sequences) return SL_OK;
    SL_ASSERT(b->begin_ns > 0 && b->end_ns > 0);
    if (b->end_ns <= b->begin_ns) b->end_ns = b->begin_ns + 1; /* within one tick of the clock */
    const sl_driver_progress *now = sl_engine_progress(b->engine), before = b->before;
    b->before = *now;
    sl_profile profile_before = b->profile_before;
    b->profile_before = b->profile; /* nothing is computed just now */
    if (b->measure == 0) return SL_OK;
    bool decodes = row->test == SL_BENCH_DECODE;
    sl_bench_profile_add(&row->profile, decodes ? SL_PHASE_DECODE : SL_PHASE_PROMPT,
                         decodes ? row->n : row->n + row->depth, &profile_before, &b->profile);
    row->compute_ns += now->compute_ns - before.compute_ns;
    row->gate_ns += now->gate_ns - before.gate_ns;
    double n_tokens = (double)row->n * row->n_sequences;
    row->tok_s[row->n_done++] = n_tokens / ((double)(b->end_ns - b->begin_ns) / (double)SL_SECOND);
    row->kv_bytes = b->kv_bytes;
    row->peak_bytes = now->peak_bytes;
    return SL_OK;
}

static void on_progress(void *context, const sl_driver_progress *progress, int64_t elapsed_ns)
{
    bench *b = context;
    sl_progress_state state = {.done = b->measure,
                               .total = b->n_measures,
                               .elapsed_ns = elapsed_ns,
                               .prompt_tokens = progress->prompt_tokens,
                               .generated_tokens = progress->generated_tokens};
    sl_progress_show(&b->progress, &state);
}

/* ---- the command ---- */

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    bench *b = context;
    b->engine = engine;
    b->n_measures = b->rows.n * b->rows.settings->repeat + 1;
    sl_bench_rows_place(&b->rows, engine);
    if (b->rows.settings->profile) {
        sl_team_options team = sl_engine_team(engine);
        sl_status status = sl_machine_peak_measure(sl_engine_kernel_set(engine), &team,
                                                   &b->rows.peak);
        if (status != SL_OK) return status;
    }
    sl_progress_init(&b->progress);
    *port_out = (sl_port){.context = b, .next = next, .done = done};
    return SL_OK;
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    (void)engine;
    bench *b = context;
    sl_progress_end(&b->progress);
    if (status != SL_OK) return status;
    if (b->rows.settings->json) return sl_report_print(sl_bench_rows_json(&b->rows));
    return sl_bench_rows_print(&b->rows);
}

/* ---- compare ---- */

static sl_status compare(const sl_settings *settings)
{
    return sl_bench_compare(settings, settings->words[0], settings->words[1]);
}

static int bench_command(sl_settings *settings)
{
    if (settings->compare) {
        if (settings->n_words == 2) return sl_rank0_command_run(compare, settings);
        sl_error(
            "bench --compare needs two files of results: bench --compare before.json after.json");
        return SL_EXIT_USAGE;
    }
    if (settings->n_words > 0) {
        sl_error("bench what? There are: bench, bench codec, bench link, bench figure3, bench "
                 "--compare A B");
        return SL_EXIT_USAGE;
    }
    bench b = {0};
    sl_status status = sl_bench_rows_init(settings, &b.rows);
    if (status != SL_OK) return sl_exit_code(status);
    settings->context = b.rows.longest;
    sl_service service = {
        .context = &b,
        .begin = begin,
        .end = end,
        .verify_first = true,
        .watch = {.context = &b, .token = on_token, .prompt = on_prompt, .progress = on_progress},
        .profile = settings->profile ? &b.profile : NULL};
    int code = sl_engine_serve(settings, &service);
    sl_bench_rows_fini(&b.rows);
    return code;
}

static const sl_option MEASURES[] = {
    {"prompt", 'p', "N,...", "512", "prompts to time, in tokens; 0: none",
     SL_SETS_COUNTS(prompts, 0, 1 << 24)},
    {"n-tokens", 'n', "N,...", "32", "tokens to generate and time; 0: none",
     SL_SETS_COUNTS(generates, 0, 1 << 24)},
    {"depth", 'd', "N,...", "0", "tokens that are in the cache before",
     SL_SETS_COUNTS(depths, 0, 1 << 24)},
    {"sequences", 0, "N", "1", "sequences that generate together",
     SL_SETS_COUNT(sequences, 1, 256)},
    {0},
};

static const sl_option REPEAT[] = {
    {"repeat", 'r', "N", "5", "times each is measured", SL_SETS_COUNT(repeat, 1, 1000)},
    {0},
};

static const sl_option RESULTS[] = {
    {"profile", 0, NULL, NULL, "where the time goes, by step, against what the machine can do",
     SL_SETS_FLAG(profile)},
    {"compare", 0, NULL, NULL, "two files of --json results: what changed", SL_SETS_FLAG(compare)},
    {0},
};

const sl_command sl_cmd_bench = {
    .name = "bench",
    .summary = "measure speed: prompts and decoding at depth",
    .usage = "-m MODEL",
    .about =
        "Tokens per second of reading prompts (-p) and of generating (-n), each with -d tokens "
        "in the cache before; medians of -r measures.",
    .examples = "  sluice bench -m model.gguf -p 512,8192 -n 32 -d 0,8192\n"
                "  mpirun -n 2 sluice bench -m model.gguf -p 4096 -n 0 --json > after.json\n"
                "  sluice bench --compare before.json after.json",
    .groups = {sl_options_model, MEASURES, REPEAT, RESULTS, sl_options_threads, sl_options_chunk,
               SL_OPTIONS_SERVING, sl_options_talk},
    .takes_words = true,
    .run = bench_command,
};

/* ---- codecs, links, figure 3 ---- */

static int codec_command(sl_settings *settings)
{
    return sl_rank0_command_run(sl_bench_codec, settings);
}

static const sl_option CODEC_TEXT[] = {
    {"text", 0, "FILE", NULL, "take activations of this text", SL_SETS_READ(text)},
    {0},
};

const sl_command sl_cmd_bench_codec = {
    .name = "bench codec",
    .summary = "what codecs make of a model's activations",
    .usage = "-m MODEL",
    .about =
        "Size, speed and error of every codec on hidden rows from the middle of the model, and "
        "which one links of some speeds would choose.",
    .examples = "  sluice bench codec -m model.gguf\n"
                "  sluice bench codec -m model.gguf --text wiki.txt --chunk 512 --json",
    .groups = {sl_options_model, CODEC_TEXT, sl_options_threads, sl_options_chunk, sl_options_talk},
    .run = codec_command,
};

static int link_command(sl_settings *settings) { return sl_bench_link(settings); }

const sl_command sl_cmd_bench_link = {
    .name = "bench link",
    .summary = "how fast the links between ranks are",
    .usage = "[-m MODEL]",
    .about =
        "Latency and bytes per second of the link from each rank to the next, and the codec it "
        "would choose for frames of the model's width.",
    .examples = "  mpirun --hostfile hosts sluice bench link -m model.gguf\n"
                "  mpirun -n 3 sluice bench link --json",
    .groups = {sl_options_model, sl_options_chunk, sl_options_talk},
    .run = link_command,
};

static int figure3_command(sl_settings *settings)
{
    if (sl_launcher_rank()) {
        sl_error("bench figure3 starts a process for each point itself: not under mpirun or srun");
        return SL_EXIT_USAGE;
    }
    if (sl_launcher_check(1) != SL_OK) return SL_EXIT_USAGE;
    return sl_exit_code(sl_bench_figure3(settings));
}

static const sl_option LENGTHS[] = {
    {"prompt", 'p', "N,...", "512,1024,2048,4096,8192,32768", "lengths of prompts, in tokens",
     SL_SETS_COUNTS(prompts, 1, 1 << 24)},
    {0},
};

const sl_command sl_cmd_bench_figure3 = {
    .name = "bench figure3",
    .summary = "peak memory and time of prompts against their length",
    .usage = "-m MODEL (-g GATE | --policy NAME) -o NAME",
    .about =
        "Read prompts of each length with the full cache and with a pruned one, each in a "
        "process of its own: NAME.csv, written as points are measured, and NAME.png, as figure "
        "3 of arXiv:2410.12876. Lengths beyond the model's training are marked.",
    .examples = "  sluice bench figure3 -m model.gguf -g gate.gguf -o figure3\n"
                "  sluice bench figure3 -m model.gguf --policy random --keep 0.25 -p 512,8192 -o f",
    .groups = {sl_options_model, sl_options_picture_name, sl_options_picture_format, LENGTHS,
               REPEAT, sl_options_threads, sl_options_chunk, sl_options_kv, sl_options_policy,
               sl_options_sinks, sl_options_window, sl_options_talk},
    .run = figure3_command,
};
