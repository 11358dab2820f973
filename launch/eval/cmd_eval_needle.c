/* launch/eval/cmd_eval_needle.c - `sluice eval needle`: finding again what was hidden in a long
 * text. Each trial is a request that generates the answer at temperature 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/eval/eval_commands.h"
#include "launch/eval/eval_needles.h"
#include "launch/eval/eval_prompts.h"
#include "launch/eval/eval_requests.h"
#include "launch/json/json_object.h"
#include "launch/output/report.h"
#include "runtime/base/log.h"

/* Of one kind, length and depth. */
typedef struct {
    uint32_t n, n_found;
    double share;       /* sum of the leading shares reproduced */
    double cache_bytes; /* sum of the most each request's cache took */
} cell;

typedef struct {
    const sl_settings *settings;
    const sl_tokenizer *tokenizer;
    sl_tokens filler;
    cell *cells;                            /* [SL_NEEDLE_KINDS][lengths][depths] */
    char (*expected)[SL_NEEDLE_TEXT_BYTES]; /* [trials of all cells] */
    uint64_t n_trials, next, n_done;
    sl_policy policy;
    sl_progress progress;
} evaluation;

static uint32_t n_cells(const sl_settings *s)
{
    return SL_NEEDLE_KINDS * s->lengths.n * s->depths.n;
}

static sl_needle needle_of(const evaluation *e, uint64_t trial)
{
    const sl_settings *s = e->settings;
    uint64_t at = trial / s->limit;
    uint64_t depth = at % s->depths.n, length = at / s->depths.n % s->lengths.n;
    return (sl_needle){.kind = (sl_needle_kind)(at / s->depths.n / s->lengths.n),
                       .n_tokens = s->lengths.items[length],
                       .depth = (double)s->depths.items[depth] / 100,
                       .seed = s->seed + trial % s->limit};
}

static sl_status next(void *context, sl_request **request_out)
{
    evaluation *e = context;
    if (e->next == e->n_trials) return SL_END;
    sl_request *request = calloc(1, sizeof *request);
    if (!request) return SL_ERR_MEMORY;
    sl_needle needle = needle_of(e, e->next);
    sl_tokens prompt = {0};
    sl_status status = sl_needle_make(&needle, e->tokenizer, &e->filler, &prompt,
                                      e->expected[e->next], &request->max_tokens);
    request->line = e->next;
    request->prompt = prompt.ids;
    request->n_prompt = prompt.n;
    request->n_choices = 1;
    request->score_from = SIZE_MAX;
    request->sampling = (sl_sampling){.repetition_penalty = 1, .top_p = 1, .n_logprobs = -1};
    if (status == SL_OK) status = sl_request_bind(request);
    if (status != SL_OK) {
        sl_request_free(request);
        return status;
    }
    e->next++;
    *request_out = request;
    return SL_OK;
}

static sl_status done(void *context, sl_request *request)
{
    evaluation *e = context;
    sl_status status = sl_eval_request_check(request);
    size_t bytes;
    char *said = status == SL_OK
                     ? sl_request_choice_text(request, &request->choices[0], e->tokenizer, &bytes)
                     : NULL;
    if (status == SL_OK && !said) status = SL_ERR_MEMORY;
    if (said) {
        const char *expected = e->expected[request->line];
        size_t all = strlen(expected), found = sl_needle_found(expected, said);
        cell *c = &e->cells[request->line / e->settings->limit];
        c->n++;
        c->n_found += found == all;
        c->share += all > 0 ? (double)found / (double)all : 1;
        c->cache_bytes += (double)request->choices[0].cache_bytes;
        sl_debug("%s, %zu tokens: '%s' for '%s'", sl_needle_name(needle_of(e, request->line).kind),
                 request->n_prompt, said, expected);
    }
    free(said);
    e->n_done++;
    sl_request_free(request);
    return status;
}

static void on_progress(void *context, const sl_driver_progress *progress, int64_t elapsed_ns)
{
    evaluation *e = context;
    sl_eval_requests_progress(&e->progress, e->n_done, e->n_trials, progress, elapsed_ns);
}

/* ---- results ---- */

static json_t *cells_json(const evaluation *e)
{
    json_t *cells = json_array();
    for (uint32_t i = 0; i < n_cells(e->settings); i++) {
        const cell *c = &e->cells[i];
        sl_needle needle = needle_of(e, (uint64_t)i * e->settings->limit);
        sl_json_object object = sl_json_begin();
        sl_json_set_text(&object, "kind", sl_needle_name(needle.kind));
        sl_json_set_count(&object, "tokens", needle.n_tokens);
        sl_json_set_number(&object, "depth", needle.depth);
        sl_json_set_count(&object, "trials", c->n);
        sl_json_set_count(&object, "found", c->n_found);
        sl_json_set_number(&object, "leading_share", c->share / c->n);
        sl_json_set_number(&object, "cache_bytes", c->cache_bytes / c->n);
        json_array_append_new(cells, sl_json_end(&object));
    }
    return cells;
}

static json_t *result_json(const evaluation *e, double found, double retention_mean)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_number(&object, "found", found);
    sl_json_set_item(&object, "cells", cells_json(e));
    sl_json_set_text(&object, "policy", sl_policy_name(e->policy.kind));
    sl_json_set_count(&object, "sinks", e->policy.sinks);
    sl_json_set_count(&object, "window", e->policy.window);
    sl_json_set_number(&object, "retention_mean", retention_mean);
    return sl_json_end(&object);
}

