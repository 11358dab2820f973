/* runtime/kernels/matmul/weight_form.h - how the weights of each quantized type are made up: the
 * one table that packing, the reference and the vector kernels follow. A new type is a row of
 * gguf/tensor_type.c, one here and in SL_FOR_QUANTIZED_TYPES, and a function of weight_form.c that
 * takes a block of the file apart; tests/golden/weights and tests/support/synth_blocks.c ask for
 * it.
 *
 * A weight is scale * (code - offset), or scale * code + minimum. A code is a small integer, which
 * may be an index into a codebook; its bits lie in one plane or two. A scale, and a minimum, belong
 * to a group of 16 or 32 inputs. The types are ggml's (ggml-common.h, ggml-quants.c). */
#ifndef SL_WEIGHT_FORM_H
#define SL_WEIGHT_FORM_H

#include <stdbool.h>

#include "runtime/gguf/tensor_type.h"
#include "runtime/kernels/kernel_sets.h"

/* X(NAME) for each type: the kernel sets make a function of each. */
#define SL_FOR_FLOAT_TYPES(X) X(F32) X(F16) X(BF16)
#define SL_FOR_QUANTIZED_TYPES(X) \
    X(Q8_0)                       \
    X(Q5_1)                       \
    X(Q5_0) X(Q4_1) X(Q4_0) X(Q6_K) X(Q5_K) X(Q4_K) X(Q3_K) X(Q2_K) X(IQ4_XS) X(IQ4_NL) X(MXFP4)

/* Where scales and minimums come from. d and m are a block's f16 numbers, s the small scales of 32
 * inputs: 0 to 2 bytes. */
typedef enum {
    SL_SCALE_F16,                  /* scale d */
    SL_SCALE_F16_MINIMUM,          /* scale d, minimum m */
    SL_SCALE_E8M0,                 /* scale 2^(s - 128) */
    SL_SCALE_INT8,                 /* scale d s, s signed */
    SL_SCALE_INT8_HALVES,          /* scale d s[i] of 16 inputs each, s signed */
    SL_SCALE_UINT8_MINIMUM,        /* scale d s[0], minimum -m s[1] */
    SL_SCALE_UINT4_MINIMUM_HALVES, /* scale d (s[i] & 15), minimum -m (s[i] >> 4) of 16 each */
} sl_scale_form;

/* What a code stands for. */
typedef enum {
    SL_CODE_UNSIGNED, /* 0 .. 63 */
    SL_CODE_SIGNED,   /* a signed byte */
    SL_CODE_IQ4,      /* an index into sl_codebook_iq4 */
    SL_CODE_FP4,      /* an index into sl_codebook_fp4 */
} sl_code_form;

typedef struct {
    size_t block; /* inputs of a block of the file: 32 or 256; 0: weights are numbers, not codes */
    sl_scale_form scales;
    sl_code_form codes;
    size_t low_bits, high_bits; /* of a code, in planes of their own: 8, 4 or 2; 2, 1 or 0 */
    int offset;
} sl_weight_form;

