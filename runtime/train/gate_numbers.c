/* runtime/train/gate_numbers.c - see gate_numbers.h. */
#include "runtime/train/gate_numbers.h"

#include <string.h>

#include "runtime/base/log.h"

void sl_gate_numbers_plan(const sl_gate *gate, sl_arena *arena, sl_gate_numbers *out)
{
    *out = (sl_gate_numbers){
        .layouts = sl_arena_array(arena, sl_gate_params, gate->n_layers),
        .at = sl_arena_array(arena, size_t, gate->n_layers),
        .n_layers = gate->n_layers,
    };
    for (uint32_t i = 0; i < gate->n_layers; i++) {
        sl_gate_params layout;
        sl_gate_params_plan(gate, &gate->layers[i].shape, &layout);
        if (out->layouts) {
            out->layouts[i] = layout;
            out->at[i] = out->n;
        }
        out->n += layout.n;
    }
    out->gradients = sl_arena_array(arena, float, out->n);
}

void sl_gate_numbers_begin(const sl_gate *gate, size_t other_bytes, sl_arena *arena,
                           sl_gate_numbers *numbers)
{
    sl_gate_numbers *g = numbers;
    size_t bytes = g->n * sizeof(float);
    SL_ASSERT(other_bytes % sizeof(float) == 0);
    g->state_bytes = sizeof *g->step + other_bytes + 3 * bytes;
    char *at = g->state = sl_arena_take(arena, g->state_bytes);
    if (!at) return;
    memset(at, 0, g->state_bytes);
    g->step = (uint64_t *)(void *)at;
    g->others = at + sizeof *g->step;
    g->params = (float *)(void *)(at + sizeof *g->step + other_bytes);
    g->m = g->params + g->n;
    g->v = g->m + g->n;
    for (uint32_t i = 0; i < g->n_layers; i++)
        if (g->layouts[i].n > 0)
            sl_gate_params_decode(&g->layouts[i], &gate->layers[i], g->params + g->at[i]);
}

void sl_gate_numbers_count_step(sl_gate_numbers *numbers) { ++*numbers->step; }

void sl_gate_numbers_step(sl_gate_numbers *numbers, size_t at, size_t n, const sl_adamw *adamw)
{
    sl_adamw_step(adamw, *numbers->step, n, numbers->gradients + at, numbers->params + at,
                  numbers->m + at, numbers->v + at);
}

void sl_gate_numbers_encode(const sl_gate_numbers *numbers, uint32_t layer, uint32_t type,
                            sl_arena *arena, sl_gate_layer *layer_out)
{
    sl_gate_params_encode(&numbers->layouts[layer], numbers->params + numbers->at[layer], type,
                          arena, layer_out);
}
