/* tests/support/made_lora.h - a LoRA adapter of seeded numbers for a model of any shape. In a
 * header, so that the library of test support needs no room. */
#ifndef SL_TEST_MADE_LORA_H
#define SL_TEST_MADE_LORA_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/model/lora_file.h"
#include "tests/support/seeded.h"
#include "tests/support/synth_blocks.h"

enum {
    MADE_LORA_TENSORS_MAX = 1024,
    MADE_LORA_ATTENTION = 1 << SL_MAP_Q | 1 << SL_MAP_K | 1 << SL_MAP_V | 1 << SL_MAP_O,
    MADE_LORA_ALL = (1 << SL_LAYER_MAPS) - 1,
};
#define MADE_LORA_MIXED UINT32_MAX /* as type: one after the other */

/* B A x has about `strength` times the deviation of x, before alpha and scales. q8_0 needs a rank
 * of whole blocks. */
typedef struct {
    uint64_t seed;
    uint32_t rank, type, maps; /* maps: a bit for each */
    float strength;
} made_lora_options;

typedef struct {
    sl_lora_update updates[MADE_LORA_TENSORS_MAX / 2];
    size_t n;
    float *values[MADE_LORA_TENSORS_MAX]; /* of each matrix as it will be read, a then b */
} made_lora;

static inline uint32_t made_lora_type(const made_lora_options *o, size_t index, size_t n_in)
{
    static const uint32_t TYPES[] = {SL_TYPE_F32, SL_TYPE_F16, SL_TYPE_BF16, SL_TYPE_Q8_0};
    if (o->type != MADE_LORA_MIXED) return o->type;
    uint32_t type = TYPES[index % 4];
    return type == SL_TYPE_Q8_0 && n_in % 32 != 0 ? (uint32_t)SL_TYPE_F16 : type;
}

/* A block of q8_0 that holds x[32]; the numbers that it stands for come back. */
static inline void made_lora_q8_0(float *x, uint8_t *out)
{
    float most = 0;
    for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[i]));
    uint16_t half = synth_half(most / 127);
    float scale = sl_f16_to_f32(half);
    memcpy(out, &half, sizeof half);
    for (int i = 0; i < 32; i++) {
        int8_t code = (int8_t)(scale > 0 ? fminf(127, fmaxf(-127, rintf(x[i] / scale))) : 0);
        memcpy(out + sizeof half + i, &code, 1);
        x[i] = scale * (float)code;
    }
}

/* x[n], multiples of a block where the type has blocks, as bytes of a type; x becomes what they
 * stand for. */
static inline void made_lora_encode(uint32_t type, size_t n, float *x, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        uint16_t half = synth_half(x[i]), top;
        memcpy(&bits, &x[i], sizeof bits);
        top = (uint16_t)(bits >> 16);
        switch (type) {
        case SL_TYPE_F32: memcpy(out + 4 * i, &x[i], 4); break;
        case SL_TYPE_F16: memcpy(out + 2 * i, &half, 2), x[i] = sl_f16_to_f32(half); break;
        case SL_TYPE_BF16: memcpy(out + 2 * i, &top, 2), x[i] = sl_bf16_to_f32(top); break;
        default:
            if (i % 32 == 0) made_lora_q8_0(x + i, out + i / 32 * 34);
        }
    }
}

static inline sl_matrix made_lora_matrix(made_lora *m, const made_lora_options *o, size_t n_out,
                                         size_t n_in, float deviation, seeded *random)
{
    size_t index = 0, weights, bytes;
    while (m->values[index]) index++;
    uint32_t type = made_lora_type(o, index, n_in);
    SL_ASSERT(index + 1 < MADE_LORA_TENSORS_MAX && sl_type_block(type, &weights, &bytes));
    float *values = calloc(n_out * n_in, sizeof *values);
    uint8_t *data = malloc(n_out * n_in / weights * bytes);
    SL_ASSERT(values && data && n_in % weights == 0);
    for (size_t i = 0; i < n_out * n_in; i++)
        values[i] = deviation * sqrtf(3) * seeded_real(random);
    made_lora_encode(type, n_out * n_in, values, data);
    m->values[index] = values;
    return (sl_matrix){.data = data,
                       .type = type,
                       .n_out = n_out,
                       .n_in = n_in,
                       .row_bytes = n_in / weights * bytes};
}

static inline void made_lora_open(made_lora *m, const made_lora_options *o,
                                  const sl_model_shape *shape)
{
    seeded random = seeded_from(o->seed);
    memset(m, 0, sizeof *m);
    for (uint32_t layer = 0; layer < shape->n_layers; layer++)
        for (int map = 0; map < SL_LAYER_MAPS; map++) {
            const sl_layer_tensor *t = sl_layer_map_tensor((sl_layer_map)map);
            size_t n_in = sl_dim_size(shape, t->in), n_out = sl_dim_size(shape, t->out);
            if (!(o->maps & 1U << map)) continue;
            sl_lora_update *update = &m->updates[m->n++];
            *update = (sl_lora_update){.layer = layer, .map = (sl_layer_map)map};
            update->pair.a = made_lora_matrix(m, o, o->rank, n_in, 1 / sqrtf((float)n_in), &random);
            update->pair.b = made_lora_matrix(m, o, n_out, o->rank,
                                              o->strength / sqrtf((float)o->rank), &random);
        }
}

static inline void made_lora_close(made_lora *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free((void *)(uintptr_t)m->updates[i].pair.a.data);
        free((void *)(uintptr_t)m->updates[i].pair.b.data);
        free(m->values[2 * i]);
        free(m->values[2 * i + 1]);
    }
}

#endif
