/* launch/job/cmd_batch.c - `sluice batch`: the main job. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "launch/job/job_commands.h"
#include "launch/job/job_port.h"
#include "launch/machine/memory.h"
#include "launch/output/progress.h"
#include "launch/output/report.h"
#include "launch/pipeline/engine.h"
#include "runtime/base/append.h"
#include "runtime/base/log.h"
#include "runtime/gguf/gguf.h"
#include "sched/split.h"

typedef struct {
    const sl_settings *settings;
    sl_job *job;
    sl_job_port *io; /* the thread that reads and writes */
    sl_request_warnings warnings;
    sl_job_plan plan;
    sl_progress progress;
    bool failed; /* there are error records */
    bool fresh;  /* there was no OUT */
} batch;

static void on_progress(void *context, const sl_driver_progress *progress, int64_t elapsed_ns)
{
    batch *b = context;
    sl_progress_state state = {
        .total = sl_job_total(b->job),
        .done_before = sl_job_known_results(b->job),
        .prompt_tokens = progress->prompt_tokens,
        .generated_tokens = progress->generated_tokens,
        .elapsed_ns = elapsed_ns,
    };
    sl_job_port_counts(b->io, &state.done, &state.failed);
    state.done += state.done_before;
    sl_progress_show(&b->progress, &state);
}

static void add_option(sl_job_identity *identity, const char *name, const char *value)
{
    sl_job_option *option = &identity->options[identity->n_options++];
    snprintf(option->name, sizeof option->name, "%s", name);
    snprintf(option->value, sizeof option->value, "%s", value);
}

static void add_number(sl_job_identity *identity, const char *name, uint32_t number)
{
    char value[16];
    snprintf(value, sizeof value, "%u", number);
    add_option(identity, name, value);
}

static void add_real(sl_job_identity *identity, const char *name, double number)
{
    char value[32];
    snprintf(value, sizeof value, "%.9g", number);
    add_option(identity, name, value);
}

/* Of a list that is too long, its hash. */
static void add_list(sl_job_identity *identity, const char *name, const char *list)
{
    char hash[32];
    snprintf(hash, sizeof hash, "%016" PRIx64, (uint64_t)XXH3_64bits(list, strlen(list)));
    add_option(identity, name, strlen(list) < sizeof identity->options->value ? list : hash);
}

/* The first layer of each rank: where a lossy codec rounds. */
static void add_split(sl_job_identity *identity, const sl_engine *engine)
{
    char list[6 * SL_SPLIT_LAYERS_MAX] = "";
    size_t used = 0;
    for (int r = 0; r < sl_engine_ranks(engine); r++)
        sl_append(list, sizeof list, &used, "%s%u", r > 0 ? "," : "",
                  sl_engine_first_layer(engine, r));
    add_list(identity, "split", list);
}

/* Its text decides what chats say, not its name. */
static void add_chat_template(sl_job_identity *identity, const sl_engine *engine)
{
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx",
             (unsigned long long)sl_engine_chat_template_hash(engine));
    add_option(identity, "chat-template", hash);
}

/* Contents and scales, in their order, not names. */
static void add_lora(sl_job_identity *identity, const sl_lora *lora)
{
    char list[64 * SL_LORA_FILES_MAX] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < lora->n; i++)
        sl_append(list, sizeof list, &used, "%s%016" PRIx64 "=%.9g", i > 0 ? "," : "",
                  sl_lora_file_hash(lora->items[i].file), (double)lora->items[i].scale);
    add_list(identity, "lora", list);
}

/* What a result depends on, each as what it came to. Ranks, threads, chunk and lossless codecs do
 * not change a byte; a lossy one rounds once a link, so then ranks do, and which layers they
 * have. */
