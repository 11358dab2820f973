/* launch/cmd_eval.c - `sluice eval perplexity`: pieces of a text, each afresh, second half scored
 * (llama.cpp's convention). A piece is a request that generates nothing and scores its prompt. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launch/commands.h"
#include "launch/engine.h"
#include "launch/npy.h"
#include "launch/progress.h"
#include "launch/read_file.h"
#include "launch/report.h"
#include "runtime/base/log.h"

enum { PIECE_DEFAULT = 512 };

typedef struct {
    const sl_settings *settings;
    sl_tokens tokens;
    size_t piece, n_pieces, next_piece;
    double *nll; /* [n_pieces] sums, so the total does not depend on which piece ends first */
    uint64_t n_done;
    sl_progress progress;
    sl_policy policy;
    uint32_t n_layers, n_kv_heads;
    uint8_t *flags; /* [n_layers][n_kv_heads][n_pieces * piece], with --keep-out */
} evaluation;

/* Policies that tell prompt from generated tokens take a piece's first half for the prompt. */
static size_t prompt_of(const evaluation *e)
{
    bool halves = e->policy.whole_prompts || sl_policy_at_prompt_end(e->policy.kind);
    return halves ? e->piece / 2 : 0;
}

static sl_status next(void *context, sl_request **request_out)
{
    evaluation *e = context;
    if (e->next_piece == e->n_pieces) return SL_END;
    sl_request *request = calloc(1, sizeof *request);
    if (!request) return SL_ERR_MEMORY;
    request->line = e->next_piece;
    request->prompt = malloc(e->piece * sizeof *request->prompt);
    request->n_prompt = e->piece;
    request->n_choices = 1;
    request->score_from = e->piece / 2;
    request->n_policy_prompt = prompt_of(e);
    request->sampling = (sl_sampling){.repetition_penalty = 1, .top_p = 1, .n_logprobs = 0};
    if (!request->prompt || sl_request_bind(request) != SL_OK) {
        sl_request_free(request);
        return SL_ERR_MEMORY;
    }
    memcpy(request->prompt, e->tokens.ids + e->next_piece * e->piece,
           e->piece * sizeof *request->prompt);
    e->next_piece++;
    *request_out = request;
    return SL_OK;
}

static sl_status done(void *context, sl_request *request)
{
    evaluation *e = context;
    sl_status status = SL_OK;
    if (request->error.http_status != 0) {
        sl_error("%s", request->error.message);
        status = SL_ERR_REQUEST;
    }
    double sum = 0;
    for (size_t i = request->score_from; status == SL_OK && i < request->n_prompt; i++)
        sum -= (double)request->prompt_details[i].logprob;
    e->nll[request->line] = sum;
    e->n_done++;
    sl_request_free(request);
    return status;
}

/* A row's flag is of the token that left the window then, or, where a prompt was pruned as it ended,
 * of the row's own token. */
static void take_flags(void *context, const sl_request *request, const sl_frame *frame,
                       const sl_span *span)
{
    evaluation *e = context;
    if (!e->flags) return;
    bool pruned = sl_policy_at_prompt_end(e->policy.kind) &&
                  span->position < request->n_policy_prompt;
    uint32_t back = pruned ? 0 : e->policy.window;
    size_t n_tokens = e->n_pieces * e->piece, first = request->line * e->piece;
    for (uint32_t layer = 0; layer < e->n_layers; layer++)
        for (uint32_t head = 0; head < e->n_kv_heads; head++) {
            const uint8_t *from = sl_frame_flags(frame, layer, head) + span->first_row;
            uint8_t *to = e->flags + ((size_t)layer * e->n_kv_heads + head) * n_tokens + first;
            for (uint32_t t = 0; t < span->n_tokens; t++)
                if (span->position + t >= back) to[span->position + t - back] = from[t];
        }
}

static void tell(void *context, const sl_driver_progress *progress, int64_t elapsed_ns)
{
    evaluation *e = context;
    sl_progress_state state = {.done = e->n_done,
                               .total = e->n_pieces,
                               .elapsed_ns = elapsed_ns,
                               .prompt_tokens = progress->prompt_tokens};
    sl_progress_tell(&e->progress, &state);
}

static sl_status read_pieces(evaluation *e, const sl_engine *engine)
{
    const sl_settings *s = e->settings;
    char *text;
    size_t bytes;
    sl_status status = sl_read_file(s->text, &text, &bytes);
    if (status != SL_OK) return status;
    const sl_tokenizer *tokenizer = sl_engine_tokenizer(engine);
    status = sl_tokenizer_encode_prompt(tokenizer, text, bytes, &e->tokens);
    free(text);
    if (status != SL_OK) return status;
    e->piece = sl_engine_context(engine);
    e->n_pieces = e->tokens.n / e->piece;
    if (e->n_pieces == 0) {
        sl_error("%s has %zu tokens, fewer than one piece of --context %zu", s->text, e->tokens.n,
                 e->piece);
        return SL_ERR_OPTION;
    }
    if (sl_tokenizer_adds_bos(tokenizer)) /* each piece begins with it, in a token's place */
        for (size_t i = 0; i < e->n_pieces; i++)
            e->tokens.ids[i * e->piece] = sl_tokenizer_bos(tokenizer);
    e->nll = calloc(e->n_pieces, sizeof *e->nll);
    if (!e->nll) return SL_ERR_MEMORY;
    if (!s->keep_out) return SL_OK;
    size_t n_flags = (size_t)e->n_layers * e->n_kv_heads * e->n_pieces * e->piece;
    e->flags = malloc(n_flags);
    if (!e->flags) return SL_ERR_MEMORY;
    memset(e->flags, 1, n_flags); /* sinks, and what never leaves the window */
    return SL_OK;
}

