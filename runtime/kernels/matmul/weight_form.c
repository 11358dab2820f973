/* runtime/kernels/matmul/weight_form.c - blocks of the file taken apart, one function a layout
 * (ggml-common.h), and what their numbers mean. */
#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/matmul/weight_form.h"

/* NF4-like values of IQ4_NL and IQ4_XS (ggml-common.h, kvalues_iq4nl). */
const int8_t sl_codebook_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113};
/* Twice the values of E2M1 (OCP Microscaling Formats 1.0, table 5). */
const int8_t sl_codebook_fp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

enum { N_SMALL = SL_SUPER_BLOCK_MAX / SL_BLOCK };

/* n_bytes of two codes each: first all low nibbles, then all high ones. */
static void split_nibbles(const uint8_t *bytes, size_t n_bytes, uint8_t *code)
{
    for (size_t i = 0; i < n_bytes; i++) {
        code[i] = bytes[i] & 15;
        code[n_bytes + i] = bytes[i] >> 4;
    }
}

/* ---- super-blocks of 32 ---- */

static void split_q4(const uint8_t *bytes, size_t n_f16, sl_super_block *out)
{
    memcpy(out->f16, bytes, n_f16 * sizeof *out->f16);
    split_nibbles(bytes + n_f16 * sizeof *out->f16, SL_BLOCK / 2, out->code);
}

/* The fifth bits of all codes stand before their nibbles. */
static void split_q5(const uint8_t *bytes, size_t n_f16, sl_super_block *out)
{
    uint32_t high;
    memcpy(out->f16, bytes, n_f16 * sizeof *out->f16);
    bytes += n_f16 * sizeof *out->f16;
    memcpy(&high, bytes, sizeof high);
    split_nibbles(bytes + sizeof high, SL_BLOCK / 2, out->code);
    for (size_t i = 0; i < SL_BLOCK; i++) out->code[i] |= (uint8_t)((high >> i & 1) << 4);
}

static void split_q8(const uint8_t *bytes, sl_super_block *out)
{
    memcpy(out->f16, bytes, sizeof *out->f16);
    memcpy(out->code, bytes + sizeof *out->f16, SL_BLOCK);
}

static void split_mxfp4(const uint8_t *bytes, sl_super_block *out)
{
    out->small[0][0] = bytes[0];
    split_nibbles(bytes + 1, SL_BLOCK / 2, out->code);
}

/* ---- super-blocks of 256 ---- */

/* Scales and minimums of 6 bits each, 8 of both in 12 bytes. */
static void split_scales_6(const uint8_t bytes[12], sl_super_block *out)
{
    for (size_t i = 0; i < 4; i++) {
        out->small[i][0] = bytes[i] & 63;
        out->small[i][1] = bytes[i + 4] & 63;
        out->small[i + 4][0] = (uint8_t)((bytes[i + 8] & 15) | bytes[i] >> 6 << 4);
        out->small[i + 4][1] = (uint8_t)(bytes[i + 8] >> 4 | bytes[i + 4] >> 6 << 4);
    }
}

static void split_q4_k(const uint8_t *bytes, sl_super_block *out)
{
    enum { SCALES = 4, NIBBLES = SCALES + 12 };
    memcpy(out->f16, bytes, sizeof out->f16);
    split_scales_6(bytes + SCALES, out);
    for (size_t i = 0; i < 4; i++) split_nibbles(bytes + NIBBLES + 32 * i, 32, out->code + 64 * i);
}

static void split_q5_k(const uint8_t *bytes, sl_super_block *out)
{
    enum { SCALES = 4, HIGH = SCALES + 12, NIBBLES = HIGH + 32 };
    memcpy(out->f16, bytes, sizeof out->f16);
    split_scales_6(bytes + SCALES, out);
    for (size_t i = 0; i < 4; i++) split_nibbles(bytes + NIBBLES + 32 * i, 32, out->code + 64 * i);
    for (size_t i = 0; i < N_SMALL; i++)
        for (size_t k = 0; k < SL_BLOCK; k++)
            out->code[i * SL_BLOCK + k] |= (uint8_t)((bytes[HIGH + k] >> i & 1) << 4);
}

/* 64 bytes of four codes each: of 128 inputs, byte k has those of k, k + 32, k + 64, k + 96. */
static void split_two_bits(const uint8_t *bytes, uint8_t *code)
{
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 4; j++)
            for (size_t k = 0; k < 32; k++)
                code[128 * i + 32 * j + k] = bytes[32 * i + k] >> 2 * j & 3;
}

static void split_q2_k(const uint8_t *bytes, sl_super_block *out)
{
    enum { PAIRS = 16, F16 = PAIRS + 64 };
    memcpy(out->small, bytes, sizeof out->small);
    split_two_bits(bytes + PAIRS, out->code);
    memcpy(out->f16, bytes + F16, sizeof out->f16);
}

static void split_q3_k(const uint8_t *bytes, sl_super_block *out)
{
    enum { PAIRS = 32, SCALES = PAIRS + 64, F16 = SCALES + 12 };
    const uint8_t *s = bytes + SCALES;
    memcpy(out->f16, bytes + F16, sizeof *out->f16);
    split_two_bits(bytes + PAIRS, out->code);
    for (size_t i = 0; i < N_SMALL; i++)
        for (size_t k = 0; k < SL_BLOCK; k++)
            out->code[i * SL_BLOCK + k] |= (uint8_t)((bytes[k] >> i & 1) << 2);
    for (size_t i = 0; i < 16; i++) {
        int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4, high = s[8 + i % 4] >> 2 * (i / 4) & 3;
        out->small[i / 2][i % 2] = (uint8_t)((low | high << 4) - 32);
    }
}

