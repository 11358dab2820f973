/* runtime/model/weights.c - one table says which tensors a layer may have and their shapes
 * (layer_weights.h); checking, sizing, binding and loading all walk it. Owns nothing: weights live
 * in the caller's arena. */
#include "runtime/model/weights.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/kernels/matmul/pack.h"
#include "runtime/model/architecture.h"
#include "runtime/model/tensor_loader.h"

static const char ROPE_FREQS[] = "rope_freqs.weight";

enum { TENSOR_NAME_BYTES = 64 };

static const char *layer_tensor_name(uint32_t layer, const sl_layer_tensor *which,
                                     char out[TENSOR_NAME_BYTES])
{
    snprintf(out, TENSOR_NAME_BYTES, "blk.%u.%s", layer, which->suffix);
    return out;
}

static const sl_gguf_tensor *find_layer_tensor(const sl_gguf *gguf, uint32_t layer,
                                               const sl_layer_tensor *which)
{
    char name[TENSOR_NAME_BYTES];
    return sl_gguf_find(gguf, layer_tensor_name(layer, which, name));
}

static const char *head_name(const sl_model_shape *shape)
{
    return shape->tied ? "token_embd.weight" : "output.weight";
}

/* ---- checking tensors ---- */

static bool may_have(const sl_architecture *architecture, sl_tensor_set set)
{
    return (architecture->required | architecture->optional) & set;
}

static sl_status check_type(const sl_gguf *gguf, const char *name, const sl_gguf_tensor *t,
                            sl_type_use use)
{
    char names[SL_TYPE_NAMES_MAX];
    if (sl_type_has_use(t->type, use)) return SL_OK;
    sl_type_names(use, names, sizeof names);
    sl_error("%s: tensor %s is of type %s, supported here: %s. Take the model in another type, or "
             "make one of its F16 file: llama-quantize MODEL-F16.gguf MODEL-Q4_K_M.gguf Q4_K_M",
             sl_gguf_path(gguf), name, sl_type_name(t->type), names);
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
    sl_status status = check_type(gguf, name, t,
                                  n_out == 1 ? SL_TYPE_OF_VECTORS : SL_TYPE_OF_MATRICES);
    if (status == SL_OK && n_out != 1 && n_in % SL_BLOCK != 0) {
        sl_error("%s: tensor %s has rows of %llu, supported are multiples of %d", path, name,
                 (unsigned long long)n_in, SL_BLOCK);
        return SL_ERR_UNSUPPORTED;
    }
    return status;
}

/* In memory; a file may have them in 16 bits. */
static size_t vector_bytes(const sl_gguf_tensor *t) { return t->dims[0] * sizeof(float); }

static sl_status check_divisors(const sl_gguf *gguf, const sl_gguf_tensor *t)
{
    void *bytes = malloc(t->data_bytes);
    float *divisors = malloc(vector_bytes(t));
    sl_status status = SL_ERR_MEMORY;
    if (bytes && divisors) status = sl_gguf_read(gguf, t, 0, t->data_bytes, bytes);
    if (status == SL_OK) sl_widen_vector(t, bytes, divisors);
    for (size_t i = 0; i < t->dims[0] && status == SL_OK; i++) {
        if (divisors[i] > 0 && divisors[i] < INFINITY) continue;
        sl_error("%s: tensor %s divides frequency %zu by %g", sl_gguf_path(gguf), ROPE_FREQS, i,
                 (double)divisors[i]);
        status = SL_ERR_FORMAT;
    }
    free(bytes);
    free(divisors);
    return status;
}

/* They are divided by; a file with these and a scaling that they are made of would scale twice. */
static sl_status check_rope_freqs(const sl_gguf *gguf, const sl_model_shape *shape)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, ROPE_FREQS);
    if (!t) return SL_OK;
    for (uint32_t kind = 0; kind < shape->n_kinds; kind++) {
        const sl_rope *rope = &shape->kinds[kind].rope;
        if (rope->dim == 0) continue;
        sl_status status = check_tensor(gguf, ROPE_FREQS, rope->dim / 2, 1);
        if (status != SL_OK) return status;
        if (rope->scaling != SL_ROPE_LLAMA3) continue;
        sl_error("%s: tensor %s beside rope scaling 'llama3': either, not both", sl_gguf_path(gguf),
                 ROPE_FREQS);
        return SL_ERR_UNSUPPORTED;
    }
    return check_divisors(gguf, t);
}