static sl_job_identity identity_of(const sl_engine *engine)
{
    const sl_policy *policy = sl_engine_policy(engine);
    sl_job_identity identity = {.model_hash = sl_engine_model_hash(engine),
                                .gate_hash = sl_engine_gate_hash(engine)};
    snprintf(identity.numerics, sizeof identity.numerics, "%s.%d/%s", sl_engine_kernels(engine),
             SL_KERNELS_VERSION, sl_engine_kv(engine));
    add_option(&identity, "policy", sl_policy_name(policy->kind));
    add_number(&identity, "context", sl_engine_context(engine));
    add_number(&identity, "sinks", policy->sinks);
    add_number(&identity, "window", policy->window);
    if (sl_policy_has_rate(policy->kind)) add_real(&identity, "keep", policy->keep);
    if (policy->has_threshold) add_real(&identity, "threshold", (double)policy->threshold);
    if (policy->steer > 0) add_real(&identity, "steer", (double)policy->steer);
    if (sl_engine_chat_template_hash(engine) != 0) add_chat_template(&identity, engine);
    if (sl_engine_template_date(engine))
        add_option(&identity, "template-date", sl_engine_template_date(engine));
    if (sl_engine_lora(engine)->n > 0) add_lora(&identity, sl_engine_lora(engine));
    if (!sl_codec_kind_lossless(sl_engine_codec(engine))) {
        add_option(&identity, "codec", sl_codec_kind_name(sl_engine_codec(engine)));
        add_number(&identity, "ranks", (uint32_t)sl_engine_ranks(engine));
        add_split(&identity, engine);
    }
    return identity;
}

static sl_status job_options(const sl_settings *settings, sl_job_options *options_out)
{
    if (settings->redo_changed && settings->keep_changed) {
        sl_error("--redo-changed and --keep-changed: either, not both");
        return SL_ERR_OPTION;
    }
    *options_out = (sl_job_options){
        .retry_errors = settings->retry_errors,
        .restart = settings->restart,
        .changed = settings->redo_changed   ? SL_CHANGED_REDO
                   : settings->keep_changed ? SL_CHANGED_KEEP
                                            : SL_CHANGED_REFUSE,
    };
    return SL_OK;
}

/* Said at the beginning, too: results name the option only when they are done. */
static void warn_of_date(const sl_engine *engine)
{
    const sl_chat *chat = sl_engine_chat(engine);
    if (chat && sl_chat_form_of(chat)->needs_date && !sl_engine_template_date(engine))
        sl_warn("the chat template tells the model the date: without --template-date YYYY-MM-DD "
                "chats for which it does will be errors");
}

static sl_status open_job(const sl_settings *settings, const sl_engine *engine, sl_job **job_out)
{
    sl_job_identity identity = identity_of(engine);
    sl_job_options options;
    sl_status status = job_options(settings, &options);
    if (status == SL_OK)
        status = sl_job_open(settings->input, settings->output, &identity, &options, job_out);
    if (status != SL_OK) return status;
    sl_info("%llu requests, %llu of them already in %s; %d rank%s",
            (unsigned long long)sl_job_total(*job_out),
            (unsigned long long)sl_job_known_results(*job_out), settings->output,
            sl_engine_ranks(engine), sl_engine_ranks(engine) == 1 ? "" : "s");
    if (sl_job_known_failed(*job_out) > 0)
        sl_info("%llu results there are errors: --retry-errors does them again",
                (unsigned long long)sl_job_known_failed(*job_out));
    warn_of_date(engine);
    return SL_OK;
}

static sl_request_reader reader_of(batch *b, const sl_engine *engine)
{
    uint32_t sequences = sl_engine_sequences(engine);
    return (sl_request_reader){
        .tokenizer = sl_engine_tokenizer(engine),
        .model = sl_engine_model_name(engine),
        .chat = sl_engine_chat(engine),
        .context = sl_engine_context(engine),
        .choices_max = sequences < SL_CHOICES_MAX ? sequences : SL_CHOICES_MAX,
        .warnings = &b->warnings,
    };
}

/* Requests read and not yet written: those computed, and enough that none is waited for. */
static uint32_t ahead_of(const sl_engine *engine) { return 4 * sl_engine_sequences(engine); }

static sl_status check(void *context)
{
    const batch *b = context;
    return sl_job_check(b->settings->input, b->settings->output);
}

static uint64_t job_bytes(void *context, const sl_engine *engine)
{
    batch *b = context;
    sl_request_reader reader = reader_of(b, engine);
    sl_job_plan *plan = &b->plan;
    sl_job_plan_make(b->settings->input, &reader, ahead_of(engine), plan);
    return plan->file + plan->waiting + plan->request + plan->record;
}

static sl_status open_port(batch *b, const sl_engine *engine)
{
    sl_request_reader reader = reader_of(b, engine);
    return sl_job_port_open(b->job, &reader, ahead_of(engine), b->plan.waiting, &b->io);
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    batch *b = context;
    b->fresh = access(b->settings->output, F_OK) != 0 && errno == ENOENT;
    sl_status status = open_job(b->settings, engine, &b->job);
    if (status != SL_OK) return status;
    status = open_port(b, engine);
    if (status != SL_OK) {
        sl_job_close(b->job);
        return status;
    }
    sl_progress_init(&b->progress);
    *port_out = sl_job_port_get(b->io);
    return SL_OK;
}

