/* runtime/model/weights.c - one table says which tensors a layer has and their shapes; checking,
 * sizing, binding and hashing all walk it. Owns nothing: pointers go into the mapped file. */
#include "runtime/model/weights.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/append.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/kernels/pack.h"

typedef enum { DIM_NONE, DIM_WIDTH, DIM_HEADS, DIM_KV_HEADS, DIM_FFN, DIM_VOCAB } dim;

typedef struct {
    const char *suffix;
    enum { REQUIRED, OPTIONAL } presence;
    dim in, out;   /* out DIM_NONE: a vector */
    size_t offset; /* of its place in sl_layer_weights */
} layer_tensor;

static const layer_tensor LAYER_TENSORS[] = {
    {"attn_norm.weight", REQUIRED, DIM_WIDTH, DIM_NONE, offsetof(sl_layer_weights, attn_norm)},
    {"attn_q.weight", REQUIRED, DIM_WIDTH, DIM_HEADS, offsetof(sl_layer_weights, q)},
    {"attn_k.weight", REQUIRED, DIM_WIDTH, DIM_KV_HEADS, offsetof(sl_layer_weights, k)},
    {"attn_v.weight", REQUIRED, DIM_WIDTH, DIM_KV_HEADS, offsetof(sl_layer_weights, v)},
    {"attn_output.weight", REQUIRED, DIM_HEADS, DIM_WIDTH, offsetof(sl_layer_weights, o)},
    {"ffn_norm.weight", REQUIRED, DIM_WIDTH, DIM_NONE, offsetof(sl_layer_weights, ffn_norm)},
    {"ffn_gate.weight", REQUIRED, DIM_WIDTH, DIM_FFN, offsetof(sl_layer_weights, gate)},
    {"ffn_up.weight", REQUIRED, DIM_WIDTH, DIM_FFN, offsetof(sl_layer_weights, up)},
    {"ffn_down.weight", REQUIRED, DIM_FFN, DIM_WIDTH, offsetof(sl_layer_weights, down)},
    {"attn_q.bias", OPTIONAL, DIM_HEADS, DIM_NONE, offsetof(sl_layer_weights, q_bias)},
    {"attn_k.bias", OPTIONAL, DIM_KV_HEADS, DIM_NONE, offsetof(sl_layer_weights, k_bias)},
    {"attn_v.bias", OPTIONAL, DIM_KV_HEADS, DIM_NONE, offsetof(sl_layer_weights, v_bias)},
    {"attn_output.bias", OPTIONAL, DIM_WIDTH, DIM_NONE, offsetof(sl_layer_weights, o_bias)},
    {"ffn_gate.bias", OPTIONAL, DIM_FFN, DIM_NONE, offsetof(sl_layer_weights, gate_bias)},
    {"ffn_up.bias", OPTIONAL, DIM_FFN, DIM_NONE, offsetof(sl_layer_weights, up_bias)},
    {"ffn_down.bias", OPTIONAL, DIM_WIDTH, DIM_NONE, offsetof(sl_layer_weights, down_bias)},
};
enum { N_LAYER_TENSORS = sizeof LAYER_TENSORS / sizeof *LAYER_TENSORS };

static const char ROPE_FREQS[] = "rope_freqs.weight";

static uint64_t dim_size(const sl_model_shape *shape, dim which)
{
    switch (which) {
    case DIM_NONE: return 1;
    case DIM_WIDTH: return shape->width;
    case DIM_HEADS: return (uint64_t)shape->n_heads * shape->head_dim;
    case DIM_KV_HEADS: return (uint64_t)shape->n_kv_heads * shape->head_dim;
    case DIM_FFN: return shape->ffn_width;
    case DIM_VOCAB: return shape->vocab;
    }
    return 0;
}

static const sl_gguf_tensor *find_layer_tensor(const sl_gguf *gguf, uint32_t layer,
                                               const layer_tensor *which)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s", layer, which->suffix);
    return sl_gguf_find(gguf, name);
}

/* ---- checking tensors ---- */

/* Of matrices; vectors (norms, biases) are of the first in every file. */
static const uint32_t TYPES[] = {SL_TYPE_F32,  SL_TYPE_F16,  SL_TYPE_BF16,
                                 SL_TYPE_Q8_0, SL_TYPE_Q4_1, SL_TYPE_Q4_0};

static sl_status check_type(const sl_gguf *gguf, const char *name, const sl_gguf_tensor *t,
                            bool vector)
{
    char names[64] = "";
    size_t n_types = vector ? 1 : sizeof TYPES / sizeof *TYPES, n = 0;
    for (size_t i = 0; i < n_types; i++) {
        if (t->type == TYPES[i]) return SL_OK;
        sl_append(names, sizeof names, &n, "%s%s", i ? ", " : "", sl_type_name(TYPES[i]));
    }
    sl_error("%s: tensor %s is of type %s, supported here: %s", sl_gguf_path(gguf), name,
             sl_type_name(t->type), names);
    return SL_ERR_UNSUPPORTED;
}

