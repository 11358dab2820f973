/* runtime/train/gate_pass.h - one layer's gate over a stretch of tokens in f32, forward and
 * backward: the equations of runtime/gate/gate_file.h and their gradients. What serving computes in
 * fixed order and small types is runtime/gate/gate_forward.h; the two agree but for rounding
 * (test_gate_pass.c). */
#ifndef SL_GATE_PASS_H
#define SL_GATE_PASS_H

#include "runtime/gate/gate_params.h"

/* Which tokens of a text are scored, and how far their heads see. */
typedef struct {
    const float *x;    /* [n_tokens][width] the layer's normed input, from the text's first token */
    uint32_t n_tokens; /* of the text */
    uint32_t first, n; /* those that are scored */
    uint32_t back, ahead; /* of the window; ahead as clipped */
} sl_gate_stretch;

typedef struct {
    const sl_gate_params *layout;
    uint32_t n_kv_heads, width, rows_max, reach_max;
    float *q, *attended, *z, *d_q, *d_attended, *d_z; /* of scored tokens */
    float *k, *v, *d_k, *d_v;                         /* of those they see, rows_max + reach_max */
    float *weight, *d_weight; /* [heads][rows_max][BLOCK + reach_max], [BLOCK][BLOCK + reach_max] */
} sl_gate_pass;

/* Tokens beside itself that a token's heads see at most; 0: it has none. */
uint32_t sl_gate_pass_reach(const sl_gate_shape *shape);
/* For stretches of rows_max tokens that see reach_max beside themselves at most. Memory from the
 * arena. The layout outlives the pass. */
void sl_gate_pass_init(const sl_gate_params *layout, uint32_t n_kv_heads, uint32_t width,
                       uint32_t rows_max, uint32_t reach_max, sl_arena *arena, sl_gate_pass *out);

/* logits [stretch->n][n_kv_heads]. */
void sl_gate_pass_forward(sl_gate_pass *pass, const float *params, const sl_gate_stretch *stretch,
                          float *logits);
/* From d_logits [n][n_kv_heads], of the same stretch, just passed forward: gradient [layout->n],
 * all of it written. */
void sl_gate_pass_backward(sl_gate_pass *pass, const float *params, const sl_gate_stretch *stretch,
                           const float *d_logits, float *gradient);

#endif
