/* runtime/kernels/tiles_amx.h - AMX tiles: 8 registers of 16 rows of 64 bytes, and one product of
 * them:
 *   c[m][n] += sum_k a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1], of bf16 into f32, 0 <= k < 16:
 * b has pairs of its rows side by side. Denormal numbers count as 0.
 *
 * Compiled with SL_TILES_IN_SOFTWARE the same kernels run on CPUs without AMX, for tests: each file
 * of the set is compiled twice, and SL_AMX gives its functions their two names. */
#ifndef SL_TILES_AMX_H
#define SL_TILES_AMX_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SL_TILE_ROWS = 16,
    SL_TILE_PAIRS = 16,                /* of k */
    SL_TILE_DEPTH = 2 * SL_TILE_PAIRS, /* bf16 numbers in a row */
    SL_TILE_NUMBERS = SL_TILE_ROWS * SL_TILE_DEPTH,
    SL_TILES = 8,
};

#ifdef SL_TILES_IN_SOFTWARE

#define SL_AMX(name) name##_amx_emulated

typedef struct {
    _Alignas(64) uint8_t row[SL_TILE_ROWS][64];
} sl_tile;

static _Thread_local __attribute__((unused)) sl_tile sl_tiles[SL_TILES];

static inline void sl_tiles_begin(void) {}
static inline void sl_tiles_end(void) {}

static inline void sl_tile_copy(void *to, size_t to_stride, const void *from, size_t from_stride)
{
    for (size_t m = 0; m < SL_TILE_ROWS; m++)
        _mm512_storeu_si512((uint8_t *)to + m * to_stride,
                            _mm512_loadu_si512((const uint8_t *)from + m * from_stride));
}

/* One half of the pairs in the upper 16 bits of lanes, as f32. */
static inline __m512 sl_tile_half(__m512i pairs, int odd)
{
    return _mm512_castsi512_ps(odd ? _mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000))
                                   : _mm512_slli_epi32(pairs, 16));
}

/* Sums of even and of odd k run apart, as in the instruction. */
static inline void sl_tile_product(sl_tile *c, const sl_tile *a, const sl_tile *b)
{
    for (size_t m = 0; m < SL_TILE_ROWS; m++) {
        __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        for (size_t k = 0; k < SL_TILE_PAIRS; k++) {
            int32_t pair;
            __builtin_memcpy(&pair, a->row[m] + 4 * k, sizeof pair);
            __m512i x = _mm512_set1_epi32(pair), y = _mm512_load_si512(b->row[k]);
            for (int odd = 0; odd < 2; odd++)
                sum[odd] = _mm512_fmadd_ps(sl_tile_half(x, odd), sl_tile_half(y, odd), sum[odd]);
        }
        _mm512_store_ps(c->row[m],
                        _mm512_add_ps(_mm512_load_ps(c->row[m]), _mm512_add_ps(sum[0], sum[1])));
    }
}

#define sl_tile_zero(t)               (sl_tiles[t] = (sl_tile){0})
#define sl_tile_load(t, from, stride) sl_tile_copy(&sl_tiles[t], 64, (from), (stride))
#define sl_tile_store(t, to, stride)  sl_tile_copy((to), (stride), &sl_tiles[t], 64)
#define sl_tile_multiply(c, a, b)     sl_tile_product(&sl_tiles[c], &sl_tiles[a], &sl_tiles[b])

#else

#define SL_AMX(name)    name##_amx

/* Of this thread, from begin to end: all tiles full (palette 1). */
static inline void sl_tiles_begin(void)
{
    _Alignas(64) struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } form = {.palette = 1};
    for (size_t i = 0; i < SL_TILES; i++) {
        form.row_bytes[i] = 64;
        form.rows[i] = SL_TILE_ROWS;
    }
    /* gcc 12 drops the stores above without this */
    __asm__ volatile("" : : "r"(&form) : "memory");
    _tile_loadconfig(&form);
}
static inline void sl_tiles_end(void) { _tile_release(); }

/* Tiles are numbers in the instruction, so these cannot be functions. Strides are in bytes. gcc 12
 * does not know that a load reads memory: what is stored before it must be told to stay so. */
#define sl_tile_zero(t) _tile_zero(t)
#define sl_tile_load(t, from, stride)        \
    do {                                     \
        __asm__ volatile("" : : : "memory"); \
        _tile_loadd(t, from, stride);        \
    } while (0)
#define sl_tile_store(t, to, stride) _tile_stored(t, to, stride)
#define sl_tile_multiply(c, a, b)    _tile_dpbf16ps(c, a, b)

#endif

#endif
