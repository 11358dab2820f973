/* runtime/model/weights.c - one table says which tensors a layer has and their shapes; checking,
 * sizing, binding and hashing all walk it. Owns nothing: pointers go into the mapped file. */
#include "runtime/model/weights.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/log.h"

typedef enum { DIM_NONE, DIM_WIDTH, DIM_HEADS, DIM_KV_HEADS, DIM_FFN, DIM_VOCAB } dim;

typedef struct {
    const char *suffix;
    dim in, out;   /* out DIM_NONE: a vector */
    size_t offset; /* of its place in sl_layer_weights */
} layer_tensor;

static const layer_tensor LAYER_TENSORS[] = {
    {"attn_norm.weight", DIM_WIDTH, DIM_NONE, offsetof(sl_layer_weights, attn_norm)},
    {"attn_q.weight", DIM_WIDTH, DIM_HEADS, offsetof(sl_layer_weights, q)},
    {"attn_k.weight", DIM_WIDTH, DIM_KV_HEADS, offsetof(sl_layer_weights, k)},
    {"attn_v.weight", DIM_WIDTH, DIM_KV_HEADS, offsetof(sl_layer_weights, v)},
    {"attn_output.weight", DIM_HEADS, DIM_WIDTH, offsetof(sl_layer_weights, o)},
    {"ffn_norm.weight", DIM_WIDTH, DIM_NONE, offsetof(sl_layer_weights, ffn_norm)},
    {"ffn_gate.weight", DIM_WIDTH, DIM_FFN, offsetof(sl_layer_weights, gate)},
    {"ffn_up.weight", DIM_WIDTH, DIM_FFN, offsetof(sl_layer_weights, up)},
    {"ffn_down.weight", DIM_FFN, DIM_WIDTH, offsetof(sl_layer_weights, down)},
};
enum { N_LAYER_TENSORS = sizeof LAYER_TENSORS / sizeof *LAYER_TENSORS };

enum { LAYERS_MAX = 1024, WIDTH_MAX = 1 << 16, HEAD_DIM_MAX = 256 };

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

/* ---- reading the shape ---- */

static sl_status read_key(const sl_gguf *gguf, const char *key, uint32_t low, uint32_t high,
                          uint32_t *out)
{
    if (!sl_gguf_u32(gguf, key, out)) {
        sl_error("%s: key %s is missing or not an integer", sl_gguf_path(gguf), key);
        return SL_ERR_FORMAT;
    }
    if (*out < low || *out > high) {
        sl_error("%s: %s is %u, expected %u to %u", sl_gguf_path(gguf), key, *out, low, high);
        return SL_ERR_FORMAT;
    }
    return SL_OK;
}

static sl_status refuse(const sl_gguf *gguf, const char *what)
{
    sl_error("%s: %s is not supported", sl_gguf_path(gguf), what);
    return SL_ERR_UNSUPPORTED;
}

static sl_status check_variants(const sl_gguf *gguf, const sl_model_shape *shape)
{
    sl_text scaling;
    uint32_t number;
    if (sl_gguf_text(gguf, "llama.rope.scaling.type", &scaling) &&
        !(scaling.bytes == 4 && memcmp(scaling.data, "none", 4) == 0)) {
        char what[96];
        snprintf(what, sizeof what, "rope scaling '%.*s'",
                 (int)(scaling.bytes < 40 ? scaling.bytes : 40), scaling.data);
        return refuse(gguf, what);
    }
    if (sl_gguf_u32(gguf, "llama.expert_count", &number) && number > 0)
        return refuse(gguf, "a mixture of experts (llama.expert_count)");
    if (sl_gguf_u32(gguf, "llama.attention.value_length", &number) && number != shape->head_dim)
        return refuse(gguf, "llama.attention.value_length other than the key length");
    if (sl_gguf_u32(gguf, "llama.attention.sliding_window", &number) && number > 0)
        return refuse(gguf, "llama.attention.sliding_window");
    return SL_OK;
}

