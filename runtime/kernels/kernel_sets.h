/* runtime/kernels/kernel_sets.h - what the files of this folder show each other: the functions
 * the tables are made of, the inside of a page. */
#ifndef SL_KERNEL_SETS_H
#define SL_KERNEL_SETS_H

#include <stdbool.h>

#include "runtime/gguf/tensor_type.h"
#include "runtime/kernels/kernels.h"

/* For inner loops whose constant arguments must become constants of the machine code. Sanitizers
 * see the same steps once, for all constants: compiling them for each takes minutes there. */
#ifdef SL_SANITIZED
#define SL_ALWAYS_INLINE static inline
#else
#define SL_ALWAYS_INLINE static inline __attribute__((always_inline))
#endif

static inline const void *sl_matrix_row_data(const sl_matrix *w, size_t row)
{
    return (const uint8_t *)w->data + row * w->row_bytes;
}

/* ---- a page of f16, and of bf16 but for tiles (kv_bf16_tiled.c): K transposed, [head_dim][64
 * tokens], so that scores are vectors over tokens; then V, [64 tokens][head_dim], so that outputs
 * are vectors over the head ---- */

enum { SL_HEAD_DIM_MAX = 256 };

static inline const uint16_t *sl_page_keys(const void *page) { return page; }
static inline const uint16_t *sl_page_values(const void *page, size_t head_dim)
{
    return (const uint16_t *)page + head_dim * SL_PAGE_TOKENS;
}

/* ---- a page of the q8_0 layout: int8 where f16 has its numbers, and behind each half its f16
 * scales: K's [head_dim / 32][64 tokens], V's [64 tokens][head_dim / 32]. Offsets in bytes ---- */

typedef struct {
    size_t key_scales, values, value_scales, end;
} sl_q8_page;

static inline sl_q8_page sl_q8_page_of(size_t head_dim)
{
    size_t n = head_dim * SL_PAGE_TOKENS, half = n + n / SL_BLOCK * sizeof(uint16_t);
    return (sl_q8_page){.key_scales = n, .values = half, .value_scales = half + n, .end = 2 * half};
}

/* The slots of a tile that row r sees, checked. */
sl_slots sl_tile_visible(const sl_kv_tile *tile, size_t row);

size_t sl_kv_f16_page_bytes(size_t head_dim);
void sl_kv_f16_copy(void *to, size_t to_slot, const void *from, size_t from_slot, size_t head_dim);
void sl_kv_f16_get(const void *page, size_t slot, float *k, float *v, size_t head_dim);
void sl_kv_bf16_get(const void *page, size_t slot, float *k, float *v, size_t head_dim);
/* A token as bf16: k, v, key, value [head_dim]. */
void sl_kv_bf16_round(const float *k, const float *v, size_t head_dim, uint16_t *key,
                      uint16_t *value);
size_t sl_kv_q8_0_page_bytes(size_t head_dim);
/* As the layout's put, rows quantized by one of sl_kernels.quantize. */
void sl_kv_q8_0_put(sl_quantize *quantize, void *page, size_t slot, const float *k, const float *v,
                    size_t head_dim);
void sl_kv_q8_0_copy(void *to, size_t to_slot, const void *from, size_t from_slot, size_t head_dim);
void sl_kv_q8_0_get(const void *page, size_t slot, float *k, float *v, size_t head_dim);
void sl_softmax_merge(sl_softmax *state, float *acc, const sl_softmax *state2, const float *acc2,
                      size_t head_dim);
void sl_softmax_finish(const sl_softmax *state, const float *acc, size_t head_dim, float *out);

/* ---- kernels: see sl_kernels and sl_kv_layout ---- */

typedef void sl_kv_put(void *page, size_t slot, const float *k, const float *v, size_t head_dim);
typedef void sl_kv_attend(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                          size_t head_dim, sl_softmax *state, float *acc);
typedef void sl_kv_scores(const void *page, const float *q, size_t n_rows, size_t head_dim,
                          float *out);

