/* launch/cmd_eval.c - `sluice eval perplexity`: pieces of a text, each afresh, second half scored
 * (llama.cpp's convention). A piece is a request that generates nothing and scores its prompt. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launch/commands.h"
#include "launch/engine.h"
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
} evaluation;

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
    return e->nll ? SL_OK : SL_ERR_MEMORY;
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
    if (s->json)
        return sl_report_print(json_pack("{s:I, s:f, s:f, s:I, s:I, s:o}", "tokens",
                                         (json_int_t)n_scored, "nll", nll, "perplexity", exp(nll),
                                         "pieces", (json_int_t)e->n_pieces, "context",
                                         (json_int_t)e->piece, "report", sl_report_json(&report)));
    printf("perplexity %.4f (nll %.5f) over %zu tokens: second halves of %zu pieces of %zu\n",
           exp(nll), nll, n_scored, e->n_pieces, e->piece);
    return SL_OK;
}

static void clean_up(evaluation *e)
{
    sl_tokens_free(&e->tokens);
    free(e->nll);
}

/* The text, whose room doubles as it is read, its tokens, and pieces being scored. */
static uint64_t job_bytes(void *context, const sl_engine *engine)
{
    const evaluation *e = context;
    uint64_t pieces = 2 * (uint64_t)sl_engine_sequences(engine) + 1;
    uint64_t piece = sl_engine_context(engine) * (sizeof(int32_t) + sizeof(sl_token_detail));
    struct stat file;
    uint64_t text = stat(e->settings->text, &file) == 0 ? (uint64_t)file.st_size : 0;
    return text * (2 + SL_ENCODE_BYTES) + pieces * piece;
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    evaluation *e = context;
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
                          .watch = {.context = &e, .progress = tell}};
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