static sl_status read_numbers(const sl_gguf *gguf, sl_model_shape *s)
{
    sl_status status;
    const char *heads = "llama.attention.head_count";
    if ((status = read_key(gguf, "llama.block_count", 1, LAYERS_MAX, &s->n_layers)) != SL_OK ||
        (status = read_key(gguf, "llama.embedding_length", 16, WIDTH_MAX, &s->width)) != SL_OK ||
        (status = read_key(gguf, "llama.feed_forward_length", 16, 1 << 20, &s->ffn_width)) !=
            SL_OK ||
        (status = read_key(gguf, "llama.context_length", 1, 1 << 24, &s->context)) != SL_OK ||
        (status = read_key(gguf, heads, 1, 4096, &s->n_heads)) != SL_OK)
        return status;

    s->n_kv_heads = s->n_heads;
    if (sl_gguf_has(gguf, "llama.attention.head_count_kv") &&
        (status = read_key(gguf, "llama.attention.head_count_kv", 1, s->n_heads, &s->n_kv_heads)))
        return status;
    s->head_dim = s->width / s->n_heads;
    if (sl_gguf_has(gguf, "llama.attention.key_length") &&
        (status = read_key(gguf, "llama.attention.key_length", 16, HEAD_DIM_MAX, &s->head_dim)))
        return status;
    s->rope_dim = s->head_dim;
    if (sl_gguf_has(gguf, "llama.rope.dimension_count") &&
        (status = read_key(gguf, "llama.rope.dimension_count", 2, s->head_dim, &s->rope_dim)))
        return status;

    if (s->n_heads % s->n_kv_heads != 0 || s->head_dim % 16 != 0 || s->head_dim == 0 ||
        s->head_dim > HEAD_DIM_MAX || s->rope_dim % 2 != 0) {
        sl_error("%s: %u heads, %u KV heads of %u (rope %u): expected KV heads to divide heads, a "
                 "head of a multiple of 16 up to %d, an even rope",
                 sl_gguf_path(gguf), s->n_heads, s->n_kv_heads, s->head_dim, s->rope_dim,
                 HEAD_DIM_MAX);
        return SL_ERR_UNSUPPORTED;
    }
    s->rope_base = 10000.0F;
    sl_gguf_f32(gguf, "llama.rope.freq_base", &s->rope_base);
    if (!sl_gguf_f32(gguf, "llama.attention.layer_norm_rms_epsilon", &s->rms_eps)) {
        sl_error("%s: key llama.attention.layer_norm_rms_epsilon is missing", sl_gguf_path(gguf));
        return SL_ERR_FORMAT;
    }
    if (!(s->rope_base > 0 && s->rope_base < INFINITY && s->rms_eps >= 0 &&
          s->rms_eps < INFINITY)) {
        sl_error("%s: rope base %g and RMS epsilon %g make no sense", sl_gguf_path(gguf),
                 (double)s->rope_base, (double)s->rms_eps);
        return SL_ERR_FORMAT;
    }
    return check_variants(gguf, s);
}

/* ---- checking tensors ---- */

