/* runtime/kernels/matmul/panel_simd.h - packed weights (pack.h) as vectors over the columns of a
 * panel: their codes as bytes, their scales and minimums as floats, or as integers where 16 inputs
 * share them. Included where `vec`, `ivec`
 * and their operations are defined: see matmul_simd.h. */
#ifndef SL_PANEL_SIMD_H
#define SL_PANEL_SIMD_H

#include "runtime/kernels/matmul/weight_form.h"

#if defined(SL_SANITIZED)
#define SL_UNROLL
#elif defined(__clang__)
#define SL_UNROLL _Pragma("unroll")
#else
#define SL_UNROLL _Pragma("GCC unroll 8")
#endif

/* Quad `quad` of the n_bits at `plane`. */
SL_ALWAYS_INLINE ivec plane_bits(const uint8_t *plane, size_t n_bits, size_t quad)
{
    ivec bytes = i_load(plane + quad % n_bits * SL_PANEL * 4);
    if (n_bits == 8) return bytes;
    return i_and(i_shift_right(bytes, (int)(quad / n_bits * n_bits)), (char)((1 << n_bits) - 1));
}

/* What the codes of inputs 4 quad .. 4 quad + 3 stand for; planes: of 32 inputs, from the vector's
 * first column on. */
SL_ALWAYS_INLINE ivec panel_codes(sl_weight_form form, const uint8_t *planes, size_t quad)
{
    ivec code = plane_bits(planes, form.low_bits, quad);
    if (form.high_bits > 0) {
        ivec high = plane_bits(planes + form.low_bits * SL_PANEL * 4, form.high_bits, quad);
        code = i_or(code, i_shift_left(high, (int)form.low_bits));
    }
    if (form.codes == SL_CODE_IQ4) return i_look_up(sl_codebook_iq4, code);
    if (form.codes == SL_CODE_FP4) return i_look_up(sl_codebook_fp4, code);
    return code;
}

typedef struct {
    vec scale,
        minimum; /* minimum: of codes with an offset, -offset * scale; 0 where the type has none */
} panel_scale;

/* 2^(exponent - 128), which may be denormal, from two normal factors. */
SL_ALWAYS_INLINE vec power_of_two(ivec exponent)
{
    ivec part = i_shift_right_32(exponent, 1), rest = i_sub_32(exponent, part);
    return v_mul(v_exponent(i_add_32(part, 63)), v_exponent(i_add_32(rest, 63)));
}

/* Of sub-block `sub` of a block; f16, small: of the panel. */
SL_ALWAYS_INLINE panel_scale panel_scale_of(sl_weight_form form, const uint8_t *f16,
                                            const uint8_t *small, size_t column, size_t sub)
{
    panel_scale out = {.minimum = v_set1(0)};
    small += column;
    if (form.scales == SL_SCALE_E8M0) {
        out.scale = power_of_two(i_widen_unsigned(small));
        return out;
    }
    vec d = v_load_f16(f16 + column * sizeof(uint16_t)), m = d;
    if (sl_form_has_minimum(form)) m = v_load_f16(f16 + (SL_PANEL + column) * sizeof(uint16_t));
    switch (form.scales) {
    case SL_SCALE_INT8: d = v_mul(d, v_from_integers(i_widen_signed(small))); break;
    case SL_SCALE_INT8_16:
        d = v_mul(d, v_from_integers(i_widen_signed(small + sub * SL_PANEL)));
        break;
    case SL_SCALE_UINT8_MINIMUM:
        d = v_mul(d, v_from_integers(i_widen_unsigned(small)));
        m = v_mul(m, v_from_integers(i_widen_unsigned(small + SL_PANEL)));
        m = v_mul(m, v_set1(-1));
        break;
    case SL_SCALE_UINT4_MINIMUM_16: {
        ivec s = i_widen_unsigned(small + sub * SL_PANEL);
        d = v_mul(d, v_from_integers(i_and(s, 15)));
        m = v_mul(v_mul(m, v_from_integers(i_shift_right_32(s, 4))), v_set1(-1));
        break;
    }
    default: break;
    }
    out.scale = d;
    if (form.offset > 0)
        out.minimum = v_mul(d, v_set1((float)-form.offset));
    else if (sl_form_has_minimum(form))
        out.minimum = m;
    return out;
}

/* ---- 32 inputs of a vector of columns, as rows of int8 meet them ---- */

typedef struct {
    const uint8_t *planes; /* codes, from the vector's first column on */
    vec scale, minimum;    /* of the integers below; minimum: only where the type has one */
    ivec sub_scale[2];     /* of sub-blocks of 16 alone, as i_factor makes them */
    ivec sub_minimum;      /* and what their sums are multiplied by: two of 16 bits a lane */
} panel_block;

/* Scales of sub-blocks of 16 stay integers: see matmul_ref.c. */
SL_ALWAYS_INLINE void load_scales_16(sl_weight_form form, const uint8_t *f16, const uint8_t *small,
                                     size_t column, panel_block *out)
{
    ivec scale[2], minimum[2];
    for (size_t sub = 0; sub < 2; sub++) {
        const uint8_t *at = small + sub * SL_PANEL + column;
        if (form.scales == SL_SCALE_INT8_16) {
            scale[sub] = i_widen_signed(at);
            minimum[sub] = i_mul_32(scale[sub], form.offset);
        } else {
            ivec both = i_widen_unsigned(at);
            scale[sub] = i_and(both, 15);
            minimum[sub] = i_shift_right_32(both, 4);
        }
        out->sub_scale[sub] = i_factor(scale[sub]);
    }
    out->sub_minimum = i_pairs_of(minimum[0], minimum[1]);
    out->scale = v_load_f16(f16 + column * sizeof(uint16_t));
    out->minimum = v_set1(0);
    if (sl_form_has_minimum(form))
        out->minimum = v_mul(v_load_f16(f16 + (SL_PANEL + column) * sizeof(uint16_t)), v_set1(-1));
}

/* small: of the block, its codes behind it. */
SL_ALWAYS_INLINE void load_panel_block(sl_weight_form form, const uint8_t *f16,
                                       const uint8_t *small, size_t column, panel_block *out)
{
    out->planes = small + sl_form_n_small(form) * SL_PANEL + column * 4;
    if (sl_form_sub_block(form) == SL_BLOCK) {
        panel_scale w = panel_scale_of(form, f16, small, column, 0);
        out->scale = w.scale;
        out->minimum = w.minimum;
    } else {
        load_scales_16(form, f16, small, column, out);
    }
}

#endif
