/* runtime/train/vector_math.h - loops over a row that training spends its time in, for the compiler
 * to vectorize. Inside the room only. Sums are in an order that depends on the CPU, like those of
 * dense.h. */
#ifndef SL_VECTOR_MATH_H
#define SL_VECTOR_MATH_H

#include <stddef.h>

/* The logarithm of what an evicted key weighs: in place of minus infinity, so that no difference is
 * "not a number". */
#define SL_LOG_EVICTED (-1e30F)

float sl_vector_dot(const float *x, const float *y, size_t n);

/* x [0, n) to its softmax; zeros in [n, n_all). Returns log(sum of e^x), as x was. */
float sl_vector_softmax(float *x, size_t n, size_t n_all);

/* d [n] from the gradient of a softmax's output w to that of its input: w (d - sum w d). */
void sl_vector_softmax_backward(const float *w, size_t n, float *d);

/* Attention's weights once more, and through them. score [n] to w = e^(score - log_sum), d [n] to
 * w (d - mean). */
void sl_vector_weigh(float log_sum, float mean, size_t n, float *score, float *d);
/* The same where log_keep [n] is added to scores, and d_keep [n] += d; of an evicted key, whose
 * weight and d are 0, with w = e / (1 + e), e = e^(score - log_sum) (attention_pass.h). */
void sl_vector_weigh_gated(float log_sum, float mean, const float *log_keep, size_t n, float *score,
                           float *d, float *d_keep);

/* sum of e^(x - max); x is at most max. */
float sl_vector_exp_sum(const float *x, float max, size_t n);
/* The same, and in *expected_out the sum of e^(x - max) (x - y). */
float sl_vector_exp_sums(const float *x, const float *y, float max, size_t n, float *expected_out);
/* x to scale e^(x - log_sum); and out += that, of another x. */
void sl_vector_to_exp(float log_sum, float scale, size_t n, float *x);
void sl_vector_add_exp(const float *x, float log_sum, float scale, size_t n, float *out);

/* sum[j] += scale * x[j]^1.5, x not negative */
void sl_vector_add_powers(const float *x, float scale, size_t n, float *sum);

#endif