static bool has_kernels(uint32_t type, bool vector)
{
    if (vector) return type == SL_TYPE_F32;
    return type == SL_TYPE_F32 || type == SL_TYPE_F16 || type == SL_TYPE_Q4_1 ||
           type == SL_TYPE_Q8_0;
}

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
    bool vector = n_out == 1;
    if (!has_kernels(t->type, vector)) {
        sl_error("%s: tensor %s is of type %s, supported here: %s", path, name,
                 sl_type_name(t->type), vector ? "f32" : "f32, f16, q8_0, q4_1");
        return SL_ERR_UNSUPPORTED;
    }
    if (n_in % SL_BLOCK != 0) {
        sl_error("%s: tensor %s has rows of %llu, supported are multiples of %d", path, name,
                 (unsigned long long)n_in, SL_BLOCK);
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

/* Whether this is exactly a name that binding looks up; "blk.00.attn_q.weight" is not. */
static bool is_known(sl_text name, const sl_model_shape *shape)
{
    static const char *const OTHERS[] = {"token_embd.weight", "output_norm.weight",
                                         "output.weight"};
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
        sl_error(
            "%s: tensor %.*s is not known to this architecture ('llama': no biases, no rope_freqs "
            "yet)",
            sl_gguf_path(gguf), (int)(name.bytes < 90 ? name.bytes : 90), name.data);
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
    for (uint32_t layer = 0; layer < shape->n_layers; layer++) {
        for (int k = 0; k < N_LAYER_TENSORS && status == SL_OK; k++) {
            const layer_tensor *which = &LAYER_TENSORS[k];
            char name[64];
            snprintf(name, sizeof name, "blk.%u.%s", layer, which->suffix);
            status = check_tensor(gguf, name, dim_size(shape, which->in),
                                  dim_size(shape, which->out));
        }
    }
    return status == SL_OK ? check_none_unknown(gguf, shape) : status;
}

sl_status sl_model_shape_read(const sl_gguf *gguf, sl_model_shape *shape_out)
{
    sl_text architecture;
    if (!sl_gguf_text(gguf, "general.architecture", &architecture)) {
        sl_error("%s: key general.architecture is missing", sl_gguf_path(gguf));
        return SL_ERR_FORMAT;
    }
    if (architecture.bytes != 5 || memcmp(architecture.data, "llama", 5) != 0) {
        sl_error("%s: architecture '%.*s' is not supported, only 'llama' is", sl_gguf_path(gguf),
                 (int)(architecture.bytes < 40 ? architecture.bytes : 40), architecture.data);
        return SL_ERR_UNSUPPORTED;
    }
    sl_model_shape shape = {0};
    sl_status status = read_numbers(gguf, &shape);
    if (status == SL_OK) status = check_tensors(gguf, &shape);
    if (status == SL_OK) *shape_out = shape;
    return status;
}

/* ---- sizes, binding, hashing ---- */

static uint64_t named_bytes(const sl_gguf *gguf, const char *name)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    return t ? t->data_bytes : 0;
}

uint64_t sl_weights_layer_bytes(const sl_gguf *gguf, uint32_t layer)
{
    uint64_t bytes = 0;
    for (int k = 0; k < N_LAYER_TENSORS; k++)
        bytes += find_layer_tensor(gguf, layer, &LAYER_TENSORS[k])->data_bytes;
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
            *(const float **)(void *)place = t->data;
        else
            *(sl_matrix *)(void *)place = bind_matrix(t);
    }
}

void sl_weights_bind(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t layer_begin,
                     uint32_t layer_end, sl_arena *arena, sl_weights *weights_out)
{
    SL_ASSERT(layer_begin < layer_end && layer_end <= shape->n_layers);
    sl_weights w = {.shape = *shape, .layer_begin = layer_begin, .layer_end = layer_end};
    w.layers = sl_arena_array(arena, sl_layer_weights, layer_end - layer_begin);
    for (uint32_t i = layer_begin; w.layers && i < layer_end; i++)
        bind_layer(gguf, i, &w.layers[i - layer_begin]);
    if (layer_begin == 0) w.embedding = bind_matrix(sl_gguf_find(gguf, "token_embd.weight"));
    if (layer_end == shape->n_layers) {
        w.output_norm = sl_gguf_find(gguf, "output_norm.weight")->data;
        w.head = bind_matrix(
            sl_gguf_find(gguf, shape->tied ? "token_embd.weight" : "output.weight"));
    }
    *weights_out = w;
}

static uint64_t tensor_hash(const sl_gguf *gguf, const char *name)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    return XXH3_64bits_withSeed(t->data, t->data_bytes, XXH3_64bits(name, strlen(name)));
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
        sum += sl_gguf_header_hash(gguf) + tensor_hash(gguf, "token_embd.weight");
    if (weights->head.data) {
        sum += tensor_hash(gguf, "output_norm.weight");
        if (!weights->shape.tied) sum += tensor_hash(gguf, "output.weight");
    }
    return sum;
}

uint64_t sl_weights_bytes(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t layer_begin,
                          uint32_t layer_end)
{
    bool first = layer_begin == 0, last = layer_end == shape->n_layers;
    uint64_t bytes = 0;
    for (uint32_t layer = layer_begin; layer < layer_end; layer++)
        bytes += sl_weights_layer_bytes(gguf, layer);
    if (first) bytes += sl_weights_embedding_bytes(gguf);
    if (last) bytes += sl_weights_head_bytes(gguf, shape);
    if (first && last && shape->tied) bytes -= sl_weights_embedding_bytes(gguf);
    return bytes;
}
