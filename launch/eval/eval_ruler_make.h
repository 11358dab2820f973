/* launch/eval/eval_ruler_make.h - what makers of prompts share, hidden from all others: the room that is
 * left, and the makers, which the table of tasks names. */
#ifndef SL_EVAL_RULER_MAKE_H
#define SL_EVAL_RULER_MAKE_H

#include "launch/eval/eval_ruler_tasks.h"

typedef sl_status sl_ruler_maker(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                 sl_ruler_prompt *out);
sl_ruler_maker sl_ruler_make_single, sl_ruler_make_multikey, sl_ruler_make_multivalue,
    sl_ruler_make_multiquery, sl_ruler_make_tracking, sl_ruler_make_questions;       /* hidden.c */
sl_ruler_maker sl_ruler_make_keyvalue, sl_ruler_make_common, sl_ruler_make_frequent; /* lists.c */
sl_ruler_maker sl_ruler_make_copy, sl_ruler_make_likelihood;                         /* text.c */

/* Add a string that the answer has; cut to its room. */
void sl_ruler_expect(sl_ruler_prompt *out, const char *text);
/* Tokens in which all that is expected can be said, with `form` before each of them, and words and
 * blanks between. */
sl_status sl_ruler_answer_room(const sl_ruler_source *source, const char *form,
                               sl_ruler_prompt *out);

/* Where the body of a prompt ends: behind it come `n_after` tokens, and the answer.
 * SL_ERR_OPTION, logged: not even `n_least` tokens are left for the body. */
sl_status sl_ruler_body_end(const sl_ruler_trial *trial, const sl_ruler_prompt *out, size_t n_after,
                            size_t n_least, size_t *end_out);

/* A place in first .. last whose position has the trial's phase, as deep as the trial says. Where
 * that is too narrow for two places, the phase is that of the half or the quarter, down to a page.
 * false: none. */
bool sl_ruler_place(const sl_ruler_trial *trial, size_t first, size_t last, size_t *at_out);

/* ids of the filler, from a place of the trial's own, so many of them and spare ones behind. */
const int32_t *sl_ruler_filler_part(const sl_ruler_source *source, const sl_ruler_trial *trial);

#endif
