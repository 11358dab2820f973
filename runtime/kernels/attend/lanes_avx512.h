/* runtime/kernels/attend/lanes_avx512.h - attention with a query row in each lane: what a group of
 * rows sees of a tile, and scores [slot][lane] of what they do not. */
#ifndef SL_LANES_AVX512_H
#define SL_LANES_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stdbool.h>

#include "runtime/kernels/kernel_sets.h"

enum { LANES = 16 };

/* Slots [begin, end) of each lane. */
typedef struct {
    _Alignas(64) int32_t begin[LANES], end[LANES];
    __mmask16 some; /* lanes that see any */
    bool all;       /* every lane sees every slot: begin and end are not told */
} sl_sight;

/* Of rows [row, row + n_rows); what lanes beyond see does not matter, and they are not among
 * `some`. */
static inline sl_sight sl_sight_of(const sl_kv_tile *tile, size_t row, size_t n_rows)
{
    sl_sight s = {.all = true};
    if (!tile->visible) {
        s.some = (__mmask16)((1U << n_rows) - 1);
        return s;
    }
    for (size_t r = 0; r < LANES; r++) {
        sl_slots see = r < n_rows ? sl_tile_visible(tile, row + r) : (sl_slots){0, SL_PAGE_TOKENS};
        s.begin[r] = see.begin;
        s.end[r] = see.end;
        if (r < n_rows && see.begin < see.end) s.some |= (__mmask16)(1U << r);
        s.all = s.all && see.begin == 0 && see.end == SL_PAGE_TOKENS;
    }
    return s;
}

/* Scores of what is not seen to minus infinity. */
static inline void sl_hide(const sl_sight *s, float (*scores)[LANES])
{
    __m512i begin = _mm512_load_si512(s->begin), end = _mm512_load_si512(s->end);
    for (int slot = 0; slot < SL_PAGE_TOKENS; slot++) {
        __m512i at = _mm512_set1_epi32(slot);
        __mmask16 seen = _mm512_cmple_epi32_mask(begin, at) & _mm512_cmpgt_epi32_mask(end, at);
        _mm512_store_ps(scores[slot], _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen,
                                                         _mm512_load_ps(scores[slot])));
    }
}

#endif