/* n_out 1: a vector. */
static sl_status check_tensor(const sl_gguf *gguf, const char *name, uint64_t n_in, uint64_t n_out)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    const char *path = sl_gguf_path(gguf);
    if (!t) {
        sl_error("%s: tensor %s is missing, expected [%llu][%llu]", path, name,
                 (unsigned long long)n_out, (unsigned long long)n_in);
        return SL_ERR_FORMAT;
    }
    if (t->dims[0] != n_in || t->dims[1] != n_out || t->dims[2] != 1 || t->dims[3] != 1) {
        sl_error("%s: tensor %s is [%llu][%llu][%llu], expected [%llu][%llu]", path, name,
                 (unsigned long long)t->dims[2], (unsigned long long)t->dims[1],
                 (unsigned long long)t->dims[0], (unsigned long long)n_out,
                 (unsigned long long)n_in);
        return SL_ERR_FORMAT;
    }
    sl_status status = check_type(gguf, name, t, n_out == 1);
    if (status == SL_OK && n_out != 1 && n_in % SL_BLOCK != 0) {
        sl_error("%s: tensor %s has rows of %llu, supported are multiples of %d", path, name,
                 (unsigned long long)n_in, SL_BLOCK);
        return SL_ERR_UNSUPPORTED;
    }
    return status;
}

/* They are divided by; a file with these and a scaling that they are made of would scale twice. */
static sl_status check_rope_freqs(const sl_gguf *gguf, const sl_model_shape *shape)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, ROPE_FREQS);
    if (!t) return SL_OK;
    sl_status status = check_tensor(gguf, ROPE_FREQS, shape->rope.dim / 2, 1);
    if (status != SL_OK) return status;
    if (shape->rope.scaling == SL_ROPE_LLAMA3) {
        sl_error("%s: tensor %s beside rope scaling 'llama3': either, not both", sl_gguf_path(gguf),
                 ROPE_FREQS);
        return SL_ERR_UNSUPPORTED;
    }
    const float *divisors = t->data;
    for (uint32_t i = 0; i < shape->rope.dim / 2; i++) {
        if (divisors[i] > 0 && divisors[i] < INFINITY) continue;
        sl_error("%s: tensor %s divides frequency %u by %g", sl_gguf_path(gguf), ROPE_FREQS, i,
                 (double)divisors[i]);
        return SL_ERR_FORMAT;
    }
    return SL_OK;
}

/* Whether this is exactly a name that binding looks up; "blk.00.attn_q.weight" is not. */
static bool is_known(sl_text name, const sl_model_shape *shape)
{
    static const char *const OTHERS[] = {"token_embd.weight", "output_norm.weight", "output.weight",
                                         ROPE_FREQS};
    char text[64], again[96], *end;
    if (name.bytes >= sizeof text || memchr(name.data, 0, name.bytes)) return false;
    snprintf(text, sizeof text, "%.*s", (int)name.bytes, name.data);
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
        if (!strcmp(text, OTHERS[i])) return true;
    if (strncmp(text, "blk.", 4) != 0) return false;
    unsigned long layer = strtoul(text + 4, &end, 10);
    if (*end != '.' || layer >= shape->n_layers) return false;
    snprintf(again, sizeof again, "blk.%lu.%s", layer, end + 1);
    bool found = false;
    for (int k = 0; k < N_LAYER_TENSORS; k++) found |= !strcmp(end + 1, LAYER_TENSORS[k].suffix);
    return found && !strcmp(text, again);
}

