/* runtime/stage/kept_distributions.h - the distributions of one sequence, kept by the last
 * stage for another sequence of the same tokens to be compared with (frame.h: sl_comparison).
 * Rows are independent: different ones may be stored or compared at the same time. */
#ifndef SL_KEPT_DISTRIBUTIONS_H
#define SL_KEPT_DISTRIBUTIONS_H

#include "runtime/base/arena.h"
#include "runtime/frame/frame.h"

/* What a row holds. */
typedef struct {
    /* Of the token whose distribution it is. 0: nothing is stored, as no token stands before it. */
    uint32_t position;
    int32_t top; /* the most likely token */
} sl_kept_mark;

typedef struct {
    uint32_t n_rows; /* 0: nothing can be compared */
    size_t vocab;
    sl_kept_mark *marks; /* [n_rows] */
    float *logprobs;     /* [n_rows][vocab] */
} sl_kept_distributions;

/* Memory from the arena, zeroed; a counting arena measures. */
void sl_kept_distributions_init(sl_kept_distributions *kept, uint32_t n_rows, size_t vocab,
                                sl_arena *arena);
/* Forget all rows. */
void sl_kept_distributions_clear(sl_kept_distributions *kept);

/* Store the scored token's distribution, or compare it with what is stored, when its position is
 * one of `comparison`. logits: [vocab]. Fills result's compared, agrees and kl, or leaves them as
 * they are when nothing is compared: the position is none of them, has no row, or nothing is stored
 * of it. KL(p || q) = sum p (d + expm1(-d)), d = log p - log q: since both sum to 1, that is sum p
 * d; no term is negative, and rounding of the log-probabilities counts twice over, squared. 0 for
 * equal bits. */
void sl_kept_distributions_compare(sl_kept_distributions *kept, const sl_comparison *comparison,
                                   const float *logits, sl_token_result *result);

#endif