/* Whether this is exactly a name that binding looks up; "blk.00.attn_q.weight" is not. */
static bool is_known(const sl_architecture *architecture, sl_text name, const sl_model_shape *shape)
{
    static const char *const OTHERS[] = {"token_embd.weight", "output_norm.weight",
                                         "output.weight"};
    char text[64], again[96], *end;
    if (name.bytes >= sizeof text || memchr(name.data, 0, name.bytes)) return false;
    snprintf(text, sizeof text, "%.*s", (int)name.bytes, name.data);
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
        if (!strcmp(text, OTHERS[i])) return true;
    if (!strcmp(text, ROPE_FREQS)) return may_have(architecture, SL_TENSORS_ROPE_FREQS);
    if (strncmp(text, "blk.", 4) != 0) return false;
    unsigned long layer = strtoul(text + 4, &end, 10);
    if (*end != '.' || layer >= shape->n_layers) return false;
    snprintf(again, sizeof again, "blk.%lu.%s", layer, end + 1);
    bool found = false;
    for (size_t k = 0; k < SL_LAYER_TENSORS; k++)
        found |= may_have(architecture, sl_layer_tensors[k].set) &&
                 !strcmp(end + 1, sl_layer_tensors[k].suffix);
    return found && !strcmp(text, again);
}

