/* launch/eval/eval_pieces.h - a text as `sluice eval` measures it: consecutive pieces of --context
 * tokens, a shorter last one dropped, each starting afresh, the last --score tokens of each scored:
 * its second half, unless told otherwise (llama.cpp's convention). A piece is a request that
 * generates nothing and scores its prompt. */
#ifndef SL_EVAL_PIECES_H
#define SL_EVAL_PIECES_H

#include "launch/options/option.h"
#include "launch/output/progress.h"
#include "launch/pipeline/engine.h"

typedef struct {
    const sl_settings *settings;
    sl_policy policy;
    sl_tokens tokens;    /* owned */
    size_t piece;        /* tokens of each */
    size_t n_pieces, of; /* how many, of how many there are: evenly spaced */
    sl_progress progress;
} sl_eval_pieces;

/* --text, --limit, --score. */
extern const sl_option sl_eval_pieces_options[];

/* Check the settings; a context that was not given becomes 512, --score half of it. `word` is the
 * command's, for messages. SL_ERR_OPTION, logged. */
sl_status sl_eval_pieces_settings(sl_settings *settings, const char *word);

/* Read the text and cut it, on rank 0; ended with sl_eval_pieces_fini, also after an error.
 * SL_ERR_FILE, SL_ERR_MEMORY; SL_ERR_OPTION: not one piece. Logged. */
sl_status sl_eval_pieces_init(sl_eval_pieces *pieces, const sl_settings *settings,
                              const sl_engine *engine);
void sl_eval_pieces_fini(sl_eval_pieces *pieces);

/* The first scored token of each piece, and how many there are. */
size_t sl_eval_pieces_from(const sl_eval_pieces *pieces);
size_t sl_eval_pieces_scored(const sl_eval_pieces *pieces);
/* Tokens of a piece that are its prompt, to policies that treat prompt and generated tokens
 * differently; 0: all. */
size_t sl_eval_pieces_prompt(const sl_eval_pieces *pieces);

/* Piece `index` as a bound request, its line; the caller owns it. SL_ERR_MEMORY. */
sl_status sl_eval_pieces_request(const sl_eval_pieces *pieces, size_t index,
                                 sl_request **request_out);
/* Bytes of the text, whose room doubles as it is read, its tokens, and pieces being scored. */
uint64_t sl_eval_pieces_bytes(const sl_settings *settings, const sl_engine *engine);

#endif
