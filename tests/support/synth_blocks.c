/* tests/support/synth_blocks.c - see synth_blocks.h. */
#include "tests/support/synth_blocks.h"

#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/gguf/tensor_type.h"

/* Of blocks of random bytes, by the gguf package: the deviation of weights whose scale is 1, and
 * the second f16, a minimum, that makes their mean 0 then. MXFP4 has an exponent at the start. */
static const struct {
    uint32_t type;
    size_t f16_at, n_f16;
    float deviation, minimum;
} forms[] = {
    {SL_TYPE_Q5_0, 0, 1, 9.21F, 0},     {SL_TYPE_Q5_1, 0, 2, 9.22F, -15.5F},
    {SL_TYPE_Q2_K, 80, 2, 13.9F, 1.5F}, {SL_TYPE_Q3_K, 108, 1, 43.4F, 0},
    {SL_TYPE_Q4_K, 0, 2, 258, 7.5F},    {SL_TYPE_Q5_K, 0, 2, 527, 15.5F},
    {SL_TYPE_Q6_K, 208, 1, 1368, 0},    {SL_TYPE_IQ4_NL, 0, 1, 67.3F, 0},
    {SL_TYPE_IQ4_XS, 0, 1, 1248, 0},    {SL_TYPE_MXFP4, 0, 0, 2.93F, 0},
};
enum { N_FORMS = sizeof forms / sizeof *forms };

uint16_t synth_half(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000;
    SL_ASSERT(fabsf(x) < 65520);
    if (fabsf(x) < 0x1p-14f) return (uint16_t)(sign | (uint32_t)lrintf(fabsf(x) * 0x1p24f));
    bits &= 0x7fffffff;
    bits += 0xfff + (bits >> 13 & 1);
    return (uint16_t)(sign | (bits - (112u << 23)) >> 13);
}

void synth_random_blocks(uint32_t type, seeded *random, float deviation, size_t n_bytes,
                         uint8_t *out)
{
    size_t weights, bytes, f = 0;
    bool known = sl_type_block(type, &weights, &bytes);
    SL_ASSERT(known && n_bytes % bytes == 0);
    while (f < N_FORMS && forms[f].type != type) f++;
    if (f == N_FORMS) SL_ASSERT(!"a type that cannot be written");
    float scale = deviation / forms[f].deviation;
    uint16_t halves[2] = {synth_half(scale), synth_half(scale * forms[f].minimum)};
    for (size_t i = 0; i < n_bytes; i++) out[i] = (uint8_t)seeded_bits(random);
    for (size_t i = 0; i < n_bytes; i += bytes) {
        memcpy(out + i + forms[f].f16_at, halves, forms[f].n_f16 * sizeof *halves);
        if (type == SL_TYPE_MXFP4) out[i] = (uint8_t)(127 + lrintf(log2f(scale)));
    }
}