/* A tensor we would not use changes what the model says: refuse rather than ignore. */
static sl_status check_none_unknown(const sl_gguf *gguf, const sl_model_shape *shape)
{
    const sl_architecture *architecture = sl_architecture_of(gguf);
    for (size_t i = 0; i < sl_gguf_n_tensors(gguf); i++) {
        sl_text name = sl_gguf_tensor_at(gguf, i)->name;
        if (is_known(architecture, name, shape)) continue;
        sl_error("%s: tensor %.*s is not supported: not known of the architecture '%s', and "
                 "without it the model would say something else",
                 sl_gguf_path(gguf), (int)sl_plain_prefix(name.data, name.bytes, 90), name.data,
                 architecture->name);
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

static sl_status check_layer(const sl_gguf *gguf, const sl_architecture *architecture,
                             const sl_model_shape *shape, uint32_t layer)
{
    sl_status status = SL_OK;
    for (size_t k = 0; k < SL_LAYER_TENSORS && status == SL_OK; k++) {
        const sl_layer_tensor *which = &sl_layer_tensors[k];
        char name[TENSOR_NAME_BYTES];
        if (!may_have(architecture, which->set)) continue; /* refused by name if it is there */
        if (!(architecture->required & which->set) && !find_layer_tensor(gguf, layer, which))
            continue;
        status = check_tensor(gguf, layer_tensor_name(layer, which, name),
                              sl_dim_size(shape, which->in), sl_dim_size(shape, which->out));
    }
    return status;
}

static sl_status check_tensors(const sl_gguf *gguf, sl_model_shape *shape)
{
    const sl_architecture *architecture = sl_architecture_of(gguf);
    const sl_gguf_tensor *embedding = sl_gguf_find(gguf, "token_embd.weight");
    if (embedding && embedding->dims[1] > 0 && embedding->dims[1] <= INT32_MAX)
        shape->vocab = (uint32_t)embedding->dims[1];
    shape->tied = sl_gguf_find(gguf, "output.weight") == NULL;

    sl_status status = check_tensor(gguf, "token_embd.weight", shape->width, shape->vocab);
    if (status == SL_OK) status = check_tensor(gguf, "output_norm.weight", shape->width, 1);
    if (status == SL_OK && !shape->tied)
        status = check_tensor(gguf, "output.weight", shape->width, shape->vocab);
    if (status == SL_OK && may_have(architecture, SL_TENSORS_ROPE_FREQS))
        status = check_rope_freqs(gguf, shape);
    for (uint32_t layer = 0; layer < shape->n_layers && status == SL_OK; layer++)
        status = check_layer(gguf, architecture, shape, layer);
    return status == SL_OK ? check_none_unknown(gguf, shape) : status;
}

sl_status sl_model_shape_read(const sl_gguf *gguf, sl_model_shape *shape_out)
{
    sl_model_shape shape;
    const sl_architecture *architecture;
    sl_status status = sl_architecture_find(gguf, &architecture);
    if (status == SL_OK) status = architecture->read_shape(gguf, architecture, &shape);
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
    for (size_t k = 0; k < SL_LAYER_TENSORS; k++) {
        const sl_gguf_tensor *t = find_layer_tensor(gguf, layer, &sl_layer_tensors[k]);
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
    return named_bytes(gguf, head_name(shape)) + named_bytes(gguf, "output_norm.weight");
}

static const sl_gguf_tensor *head_tensor(const sl_gguf *gguf, const sl_model_shape *shape)
{
    return sl_gguf_find(gguf, head_name(shape));
}

/* Without its bytes. */
static sl_matrix matrix_of(const sl_gguf_tensor *t)
{
    return (sl_matrix){
        .type = t->type,
        .n_in = t->dims[0],
        .n_out = t->dims[1],
        .row_bytes = t->data_bytes / t->dims[1],
    };
}

/* What a matrix takes in memory once it is loaded. */
static size_t loaded_bytes(const sl_gguf_tensor *t)
{
    sl_matrix w = matrix_of(t);
    size_t packed = sl_packed_bytes(&w);
    return packed > 0 ? packed : t->data_bytes;
}

/* A counting arena has no places: what is there is told by what is not NULL. */
static void *take_place(sl_arena *arena, size_t bytes)
{
    static uint8_t nowhere;
    void *place = sl_arena_take(arena, bytes);
    return place ? place : &nowhere;
}

static sl_matrix bind_matrix(const sl_gguf_tensor *t, size_t bytes, sl_arena *arena)
{
    sl_matrix w = matrix_of(t);
    w.data = take_place(arena, bytes);
    return w;
}

static void bind_layer(const sl_gguf *gguf, uint32_t layer, sl_arena *arena, sl_layer_weights *out)
{
    for (size_t k = 0; k < SL_LAYER_TENSORS; k++) {
        const sl_layer_tensor *which = &sl_layer_tensors[k];
        const sl_gguf_tensor *t = find_layer_tensor(gguf, layer, which);
        char *place = (char *)out + which->offset;
        if (which->out == SL_DIM_NONE)
            *(const float **)(void *)place = t ? take_place(arena, vector_bytes(t)) : NULL;
        else
            *(sl_matrix *)(void *)place = bind_matrix(t, loaded_bytes(t), arena);
    }
}

static const float *bind_vector(const sl_gguf *gguf, const char *name, sl_arena *arena)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    return t ? take_place(arena, vector_bytes(t)) : NULL;
}

/* All but the list of layers. */
static void bind_tensors(const sl_gguf *gguf, sl_arena *arena, sl_weights *w)
{
    const sl_gguf_tensor *embedding = sl_gguf_find(gguf, "token_embd.weight");
    sl_layer_weights counted;
    for (uint32_t i = w->layer_begin; i < w->layer_end; i++)
        bind_layer(gguf, i, arena, w->layers ? &w->layers[i - w->layer_begin] : &counted);
    w->rope_freqs = bind_vector(gguf, ROPE_FREQS, arena);
    if (w->layer_end == w->shape.n_layers) {
        const sl_gguf_tensor *head = head_tensor(gguf, &w->shape);
        w->output_norm = bind_vector(gguf, "output_norm.weight", arena);
        w->head = bind_matrix(head, loaded_bytes(head), arena);
    }
    if (w->layer_begin > 0) return;
    if (w->head.data && w->shape.tied)
        w->embedding = w->head;
    else
        w->embedding = bind_matrix(embedding, embedding->data_bytes, arena);
}

void sl_weights_bind(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t layer_begin,
                     uint32_t layer_end, sl_arena *arena, sl_weights *weights_out)
{
    SL_ASSERT(layer_begin < layer_end && layer_end <= shape->n_layers);
    sl_weights w = {.shape = *shape, .layer_begin = layer_begin, .layer_end = layer_end};
    w.layers = sl_arena_array(arena, sl_layer_weights, layer_end - layer_begin);
    bind_tensors(gguf, arena, &w);
    *weights_out = w;
}

uint64_t sl_weights_held_bytes(const sl_gguf *gguf, const sl_model_shape *shape,
                               uint32_t layer_begin, uint32_t layer_end)
{
    sl_arena arena;
    sl_weights w = {.shape = *shape, .layer_begin = layer_begin, .layer_end = layer_end};
    sl_arena_init(&arena, NULL, 0);
    bind_tensors(gguf, &arena, &w);
    return arena.used_bytes;
}

/* ---- loading ---- */

typedef struct {
    const sl_gguf *gguf;
    sl_tensor_loader *tensors;
    sl_sums *sums;
} loader;

static void note_sum(const loader *l, const sl_gguf_tensor *t, uint64_t hash)
{
    uint32_t group;
    bool grouped = sl_sum_group(t->name, l->sums->n, &group);
    SL_ASSERT(grouped);
    l->sums->sums[group] += hash;
    l->sums->known[group] = true;
}

typedef enum { KEEP_ROWS, PACK_ROWS } packing_kind;

/* To where binding put it; the matrix is told whether it is packed now. */
static sl_status load_matrix(const loader *l, const char *name, sl_matrix *matrix,
                             packing_kind kind)
{
    const sl_gguf_tensor *t = sl_gguf_find(l->gguf, name);
    uint8_t *out = (void *)(uintptr_t)matrix->data;
    const bool packs = kind == PACK_ROWS && sl_packed_bytes(matrix) > 0;
    uint64_t hash;
    sl_status status = packs ? sl_load_packed(l->tensors, t, matrix, out, &hash)
                             : sl_load_plain(l->tensors, t, out, &hash);
    if (status != SL_OK) return status;
    matrix->packed = packs;
    note_sum(l, t, hash);
    return SL_OK;
}

/* NULL: there is none. */
static sl_status load_vector(const loader *l, const char *name, const float *place)
{
    if (!place) return SL_OK;
    const sl_gguf_tensor *t = sl_gguf_find(l->gguf, name);
    uint64_t hash;
    sl_status status = sl_load_vector(l->tensors, t, (void *)(uintptr_t)place, &hash);
    if (status == SL_OK) note_sum(l, t, hash);
    return status;
}

static sl_status load_layer(const loader *l, uint32_t layer, sl_layer_weights *weights)
{
    sl_status status = SL_OK;
    for (size_t k = 0; k < SL_LAYER_TENSORS && status == SL_OK; k++) {
        const sl_layer_tensor *which = &sl_layer_tensors[k];
        void *place = (char *)weights + which->offset;
        char name[TENSOR_NAME_BYTES];
        layer_tensor_name(layer, which, name);
        if (which->out == SL_DIM_NONE)
            status = load_vector(l, name, *(const float **)place);
        else
            status = load_matrix(l, name, place, PACK_ROWS);
    }
    return status;
}

static sl_status load_all(const loader *l, sl_weights *w)
{
    bool shared = w->embedding.data && w->embedding.data == w->head.data;
    sl_status status = load_vector(l, ROPE_FREQS, w->rope_freqs);
    if (status == SL_OK && w->embedding.data && !shared)
        status = load_matrix(l, "token_embd.weight", &w->embedding, KEEP_ROWS);
    for (uint32_t i = w->layer_begin; i < w->layer_end && status == SL_OK; i++)
        status = load_layer(l, i, &w->layers[i - w->layer_begin]);
    if (status == SL_OK) status = load_vector(l, "output_norm.weight", w->output_norm);
    if (status == SL_OK && w->head.data)
        status = load_matrix(l, head_name(&w->shape), &w->head, PACK_ROWS);
    if (shared) w->embedding = w->head;
    return status;
}

sl_status sl_weights_load(const sl_gguf *gguf, sl_weights *weights, sl_team *team, sl_sums *sums)
{
    loader l = {.gguf = gguf, .sums = sums};
    sl_status status = sl_tensor_loader_open(gguf, team, &l.tensors);
    if (status == SL_OK) status = load_all(&l, weights);
    sl_tensor_loader_close(l.tensors);
    return status;
}

uint64_t sl_weights_hash_share(const sl_weights *weights, const sl_sums *sums)
{
    uint64_t sum = 0;
    for (uint32_t layer = weights->layer_begin; layer < weights->layer_end; layer++)
        sum += sums->sums[SL_SUM_LAYERS + layer];
    if (weights->embedding.data)
        sum += sums->header + sums->sums[SL_SUM_TOKEN_EMBD] + sums->sums[SL_SUM_ROPE_FREQS];
    if (weights->head.data) sum += sums->sums[SL_SUM_OUTPUT_NORM] + sums->sums[SL_SUM_OUTPUT];
    return sum;
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