SL_ALWAYS_INLINE sl_weight_form sl_weight_form_of(uint32_t type)
{
    switch (type) {
    case SL_TYPE_Q4_0: return (sl_weight_form){32, SL_SCALE_F16, SL_CODE_UNSIGNED, 4, 0, 8};
    case SL_TYPE_Q4_1: return (sl_weight_form){32, SL_SCALE_F16_MINIMUM, SL_CODE_UNSIGNED, 4, 0, 0};
    case SL_TYPE_Q5_0: return (sl_weight_form){32, SL_SCALE_F16, SL_CODE_UNSIGNED, 4, 1, 16};
    case SL_TYPE_Q5_1: return (sl_weight_form){32, SL_SCALE_F16_MINIMUM, SL_CODE_UNSIGNED, 4, 1, 0};
    case SL_TYPE_Q8_0: return (sl_weight_form){32, SL_SCALE_F16, SL_CODE_SIGNED, 8, 0, 0};
    case SL_TYPE_Q2_K:
        return (sl_weight_form){256, SL_SCALE_UINT4_MINIMUM_HALVES, SL_CODE_UNSIGNED, 2, 0, 0};
    case SL_TYPE_Q3_K:
        return (sl_weight_form){256, SL_SCALE_INT8_HALVES, SL_CODE_UNSIGNED, 2, 1, 4};
    case SL_TYPE_Q4_K:
        return (sl_weight_form){256, SL_SCALE_UINT8_MINIMUM, SL_CODE_UNSIGNED, 4, 0, 0};
    case SL_TYPE_Q5_K:
        return (sl_weight_form){256, SL_SCALE_UINT8_MINIMUM, SL_CODE_UNSIGNED, 4, 1, 0};
    case SL_TYPE_Q6_K:
        return (sl_weight_form){256, SL_SCALE_INT8_HALVES, SL_CODE_UNSIGNED, 4, 2, 32};
    case SL_TYPE_IQ4_NL: return (sl_weight_form){32, SL_SCALE_F16, SL_CODE_IQ4, 4, 0, 0};
    case SL_TYPE_IQ4_XS: return (sl_weight_form){256, SL_SCALE_INT8, SL_CODE_IQ4, 4, 0, 0};
    case SL_TYPE_MXFP4: return (sl_weight_form){32, SL_SCALE_E8M0, SL_CODE_FP4, 4, 0, 0};
    default: return (sl_weight_form){0};
    }
}

/* Whether weights of a type meet activations as they are, and not as int8 or bf16. */
static inline bool sl_type_is_float(uint32_t type) { return sl_weight_form_of(type).block == 0; }

SL_ALWAYS_INLINE bool sl_form_has_halves(sl_weight_form f)
{
    return f.scales == SL_SCALE_INT8_HALVES || f.scales == SL_SCALE_UINT4_MINIMUM_HALVES;
}
SL_ALWAYS_INLINE bool sl_form_has_minimum(sl_weight_form f)
{
    return f.scales == SL_SCALE_F16_MINIMUM || f.scales == SL_SCALE_UINT8_MINIMUM ||
           f.scales == SL_SCALE_UINT4_MINIMUM_HALVES;
}

/* ---- a row's numbers: of a block, how many f16; of 32 inputs, how many bytes of small scales and
 * of codes ---- */

SL_ALWAYS_INLINE size_t sl_form_n_f16(sl_weight_form f)
{
    if (f.scales == SL_SCALE_E8M0) return 0;
    return sl_form_has_minimum(f) ? 2 : 1;
}
SL_ALWAYS_INLINE size_t sl_form_n_small(sl_weight_form f)
{
    switch (f.scales) {
    case SL_SCALE_F16:
    case SL_SCALE_F16_MINIMUM: return 0;
    case SL_SCALE_E8M0:
    case SL_SCALE_INT8: return 1;
    default: return 2;
    }
}
SL_ALWAYS_INLINE size_t sl_form_code_bytes(sl_weight_form f)
{
    return (f.low_bits + f.high_bits) * SL_BLOCK / 8;
}
/* All of a block of the file's, as it lies in a panel. */
SL_ALWAYS_INLINE size_t sl_form_block_bytes(sl_weight_form f)
{
    return sl_form_n_f16(f) * sizeof(uint16_t) +
           f.block / SL_BLOCK * (sl_form_n_small(f) + sl_form_code_bytes(f));
}

/* ---- one block of a row, taken apart ---- */

enum { SL_FORM_BLOCK_MAX = 256 };

typedef struct {
    uint16_t f16[2];                                /* scale, minimum */
    uint8_t small[SL_FORM_BLOCK_MAX / SL_BLOCK][2]; /* of 32 inputs each, as in the panel */
    uint8_t code[SL_FORM_BLOCK_MAX];
} sl_weight_block;

extern const int8_t sl_codebook_iq4[16], sl_codebook_fp4[16];

/* Bytes of a file's block of `type`, which has a form, taken apart. */
void sl_weight_split(uint32_t type, const uint8_t *bytes, sl_weight_block *out);
/* Scale and minimum, 0 where there is none, of inputs 16 i .. 16 i + 15. */
void sl_weight_scale(sl_weight_form form, const sl_weight_block *block, size_t i, float *scale_out,
                     float *minimum_out);
/* The integer that code i stands for, before the offset. */
int sl_weight_code(sl_weight_form form, const sl_weight_block *block, size_t i);

#endif
