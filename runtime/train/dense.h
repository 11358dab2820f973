/* runtime/train/dense.h - dense linear algebra for training, from OpenBLAS and its LAPACK. Never on
 * the path of a token's result: its sums depend on how many rows come together. Row-major
 * throughout. Called from inside an OpenMP parallel region a product runs on the thread that
 * asks. */
#ifndef SL_DENSE_H
#define SL_DENSE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

/* Address space, hardly ever touched: a buffer for each of OpenBLAS's threads as it is loaded, and
 * one for each thread that calls it, at the first call. It waits for ever where a limit does not
 * leave them: whoever loads it, and whoever calls, looks first. */
enum { SL_DENSE_BUFFER_BYTES = 128 << 20 };
static inline uint64_t sl_dense_call_bytes(int threads)
{
    return (uint64_t)(threads + 1) * SL_DENSE_BUFFER_BYTES;
}
static inline uint64_t sl_dense_load_bytes(int threads)
{
    return (uint64_t)threads * SL_DENSE_BUFFER_BYTES + ((uint64_t)64 << 20); /* and its libraries */
}

/* Before anything else: products run on so many threads. SL_ERR_UNSUPPORTED, logged: this OpenBLAS
 * was not built for OpenMP, and would fight its threads. */
sl_status sl_dense_begin(int threads);

/* A factor as it lies in memory, [rows][stride], taken as it is or transposed. */
typedef enum { SL_DENSE_PLAIN, SL_DENSE_TRANSPOSED } sl_dense_form;
typedef struct {
    const float *data;
    size_t stride;
    sl_dense_form form;
} sl_factor;
static inline sl_factor sl_dense_plain(const float *data, size_t stride)
{
    return (sl_factor){data, stride, SL_DENSE_PLAIN};
}
static inline sl_factor sl_dense_transposed(const float *data, size_t stride)
{
    return (sl_factor){data, stride, SL_DENSE_TRANSPOSED};
}

/* out [m][n] = scale * a [m][k] b [k][n], plus out * keep. */
void sl_dense_multiply(size_t m, size_t n, size_t k, float scale, sl_factor a, sl_factor b,
                       float keep, float *out, size_t out_stride);

/* x with a x = b, a [n][n] symmetric positive, b [n_right][n] one right side a row, in the place of
 * b; a is overwritten. SL_ERR_FORMAT, not logged: a is not positive, or not finite. */
sl_status sl_dense_solve(size_t n, size_t n_right, double *a, double *b);

#endif
