/* runtime/train/attention_pass.h - the attention of one layer over one text in f32, forward and
 * backward, where keys may be evicted. What serving computes from its cache is
 * runtime/stage/attention.h; the two agree but for rounding. */
#ifndef SL_ATTENTION_PASS_H
#define SL_ATTENTION_PASS_H

#include "runtime/base/arena.h"
#include "runtime/train/vector_math.h"

typedef struct {
    uint32_t n_heads, n_kv_heads, head_dim;
    float scale; /* of scores */
    /* A query sees the first `sinks` tokens and its latest `window`, its own among them, whatever
     * became of them; window is 1 or more. */
    uint32_t sinks, window;
    uint32_t tokens_max;
    int threads;
} sl_attention_pass_options;

typedef struct sl_attention_pass sl_attention_pass;

/* Memory from the arena; a counting arena measures. */
void sl_attention_pass_init(const sl_attention_pass_options *options, sl_arena *arena,
                            sl_attention_pass **pass_out);

/* What one layer attends to. Score of query i and key j <= i, of KV head g:
 *     s_ij = scale q_i k_j + l_gj,
 * where l_gj is log_keep[g][j] if j stands outside the sinks and i's window, else 0. Weights are
 * the softmax of it. */
typedef struct {
    uint32_t n_tokens;
    uint32_t sliding;       /* latest tokens that a query sees, its own among them; 0: all */
    const float *q, *k, *v; /* [n_tokens][heads * head_dim], rotated */
    /* [n_kv_heads][n_tokens]: 0 kept, SL_LOG_EVICTED evicted, between them the logarithm of a soft
     * gate. NULL: all are kept. */
    const float *log_keep;
} sl_attention_rows;

/* out [n_tokens][n_heads * head_dim]; log_sum [n_heads][n_tokens], the logarithm of what softmax
 * divides by, which backward wants back. */
void sl_attention_pass_forward(sl_attention_pass *pass, const sl_attention_rows *rows, float *out,
                               float *log_sum);

typedef struct {
    float *q, *k, *v; /* as the rows' */
    /* [n_kv_heads][n_tokens], by log_keep; NULL: not wanted. With w_ij the weight,
     *     d_gj = sum over queries i that l_gj holds for, and heads of g,
     *            of w_ij (dO_i v_j - dO_i O_i).
     * Of an evicted key, whose weight is 0, it tells what keeping it would change: w_ij is then
     * e / (1 + e), e = exp(s_ij - log_sum_i) with l_gj = 0, what it would weigh. Straight through:
     * Bengio et al. 2013, arXiv:1308.3432. */
    float *log_keep;
} sl_attention_gradients;

/* From d_out and what forward gave, of the same rows. All of the gradients is written. The same
 * bits at equal threads. */
void sl_attention_pass_backward(sl_attention_pass *pass, const sl_attention_rows *rows,
                                const float *out, const float *log_sum, const float *d_out,
                                const sl_attention_gradients *gradients);

#endif
