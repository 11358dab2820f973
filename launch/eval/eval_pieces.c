/* launch/eval/eval_pieces.c - see eval_pieces.h. */
#include "launch/eval/eval_pieces.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/base/log.h"
#include "runtime/base/read_file.h"

enum { PIECE_DEFAULT = 512 };

const sl_option sl_eval_pieces_options[] = {
    {"text", 0, "FILE", NULL, "the text to evaluate on", SL_SETS_READ(text)},
    {"limit", 0, "N", "0", "pieces, evenly spaced; 0: all", SL_SETS_COUNT(limit, 0, 1e9)},
    {"score", 0, "N", "0", "tokens at the end of each piece that are scored; 0: half",
     SL_SETS_COUNT(score, 0, 1 << 24)},
    {0},
};

sl_status sl_eval_pieces_settings(sl_settings *settings, const char *word)
{
    if (settings->context == 0) settings->context = PIECE_DEFAULT;
    if (settings->score == 0) settings->score = settings->context - settings->context / 2;
    if (settings->text && settings->context >= 2 && settings->score < settings->context)
        return SL_OK;
    sl_error("eval %s needs --text FILE, a --context of 2 tokens or more and a smaller --score",
             word);
    return SL_ERR_OPTION;
}

static sl_status read_tokens(sl_eval_pieces *p, const sl_tokenizer *tokenizer)
{
    char *text;
    size_t bytes;
    sl_status status = sl_read_file(p->settings->text, &text, &bytes);
    if (status != SL_OK) return status;
    status = sl_tokenizer_encode_whole(tokenizer, text, bytes, SL_SPECIAL_AS_TEXT, &p->tokens);
    free(text);
    return status;
}

sl_status sl_eval_pieces_init(sl_eval_pieces *pieces, const sl_settings *settings,
                              const sl_engine *engine)
{
    sl_eval_pieces *p = pieces;
    const sl_tokenizer *tokenizer = sl_engine_tokenizer(engine);
    *p = (sl_eval_pieces){.settings = settings, .policy = *sl_engine_policy(engine)};
    sl_progress_init(&p->progress);
    sl_status status = read_tokens(p, tokenizer);
    if (status != SL_OK) return status;
    p->piece = sl_engine_context(engine);
    p->n_pieces = p->tokens.n / p->piece;
    if (p->n_pieces == 0) {
        sl_error("%s has %zu tokens, fewer than one piece of --context %zu", settings->text,
                 p->tokens.n, p->piece);
        return SL_ERR_OPTION;
    }
    p->of = p->n_pieces;
    if (settings->limit > 0 && settings->limit < p->n_pieces) p->n_pieces = settings->limit;
    if (sl_tokenizer_adds_bos(tokenizer)) /* each piece begins with it, in a token's place */
        for (size_t i = 0; i < p->of; i++)
            p->tokens.ids[i * p->piece] = sl_tokenizer_bos(tokenizer);
    return SL_OK;
}

void sl_eval_pieces_fini(sl_eval_pieces *pieces) { sl_tokens_free(&pieces->tokens); }

size_t sl_eval_pieces_scored(const sl_eval_pieces *pieces) { return pieces->settings->score; }

size_t sl_eval_pieces_from(const sl_eval_pieces *pieces)
{
    return pieces->piece - sl_eval_pieces_scored(pieces);
}

size_t sl_eval_pieces_prompt(const sl_eval_pieces *pieces)
{
    const sl_policy *policy = &pieces->policy;
    bool parts = policy->whole_prompts || sl_policy_at_prompt_end(policy->kind);
    return parts ? sl_eval_pieces_from(pieces) : 0;
}

/* Evenly spaced, if not all are taken. */
static const int32_t *first_of(const sl_eval_pieces *p, size_t index)
{
    return p->tokens.ids + index * p->of / p->n_pieces * p->piece;
}

sl_status sl_eval_pieces_request(const sl_eval_pieces *pieces, size_t index,
                                 sl_request **request_out)
{
    const sl_eval_pieces *p = pieces;
    sl_request *request = calloc(1, sizeof *request);
    if (!request) return SL_ERR_MEMORY;
    request->line = index;
    request->prompt = malloc(p->piece * sizeof *request->prompt);
    request->n_prompt = p->piece;
    request->n_choices = 1;
    request->score_from = sl_eval_pieces_from(p);
    request->n_policy_prompt = sl_eval_pieces_prompt(p);
    request->sampling = (sl_sampling){.repetition_penalty = 1, .top_p = 1, .n_logprobs = 0};
    if (!request->prompt || sl_request_bind(request) != SL_OK) {
        sl_request_free(request);
        return SL_ERR_MEMORY;
    }
    memcpy(request->prompt, first_of(p, index), p->piece * sizeof *request->prompt);
    *request_out = request;
    return SL_OK;
}

uint64_t sl_eval_pieces_bytes(const sl_settings *settings, const sl_engine *engine)
{
    uint64_t at_once = 2 * (uint64_t)sl_engine_sequences(engine) + 1;
    uint64_t piece = sl_engine_context(engine) * (sizeof(int32_t) + sizeof(sl_token_detail));
    struct stat file;
    uint64_t text = stat(settings->text, &file) == 0 ? (uint64_t)file.st_size : 0;
    return text * (2 + SL_ENCODE_BYTES) + at_once * piece; /* a token is a byte at least */
}
