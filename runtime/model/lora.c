/* runtime/model/lora.c - see lora.h. */
#include "runtime/model/lora.h"

#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

enum { PIECE_BYTES = 1 << 20 }; /* of a tensor, read at once */

/* ---- which ---- */

/* What the file's maps are multiplied by are numbers. */
static sl_status check_factors(const sl_lora_file *file, float scale, uint32_t n_layers)
{
    for (uint32_t layer = 0; layer < n_layers; layer++)
        for (int map = 0; map < SL_LAYER_MAPS; map++) {
            sl_lora_pair pair = sl_lora_file_pair(file, layer, (sl_layer_map)map);
            if (!pair.a || isfinite(sl_lora_file_factor(file, pair, scale))) continue;
            sl_error("%s: a scale of %g times an alpha of %g is beyond what a float holds: give a "
                     "smaller scale",
                     sl_gguf_path(sl_lora_file_gguf(file)), (double)scale,
                     (double)sl_lora_file_alpha(file));
            return SL_ERR_OPTION;
        }
    return SL_OK;
}

sl_status sl_lora_add_file(sl_lora *lora, sl_lora_file *file, float scale)
{
    if (lora->n == SL_LORA_FILES_MAX) {
        sl_error("more than %d LoRA adapters: give fewer", SL_LORA_FILES_MAX);
        sl_lora_file_close(file);
        return SL_ERR_OPTION;
    }
    lora->items[lora->n++] = (sl_lora_item){.file = file, .scale = scale};
    return check_factors(file, scale, sl_lora_file_layers(file));
}

sl_status sl_lora_add(sl_lora *lora, const char *path, float scale, const sl_gguf *model,
                      const sl_model_shape *shape)
{
    sl_lora_file *file;
    sl_status status = sl_lora_file_open(path, model, shape, &file);
    return status == SL_OK ? sl_lora_add_file(lora, file, scale) : status;
}

void sl_lora_close(sl_lora *lora)
{
    for (uint32_t i = 0; i < lora->n; i++) sl_lora_file_close(lora->items[i].file);
    *lora = (sl_lora){.n = 0};
}

uint64_t sl_lora_hash(const sl_lora *lora)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < lora->n; i++) {
        const uint64_t file = sl_lora_file_hash(lora->items[i].file);
        hash = XXH3_64bits_withSeed(&file, sizeof file, hash);
        hash = XXH3_64bits_withSeed(&lora->items[i].scale, sizeof lora->items[i].scale, hash);
    }
    return hash;
}

/* ---- how large ---- */

/* Of all adapters together; 0: none changes this map. */
static size_t rank_of(const sl_lora *lora, uint32_t layer, sl_layer_map map)
{
    size_t rank = 0;
    for (uint32_t i = 0; i < lora->n; i++) {
        sl_lora_pair pair = sl_lora_file_pair(lora->items[i].file, layer, map);
        if (pair.a) rank += sl_lora_pair_rank(pair);
    }
    return rank;
}

static sl_matrix bind_matrix(size_t n_out, size_t n_in, sl_arena *arena)
{
    return (sl_matrix){.data = sl_arena_array(arena, float, n_out *n_in),
                       .type = SL_TYPE_F32,
                       .n_out = n_out,
                       .n_in = n_in,
                       .row_bytes = n_in * sizeof(float)};
}

static void bind_layer(const sl_lora *lora, const sl_model_shape *shape, uint32_t layer,
                       sl_arena *arena, sl_lora_layer *out)
{
    *out = (sl_lora_layer){0};
    for (int map = 0; map < SL_LAYER_MAPS; map++) {
        const sl_layer_tensor *sides = sl_layer_map_tensor((sl_layer_map)map);
        size_t rank = rank_of(lora, layer, (sl_layer_map)map);
        if (rank == 0) continue;
        out->maps[map].a = bind_matrix(rank, sl_dim_size(shape, sides->in), arena);
        out->maps[map].b = bind_matrix(sl_dim_size(shape, sides->out), rank, arena);
    }
}

uint64_t sl_lora_layer_bytes(const sl_lora *lora, const sl_model_shape *shape, uint32_t layer)
{
    sl_arena arena;
    sl_lora_layer counted;
    sl_arena_init(&arena, NULL, 0);
    bind_layer(lora, shape, layer, &arena, &counted);
    return arena.used_bytes;
}

