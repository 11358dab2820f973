/* runtime/kernels/matmul/linear.h - linear maps over the rows of a frame: the common step of
 * layers, gates and head. Called by all threads of a team alike, each does its share; what they
 * give is whole behind the next barrier, which is the caller's. */
#ifndef SL_LINEAR_H
#define SL_LINEAR_H

#include "runtime/base/arena.h"
#include "runtime/base/team.h"
#include "runtime/kernels/kernels.h"

/* What is added to a map's weights W without changing them: B A, of a low rank (LoRA; Hu et al.
 * 2021, arXiv:2106.09685, eq. 3, its scale within B). Computed as B (A x), in f32. */
typedef struct {
    sl_matrix a; /* [rank][n_in], f32 */
    sl_matrix b; /* [n_out][rank], f32 */
} sl_low_rank;

typedef struct {
    const sl_matrix *matrix;
    const float *bias;           /* [n_out], or NULL */
    float *out;                  /* [n_rows][n_out] */
    const sl_low_rank *low_rank; /* NULL: none */
    float *reduced;              /* [n_rows][rank]: A x of low_rank, by sl_linear_reduce */
} sl_linear;

/* Room for n_rows rows of `width`, in every form but bf16; n_rows of the result is 0. */
sl_activations sl_activations_take(sl_arena *arena, size_t n_rows, size_t width);

/* Quantize rows [begin, end) of `a` from a->x, the last n_bf16 of all rounded to bf16. */
void sl_linear_quantize(const sl_kernels *kernels, const sl_activations *a, size_t begin,
                        size_t end);

/* Rows of `a`, which has x, to the low ranks of maps that have one: before the functions below,
 * with a barrier between. */
void sl_linear_reduce(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                      const sl_linear *maps, size_t n_maps);

/* Where a map has a low rank, W below is W + B A. */

/* out = W a + bias, of several maps of the same input. */
void sl_linear_run(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                   const sl_linear *maps, size_t n_maps);
/* out += W a + bias. */
void sl_linear_add(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                   const sl_linear *map);
/* glu(gate(a), up(a)) as the input of the map `next`: hidden->x where its weights are floats or it
 * has a low rank; quantized, or bf16 as a's rows are, where they are not floats. The maps' own
 * `out` are not used. `glu` is one of the kernels. */
void sl_linear_glu(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                   const sl_linear *gate, const sl_linear *up, sl_glu *glu, const sl_linear *next,
                   const sl_activations *hidden);

#endif
