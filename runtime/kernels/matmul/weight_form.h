/* runtime/kernels/matmul/weight_form.h - how the weights of each quantized type are made up: the
 * one table that packing, the reference and the vector kernels follow. A new type is a row of
 * gguf/tensor_type.c, one here and in SL_FOR_QUANTIZED_TYPES, and a function of weight_form.c that
 * takes a super-block apart; tests/golden/weights and tests/support/synth_blocks.c ask for
 * it.
 *
 * A weight is scale * (code - offset), or scale * code + minimum. A code is a small integer, which
 * may be an index into a codebook; its bits lie in one plane or two. The types are ggml's
 * (ggml-common.h, ggml-quants.c).
 *
 * A super-block is what the file has as one piece: 256 inputs of a row, or 32. A block is 32
 * inputs (SL_BLOCK), those that share a scale among activations. A sub-block is 16 or 32 inputs:
 * those that share a scale, and a minimum, among weights. */
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

/* Where scales and minimums come from. d and m are a super-block's f16 numbers, s the small scales
 * of a block: 0 to 2 bytes. Sub-blocks are of 32 inputs unless said. */
typedef enum {
    SL_SCALE_F16,              /* scale d */
    SL_SCALE_F16_MINIMUM,      /* scale d, minimum m */
    SL_SCALE_E8M0,             /* scale 2^(s - 128) */
    SL_SCALE_INT8,             /* scale d s, s signed */
    SL_SCALE_INT8_16,          /* scale d s[i], s signed, of sub-blocks of 16 */
    SL_SCALE_UINT8_MINIMUM,    /* scale d s[0], minimum -m s[1] */
    SL_SCALE_UINT4_MINIMUM_16, /* scale d (s[i] & 15), minimum -m (s[i] >> 4), of 16 */
} sl_scale_form;

/* What a code stands for. */
typedef enum {
    SL_CODE_UNSIGNED, /* 0 .. 63 */
    SL_CODE_SIGNED,   /* a signed byte */
    SL_CODE_IQ4,      /* an index into sl_codebook_iq4 */
    SL_CODE_FP4,      /* an index into sl_codebook_fp4 */
} sl_code_form;

typedef struct {
    size_t super_block; /* inputs: 32 or 256; 0: weights are numbers, not codes */
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
        return (sl_weight_form){256, SL_SCALE_UINT4_MINIMUM_16, SL_CODE_UNSIGNED, 2, 0, 0};
    case SL_TYPE_Q3_K: return (sl_weight_form){256, SL_SCALE_INT8_16, SL_CODE_UNSIGNED, 2, 1, 4};
    case SL_TYPE_Q4_K:
        return (sl_weight_form){256, SL_SCALE_UINT8_MINIMUM, SL_CODE_UNSIGNED, 4, 0, 0};
    case SL_TYPE_Q5_K:
        return (sl_weight_form){256, SL_SCALE_UINT8_MINIMUM, SL_CODE_UNSIGNED, 4, 1, 0};
    case SL_TYPE_Q6_K: return (sl_weight_form){256, SL_SCALE_INT8_16, SL_CODE_UNSIGNED, 4, 2, 32};
    case SL_TYPE_IQ4_NL: return (sl_weight_form){32, SL_SCALE_F16, SL_CODE_IQ4, 4, 0, 0};
    case SL_TYPE_IQ4_XS: return (sl_weight_form){256, SL_SCALE_INT8, SL_CODE_IQ4, 4, 0, 0};
    case SL_TYPE_MXFP4: return (sl_weight_form){32, SL_SCALE_E8M0, SL_CODE_FP4, 4, 0, 0};
    default: return (sl_weight_form){0};
    }
}

/* Whether weights of a type meet activations as they are, and not as int8 or bf16. */
static inline bool sl_type_is_float(uint32_t type)
{
    return sl_weight_form_of(type).super_block == 0;
}

/* Inputs of a sub-block. */
SL_ALWAYS_INLINE size_t sl_form_sub_block(sl_weight_form f)
{
    bool is_of_16 = f.scales == SL_SCALE_INT8_16 || f.scales == SL_SCALE_UINT4_MINIMUM_16;
    return is_of_16 ? SL_BLOCK / 2 : SL_BLOCK;
}
SL_ALWAYS_INLINE bool sl_form_has_minimum(sl_weight_form f)
{
    return f.scales == SL_SCALE_F16_MINIMUM || f.scales == SL_SCALE_UINT8_MINIMUM ||
           f.scales == SL_SCALE_UINT4_MINIMUM_16;
}

/* The largest magnitude that a code stands for. */
SL_ALWAYS_INLINE int sl_form_largest_code(sl_weight_form f)
{
    switch (f.codes) {
    case SL_CODE_UNSIGNED: return (1 << (f.low_bits + f.high_bits)) - 1;
    case SL_CODE_FP4: return 12;
    default: return 128;
    }
}

/* ---- a row's numbers: of a super-block, how many f16; of a block, how many bytes of small scales
 * and of codes ---- */

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
/* All of a super-block, as it lies in a panel. */
SL_ALWAYS_INLINE size_t sl_form_super_block_bytes(sl_weight_form f)
{
    return sl_form_n_f16(f) * sizeof(uint16_t) +
           f.super_block / SL_BLOCK * (sl_form_n_small(f) + sl_form_code_bytes(f));
}

/* ---- a super-block of a row, taken apart ---- */

enum { SL_SUPER_BLOCK_MAX = 256 };

typedef struct {
    uint16_t f16[2];                                 /* scale, minimum */
    uint8_t small[SL_SUPER_BLOCK_MAX / SL_BLOCK][2]; /* of a block each, as in the panel */
    uint8_t code[SL_SUPER_BLOCK_MAX];
} sl_super_block;

extern const int8_t sl_codebook_iq4[16], sl_codebook_fp4[16];

/* The file's bytes of a super-block of `type`, which has a form, taken apart. */
void sl_weight_split(uint32_t type, const uint8_t *bytes, sl_super_block *out);
/* Scale and minimum, 0 where there is none, of inputs 16 i .. 16 i + 15. */
void sl_weight_scale(sl_weight_form form, const sl_super_block *super, size_t i, float *scale_out,
                     float *minimum_out);
/* Where sub-blocks are of 16, of inputs 16 i .. 16 i + 15, a weight is
 * d (scale code - minimum) with an offset, which is in `minimum` then, and else
 * d scale code - m minimum; d, m: of the super-block. */
typedef struct {
    int scale, minimum;
} sl_integer_scale;
sl_integer_scale sl_weight_integer_scale(sl_weight_form form, const sl_super_block *super,
                                         size_t i);
/* The integer that code i stands for, before the offset. */
int sl_weight_code(sl_weight_form form, const sl_super_block *super, size_t i);

#endif