/* Of geglu's u (kernels.h), as x (LINEAR + CUBIC x^2). */
#define SL_GELU_LINEAR 1.5957691216F
#define SL_GELU_CUBIC  0.0713548163F

sl_quantize sl_quantize_ref;
extern sl_matmul *const sl_matmul_ref[SL_TYPES];
void sl_rmsnorm_ref(const float *x, const float *gain, size_t n_rows, size_t width, float eps,
                    float *out);
sl_glu sl_swiglu_ref, sl_geglu_ref;
void sl_add_ref(const float *y, size_t n, float *x);
sl_kv_put sl_kv_f16_put_ref, sl_kv_bf16_put, sl_kv_q8_0_put_ref;
sl_kv_attend sl_kv_f16_attend_ref, sl_kv_bf16_attend_ref, sl_kv_q8_0_attend_ref;
sl_kv_scores sl_kv_f16_scores_ref, sl_kv_bf16_scores_ref, sl_kv_q8_0_scores_ref;

sl_quantize sl_quantize_avx2;
extern sl_matmul *const sl_matmul_avx2[SL_TYPES];
/* f32, f16 and bf16 weights, for avx2 and those that are wider. */
sl_matmul sl_matmul_F32_avx2, sl_matmul_F16_avx2, sl_matmul_BF16_avx2;
void sl_rmsnorm_avx2(const float *x, const float *gain, size_t n_rows, size_t width, float eps,
                     float *out);
sl_glu sl_swiglu_avx2, sl_geglu_avx2;
void sl_add_avx2(const float *y, size_t n, float *x);
sl_kv_put sl_kv_f16_put_avx2, sl_kv_q8_0_put_avx2;
sl_kv_attend sl_kv_f16_attend_avx2, sl_kv_bf16_attend_avx2, sl_kv_q8_0_attend_avx2;
sl_kv_scores sl_kv_f16_scores_avx2, sl_kv_bf16_scores_avx2, sl_kv_q8_0_scores_avx2;

/* The avx512 set is avx2 but for what takes the time. */
sl_quantize sl_quantize_avx512;
extern sl_matmul *const sl_matmul_avx512[SL_TYPES];
sl_glu sl_swiglu_avx512, sl_geglu_avx512;
sl_kv_attend sl_kv_f16_attend_avx512, sl_kv_bf16_attend_avx512, sl_kv_q8_0_attend_avx512;
sl_kv_attend sl_kv_f16_attend_prompt_avx512, sl_kv_bf16_attend_prompt_avx512,
    sl_kv_q8_0_attend_prompt_avx512;
sl_kv_scores sl_kv_f16_scores_avx512, sl_kv_bf16_scores_avx512, sl_kv_q8_0_scores_avx512;

/* The amx set is avx512 but for prompts, and for pages of bf16 in a layout of their own. */
sl_kv_put sl_kv_tiled_put;
void sl_kv_tiled_copy(void *to, size_t to_slot, const void *from, size_t from_slot,
                      size_t head_dim);
void sl_kv_tiled_get(const void *page, size_t slot, float *k, float *v, size_t head_dim);
bool sl_tiles_work_amx(void);
void sl_round_amx(const float *x, size_t n, uint16_t *out);
extern sl_matmul *const sl_matmul_amx[SL_TYPES];
sl_kv_attend sl_kv_bf16_attend_amx;
sl_kv_scores sl_kv_bf16_scores_amx;
/* The same with tiles in software (tiles_amx.h). */
bool sl_tiles_work_amx_emulated(void);
void sl_round_amx_emulated(const float *x, size_t n, uint16_t *out);
extern sl_matmul *const sl_matmul_amx_emulated[SL_TYPES];
sl_kv_attend sl_kv_bf16_attend_amx_emulated;
sl_kv_scores sl_kv_bf16_scores_amx_emulated;

uint64_t sl_peak_ref(uint64_t n_rounds), sl_peak_avx2(uint64_t n_rounds),
    sl_peak_avx512(uint64_t n_rounds);

#endif
