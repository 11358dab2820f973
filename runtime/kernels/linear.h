/* runtime/kernels/linear.h - linear maps over the rows of a frame, split over a team of threads: the
 * common step of layers, gates and head. */
#ifndef SL_LINEAR_H
#define SL_LINEAR_H

#include "runtime/kernels/kernels.h"

typedef struct {
    const sl_matrix *matrix;
    const float *bias; /* [n_out], or NULL */
    float *out;        /* [n_rows][n_out] */
} sl_linear;

/* Whether a->x's rows are still to be quantized, or have been for other maps of the same input. */
typedef enum { SL_LINEAR_FRESH, SL_LINEAR_QUANTIZED } sl_linear_input;

/* Run the maps over all rows and add their biases, with so many threads. `a` has room for q, scale
 * and sum. */
void sl_linear_run(const sl_kernels *kernels, int threads, const sl_activations *a,
                   sl_linear_input input, const sl_linear *maps, size_t n_maps);

#endif
