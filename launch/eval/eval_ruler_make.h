/* launch/eval/eval_ruler_make.h - a prompt of `eval ruler`, what its makers share, and the makers,
 * which the table of tasks names (eval_ruler_tasks.h): one for each task. */
#ifndef SL_EVAL_RULER_MAKE_H
#define SL_EVAL_RULER_MAKE_H

#include "runtime/text/tokenizer.h"

enum {
    SL_RULER_ASKED_MAX = 4,     /* questions over one context */
    SL_RULER_EXPECTED_MAX = 16, /* strings in an answer */
    SL_RULER_EXPECTED_BYTES = 128,
    /* Positions are swept modulo this: a chunk, and four pages of the cache. */
    SL_RULER_PHASE = 256,
};

/* Whose parts are one trial. All of it is the same for the same numbers. */
typedef struct {
    uint32_t n_tokens; /* of everything the model reads, and of its answer */
    double depth;      /* 0 .. < 1: how far into the text what is asked for lies */
    uint32_t phase;    /* < SL_RULER_PHASE: its position modulo that */
    uint64_t seed;
} sl_ruler_trial;

/* Its arrays are owned: ended with sl_ruler_prompt_fini. */
typedef struct {
    sl_tokens prompt;
    /* Several questions, each asked after the prompt alone; 0: the prompt ends with the
     * question. */
    uint32_t n_tails;
    sl_tokens *tails; /* [n_tails] */
    /* What the answer has in it, in any order; of several questions, number i in answer i. */
    uint32_t n_expected;
    char (*expected)[SL_RULER_EXPECTED_BYTES]; /* [SL_RULER_EXPECTED_MAX] */
    uint32_t n_answer; /* tokens to generate; 0: the text itself is scored, from score_from on */
    size_t score_from;
    size_t at; /* the position of what is asked for first; SIZE_MAX: it is everywhere */
} sl_ruler_prompt;

typedef struct {
    const sl_tokenizer *tokenizer;
    const sl_tokens *filler; /* tokens of the text that things are hidden in */
} sl_ruler_source;

void sl_ruler_prompt_fini(sl_ruler_prompt *prompt); /* all zero is fine */

/* What sl_ruler_prompt_make says (eval_ruler_tasks.h), but that SL_ERR_OPTION is not logged. */
typedef sl_status sl_ruler_maker(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                 sl_ruler_prompt *out);
sl_ruler_maker sl_ruler_make_single, sl_ruler_make_multikey, sl_ruler_make_multivalue,
    sl_ruler_make_multiquery, sl_ruler_make_tracking, sl_ruler_make_questions;       /* hidden.c */
sl_ruler_maker sl_ruler_make_keyvalue, sl_ruler_make_common, sl_ruler_make_frequent; /* lists.c */
sl_ruler_maker sl_ruler_make_copy, sl_ruler_make_likelihood;                         /* text.c */

/* Tokens of a filler from which prompts of n_tokens can be made. */
size_t sl_ruler_filler_tokens(uint32_t n_tokens);

/* Add a string that the answer has; cut to its room. */
void sl_ruler_expect(sl_ruler_prompt *out, const char *text);
/* Tokens in which all that is expected can be said, with `form` before each of them, and words and
 * blanks between. */
sl_status sl_ruler_answer_room(const sl_ruler_source *source, const char *form,
                               sl_ruler_prompt *out);

/* Where the body of a prompt ends: behind it come `n_after` tokens, and the answer.
 * SL_ERR_OPTION: not even `n_least` tokens are left for the body. */
sl_status sl_ruler_body_end(const sl_ruler_trial *trial, const sl_ruler_prompt *out, size_t n_after,
                            size_t n_least, size_t *end_out);

/* A place in first .. last whose position has the trial's phase, as deep as the trial says. Where
 * that is too narrow for two places, the phase is that of the half or the quarter, down to a page.
 * false: none. */
bool sl_ruler_place(const sl_ruler_trial *trial, size_t first, size_t last, size_t *at_out);

/* ids of the filler, from a place of the trial's own, so many of them and spare ones behind. */
const int32_t *sl_ruler_filler_part(const sl_ruler_source *source, const sl_ruler_trial *trial);

#endif
