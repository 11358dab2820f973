/* runtime/model/lora_file.c - an adapter's header is checked against the model's. Nothing here
 * trusts a byte of it; what it may not contain is refused by name, since an adapter that is used in
 * part says something else than the one that was trained. */
#include "runtime/model/lora_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/append.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"

enum { RANK_MAX = 1 << 14, PIECE_BYTES = 1 << 20, NAME_BYTES = 64 };

struct sl_lora_file {
    sl_gguf *owned; /* NULL: somebody else's */
    const sl_gguf *gguf;
    const sl_model_shape *shape; /* while it is read */
    uint32_t n_layers;
    float alpha;
    uint64_t hash;
    sl_lora_pair *pairs; /* [n_layers][SL_LAYER_MAPS] */
};

/* Bytes of a text of the file that a message quotes. */
static int shown(sl_text text) { return (int)sl_plain_prefix(text.data, text.bytes, 80); }

static sl_text text_of(const sl_gguf *g, const char *key)
{
    sl_text text = {"", 0};
    sl_gguf_text(g, key, &text);
    return text;
}

/* ---- keys ---- */

static sl_status check_kind(const sl_gguf *g)
{
    sl_text type = text_of(g, "general.type"), adapter = text_of(g, "adapter.type");
    if (sl_text_is(text_of(g, "general.architecture"), "sluice.gate")) {
        sl_error("%s is a gate file, no LoRA adapter: give it with -g", sl_gguf_path(g));
        return SL_ERR_FORMAT;
    }
    if (!sl_text_is(type, "adapter")) {
        sl_error("%s is no LoRA adapter: its general.type is '%.*s', not 'adapter'; llama.cpp's "
                 "convert_lora_to_gguf.py makes one of a PEFT folder",
                 sl_gguf_path(g), shown(type), type.data);
        return SL_ERR_FORMAT;
    }
    if (sl_text_is(adapter, "lora")) return SL_OK;
    sl_error("%s: adapter.type is '%.*s', supported is 'lora'", sl_gguf_path(g), shown(adapter),
             adapter.data);
    return SL_ERR_UNSUPPORTED;
}

static sl_status check_architecture(const sl_gguf *g, const sl_gguf *model)
{
    sl_text its = text_of(g, "general.architecture"),
            other = text_of(model, "general.architecture");
    if (its.bytes == other.bytes && memcmp(its.data, other.data, its.bytes) == 0) return SL_OK;
    sl_error("%s is an adapter for the architecture '%.*s', the model %s has '%.*s': give the "
             "adapter with the model it was trained on",
             sl_gguf_path(g), shown(its), its.data, sl_gguf_path(model), shown(other), other.data);
    return SL_ERR_FORMAT;
}