/* Queries before it saw everything before them. */
static size_t mask_from(const evaluation *e)
{
    return sl_policy_at_prompt_end(e->policy.kind) ? prompt_of(e) : 0;
}

static sl_status write_flags(const evaluation *e)
{
    size_t dims[] = {e->n_layers, e->n_kv_heads, e->n_pieces * e->piece};
    return sl_npy_write_u8(e->settings->keep_out, dims, 3, e->flags);
}

static sl_status tell_result(const evaluation *e, const sl_engine *engine)
{
    const sl_settings *s = e->settings;
    double sum = 0;
    for (size_t i = 0; i < e->n_pieces; i++) sum += e->nll[i];
    size_t n_scored = e->n_pieces * (e->piece - e->piece / 2);
    double nll = sum / (double)n_scored;
    sl_engine_report report;
    sl_engine_report_get(engine, &report);
    if (s->verbose) sl_report_tell(&report);
    json_t *retention;
    double mean = sl_report_retention(&report, &retention);
    if (s->json)
        return sl_report_print(json_pack(
            "{s:I, s:f, s:f, s:I, s:I, s:s, s:i, s:i, s:I, s:f, s:o, s:o}", "tokens",
            (json_int_t)n_scored, "nll", nll, "perplexity", exp(nll), "pieces",
            (json_int_t)e->n_pieces, "context", (json_int_t)e->piece, "policy",
            sl_policy_name(e->policy.kind), "sinks", (int)e->policy.sinks, "window",
            (int)e->policy.window, "mask_from", (json_int_t)mask_from(e), "retention_mean", mean,
            "retention", retention, "report", sl_report_json(&report)));
    json_decref(retention);
    printf("perplexity %.4f (nll %.5f) over %zu tokens: second halves of %zu pieces of %zu",
           exp(nll), nll, n_scored, e->n_pieces, e->piece);
    if (e->policy.kind != SL_POLICY_FULL)
        printf("; policy %s kept %.1f%%", sl_policy_name(e->policy.kind), 100 * mean);
    printf("\n");
    return SL_OK;
}

static void clean_up(evaluation *e)
{
    sl_tokens_free(&e->tokens);
    free(e->nll);
    free(e->flags);
}

/* The text, whose room doubles as it is read, its tokens, and pieces being scored. */
static uint64_t job_bytes(void *context, const sl_engine *engine)
{
    const evaluation *e = context;
    uint64_t pieces = 2 * (uint64_t)sl_engine_sequences(engine) + 1;
    uint64_t piece = sl_engine_context(engine) * (sizeof(int32_t) + sizeof(sl_token_detail));
    struct stat file;
    uint64_t text = stat(e->settings->text, &file) == 0 ? (uint64_t)file.st_size : 0;
    const sl_model_shape *shape = sl_engine_shape(engine);
    uint64_t flags = e->settings->keep_out ? text * shape->n_layers * shape->n_kv_heads : 0;
    return text * (2 + SL_ENCODE_BYTES) + pieces * piece + flags; /* a token is a byte at least */
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    evaluation *e = context;
    e->policy = *sl_engine_policy(engine);
    e->n_layers = sl_engine_shape(engine)->n_layers;
    e->n_kv_heads = sl_engine_shape(engine)->n_kv_heads;
    sl_status status = read_pieces(e, engine);
    if (status != SL_OK) clean_up(e);
    sl_progress_init(&e->progress);
    *port_out = (sl_port){.context = e, .next = next, .done = done};
    return status;
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    evaluation *e = context;
    sl_progress_end(&e->progress);
    if (status == SL_OK && e->flags) status = write_flags(e);
    if (status == SL_OK) status = tell_result(e, engine);
    clean_up(e);
    return status;
}

static int eval_command(sl_settings *settings)
{
    if (settings->n_words != 1 || strcmp(settings->words[0], "perplexity") != 0) {
        sl_error("eval what? There is: eval perplexity");
        return SL_EXIT_USAGE;
    }
    if (settings->context == 0) settings->context = PIECE_DEFAULT;
    if (settings->context < 2 || !settings->text) {
        sl_error("eval perplexity needs --text FILE and a --context of 2 tokens or more");
        return SL_EXIT_USAGE;
    }

    evaluation e = {.settings = settings};
    sl_service service = {.context = &e,
                          .job_bytes = job_bytes,
                          .begin = begin,
                          .end = end,
                          .watch = {.context = &e, .span = take_flags, .progress = tell}};
    return sl_engine_serve(settings, &service);
}

const sl_command_entry sl_cmd_eval = {
    .command = SL_COMMAND_EVAL,
    .name = "eval",
    .summary = "measure a model: eval perplexity",
    .usage = "perplexity -m MODEL --text FILE",
    .about = "Perplexity of a text: consecutive pieces of --context tokens (512), a shorter last "
             "one dropped, each starting afresh, the second half of each scored.",
    .examples = "  sluice eval perplexity -m model.gguf --text wiki.txt --context 512\n"
                "  mpirun -n 2 sluice eval perplexity -m model.gguf --text wiki.txt --json",
    .run = eval_command,
};
