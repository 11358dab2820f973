/* launch/eval/cmd_eval_perplexity.c - `sluice eval perplexity`: how well a model predicts a text.
 * Each piece of the text is one request. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launch/eval/eval_commands.h"
#include "launch/eval/eval_pieces.h"
#include "launch/eval/eval_requests.h"
#include "launch/json/json_object.h"
#include "launch/output/npy.h"
#include "launch/output/report.h"
#include "runtime/base/log.h"

typedef struct {
    const sl_settings *settings;
    sl_eval_pieces pieces;
    size_t next_piece;
    double *nll; /* [n_pieces] sums, so the total does not depend on which piece ends first */
    uint64_t n_done;
    uint32_t n_layers, n_kv_heads;
    uint8_t *flags; /* [n_layers][n_kv_heads][n_pieces * piece], with --keep-out */
} evaluation;

static sl_status next(void *context, sl_request **request_out)
{
    evaluation *e = context;
    if (e->next_piece == e->pieces.n_pieces) return SL_END;
    return sl_eval_pieces_request(&e->pieces, e->next_piece++, request_out);
}

static sl_status done(void *context, sl_request *request)
{
    evaluation *e = context;
    sl_status status = sl_eval_request_nll(request, &e->nll[request->line]);
    e->n_done++;
    sl_request_free(request);
    return status;
}

/* A row's flag is of the token that left the window then, or, where a prompt was pruned as it
 * ended, of the row's own token. */
static void take_flags(void *context, const sl_request *request, const sl_frame *frame,
                       const sl_span *span)
{
    evaluation *e = context;
    if (!e->flags) return;
    bool pruned = sl_policy_at_prompt_end(e->pieces.policy.kind) &&
                  span->position < request->n_policy_prompt;
    uint32_t back = pruned ? 0 : e->pieces.policy.window;
    size_t n_tokens = e->pieces.n_pieces * e->pieces.piece, first = request->line * e->pieces.piece;
    for (uint32_t layer = 0; layer < e->n_layers; layer++)
        for (uint32_t head = 0; head < e->n_kv_heads; head++) {
            const uint8_t *from = sl_frame_flags(frame, layer, head) + span->first_row;
            uint8_t *to = e->flags + ((size_t)layer * e->n_kv_heads + head) * n_tokens + first;
            for (uint32_t t = 0; t < span->n_tokens; t++)
                if (span->position + t >= back) to[span->position + t - back] = from[t];
        }
}

static void on_progress(void *context, const sl_driver_progress *progress, int64_t elapsed_ns)
{
    evaluation *e = context;
    sl_eval_requests_progress(&e->pieces.progress, e->n_done, e->pieces.n_pieces, progress,
                              elapsed_ns);
}

static size_t n_tokens(const evaluation *e) { return e->pieces.n_pieces * e->pieces.piece; }

static sl_status take_room(evaluation *e)
{
    e->nll = calloc(e->pieces.n_pieces, sizeof *e->nll);
    if (!e->nll) return SL_ERR_MEMORY;
    if (!e->settings->keep_out) return SL_OK;
    size_t n_flags = (size_t)e->n_layers * e->n_kv_heads * n_tokens(e);
    e->flags = malloc(n_flags);
    if (!e->flags) return SL_ERR_MEMORY;
    memset(e->flags, 1, n_flags); /* sinks, and what never leaves the window */
    return SL_OK;
}

/* Queries before it saw everything before them. */
static size_t mask_from(const evaluation *e)
{
    return sl_policy_at_prompt_end(e->pieces.policy.kind) ? sl_eval_pieces_prompt(&e->pieces) : 0;
}

static sl_status write_flags(const evaluation *e)
{
    size_t dims[] = {e->n_layers, e->n_kv_heads, n_tokens(e)};
    return sl_npy_write_u8(e->settings->keep_out, dims, 3, e->flags);
}

static json_t *result_json(const evaluation *e, size_t n_scored, double nll, double retention_mean,
                           json_t *retention, const sl_engine_report *report)
{
    const sl_eval_pieces *p = &e->pieces;
    sl_json_object object = sl_json_begin();
    sl_json_set_count(&object, "tokens", n_scored);
    sl_json_set_number(&object, "nll", nll);
    sl_json_set_number(&object, "perplexity", exp(nll));
    sl_json_set_count(&object, "pieces", p->n_pieces);
    sl_json_set_count(&object, "context", p->piece);
    sl_json_set_text(&object, "policy", sl_policy_name(p->policy.kind));
    sl_json_set_count(&object, "sinks", p->policy.sinks);
    sl_json_set_count(&object, "window", p->policy.window);
    sl_json_set_count(&object, "mask_from", mask_from(e));
    sl_json_set_number(&object, "retention_mean", retention_mean);
    sl_json_set_item(&object, "retention", retention);
    sl_json_set_item(&object, "report", sl_report_json(report));
    return sl_json_end(&object);
}

