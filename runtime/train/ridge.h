/* runtime/train/ridge.h - least squares with a ridge, gathered as rows stream by: the linear part
 * of a gate in closed form (Hoerl & Kennard 1970). */
#ifndef SL_RIDGE_H
#define SL_RIDGE_H

#include "runtime/base/arena.h"

/* Sums over rows of inputs x, a constant 1 behind them, and targets y. Sums of several ranks add
 * up. */
typedef struct {
    size_t n_in, n_out;
    size_t n_sums;
    /* [n_sums]: [n_in + 1][n_in + 1] x x^T, then [n_out][n_in + 1] y x^T. The caller's, zero at
     * first. */
    double *sums;
    float *square; /* [n_in][n_in] of the rows just added */
} sl_ridge;

/* Memory but for the sums from the arena. */
void sl_ridge_init(size_t n_in, size_t n_out, sl_arena *arena, sl_ridge *out);

/* Add n rows: x [n][n_in], y [n_out][y_stride], row t's at y[o * y_stride + t]. Single-threaded. */
void sl_ridge_add(sl_ridge *ridge, size_t n, const float *x, const float *y, size_t y_stride);

/* weight [n_out][n_in] and bias [n_out] that fit best, each weight's square costing `ridge` times
 * the mean square of an input. SL_ERR_FORMAT, not logged: no rows, or numbers that are not finite.
 * SL_ERR_MEMORY. */
sl_status sl_ridge_solve(const sl_ridge *r, double ridge, float *weight, float *bias);

#endif
