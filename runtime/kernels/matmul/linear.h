/* runtime/kernels/matmul/linear.h - linear maps over the rows of a frame: the common step of
 * layers, gates and head. Called by all threads of a team alike, each does its share; what they
 * give is whole behind the next barrier, which is the caller's. */
#ifndef SL_LINEAR_H
#define SL_LINEAR_H

#include "runtime/base/arena.h"
#include "runtime/base/team.h"
#include "runtime/kernels/kernels.h"

typedef struct {
    const sl_matrix *matrix;
    const float *bias; /* [n_out], or NULL */
    float *out;        /* [n_rows][n_out] */
} sl_linear;

/* Room for n_rows rows of `width`, in every form but bf16; n_rows of the result is 0. */
sl_activations sl_activations_take(sl_arena *arena, size_t n_rows, size_t width);

/* Quantize rows [begin, end) of `a` from a->x, the last n_bf16 of all rounded to bf16. */
void sl_linear_quantize(const sl_kernels *kernels, const sl_activations *a, size_t begin,
                        size_t end);

/* out = W a + bias, of several maps of the same input. */
void sl_linear_run(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                   const sl_linear *maps, size_t n_maps);
/* out += W a + bias. */
void sl_linear_add(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                   const sl_linear *map);
/* glu(gate(a), up(a)) as the input of a map with weights of type `next`: hidden->x of a float one,
 * else quantized, or bf16 as a's rows are. The maps' own `out` are not used. `glu` is one of the
 * kernels. */
void sl_linear_glu(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                   const sl_linear *gate, const sl_linear *up, sl_glu *glu, uint32_t next,
                   const sl_activations *hidden);

#endif
