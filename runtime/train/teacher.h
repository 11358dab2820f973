/* runtime/train/teacher.h - how much a layer's attention asks of each token: what gates learn to
 * predict. From forward passes alone.
 *
 * With w_ij the attention of query head h from query i to key j, W_o the columns of the output map
 * that belong to h, and |x_i| the norm of the hidden state that the output is added to, the worth
 * of token j in a KV head is
 *     sum over its query heads of
 *         |W_o v_j|^1.5 mean over queries i >= j + window of w_ij^1.5 / |x_i|,
 * and its target the logarithm. Where a layer norms what its attention gives before adding it
 * (Gemma 3), with gain g, W_o v_j is g * W_o v_j over the root mean square of all of W_o's output
 * for query i: that is what reaches the hidden state. The power stands between 2, errors of tokens
 * that are gone adding up like random ones, and 1, all of them leaning the same way. A mean and not
 * the largest (as in KVzap, arXiv:2601.07891), which keeps peaks and loses the broad background
 * that diffuse heads average over: runtime/gates/README.md has what each target costs. */
#ifndef SL_TEACHER_H
#define SL_TEACHER_H

#include "runtime/base/arena.h"
#include "runtime/kernels/kernels.h"

typedef struct {
    uint32_t n_heads, n_kv_heads, head_dim, width;
    float attention_scale; /* of scores */
    bool has_post_norm;    /* layers norm what attention gives */
    uint32_t tokens_max;   /* of a piece */
    uint32_t window;       /* what queries nearer than this see is kept anyway */
    int threads;
} sl_teacher_options;

typedef struct sl_teacher sl_teacher;

/* Memory from the arena; a counting arena measures. */
void sl_teacher_init(const sl_teacher_options *options, sl_arena *arena, sl_teacher **teacher_out);

/* One layer of one piece, as its stage has it. */
typedef struct {
    uint32_t n_tokens;
    const float *q, *k, *v; /* [n_tokens][heads * head_dim], as attention meets them */
    const float *hidden;    /* [n_tokens][width] what the layer reads, before its norm */
    const sl_matrix *o;     /* the layer's output map, [width][n_heads * head_dim] */
    /* with has_post_norm: what o reads, [n_tokens][n_heads * head_dim]; gains, [width] */
    const float *attended, *post_norm;
    float rms_eps;
} sl_teacher_rows;

/* Tokens [0, n) of a piece of n_tokens have targets: those that a quarter of it asks for, or
 * more. */
uint32_t sl_teacher_targets(const sl_teacher_options *options, uint32_t n_tokens);

/* target_out: [n_kv_heads][n_tokens], the first sl_teacher_targets of each row filled in; 0
 * beyond. */
void sl_teacher_score(sl_teacher *teacher, const sl_teacher_rows *rows, float *target_out);

#endif
