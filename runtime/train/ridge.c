/* runtime/train/ridge.c - see ridge.h. */
#include "runtime/train/ridge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/train/dense.h"

void sl_ridge_init(size_t n_in, size_t n_out, sl_arena *arena, sl_ridge *out)
{
    size_t n = n_in + 1;
    *out = (sl_ridge){.n_in = n_in, .n_out = n_out, .n_sums = n * n + n_out * n};
    out->square = sl_arena_array(arena, float, n_in *n_in);
}

static void add_scaled(double *sums, const float *x, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++) sums[i] += scale * (double)x[i];
}

void sl_ridge_add(sl_ridge *ridge, size_t n, const float *x, const float *y, size_t y_stride)
{
    size_t n_in = ridge->n_in, stride = n_in + 1;
    double *targets = ridge->sums + stride * stride, *constant = ridge->sums + n_in * stride;
    sl_dense_multiply(n_in, n_in, n, 1, (sl_factor){x, n_in, SL_DENSE_TRANSPOSED},
                      (sl_factor){x, n_in, SL_DENSE_PLAIN}, 0, ridge->square, n_in);
    for (size_t i = 0; i < n_in; i++)
        add_scaled(ridge->sums + i * stride, ridge->square + i * n_in, n_in, 1);
    for (size_t t = 0; t < n; t++) add_scaled(constant, x + t * n_in, n_in, 1);
    constant[n_in] += (double)n;
    for (size_t i = 0; i < n_in; i++) ridge->sums[i * stride + n_in] = constant[i];
    for (size_t o = 0; o < ridge->n_out; o++)
        for (size_t t = 0; t < n; t++) {
            double target = (double)y[o * y_stride + t];
            add_scaled(targets + o * stride, x + t * n_in, n_in, target);
            targets[o * stride + n_in] += target;
        }
}

sl_status sl_ridge_solve(const sl_ridge *r, double ridge, float *weight, float *bias)
{
    size_t n_in = r->n_in, n = n_in + 1;
    double *room = malloc(r->n_sums * sizeof *room);
    if (!room) return SL_ERR_MEMORY;
    memcpy(room, r->sums, r->n_sums * sizeof *room);
    double trace = 0;
    for (size_t i = 0; i < n_in; i++) trace += room[i * n + i];
    for (size_t i = 0; i < n_in; i++) room[i * n + i] += ridge * trace / (double)n_in;
    double *solved = room + n * n;
    sl_status status = sl_dense_solve(n, r->n_out, room, solved);
    for (size_t i = 0; status == SL_OK && i < r->n_out * n; i++)
        if (!isfinite(solved[i])) status = SL_ERR_FORMAT; /* LAPACK does not tell */
    for (size_t o = 0; status == SL_OK && o < r->n_out; o++) {
        for (size_t i = 0; i < n_in; i++) weight[o * n_in + i] = (float)solved[o * n + i];
        bias[o] = (float)solved[o * n + n_in];
    }
    free(room);
    return status;
}