static sl_status report_result(batch *b, const sl_engine *engine)
{
    sl_engine_report report;
    sl_engine_report_get(engine, &report);
    sl_job_port_counts(b->io, &report.progress.requests_done, &report.progress.requests_failed);
    b->failed = report.progress.requests_failed + sl_job_known_failed(b->job) > 0;
    report.own_peak_bytes =
        sl_memory_peak_bytes(); /* the last records were written after the stop */
    sl_report_show(&report);
    return b->settings->json ? sl_report_print(sl_report_json(&report)) : SL_OK;
}

/* The record of the job names a model that no file holds: half of it came from a damaged copy. With
 * a good one the same line begins anew. */
static void remove_empty(const char *out_path)
{
    char path[PATH_MAX];
    struct stat out;
    if (stat(out_path, &out) != 0 || out.st_size > 0) return;
    int n = snprintf(path, sizeof path, "%s.job", out_path);
    if (n > 0 && (size_t)n < sizeof path) unlink(path);
    unlink(out_path);
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    batch *b = context;
    sl_progress_end(&b->progress);
    sl_status written = sl_job_port_finish(b->io);
    if (status == SL_OK) status = written;
    if (status == SL_OK) status = sl_job_finish(b->job);
    if (status == SL_OK) status = report_result(b, engine);
    sl_job_port_close(b->io);
    if (b->fresh && sl_engine_model_verdict(engine) == SL_ERR_FORMAT)
        remove_empty(b->settings->output);
    sl_job_close(b->job);
    return status;
}

static int batch_command(sl_settings *settings)
{
    if (!settings->input || !settings->output) {
        sl_error("batch needs -i IN.jsonl and -o OUT.jsonl: see sluice batch --help");
        return SL_EXIT_USAGE;
    }
    batch b = {.settings = settings};
    sl_service service = {.context = &b,
                          .check = check,
                          .some_failed = &b.failed,
                          .job_bytes = job_bytes,
                          .begin = begin,
                          .end = end,
                          .watch = {.context = &b, .progress = on_progress}};
    return sl_engine_serve(settings, &service);
}

static const sl_option JOB[] = {
    {"input", 'i', "FILE", NULL, "requests, one JSON object a line", SL_SETS_READ(input)},
    {"output", 'o', "FILE", NULL, "results; ids already there are not done again",
     SL_SETS_WRITTEN(output), .beside = ".job"},
    {"retry-errors", 0, NULL, NULL, "do requests again whose result is an error",
     SL_SETS_FLAG(retry_errors)},
    {"redo-changed", 0, NULL, NULL, "do requests again that were edited since they were answered",
     SL_SETS_FLAG(redo_changed)},
    {"keep-changed", 0, NULL, NULL, "keep the old results of edited requests",
     SL_SETS_FLAG(keep_changed)},
    {"restart", 0, NULL, NULL, "begin anew; an OUT that is there is kept as OUT.1",
     SL_SETS_FLAG(restart)},
    {0},
};

const sl_command sl_cmd_batch = {
    .name = "batch",
    .summary = "answer a JSONL file of requests (OpenAI batch format)",
    .usage = "-m MODEL -i IN.jsonl -o OUT.jsonl",
    .about = "Answer every request of IN (OpenAI batch format) into OUT, in order of completion.",
    .examples =
        "  mpirun -n 3 sluice batch -m model.gguf -i in.jsonl -o out.jsonl\n"
        "A line of IN: {\"custom_id\": \"a\", \"method\": \"POST\", \"url\": "
        "\"/v1/chat/completions\",\n"
        "\"body\": {\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}}, or "
        "/v1/completions and \"prompt\".\n"
        "Interrupted? Run the same line again: nothing is done twice. Keep OUT.job, the journal, "
        "beside\n"
        "OUT. Exit status: 0 all succeeded, 3 some ended as error records, 2 usage, 4 a file, 5\n"
        "memory, 75 interrupted: run again.",
    .groups = {sl_options_model, sl_options_chat_template, JOB, sl_options_context,
               sl_options_threads, sl_options_chunk, sl_options_sequences, SL_OPTIONS_SERVING,
               sl_options_talk},
    .run = batch_command,
};