/* Maps of one input are computed together. */
static size_t reduced_width(const sl_lora_layer *layer)
{
    const sl_low_rank *m = layer->maps;
    size_t qkv = m[SL_MAP_Q].a.n_out + m[SL_MAP_K].a.n_out + m[SL_MAP_V].a.n_out,
           gate_up = m[SL_MAP_GATE].a.n_out + m[SL_MAP_UP].a.n_out;
    return sl_max_size(sl_max_size(qkv, gate_up),
                       sl_max_size(m[SL_MAP_O].a.n_out, m[SL_MAP_DOWN].a.n_out));
}

void sl_lora_bind(const sl_lora *lora, const sl_model_shape *shape, uint32_t layer_begin,
                  uint32_t layer_end, sl_arena *arena, sl_lora_weights *weights_out)
{
    SL_ASSERT(layer_begin < layer_end && layer_end <= shape->n_layers);
    sl_lora_weights w = {.layer_begin = layer_begin, .layer_end = layer_end};
    w.layers = sl_arena_array(arena, sl_lora_layer, layer_end - layer_begin);
    for (uint32_t i = layer_begin; i < layer_end; i++) {
        sl_lora_layer layer;
        bind_layer(lora, shape, i, arena, &layer);
        w.reduced_max = sl_max_size(w.reduced_max, reduced_width(&layer));
        if (w.layers) w.layers[i - layer_begin] = layer;
    }
    *weights_out = w;
}

/* ---- loading ---- */

/* Where a tensor's rows go: row i to out + i * stride, times the factor. */
typedef struct {
    float *out;
    size_t stride;
    float factor;
} rows_place;

static void widen_rows(const sl_matrix *rows, const rows_place *to, size_t first)
{
    for (size_t i = 0; i < rows->n_out; i++) {
        float *out = to->out + (first + i) * to->stride;
        sl_matrix_row(rows, i, out);
        for (size_t k = 0; k < rows->n_in; k++) out[k] *= to->factor;
    }
}

static sl_status load_rows(const sl_gguf *gguf, const sl_gguf_tensor *t, const rows_place *to)
{
    size_t n_out = t->dims[1], row_bytes = t->data_bytes / n_out,
           step = sl_max_size(PIECE_BYTES / row_bytes, 1);
    uint8_t *piece = malloc(sl_min_size(step, n_out) * row_bytes);
    sl_status status = piece ? SL_OK : SL_ERR_MEMORY;
    for (size_t row = 0; row < n_out && status == SL_OK; row += step) {
        sl_matrix rows = {.data = piece,
                          .type = t->type,
                          .n_out = sl_min_size(step, n_out - row),
                          .n_in = t->dims[0],
                          .row_bytes = row_bytes};
        status = sl_gguf_read(gguf, t, row * row_bytes, rows.n_out * row_bytes, piece);
        if (status == SL_OK) widen_rows(&rows, to, row);
    }
    if (!piece) sl_error("%s: no memory to read it", sl_gguf_path(gguf));
    free(piece);
    return status;
}

/* All adapters' of one map, side by side. */
static sl_status load_map(const sl_lora *lora, uint32_t layer, sl_layer_map map,
                          const sl_low_rank *low)
{
    float *a = (float *)(uintptr_t)low->a.data, *b = (float *)(uintptr_t)low->b.data;
    sl_status status = SL_OK;
    for (uint32_t i = 0; i < lora->n && status == SL_OK; i++) {
        const sl_lora_item *item = &lora->items[i];
        const sl_gguf *gguf = sl_lora_file_gguf(item->file);
        sl_lora_pair pair = sl_lora_file_pair(item->file, layer, map);
        if (!pair.a) continue;
        rows_place to_a = {a, low->a.n_in, 1};
        rows_place to_b = {b, low->b.n_in, sl_lora_file_factor(item->file, pair, item->scale)};
        status = load_rows(gguf, pair.a, &to_a);
        if (status == SL_OK) status = load_rows(gguf, pair.b, &to_b);
        a += (size_t)sl_lora_pair_rank(pair) * low->a.n_in;
        b += sl_lora_pair_rank(pair);
    }
    return status;
}

sl_status sl_lora_load(const sl_lora *lora, sl_lora_weights *weights)
{
    sl_status status = SL_OK;
    for (uint32_t i = weights->layer_begin; i < weights->layer_end; i++) {
        const sl_lora_layer *layer = &weights->layers[i - weights->layer_begin];
        for (int map = 0; map < SL_LAYER_MAPS && status == SL_OK; map++)
            if (layer->maps[map].a.data)
                status = load_map(lora, i, (sl_layer_map)map, &layer->maps[map]);
    }
    return status;
}