/* A tensor we would not use changes what the model says: refuse rather than ignore. */
static sl_status check_none_unknown(const sl_gguf *gguf, const sl_model_shape *shape)
{
    for (size_t i = 0; i < sl_gguf_n_tensors(gguf); i++) {
        sl_text name = sl_gguf_tensor_at(gguf, i)->name;
        if (is_known(name, shape)) continue;
        sl_error("%s: tensor %.*s is not supported: not known of the architecture 'llama', and "
                 "without it the model would say something else",
                 sl_gguf_path(gguf), (int)sl_plain_prefix(name.data, name.bytes, 90), name.data);
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

static sl_status check_tensors(const sl_gguf *gguf, sl_model_shape *shape)
{
    const sl_gguf_tensor *embedding = sl_gguf_find(gguf, "token_embd.weight");
    if (embedding && embedding->dims[1] > 0 && embedding->dims[1] <= INT32_MAX)
        shape->vocab = (uint32_t)embedding->dims[1];
    shape->tied = sl_gguf_find(gguf, "output.weight") == NULL;

    sl_status status = check_tensor(gguf, "token_embd.weight", shape->width, shape->vocab);
    if (status == SL_OK) status = check_tensor(gguf, "output_norm.weight", shape->width, 1);
    if (status == SL_OK && !shape->tied)
        status = check_tensor(gguf, "output.weight", shape->width, shape->vocab);
    if (status == SL_OK) status = check_rope_freqs(gguf, shape);
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        for (int k = 0; k < N_LAYER_TENSORS && status == SL_OK; k++) {
            const layer_tensor *which = &LAYER_TENSORS[k];
            char name[64];
            if (which->presence == OPTIONAL && !find_layer_tensor(gguf, layer, which)) continue;
            snprintf(name, sizeof name, "blk.%u.%s", layer, which->suffix);
            status = check_tensor(gguf, name, dim_size(shape, which->in),
                                  dim_size(shape, which->out));
        }
    }
    return status == SL_OK ? check_none_unknown(gguf, shape) : status;
}

sl_status sl_model_shape_read(const sl_gguf *gguf, sl_model_shape *shape_out)
{
    sl_model_shape shape;
    sl_status status = sl_shape_read_keys(gguf, &shape);
    if (status == SL_OK) status = check_tensors(gguf, &shape);
    if (status == SL_OK) *shape_out = shape;
    return status;
}

/* ---- sizes, binding ---- */

static uint64_t named_bytes(const sl_gguf *gguf, const char *name)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    return t ? t->data_bytes : 0;
}

uint64_t sl_weights_layer_bytes(const sl_gguf *gguf, uint32_t layer)
{
    uint64_t bytes = 0;
    for (int k = 0; k < N_LAYER_TENSORS; k++) {
        const sl_gguf_tensor *t = find_layer_tensor(gguf, layer, &LAYER_TENSORS[k]);
        if (t) bytes += t->data_bytes;
    }
    return bytes;
}

uint64_t sl_weights_embedding_bytes(const sl_gguf *gguf)
{
    return named_bytes(gguf, "token_embd.weight");
}

uint64_t sl_weights_head_bytes(const sl_gguf *gguf, const sl_model_shape *shape)
{
    return named_bytes(gguf, shape->tied ? "token_embd.weight" : "output.weight") +
           named_bytes(gguf, "output_norm.weight");
}

static sl_matrix bind_matrix(const sl_gguf_tensor *t)
{
    return (sl_matrix){
        .data = t->data,
        .type = t->type,
        .n_in = t->dims[0],
        .n_out = t->dims[1],
        .row_bytes = t->data_bytes / t->dims[1],
    };
}

static void bind_layer(const sl_gguf *gguf, uint32_t layer, sl_layer_weights *out)
{
    for (int k = 0; k < N_LAYER_TENSORS; k++) {
        const layer_tensor *which = &LAYER_TENSORS[k];
        const sl_gguf_tensor *t = find_layer_tensor(gguf, layer, which);
        char *place = (char *)out + which->offset;
        if (which->out == DIM_NONE)
            *(const float **)(void *)place = t ? t->data : NULL;
        else
            *(sl_matrix *)(void *)place = bind_matrix(t);
    }
}

static const sl_gguf_tensor *head_tensor(const sl_gguf *gguf, const sl_model_shape *shape)
{
    return sl_gguf_find(gguf, shape->tied ? "token_embd.weight" : "output.weight");
}

void sl_weights_bind(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t layer_begin,
                     uint32_t layer_end, sl_arena *arena, sl_weights *weights_out)
{
    SL_ASSERT(layer_begin < layer_end && layer_end <= shape->n_layers);
    sl_weights w = {.shape = *shape, .layer_begin = layer_begin, .layer_end = layer_end};
    w.layers = sl_arena_array(arena, sl_layer_weights, layer_end - layer_begin);
    for (uint32_t i = layer_begin; w.layers && i < layer_end; i++)
        bind_layer(gguf, i, &w.layers[i - layer_begin]);
    const sl_gguf_tensor *rope_freqs = sl_gguf_find(gguf, ROPE_FREQS);
    if (rope_freqs) w.rope_freqs = rope_freqs->data;
    if (layer_begin == 0) w.embedding = bind_matrix(sl_gguf_find(gguf, "token_embd.weight"));
    if (layer_end == shape->n_layers) {
        w.output_norm = sl_gguf_find(gguf, "output_norm.weight")->data;
        w.head = bind_matrix(head_tensor(gguf, shape));
    }
    *weights_out = w;
}

/* ---- packing ---- */