/* How many of the trials were found, and what share of an answer was right from its start. */
static void print_cells(const evaluation *e)
{
    const sl_settings *s = e->settings;
    printf("%-7s %7s  cache MB  found (leading share) at depth", "kind", "tokens");
    for (uint32_t d = 0; d < s->depths.n; d++) printf(" %9u%%", s->depths.items[d]);
    printf("\n");
    for (uint32_t i = 0; i < n_cells(s); i++) {
        const cell *c = &e->cells[i];
        sl_needle needle = needle_of(e, (uint64_t)i * s->limit);
        if (i % s->depths.n == 0)
            printf("%-7s %7u %9.1f %32s", sl_needle_name(needle.kind), needle.n_tokens,
                   c->cache_bytes / c->n / 1e6, "");
        printf(" %2u/%-2u %3.0f%%", c->n_found, c->n, 100 * c->share / c->n);
        if ((i + 1) % s->depths.n == 0) printf("\n");
    }
}

static sl_status print_result(const evaluation *e, const sl_engine *engine)
{
    sl_engine_report report;
    sl_engine_report_get(engine, &report);
    if (e->settings->verbose) sl_report_show(&report);
    json_t *retention;
    double kept = sl_report_retention(&report, &retention), n = 0, found = 0;
    json_decref(retention);
    for (uint32_t i = 0; i < n_cells(e->settings); i++) {
        n += e->cells[i].n;
        found += e->cells[i].n_found;
    }
    if (e->settings->json) return sl_report_print(result_json(e, found / n, kept));
    print_cells(e);
    printf("found %.0f of %.0f; policy %s, window %u, kept %.1f%%\n", found, n,
           sl_policy_name(e->policy.kind), e->policy.window, 100 * kept);
    return SL_OK;
}

/* ---- serving ---- */

static uint64_t job_bytes(void *context, const sl_engine *engine)
{
    const evaluation *e = context;
    uint64_t requests = 2 * (uint64_t)sl_engine_sequences(engine) + 1;
    uint64_t each = sl_engine_context(engine) * sizeof(int32_t) + SL_NEEDLE_TEXT_BYTES;
    return requests * each + e->n_trials * SL_NEEDLE_TEXT_BYTES +
           e->filler.n * (2 + SL_ENCODE_BYTES);
}

static void clean_up(evaluation *e)
{
    sl_tokens_free(&e->filler);
    free(e->cells);
    free(e->expected);
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    evaluation *e = context;
    e->policy = *sl_engine_policy(engine);
    e->tokenizer = sl_engine_tokenizer(engine);
    e->cells = calloc(n_cells(e->settings), sizeof *e->cells);
    e->expected = calloc(e->n_trials, sizeof *e->expected);
    sl_status status = e->cells && e->expected ? SL_OK : SL_ERR_MEMORY;
    if (status == SL_OK) status = sl_filler_read(e->settings->text, e->tokenizer, &e->filler);
    if (status != SL_OK) clean_up(e);
    sl_progress_init(&e->progress);
    *port_out = (sl_port){.context = e, .next = next, .done = done};
    return status;
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    evaluation *e = context;
    sl_progress_end(&e->progress);
    if (status == SL_OK) status = print_result(e, engine);
    clean_up(e);
    return status;
}

static int eval_needle_command(sl_settings *settings)
{
    if (!settings->text) {
        sl_error("eval needle needs --text FILE, to hide things in");
        return SL_EXIT_USAGE;
    }
    evaluation e = {.settings = settings,
                    .n_trials = (uint64_t)n_cells(settings) * settings->limit};
    enum { ANSWER_TOKENS = 128 };
    bool given = settings->context > 0;
    for (uint32_t i = 0; !given && i < settings->lengths.n; i++)
        if (settings->lengths.items[i] + ANSWER_TOKENS > settings->context)
            settings->context = settings->lengths.items[i] + ANSWER_TOKENS;
    sl_service service = {.context = &e,
                          .job_bytes = job_bytes,
                          .begin = begin,
                          .end = end,
                          .watch = {.context = &e, .progress = on_progress}};
    return sl_engine_serve(settings, &service);
}

static const sl_option NEEDLES[] = {
    {"text", 0, "FILE", NULL, "the text to hide things in", SL_SETS_READ(text)},
    {"lengths", 0, "N,...", "1024,2048,4096,8064", "of prompts, in tokens",
     SL_SETS_COUNTS(lengths, 256, 1 << 20)},
    {"depths", 0, "N,...", "10,50,90", "where things are hidden, in percent of the text",
     SL_SETS_COUNTS(depths, 0, 100)},
    {"limit", 0, "N", "4", "trials of each kind, length and depth", SL_SETS_COUNT(limit, 1, 1e6)},
    {0},
};

const sl_command sl_cmd_eval_needle = {
    .name = "eval needle",
    .summary = "measure a model: find again what a long text hides",
    .usage = "-m MODEL --text FILE",
    .about = "Hide a sentence in a text and let the model complete its beginning behind it: a fact "
             "of one word, a number of 7 digits, a key of 64 characters; and let it copy 48 tokens "
             "of the text from the 16 before them. For each kind, length and depth: exact finds of "
             "--limit trials, what share was right from the start, and the memory the cache took.",
    .examples =
        "  sluice eval needle -m model.gguf --text book.txt\n"
        "  sluice eval needle -m model.gguf -g gate.gguf --keep 0.25 --text book.txt --lengths "
        "2048,8192",
    .groups = {sl_options_model, sl_options_seed, NEEDLES, sl_options_context, sl_options_threads,
               sl_options_chunk, sl_options_sequences, SL_OPTIONS_SERVING, sl_options_talk},
    .run = eval_needle_command,
};
