/* runtime/kernels/attend/softmax.c - what attention of all kernel sets shares: the slots a row sees
 * of a tile, and the ends of online softmax. */
#include <math.h>
#include <stdbool.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

/* x - start as a slot. */
static uint8_t slot_of(uint32_t x, uint32_t start)
{
    uint32_t slot = x > start ? x - start : 0;
    return (uint8_t)(slot < SL_PAGE_TOKENS ? slot : SL_PAGE_TOKENS);
}

sl_slots sl_slots_within(uint32_t begin, uint32_t end, uint32_t start)
{
    sl_slots slots = {.begin = slot_of(begin, start), .end = slot_of(end, start)};
    return slots.begin < slots.end ? slots : (sl_slots){0, 0};
}

sl_slots sl_tile_visible(const sl_kv_tile *tile, size_t row)
{
    if (!tile->visible) return (sl_slots){0, SL_PAGE_TOKENS};
    sl_slots see = tile->visible[row];
    SL_ASSERT(see.end <= SL_PAGE_TOKENS);
    return see;
}

void sl_softmax_merge(sl_softmax *state, float *acc, const sl_softmax *state2, const float *acc2,
                      size_t head_dim)
{
    if (state2->max == -INFINITY) return; /* saw nothing */
    float max = state->max > state2->max ? state->max : state2->max;
    float scale = expf(state->max - max), scale2 = expf(state2->max - max);
    for (size_t i = 0; i < head_dim; i++) acc[i] = acc[i] * scale + acc2[i] * scale2;
    state->sum = state->sum * scale + state2->sum * scale2;
    state->max = max;
}

void sl_softmax_finish(const sl_softmax *state, const float *acc, size_t head_dim, float *out)
{
    bool seen = state->max != -INFINITY;
    for (size_t i = 0; i < head_dim; i++) out[i] = seen ? acc[i] / state->sum : 0;
}
