/* runtime/gate/gate_params.h - one layer's gate as plain f32 numbers, one tensor behind the other:
 * what `train init` fills and training changes; and as the matrices of a gate file. */
#ifndef SL_GATE_PARAMS_H
#define SL_GATE_PARAMS_H

#include "runtime/base/arena.h"
#include "runtime/gate/gate_file.h"

/* A tensor [n_out][n_in] at params[at]; a vector has n_in 1. n_out 0: the shape has none. */
typedef struct {
    size_t at;
    uint32_t n_out, n_in;
} sl_gate_part;

enum { SL_GATE_PARTS = 8 };

typedef struct {
    sl_gate_shape shape;
    /* as in gate_file.h; `all` are the same, for loops over them */
    union {
        struct {
            sl_gate_part x, x_bias, q, k, v, a, out, out_bias;
        };
        sl_gate_part all[SL_GATE_PARTS];
    };
    size_t n; /* numbers in all; 0: the layer has no gate */
} sl_gate_params;

/* How a layer of this shape lies, in a gate with these n_kv_heads and model_width. */
void sl_gate_params_plan(const sl_gate *gate, const sl_gate_shape *shape, sl_gate_params *out);

/* The numbers of a layer of a file: params [layout->n]. */
void sl_gate_params_decode(const sl_gate_params *layout, const sl_gate_layer *layer, float *params);

/* The layer as a file has it, in memory from the arena (a counting arena measures): `type`, q8_0 or
 * f16, for the wide matrices, f16 for the small, f32 for vectors. */
void sl_gate_params_encode(const sl_gate_params *layout, const float *params, uint32_t type,
                           sl_arena *arena, sl_gate_layer *layer_out);

#endif
