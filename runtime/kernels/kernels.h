/* runtime/kernels/kernels.h - the arithmetic, one table per kernel set. The front door of
 * runtime/kernels, which knows rows, blocks and pages, no layers, models or files: matmul owns how
 * weights are multiplied and packed (its own door: pack.h), attend how queries meet a page, kv how
 * a page is filled and copied (kv_layout.h is the door of both), rows what is done to rows.
 * The best that the CPU supports is chosen; SLUICE_KERNELS=ref|avx2|avx512|amx forces another, and
 * amx-emulated is amx with its tiles in software, for tests. A kernel is a single-threaded pure
 * function over a range; who calls it splits ranges over threads.
 *
 * Contract 1: an output element's bits depend on its own row of x, its own row of w and
 * nothing else: not on how many rows are computed together or where a range starts. So sums
 * run in one fixed order per element and tails take the same steps as full tiles. */
#ifndef SL_KERNELS_H
#define SL_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/kernels/kv_layout.h"

enum {
    SL_BLOCK = 32, /* inputs that share a scale when activations are quantized */
    SL_PANEL = 16, /* rows of a panel of packed weights (pack.h) */
    /* Raised whenever some set computes other bits than the last build's: jobs are not resumed
     * across that. */
    SL_KERNELS_VERSION = 2,
};

/* A linear map's weights: [n_out][n_in], as in the file, row-major, or packed. `type` is an
 * sl_type (gguf/tensor_type.h); of quantized types n_in is a multiple of their block. */
typedef struct {
    const void *data;
    uint32_t type;
    size_t n_out, n_in;
    size_t row_bytes;
    bool packed; /* in panels */
} sl_matrix;

/* Rows entering a linear map, in the form its weights want: as they are, or quantized. The last
 * n_bf16, of prompts where the set has tiles for them, are rounded to bf16 instead. */
typedef struct {
    size_t n_rows, width, n_bf16;
    float *x;     /* [n_rows][width] */
    int8_t *q;    /* [n_rows][width] */
    float *scale; /* [n_rows][width / 32], the f16 scale widened */
    /* what meets minimums, offsets and biases of weights: scale * sum of q of 32, sum of q of 16 */
    float *sum;      /* [n_rows][width / 32] */
    int16_t *sum_16; /* [n_rows][width / 16] */
    uint16_t *bf16;  /* [n_rows][width] */
} sl_activations;

/* Blocks of activations to int8: scale = f16(max|x| / 127), q = clip(rint(x /
 * scale), -127, 127), sum = scale * sum of q, sum_16 = sum of q.
 * x, q: [n_blocks][32]; scale, sum: [n_blocks]; sum_16: [n_blocks][2]. */
typedef void sl_quantize(const float *x, size_t n_blocks, int8_t *q, float *scale, float *sum,
                         int16_t *sum_16);

/* out[t][j] = sum_i w[j][i] * x[t][i] for all rows t and columns j in [out_begin, out_end), or that
 * added to what is there. out: row t's column out_begin is at out + t * out_stride. Quantized types
 * are packed, and use a->q with exact integer sums per block, f32 sums of blocks in order, or
 * a->bf16, and their out_begin is a multiple of SL_PANEL; f32, f16 and bf16 use a->x alone. */
typedef void sl_matmul(const sl_matrix *w, const sl_activations *a, size_t out_begin,
                       size_t out_end, bool add, float *out, size_t out_stride);

/* A gated linear unit: act(gate[i]) * up[i] for all i < n. out may be gate or up. */
typedef void sl_glu(const float *gate, const float *up, size_t n, float *out);

typedef struct sl_kernels {
    const char *name; /* "ref", "avx2", "avx512", "amx", "amx-emulated" */

    sl_quantize *quantize;
    /* x[n] to the nearest bf16, n a multiple of SL_BLOCK; NULL: a set that has rows of prompts in
     * int8, too. */
    void (*round)(const float *x, size_t n, uint16_t *out);

    sl_matmul *const *matmul; /* [SL_TYPES], by the type of the weights */

    /* out[t][i] = gain[i] * x[t][i] / sqrt(mean_i(x[t][i]^2) + eps).
     * Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4. out may be x. */
    void (*rmsnorm)(const float *x, const float *gain, size_t n_rows, size_t width, float eps,
                    float *out);

    /* out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]. Shazeer 2020, arXiv:2002.05202. */
    sl_glu *swiglu;
    /* With the tanh form of GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415), written with exp:
     * out[i] = gate[i] / (1 + exp(-u)) * up[i], u = 2 sqrt(2/pi) (gate[i] + 0.044715 gate[i]^3). */
    sl_glu *geglu;

    /* x[i] += y[i]. */
    void (*add)(const float *y, size_t n, float *x);

    const sl_kv_layout *kv[SL_KV_TYPES];
    sl_kv_type kv_best; /* the fastest at 16 bits */

    /* n_rounds of products of int8 out of registers: nothing but how fast that goes. Returns how
     * many multiplications and additions they were. */
    uint64_t (*peak)(uint64_t n_rounds);
} sl_kernels;

/* The table for this CPU and SLUICE_KERNELS. SL_ERR_OPTION: a set unknown or not
 * supported here, logged with what is. */
sl_status sl_kernels_choose(const sl_kernels **kernels_out);
/* By name, for tests: NULL when unknown, or not supported by this CPU. */
const sl_kernels *sl_kernels_named(const char *name);

/* SL_ERR_OPTION, logged with the names there are. */
sl_status sl_kv_type_named(const char *name, sl_kv_type *out);
/* The same, where "auto" is the set's best, or f16 when that has no such heads. */
sl_status sl_kv_type_choose(const char *name, const sl_kernels *kernels, size_t head_dim,
                            sl_kv_type *out);

/* One row of an embedding table as f32 [n_in]; any supported type. */
void sl_matrix_row(const sl_matrix *w, size_t row, float *out);

/* IEEE half precision, round to nearest even; NaN and infinities kept. */
float sl_f16_to_f32(uint16_t h);
uint16_t sl_f32_to_f16(float f);

/* The upper half of an f32: exact. */
float sl_bf16_to_f32(uint16_t h);

#endif
