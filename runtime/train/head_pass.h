/* runtime/train/head_pass.h - the output map and the losses behind it, forward and backward in one:
 * rows x vocabulary is never there at once, only some columns of it at a time. */
#ifndef SL_HEAD_PASS_H
#define SL_HEAD_PASS_H

#include "runtime/base/arena.h"
#include "runtime/kernels/kernels.h"

typedef struct {
    uint32_t width, vocab;
    uint32_t rows_max;
    int threads;
} sl_head_pass_options;

typedef struct sl_head_pass sl_head_pass;

/* Memory from the arena; a counting arena measures. */
void sl_head_pass_init(const sl_head_pass_options *options, sl_arena *arena,
                       sl_head_pass **pass_out);

/* Row t's loss, with p its softmax over the vocabulary:
 *     lm[t] * -log p(target)  +  kl[t] * sum_v p'(v) log(p'(v) / p(v)),
 * where p' is what the model says that learns nothing: KL from it to the one that learns
 * (forward). */
typedef struct {
    uint32_t n;
    const sl_matrix *head;  /* [vocab][width], packed or not */
    const float *x;         /* [n][width] the normed rows */
    const float *teacher_x; /* the same of p'; NULL: there is no KL */
    const int32_t *target;  /* [n]; below 0: none, and lm must be 0 */
    const float *lm, *kl;   /* [n] weights; kl is not read without teacher_x */
} sl_head_rows;

/* minus_log_p [n], of targets, 0 where there is none; divergence [n], or NULL, with teacher_x only;
 * d_x [n][width] of the sum of all rows' losses; NULL: not wanted. */
void sl_head_pass_run(sl_head_pass *pass, const sl_head_rows *rows, float *minus_log_p,
                      float *divergence, float *d_x);

#endif