static void split_q6_k(const uint8_t *bytes, sl_super_block *out)
{
    enum { HIGH = 128, SCALES = HIGH + 64, F16 = SCALES + 16 };
    uint8_t high[SL_SUPER_BLOCK_MAX];
    split_nibbles(bytes, 64, out->code);
    split_nibbles(bytes + 64, 64, out->code + 128);
    split_two_bits(bytes + HIGH, high);
    for (size_t i = 0; i < SL_SUPER_BLOCK_MAX; i++) out->code[i] |= (uint8_t)(high[i] << 4);
    memcpy(out->small, bytes + SCALES, sizeof out->small);
    memcpy(out->f16, bytes + F16, sizeof *out->f16);
}

static void split_iq4_xs(const uint8_t *bytes, sl_super_block *out)
{
    enum { HIGH = 2, LOW = HIGH + 2, NIBBLES = LOW + 4 };
    uint16_t high;
    memcpy(out->f16, bytes, sizeof *out->f16);
    memcpy(&high, bytes + HIGH, sizeof high);
    for (size_t i = 0; i < N_SMALL; i++) {
        int low = bytes[LOW + i / 2] >> 4 * (i % 2) & 15;
        out->small[i][0] = (uint8_t)((low | (high >> 2 * i & 3) << 4) - 32);
        split_nibbles(bytes + NIBBLES + 16 * i, 16, out->code + 32 * i);
    }
}

void sl_weight_split(uint32_t type, const uint8_t *bytes, sl_super_block *out)
{
    switch (type) {
    case SL_TYPE_Q4_0:
    case SL_TYPE_IQ4_NL: split_q4(bytes, 1, out); break;
    case SL_TYPE_Q4_1: split_q4(bytes, 2, out); break;
    case SL_TYPE_Q5_0: split_q5(bytes, 1, out); break;
    case SL_TYPE_Q5_1: split_q5(bytes, 2, out); break;
    case SL_TYPE_Q8_0: split_q8(bytes, out); break;
    case SL_TYPE_MXFP4: split_mxfp4(bytes, out); break;
    case SL_TYPE_Q2_K: split_q2_k(bytes, out); break;
    case SL_TYPE_Q3_K: split_q3_k(bytes, out); break;
    case SL_TYPE_Q4_K: split_q4_k(bytes, out); break;
    case SL_TYPE_Q5_K: split_q5_k(bytes, out); break;
    case SL_TYPE_Q6_K: split_q6_k(bytes, out); break;
    case SL_TYPE_IQ4_XS: split_iq4_xs(bytes, out); break;
    default: SL_ASSERT(!"a type that is not quantized");
    }
}

/* ---- what the numbers mean ---- */

void sl_weight_scale(sl_weight_form form, const sl_super_block *super, size_t i, float *scale_out,
                     float *minimum_out)
{
    const uint8_t *small = super->small[i / 2];
    float d = sl_form_n_f16(form) > 0 ? sl_f16_to_f32(super->f16[0]) : 0;
    float m = sl_form_n_f16(form) > 1 ? sl_f16_to_f32(super->f16[1]) : 0;
    *minimum_out = 0;
    switch (form.scales) {
    case SL_SCALE_F16: *scale_out = d; break;
    case SL_SCALE_F16_MINIMUM: *scale_out = d, *minimum_out = m; break;
    case SL_SCALE_E8M0: *scale_out = ldexpf(1, small[0] - 128); break;
    case SL_SCALE_INT8: *scale_out = d * (float)(int8_t)small[0]; break;
    case SL_SCALE_INT8_16: *scale_out = d * (float)(int8_t)small[i % 2]; break;
    case SL_SCALE_UINT8_MINIMUM:
        *scale_out = d * (float)small[0];
        *minimum_out = -m * (float)small[1];
        break;
    case SL_SCALE_UINT4_MINIMUM_16:
        *scale_out = d * (float)(small[i % 2] & 15);
        *minimum_out = -m * (float)(small[i % 2] >> 4);
        break;
    }
}

sl_integer_scale sl_weight_integer_scale(sl_weight_form form, const sl_super_block *super, size_t i)
{
    int small = super->small[i / 2][i % 2];
    SL_ASSERT(sl_form_sub_block(form) < SL_BLOCK);
    if (form.scales == SL_SCALE_UINT4_MINIMUM_16)
        return (sl_integer_scale){.scale = small & 15, .minimum = small >> 4};
    return (sl_integer_scale){.scale = (int8_t)small, .minimum = form.offset * (int8_t)small};
}

int sl_weight_code(sl_weight_form form, const sl_super_block *super, size_t i)
{
    switch (form.codes) {
    case SL_CODE_UNSIGNED: return super->code[i];
    case SL_CODE_SIGNED: return (int8_t)super->code[i];
    case SL_CODE_IQ4: return sl_codebook_iq4[super->code[i]];
    case SL_CODE_FP4: return sl_codebook_fp4[super->code[i]];
    }
    return 0;
}