static sl_status print_result(const evaluation *e, const sl_engine *engine)
{
    const sl_settings *s = e->settings;
    double sum = 0;
    for (size_t i = 0; i < e->pieces.n_pieces; i++) sum += e->nll[i];
    size_t n_scored = e->pieces.n_pieces * sl_eval_pieces_scored(&e->pieces);
    double nll = sum / (double)n_scored;
    sl_engine_report report;
    sl_engine_report_get(engine, &report);
    if (s->verbose) sl_report_show(&report);
    json_t *retention;
    double mean = sl_report_retention(&report, &retention);
    if (s->json) return sl_report_print(result_json(e, n_scored, nll, mean, retention, &report));
    json_decref(retention);
    printf("perplexity %.4f (nll %.5f) over %zu tokens: the last %zu of %zu in %zu pieces",
           exp(nll), nll, n_scored, sl_eval_pieces_scored(&e->pieces), e->pieces.piece,
           e->pieces.n_pieces);
    if (e->pieces.policy.kind != SL_POLICY_FULL)
        printf("; policy %s kept %.1f%%", sl_policy_name(e->pieces.policy.kind), 100 * mean);
    printf("\n");
    return SL_OK;
}

static void clean_up(evaluation *e)
{
    sl_eval_pieces_fini(&e->pieces);
    free(e->nll);
    free(e->flags);
}

static uint64_t job_bytes(void *context, const sl_engine *engine)
{
    const evaluation *e = context;
    uint64_t bytes = sl_eval_pieces_bytes(e->settings, engine);
    const sl_model_shape *shape = sl_engine_shape(engine);
    struct stat file; /* a token is a byte at least */
    if (!e->settings->keep_out || stat(e->settings->text, &file) != 0) return bytes;
    return bytes + (uint64_t)file.st_size * shape->n_layers * shape->n_kv_heads;
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    evaluation *e = context;
    e->n_layers = sl_engine_shape(engine)->n_layers;
    e->n_kv_heads = sl_engine_shape(engine)->n_kv_heads;
    sl_status status = sl_eval_pieces_init(&e->pieces, e->settings, engine);
    if (status == SL_OK) status = take_room(e);
    if (status != SL_OK) clean_up(e);
    *port_out = (sl_port){.context = e, .next = next, .done = done};
    return status;
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    evaluation *e = context;
    sl_progress_end(&e->pieces.progress);
    if (status == SL_OK && e->flags) status = write_flags(e);
    if (status == SL_OK) status = print_result(e, engine);
    clean_up(e);
    return status;
}

static int eval_perplexity_command(sl_settings *settings)
{
    if (sl_eval_pieces_settings(settings, "perplexity") != SL_OK) return SL_EXIT_USAGE;
    evaluation e = {.settings = settings};
    sl_service service = {.context = &e,
                          .job_bytes = job_bytes,
                          .begin = begin,
                          .end = end,
                          .watch = {.context = &e, .span = take_flags, .progress = on_progress}};
    return sl_engine_serve(settings, &service);
}

static const sl_option KEPT[] = {
    {"keep-out", 0, "FILE", NULL,
     "write who was kept: uint8 [layer][kv_head][token], a .npy file; 1 where layers slide",
     SL_SETS_WRITTEN(keep_out)},
    {0},
};

const sl_command sl_cmd_eval_perplexity = {
    .name = "eval perplexity",
    .summary = "measure a model: perplexity of a text",
    .usage = "-m MODEL --text FILE",
    .about =
        "Perplexity of a text: consecutive pieces of --context tokens (512), a shorter last one "
        "dropped, each starting afresh, the second half of each scored, or its last --score "
        "tokens; to policies that prune when a prompt ends, what is before them is the prompt.",
    .examples = "  sluice eval perplexity -m model.gguf --text wiki.txt --context 512\n"
                "  sluice eval perplexity -m model.gguf --text wiki.txt -g gate.gguf --keep 0.25\n"
                "  mpirun -n 2 sluice eval perplexity -m model.gguf --text wiki.txt --json",
    .groups = {sl_options_model, sl_eval_pieces_options, KEPT, sl_options_context,
               sl_options_threads, sl_options_chunk, sl_options_sequences, SL_OPTIONS_SERVING,
               sl_options_talk},
    .run = eval_perplexity_command,
};
