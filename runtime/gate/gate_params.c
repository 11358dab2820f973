/* runtime/gate/gate_params.c - see gate_params.h. */
#include "runtime/gate/gate_params.h"

#include <math.h>
#include <string.h>

void sl_gate_params_plan(const sl_gate *gate, const sl_gate_shape *shape, sl_gate_params *out)
{
    *out = (sl_gate_params){.shape = *shape};
    if (shape->span == SL_GATE_ABSENT) return;
    uint32_t width = gate->model_width, inner = sl_gate_inner(shape, gate->n_kv_heads);
    uint32_t heads = shape->heads * shape->width;
    uint32_t kv = sl_gate_kv_heads(shape) * shape->width;
    out->x = (sl_gate_part){.n_out = inner, .n_in = width};
    out->x_bias = (sl_gate_part){.n_out = inner, .n_in = 1};
    if (shape->heads > 0) {
        out->q = (sl_gate_part){.n_out = heads, .n_in = width};
        out->k = out->v = (sl_gate_part){.n_out = kv, .n_in = width};
        out->a = (sl_gate_part){.n_out = inner, .n_in = heads};
    }
    if (shape->hidden > 0) {
        out->out = (sl_gate_part){.n_out = gate->n_kv_heads, .n_in = shape->hidden};
        out->out_bias = (sl_gate_part){.n_out = gate->n_kv_heads, .n_in = 1};
    }
    for (size_t i = 0; i < SL_GATE_PARTS; i++) {
        out->all[i].at = out->n;
        out->n += (size_t)out->all[i].n_out * out->all[i].n_in;
    }
}

static void decode_matrix(const sl_gate_part *part, const sl_matrix *w, float *params)
{
    for (size_t row = 0; row < part->n_out; row++)
        sl_matrix_row(w, row, params + part->at + row * part->n_in);
}

static void decode_vector(const sl_gate_part *part, const float *v, float *params)
{
    if (part->n_out > 0) memcpy(params + part->at, v, part->n_out * sizeof *v);
}

void sl_gate_params_decode(const sl_gate_params *layout, const sl_gate_layer *layer, float *params)
{
    decode_matrix(&layout->x, &layer->x, params);
    decode_vector(&layout->x_bias, layer->x_bias, params);
    decode_matrix(&layout->q, &layer->q, params);
    decode_matrix(&layout->k, &layer->k, params);
    decode_matrix(&layout->v, &layer->v, params);
    decode_matrix(&layout->a, &layer->a, params);
    decode_matrix(&layout->out, &layer->out, params);
    decode_vector(&layout->out_bias, layer->out_bias, params);
}

static size_t row_bytes(uint32_t type, size_t n_in)
{
    size_t elements, bytes;
    sl_type_block(type, &elements, &bytes);
    return n_in / elements * bytes;
}

/* As ggml quantizes: scale = f16(max|x| / 127). */
static void put_q8_0(const float *x, uint8_t *out)
{
    float most = 0;
    for (int i = 0; i < SL_BLOCK; i++) most = fmaxf(most, fabsf(x[i]));
    uint16_t scale = sl_f32_to_f16(most / 127);
    float inverse = most > 0 ? 127 / most : 0;
    memcpy(out, &scale, sizeof scale);
    for (int i = 0; i < SL_BLOCK; i++) out[2 + i] = (uint8_t)(int8_t)lrintf(x[i] * inverse);
}

static void put_row(uint32_t type, const float *x, size_t n_in, uint8_t *out)
{
    if (type == SL_TYPE_Q8_0)
        for (size_t i = 0; i < n_in / SL_BLOCK; i++)
            put_q8_0(x + i * SL_BLOCK, out + i * (2 + SL_BLOCK));
    else
        for (size_t i = 0; i < n_in; i++) ((uint16_t *)out)[i] = sl_f32_to_f16(x[i]);
}

static sl_matrix encode_matrix(const sl_gate_part *part, const float *params, uint32_t type,
                               sl_arena *arena)
{
    if (part->n_out == 0) return (sl_matrix){0};
    sl_matrix w = {.type = type,
                   .n_out = part->n_out,
                   .n_in = part->n_in,
                   .row_bytes = row_bytes(type, part->n_in)};
    uint8_t *bytes = sl_arena_take(arena, w.n_out * w.row_bytes);
    for (size_t row = 0; bytes && row < w.n_out; row++)
        put_row(type, params + part->at + row * w.n_in, w.n_in, bytes + row * w.row_bytes);
    w.data = bytes;
    return w;
}

static const float *encode_vector(const sl_gate_part *part, const float *params, sl_arena *arena)
{
    if (part->n_out == 0) return NULL;
    float *v = sl_arena_array(arena, float, part->n_out);
    if (v) memcpy(v, params + part->at, part->n_out * sizeof *v);
    return v;
}

void sl_gate_params_encode(const sl_gate_params *layout, const float *params, uint32_t type,
                           sl_arena *arena, sl_gate_layer *layer_out)
{
    *layer_out = (sl_gate_layer){
        .shape = layout->shape,
        .x = encode_matrix(&layout->x, params, type, arena),
        .x_bias = encode_vector(&layout->x_bias, params, arena),
        .q = encode_matrix(&layout->q, params, type, arena),
        .k = encode_matrix(&layout->k, params, type, arena),
        .v = encode_matrix(&layout->v, params, type, arena),
        .a = encode_matrix(&layout->a, params, SL_TYPE_F16, arena),
        .out = encode_matrix(&layout->out, params, SL_TYPE_F16, arena),
        .out_bias = encode_vector(&layout->out_bias, params, arena),
    };
}