static size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* The i-th matrix of a stage that is packed if it is quantized, or NULL behind the last. */
static sl_matrix *matrix_at(sl_weights *w, size_t i)
{
    static const size_t PLACES[] = {
        offsetof(sl_layer_weights, q),    offsetof(sl_layer_weights, k),
        offsetof(sl_layer_weights, v),    offsetof(sl_layer_weights, o),
        offsetof(sl_layer_weights, gate), offsetof(sl_layer_weights, up),
        offsetof(sl_layer_weights, down),
    };
    const size_t n = sizeof PLACES / sizeof *PLACES, layer = i / n;
    size_t n_layers = w->layer_end - w->layer_begin;
    if (layer < n_layers) return (sl_matrix *)(void *)((char *)&w->layers[layer] + PLACES[i % n]);
    return i == n_layers * n && w->head.data ? &w->head : NULL;
}

size_t sl_weights_packed_bytes(const sl_gguf *gguf, const sl_model_shape *shape,
                               uint32_t layer_begin, uint32_t layer_end)
{
    size_t bytes = 0;
    for (uint32_t layer = layer_begin; layer < layer_end; layer++)
        for (int k = 0; k < N_LAYER_TENSORS; k++) {
            const sl_gguf_tensor *t = find_layer_tensor(gguf, layer, &LAYER_TENSORS[k]);
            sl_matrix w = {0};
            if (t && LAYER_TENSORS[k].out != DIM_NONE) w = bind_matrix(t);
            if (w.data) bytes += aligned(sl_packed_bytes(&w));
        }
    if (layer_end < shape->n_layers) return bytes;
    sl_matrix head = bind_matrix(head_tensor(gguf, shape));
    return bytes + aligned(sl_packed_bytes(&head));
}

typedef struct {
    const sl_matrix *matrix;
    void *out;
} packing;

static void pack_share(void *context, sl_member me)
{
    const packing *p = context;
    sl_share panels = sl_team_share(me, sl_n_panels(p->matrix), 1);
    sl_pack(p->matrix, panels.begin, panels.end, p->out);
}

void sl_weights_pack(const sl_gguf *gguf, sl_weights *weights, void *storage, sl_team *team)
{
    uint8_t *out = storage;
    sl_matrix *w;
    for (size_t i = 0; (w = matrix_at(weights, i)); i++) {
        size_t bytes = sl_packed_bytes(w);
        if (bytes == 0) continue;
        sl_team_run(team, pack_share, &(packing){w, out});
        bool embeds = w->data == weights->embedding.data;
        sl_gguf_forget(gguf, w->data, w->row_bytes * w->n_out);
        w->data = out;
        w->packed = true;
        if (embeds) weights->embedding = *w;
        out += aligned(bytes);
    }
}

/* ---- hashing ---- */

/* 0 of a tensor that may be there and is not: the header's hash tells the files apart. */
static uint64_t tensor_hash(const sl_gguf *gguf, const char *name)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    if (!t) return 0;
    uint64_t hash = XXH3_64bits_withSeed(t->data, t->data_bytes, XXH3_64bits(name, strlen(name)));
    sl_gguf_forget(gguf, t->data, t->data_bytes);
    return hash;
}

uint64_t sl_weights_hash_share(const sl_gguf *gguf, const sl_weights *weights)
{
    uint64_t sum = 0;
    for (uint32_t layer = weights->layer_begin; layer < weights->layer_end; layer++) {
        for (int k = 0; k < N_LAYER_TENSORS; k++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%u.%s", layer, LAYER_TENSORS[k].suffix);
            sum += tensor_hash(gguf, name);
        }
    }
    if (weights->embedding.data)
        sum += sl_gguf_header_hash(gguf) + tensor_hash(gguf, "token_embd.weight") +
               tensor_hash(gguf, ROPE_FREQS);
    if (weights->head.data) {
        sum += tensor_hash(gguf, "output_norm.weight");
        if (!weights->shape.tied) sum += tensor_hash(gguf, "output.weight");
    }
    return sum;
}

uint64_t sl_weights_tensors_hash(const sl_gguf *gguf, uint64_t model_hash)
{
    return model_hash - sl_gguf_header_hash(gguf);
}

uint64_t sl_weights_bytes(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t layer_begin,
                          uint32_t layer_end)
{
    bool first = layer_begin == 0, last = layer_end == shape->n_layers;
    uint64_t bytes = named_bytes(gguf, ROPE_FREQS);
    for (uint32_t layer = layer_begin; layer < layer_end; layer++)
        bytes += sl_weights_layer_bytes(gguf, layer);
    if (first) bytes += sl_weights_embedding_bytes(gguf);
    if (last) bytes += sl_weights_head_bytes(gguf, shape);
    if (first && last && shape->tied) bytes -= sl_weights_embedding_bytes(gguf);
    return bytes;
}
