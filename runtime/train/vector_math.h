/* runtime/train/vector_math.h - loops over a row that training spends its time in, for the compiler
 * to vectorize. Inside the room only. Sums are in an order that depends on the CPU, like those of
 * dense.h. */
#ifndef SL_VECTOR_MATH_H
#define SL_VECTOR_MATH_H

#include <stddef.h>

float sl_vector_dot(const float *x, const float *y, size_t n);

/* x [0, n) to its softmax; zeros in [n, n_all). */
void sl_vector_softmax(float *x, size_t n, size_t n_all);

/* d [n] from the gradient of a softmax's output w to that of its input: w (d - sum w d). */
void sl_vector_softmax_backward(const float *w, size_t n, float *d);

/* sum[j] += scale * x[j]^1.5, x not negative */
void sl_vector_add_powers(const float *x, float scale, size_t n, float *sum);

#endif