/* Of an adapter's own keys: one that is not known may change what it does. */
static sl_status check_keys(const sl_gguf *g)
{
    static const char PREFIX[] = "adapter.";
    static const char *const KNOWN[] = {"adapter.type", "adapter.lora.alpha",
                                        "adapter.lora.task_name", "adapter.lora.prompt_prefix"};
    for (size_t i = 0; i < sl_gguf_n_keys(g); i++) {
        sl_text key = sl_gguf_key_at(g, i);
        if (key.bytes < sizeof PREFIX - 1 || memcmp(key.data, PREFIX, sizeof PREFIX - 1) != 0)
            continue;
        bool known = false;
        for (size_t k = 0; k < sizeof KNOWN / sizeof *KNOWN; k++)
            known |= sl_text_is(key, KNOWN[k]);
        if (known) continue;
        sl_error("%s: key %.*s is not supported: the adapter would be used otherwise than it was "
                 "trained",
                 sl_gguf_path(g), shown(key), key.data);
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

static sl_status read_alpha(const sl_gguf *g, float *out)
{
    static const char KEY[] = "adapter.lora.alpha";
    *out = 0;
    if (!sl_gguf_has(g, KEY)) return SL_OK;
    if (sl_gguf_f32(g, KEY, out) && isfinite(*out)) return SL_OK;
    sl_error("%s: key %s is not a finite number", sl_gguf_path(g), KEY);
    return SL_ERR_FORMAT;
}

/* ---- tensors ---- */

/* Which map of which layer a tensor is for. */
typedef struct {
    uint32_t layer;
    sl_layer_map map;
    char side; /* 'a' or 'b' */
} place;

static const char *name_of(const place *at, char side, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "blk.%u.%s.lora_%c", at->layer, sl_layer_map_tensor(at->map)->suffix,
             side);
    return out;
}

/* false: no name that an adapter's tensor may have; "blk.00.attn_q.weight.lora_a" is none. */
static bool find_place(sl_text name, uint32_t n_layers, place *out)
{
    char text[NAME_BYTES], again[NAME_BYTES], *end;
    if (name.bytes >= sizeof text || memchr(name.data, 0, name.bytes)) return false;
    snprintf(text, sizeof text, "%.*s", (int)name.bytes, name.data);
    if (strncmp(text, "blk.", 4) != 0) return false;
    unsigned long layer = strtoul(text + 4, &end, 10);
    if (layer >= n_layers) return false;
    for (int map = 0; map < SL_LAYER_MAPS; map++)
        for (const char *side = "ab"; *side; side++) {
            *out = (place){(uint32_t)layer, (sl_layer_map)map, *side};
            if (strcmp(name_of(out, *side, again), text) == 0) return true;
        }
    return false;
}

static sl_status refuse_name(const sl_lora_file *f, sl_text name)
{
    char maps[160] = "";
    size_t used = 0;
    for (int map = 0; map < SL_LAYER_MAPS; map++) {
        const char *suffix = sl_layer_map_tensor((sl_layer_map)map)->suffix;
        sl_append(maps, sizeof maps, &used, "%s%.*s", map > 0 ? ", " : "",
                  (int)strcspn(suffix, "."), suffix);
    }
    sl_error("%s: tensor %.*s is not supported: an adapter changes blk.N.MAP.weight by lora_a and "
             "lora_b, N below %u and MAP one of %s; train it on those alone",
             sl_gguf_path(f->gguf), shown(name), name.data, f->n_layers, maps);
    return SL_ERR_UNSUPPORTED;
}

static bool has_type(const sl_gguf_tensor *t)
{
    return t->type == SL_TYPE_F32 || t->type == SL_TYPE_F16 || t->type == SL_TYPE_BF16 ||
           t->type == SL_TYPE_Q8_0;
}

/* Its side that is not the rank: rows of A are as long as the map's input, B has as many rows as
 * the map's output. */
static sl_status check_tensor(const sl_lora_file *f, const place *at, const sl_gguf_tensor *t)
{
    const sl_layer_tensor *map = sl_layer_map_tensor(at->map);
    bool is_a = at->side == 'a';
    uint64_t expected = sl_dim_size(f->shape, is_a ? map->in : map->out),
             found = t->dims[is_a ? 0 : 1], rank = t->dims[is_a ? 1 : 0];
    char name[NAME_BYTES];
    name_of(at, at->side, name);
    if (!has_type(t)) {
        sl_error("%s: tensor %s is of type %s, supported are f32, f16, bf16 and q8_0",
                 sl_gguf_path(f->gguf), name, sl_type_name(t->type));
        return SL_ERR_UNSUPPORTED;
    }
    if (found == expected && rank <= RANK_MAX && t->dims[2] == 1 && t->dims[3] == 1) return SL_OK;
    sl_error("%s: tensor %s is [%llu][%llu][%llu], expected %s%llu%s of a rank from 1 to %d: was "
             "the adapter trained on this model?",
             sl_gguf_path(f->gguf), name, (unsigned long long)t->dims[2],
             (unsigned long long)t->dims[1], (unsigned long long)t->dims[0], is_a ? "[rank][" : "[",
             (unsigned long long)expected, is_a ? "]" : "][rank]", RANK_MAX);
    return SL_ERR_FORMAT;
}

static sl_lora_pair *pair_at(const sl_lora_file *f, uint32_t layer, sl_layer_map map)
{
    return &f->pairs[(size_t)layer * SL_LAYER_MAPS + map];
}

static sl_status take_tensor(sl_lora_file *f, const sl_gguf_tensor *t)
{
    place at;
    if (!find_place(t->name, f->n_layers, &at)) return refuse_name(f, t->name);
    sl_lora_pair *pair = pair_at(f, at.layer, at.map);
    *(at.side == 'a' ? &pair->a : &pair->b) = t; /* no name is there twice */
    return check_tensor(f, &at, t);
}

/* A and B are both there, of one rank. */
static sl_status check_pair(const sl_lora_file *f, const place *at)
{
    const sl_lora_pair *pair = pair_at(f, at->layer, at->map);
    char a[NAME_BYTES], b[NAME_BYTES];
    name_of(at, 'a', a);
    name_of(at, 'b', b);
    if (!pair->a != !pair->b) {
        sl_error("%s: tensor %s is missing, %s is there: the file is not whole",
                 sl_gguf_path(f->gguf), pair->a ? b : a, pair->a ? a : b);
        return SL_ERR_FORMAT;
    }
    if (!pair->a || pair->a->dims[1] == pair->b->dims[0]) return SL_OK;
    sl_error("%s: tensor %s is of rank %llu, %s of rank %llu: they belong to different adapters",
             sl_gguf_path(f->gguf), a, (unsigned long long)pair->a->dims[1], b,
             (unsigned long long)pair->b->dims[0]);
    return SL_ERR_FORMAT;
}

static sl_status read_pairs(sl_lora_file *f)
{
    sl_status status = SL_OK;
    size_t n = sl_gguf_n_tensors(f->gguf);
    for (size_t i = 0; i < n && status == SL_OK; i++)
        status = take_tensor(f, sl_gguf_tensor_at(f->gguf, i));
    for (uint32_t layer = 0; layer < f->n_layers; layer++)
        for (int map = 0; map < SL_LAYER_MAPS && status == SL_OK; map++)
            status = check_pair(f, &(place){layer, (sl_layer_map)map, 'a'});
    if (status != SL_OK || n > 0) return status;
    sl_error("%s: it has no tensors, so it would change nothing", sl_gguf_path(f->gguf));
    return SL_ERR_FORMAT;
}

/* ---- files ---- */

/* Read once, piece by piece: a rank keeps its own layers only (lora.c). */
static sl_status hash_tensors(sl_lora_file *f)
{
    uint8_t *piece = malloc(PIECE_BYTES);
    if (!piece) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    f->hash = sl_gguf_header_hash(f->gguf);
    for (size_t i = 0; i < sl_gguf_n_tensors(f->gguf); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(f->gguf, i);
        for (size_t at = 0, n; at < t->data_bytes && status == SL_OK; at += n) {
            n = t->data_bytes - at < PIECE_BYTES ? t->data_bytes - at : PIECE_BYTES;
            status = sl_gguf_read(f->gguf, t, at, n, piece);
            if (status == SL_OK) f->hash = XXH3_64bits_withSeed(piece, n, f->hash);
        }
    }
    free(piece);
    return status;
}

static sl_status read_file(sl_lora_file *f, const sl_gguf *model)
{
    sl_status status = check_kind(f->gguf);
    if (status == SL_OK) status = check_architecture(f->gguf, model);
    if (status == SL_OK) status = check_keys(f->gguf);
    if (status == SL_OK) status = read_alpha(f->gguf, &f->alpha);
    if (status != SL_OK) return status;
    f->pairs = calloc((size_t)f->n_layers * SL_LAYER_MAPS, sizeof *f->pairs);
    if (!f->pairs) return SL_ERR_MEMORY;
    status = read_pairs(f);
    return status == SL_OK ? hash_tensors(f) : status;
}

sl_status sl_lora_file_read(const sl_gguf *gguf, const sl_gguf *model, const sl_model_shape *shape,
                            sl_lora_file **file_out)
{
    sl_lora_file *f = calloc(1, sizeof *f);
    if (!f) return SL_ERR_MEMORY;
    *f = (sl_lora_file){.gguf = gguf, .shape = shape, .n_layers = shape->n_layers};
    sl_status status = read_file(f, model);
    f->shape = NULL;
    if (status == SL_OK)
        *file_out = f;
    else
        sl_lora_file_close(f);
    return status;
}

sl_status sl_lora_file_open(const char *path, const sl_gguf *model, const sl_model_shape *shape,
                            sl_lora_file **file_out)
{
    sl_gguf *gguf;
    sl_status status = sl_gguf_open(path, &gguf);
    if (status != SL_OK) return status;
    status = sl_lora_file_read(gguf, model, shape, file_out);
    if (status == SL_OK)
        (*file_out)->owned = gguf;
    else
        sl_gguf_close(gguf);
    return status;
}

void sl_lora_file_close(sl_lora_file *file)
{
    if (!file) return;
    free(file->pairs);
    sl_gguf_close(file->owned);
    free(file);
}

/* ---- what it says ---- */

const sl_gguf *sl_lora_file_gguf(const sl_lora_file *file) { return file->gguf; }
uint32_t sl_lora_file_layers(const sl_lora_file *file) { return file->n_layers; }
float sl_lora_file_alpha(const sl_lora_file *file) { return file->alpha; }
uint64_t sl_lora_file_hash(const sl_lora_file *file) { return file->hash; }

sl_lora_pair sl_lora_file_pair(const sl_lora_file *file, uint32_t layer, sl_layer_map map)
{
    SL_ASSERT(layer < file->n_layers && map < SL_LAYER_MAPS);
    return *pair_at(file, layer, map);
}

uint32_t sl_lora_pair_rank(sl_lora_pair pair) { return (uint32_t)pair.a->dims[1]; }

float sl_lora_file_factor(const sl_lora_file *file, sl_lora_pair pair, float scale)
{
    return file->alpha != 0 ? scale * file->alpha / (float)sl_lora_pair_rank(pair) : scale;
}
