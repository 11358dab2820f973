/* runtime/train/gate_numbers.h - the gates of all layers as plain numbers while they are trained:
 * side by side, with their gradients and what AdamW remembers, so that ranks add up and checkpoints
 * hold one array. Knows no losses. */
#ifndef SL_GATE_NUMBERS_H
#define SL_GATE_NUMBERS_H

#include "runtime/gate/gate_params.h"
#include "runtime/train/adamw.h"

typedef struct {
    sl_gate_params *layouts; /* [n_layers]; n is 0 where there is no gate */
    size_t *at;              /* [n_layers] where a layer's numbers begin */
    uint32_t n_layers;
    size_t n;         /* of all layers */
    float *gradients; /* [n] */
    /* all that lasts from one step to the next, in one piece: */
    void *state;
    size_t state_bytes;
    uint64_t *step; /* steps that were done */
    void *others;   /* [other_bytes] of whoever trains */
    float *params, *m, *v;
} sl_gate_numbers;

/* How the gate's layers lie. Memory from the arena; a counting arena measures. */
void sl_gate_numbers_plan(const sl_gate *gate, sl_arena *arena, sl_gate_numbers *out);
/* Then the state: numbers as in the gate, all else 0. Memory from the same arena. */
void sl_gate_numbers_begin(const sl_gate *gate, size_t other_bytes, sl_arena *arena,
                           sl_gate_numbers *numbers);

/* Count a step, then take it of each run [at, at + n) of numbers. */
void sl_gate_numbers_count_step(sl_gate_numbers *numbers);
void sl_gate_numbers_step(sl_gate_numbers *numbers, size_t at, size_t n, const sl_adamw *adamw);

/* Layer `layer` as a gate file has it, in memory from the arena. */
void sl_gate_numbers_encode(const sl_gate_numbers *numbers, uint32_t layer, uint32_t type,
                            sl_arena *arena, sl_gate_layer *layer_out);

#endif
