/* runtime/gate/gate_file.c - reading a gate file: GATE_FILE.md, key by key. Nothing here trusts a
 * byte of it; what it may not contain is refused by name, since a newer meaning must not be passed
 * over. */
#include "runtime/gate/gate_file.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/gate/gate_keys.h"

enum { REACH_MAX = 1 << 20, ROWS_MAX = 256 };

struct sl_gate_file {
    sl_gguf *owned; /* NULL: somebody else's */
    const sl_gguf *gguf;
    sl_gate gate;
    float *retention; /* [n_calibration][n_layers][n_kv_heads], or NULL */
    uint64_t hash;
};

/* ---- keys ---- */

/* Bytes of a text of the file that a message quotes. */
static int shown(sl_text text) { return (int)sl_plain_prefix(text.data, text.bytes, 60); }

static sl_status bad_key(const sl_gguf *g, const char *key, const char *expected)
{
    sl_error("%s: key %s is missing or not %s", sl_gguf_path(g), key, expected);
    return SL_ERR_FORMAT;
}

static sl_status read_number(const sl_gguf *g, const char *key, uint32_t least, uint32_t most,
                             uint32_t *out)
{
    char expected[64];
    snprintf(expected, sizeof expected, "a whole number from %u to %u", least, most);
    if (!sl_gguf_u32(g, key, out) || *out < least || *out > most) return bad_key(g, key, expected);
    return SL_OK;
}

/* Before anything else: what another version means by the rest is not for this build to say. */
static sl_status check_version(const sl_gguf *g)
{
    sl_text architecture = {"", 0};
    uint32_t version;
    sl_gguf_text(g, "general.architecture", &architecture);
    if (!sl_text_is(architecture, SL_GATE_ARCHITECTURE)) {
        sl_error("%s is no gate file: its general.architecture is '%.*s', not '%s'",
                 sl_gguf_path(g), shown(architecture), architecture.data, SL_GATE_ARCHITECTURE);
        return SL_ERR_FORMAT;
    }
    sl_status status = read_number(g, SL_GATE_KEY_VERSION, 0, UINT32_MAX, &version);
    if (status != SL_OK || version == SL_GATE_VERSION) return status;
    sl_error("%s: gate version %u, this build knows %d", sl_gguf_path(g), version, SL_GATE_VERSION);
    return SL_ERR_UNSUPPORTED;
}

static sl_status read_header(const sl_gguf *g, sl_gate *gate)
{
    sl_text name = {"", 0};
    sl_status status = read_number(g, SL_GATE_KEY_LAYERS, 1, SL_GATE_LAYERS_MAX, &gate->n_layers);
    if (status == SL_OK) status = read_number(g, SL_GATE_KEY_KV_HEADS, 1, 1024, &gate->n_kv_heads);
    if (status == SL_OK) status = read_number(g, SL_GATE_KEY_WIDTH, 1, 1 << 20, &gate->model_width);
    if (status == SL_OK) status = read_number(g, SL_GATE_KEY_SINKS, 0, REACH_MAX, &gate->sinks);
    if (status == SL_OK) status = read_number(g, SL_GATE_KEY_WINDOW, 1, REACH_MAX, &gate->window);
    if (status != SL_OK) return status;
    if (!sl_gguf_u64(g, SL_GATE_KEY_MODEL_HASH, &gate->model_hash))
        return bad_key(g, SL_GATE_KEY_MODEL_HASH, "a u64");
    if (!sl_gguf_f32(g, SL_GATE_KEY_THRESHOLD, &gate->threshold) || isnan(gate->threshold))
        return bad_key(g, SL_GATE_KEY_THRESHOLD, "a number");
    if (!sl_gguf_f32(g, SL_GATE_KEY_KEEP, &gate->keep) || !(gate->keep >= 0 && gate->keep <= 1))
        return bad_key(g, SL_GATE_KEY_KEEP, "a number from 0 to 1");
    if (sl_gguf_has(g, SL_GATE_KEY_ADAPTER_HASH) &&
        !sl_gguf_u64(g, SL_GATE_KEY_ADAPTER_HASH, &gate->adapter_hash))
        return bad_key(g, SL_GATE_KEY_ADAPTER_HASH, "a u64");
    if (!sl_gguf_text(g, SL_GATE_KEY_MODEL_NAME, &name) || name.bytes >= sizeof gate->model_name ||
        memchr(name.data, 0, name.bytes))
        return bad_key(g, SL_GATE_KEY_MODEL_NAME, "a text of less than 128 bytes");
    memcpy(gate->model_name, name.data, name.bytes);
    return SL_OK;
}

/* ---- layers ---- */

/* A per-layer array of words, as the index of each in `words`. */
static sl_status read_words(const sl_gguf *g, const char *key, const char *const *words,
                            uint32_t n_words, uint32_t n_layers, uint32_t *out)
{
    const sl_text *texts;
    size_t n;
    if (!sl_gguf_text_array(g, key, &texts, &n) || n != n_layers)
        return bad_key(g, key, "an array of a word a layer");
    for (uint32_t i = 0; i < n_layers; i++) {
        uint32_t w = 0;
        while (w < n_words && !sl_text_is(texts[i], words[w])) w++;
        if (w == n_words) {
            sl_error("%s: %s of layer %u is '%.*s', which this build does not know",
                     sl_gguf_path(g), key, i, shown(texts[i]), texts[i].data);
            return SL_ERR_UNSUPPORTED;
        }
        out[i] = w;
    }
    return SL_OK;
}

static sl_status read_numbers(const sl_gguf *g, const char *key, uint32_t most, uint32_t n_layers,
                              int32_t *out)
{
    size_t n;
    if (!sl_gguf_i32_array(g, key, out, n_layers, &n) || n != n_layers)
        return bad_key(g, key, "an array of a whole number a layer");
    for (uint32_t i = 0; i < n_layers; i++)
        if (out[i] < 0 || (uint32_t)out[i] > most) {
            sl_error("%s: %s of layer %u is %d, expected 0 to %u", sl_gguf_path(g), key, i, out[i],
                     most);
            return SL_ERR_FORMAT;
        }
    return SL_OK;
}

static const struct {
    const char *key;
    uint32_t most;
    size_t offset; /* in sl_gate_shape */
} NUMBERS[] = {
    {SL_GATE_KEY_BACK, REACH_MAX, offsetof(sl_gate_shape, back)},
    {SL_GATE_KEY_AHEAD, REACH_MAX, offsetof(sl_gate_shape, ahead)},
    {SL_GATE_KEY_HEADS, SL_GATE_HEADS_MAX, offsetof(sl_gate_shape, heads)},
    {SL_GATE_KEY_HEAD_WIDTH, SL_GATE_WIDTH_MAX, offsetof(sl_gate_shape, width)},
    {SL_GATE_KEY_HIDDEN, SL_GATE_HIDDEN_MAX, offsetof(sl_gate_shape, hidden)},
};

static sl_status check_shape(const sl_gguf *g, uint32_t layer, const sl_gate_shape *s)
{
    const char *wrong = NULL;
    bool none = s->heads == 0 && s->width == 0 && s->hidden == 0;
    if (s->span != SL_GATE_WINDOW && (s->back || s->ahead)) wrong = "reach of a span without one";
    if (s->span == SL_GATE_ABSENT && !none) wrong = "heads, width or hidden layer but no gate";
    if (s->heads > 0 && (s->width == 0 || s->width % 16 != 0)) wrong = "width not a multiple of 16";
    if (s->heads == 0 && s->width > 0) wrong = "width without heads";
    if (!wrong) return SL_OK;
    sl_error("%s: layer %u has a %s (heads %u, width %u, hidden %u, back %u, ahead %u)",
             sl_gguf_path(g), layer, wrong, s->heads, s->width, s->hidden, s->back, s->ahead);
    return SL_ERR_FORMAT;
}

static sl_status read_shapes(const sl_gguf *g, sl_gate *gate)
{
    uint32_t words[SL_GATE_LAYERS_MAX], n = gate->n_layers;
    int32_t numbers[SL_GATE_LAYERS_MAX];
    sl_status status = read_words(g, SL_GATE_KEY_SPAN, SL_GATE_SPANS, 4, n, words);
    for (uint32_t i = 0; status == SL_OK && i < n; i++)
        gate->layers[i].shape.span = (sl_gate_span)words[i];
    if (status == SL_OK) status = read_words(g, SL_GATE_KEY_KV, SL_GATE_KVS, 2, n, words);
    for (uint32_t i = 0; status == SL_OK && i < n; i++)
        gate->layers[i].shape.kv = (sl_gate_kv)words[i];
    for (size_t k = 0; status == SL_OK && k < sizeof NUMBERS / sizeof *NUMBERS; k++) {
        status = read_numbers(g, NUMBERS[k].key, NUMBERS[k].most, n, numbers);
        for (uint32_t i = 0; status == SL_OK && i < n; i++)
            *(uint32_t *)((char *)&gate->layers[i].shape +
                          NUMBERS[k].offset) = (uint32_t)numbers[i];
    }
    for (uint32_t i = 0; status == SL_OK && i < n; i++)
        status = check_shape(g, i, &gate->layers[i].shape);
    return status;
}

/* ---- tensors ---- */

static sl_status bad_tensor(const sl_gguf *g, const char *name, const sl_gguf_tensor *t,
                            uint64_t n_in, uint64_t n_out, const char *types)
{
    if (!t)
        sl_error("%s: tensor %s is missing, expected [%llu][%llu]", sl_gguf_path(g), name,
                 (unsigned long long)n_out, (unsigned long long)n_in);
    else
        sl_error("%s: tensor %s is [%llu][%llu] of %s, expected [%llu][%llu] of %s",
                 sl_gguf_path(g), name, (unsigned long long)t->dims[1],
                 (unsigned long long)t->dims[0], sl_type_name(t->type), (unsigned long long)n_out,
                 (unsigned long long)n_in, types);
    return SL_ERR_FORMAT;
}

static bool has_type(const sl_gguf_tensor *t, sl_gate_tensor_types types)
{
    if (t->type == SL_TYPE_F32) return true;
    if (types == SL_GATE_VECTOR) return false;
    return t->type == SL_TYPE_F16 || (types == SL_GATE_WIDE && t->type == SL_TYPE_Q8_0);
}

static sl_status bind_tensor(const sl_gguf *g, uint32_t layer, const sl_gate_tensor *which,
                             uint32_t n_in, uint32_t n_out, sl_gate_layer *out)
{
    static const char *const TYPES[] = {[SL_GATE_WIDE] = "q8_0, f16 or f32",
                                        [SL_GATE_SMALL] = "f16 or f32",
                                        [SL_GATE_VECTOR] = "f32"};
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s", layer, which->name);
    const sl_gguf_tensor *t = sl_gguf_find(g, name);
    bool vector = which->types == SL_GATE_VECTOR;
    uint64_t rows = vector ? 1 : n_out, columns = vector ? n_out : n_in;
    if (!t || t->dims[0] != columns || t->dims[1] != rows || t->dims[2] != 1 || t->dims[3] != 1 ||
        !has_type(t, which->types))
        return bad_tensor(g, name, t, columns, rows, TYPES[which->types]);
    void *place = (char *)out + which->offset;
    if (vector)
        *(const float **)place = t->data;
    else
        *(sl_matrix *)place = (sl_matrix){.data = t->data,
                                          .type = t->type,
                                          .n_out = n_out,
                                          .n_in = n_in,
                                          .row_bytes = t->data_bytes / n_out};
    return SL_OK;
}

static sl_status bind_tensors(const sl_gguf *g, sl_gate *gate)
{
    size_t n_bound = 0;
    for (uint32_t i = 0; i < gate->n_layers; i++)
        for (size_t k = 0; k < SL_GATE_TENSORS; k++) {
            sl_gate_layer *l = &gate->layers[i];
            uint32_t n_in, n_out;
            if (!sl_gate_tensor_size(gate, &l->shape, &SL_GATE_TENSOR_TABLE[k], &n_in, &n_out))
                continue;
            sl_status status = bind_tensor(g, i, &SL_GATE_TENSOR_TABLE[k], n_in, n_out, l);
            if (status != SL_OK) return status;
            n_bound++;
        }
    if (n_bound == sl_gguf_n_tensors(g)) return SL_OK;
    sl_error("%s: %zu tensors, of which the gates it describes use %zu", sl_gguf_path(g),
             sl_gguf_n_tensors(g), n_bound);
    return SL_ERR_FORMAT;
}

/* ---- calibration ---- */

static sl_status check_rates(const sl_gguf *g, const char *key, const float *rates, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(rates[i] >= 0 && rates[i] <= 1)) return bad_key(g, key, "numbers from 0 to 1");
    return SL_OK;
}

static sl_status read_retention(const sl_gguf *g, sl_gate_file *file)
{
    sl_gate *gate = &file->gate;
    if (!sl_gguf_has(g, SL_GATE_KEY_ROW_RETENTION)) return SL_OK;
    size_t each = (size_t)gate->n_layers * gate->n_kv_heads, n, all = each * gate->n_calibration;
    file->retention = malloc((all + 1) * sizeof *file->retention);
    if (!file->retention) return SL_ERR_MEMORY;
    if (!sl_gguf_f32_array(g, SL_GATE_KEY_ROW_RETENTION, file->retention, all, &n) || n != all)
        return bad_key(g, SL_GATE_KEY_ROW_RETENTION, "a number a row, layer and KV head");
    for (uint32_t i = 0; i < gate->n_calibration; i++)
        gate->calibration[i].retention = file->retention + i * each;
    return check_rates(g, SL_GATE_KEY_ROW_RETENTION, file->retention, all);
}

/* Thresholds that steer need to know what each head's share is. */
static sl_status read_steer(const sl_gguf *g, sl_gate *gate)
{
    float steer[ROWS_MAX];
    size_t n;
    if (!sl_gguf_has(g, SL_GATE_KEY_ROW_STEER)) return SL_OK;
    if (!sl_gguf_f32_array(g, SL_GATE_KEY_ROW_STEER, steer, ROWS_MAX, &n) ||
        n != gate->n_calibration)
        return bad_key(g, SL_GATE_KEY_ROW_STEER, "a number a row");
    for (size_t i = 0; i < n; i++) {
        bool good = steer[i] == 0 ||
                    (steer[i] > 0 && isfinite(steer[i]) && gate->calibration[i].retention);
        if (!good) return bad_key(g, SL_GATE_KEY_ROW_STEER, "0 or more, with retention beside it");
        gate->calibration[i].steer = steer[i];
    }
    return SL_OK;
}

static sl_status read_calibration(const sl_gguf *g, sl_gate_file *file)
{
    float keep[ROWS_MAX], threshold[ROWS_MAX];
    int32_t window[ROWS_MAX];
    size_t n, n_windows, n_thresholds;
    sl_gate *gate = &file->gate;
    if (!sl_gguf_has(g, SL_GATE_KEY_ROW_KEEP)) {
        bool part = sl_gguf_has(g, SL_GATE_KEY_ROW_WINDOW) ||
                    sl_gguf_has(g, SL_GATE_KEY_ROW_THRESHOLD) ||
                    sl_gguf_has(g, SL_GATE_KEY_ROW_RETENTION) ||
                    sl_gguf_has(g, SL_GATE_KEY_ROW_STEER);
        return part ? bad_key(g, SL_GATE_KEY_ROW_KEEP, "there beside the others") : SL_OK;
    }
    if (!sl_gguf_f32_array(g, SL_GATE_KEY_ROW_KEEP, keep, ROWS_MAX, &n))
        return bad_key(g, SL_GATE_KEY_ROW_KEEP, "up to 256 numbers");
    if (!sl_gguf_i32_array(g, SL_GATE_KEY_ROW_WINDOW, window, ROWS_MAX, &n_windows) ||
        n_windows != n)
        return bad_key(g, SL_GATE_KEY_ROW_WINDOW, "a whole number a row");
    if (!sl_gguf_f32_array(g, SL_GATE_KEY_ROW_THRESHOLD, threshold, ROWS_MAX, &n_thresholds) ||
        n_thresholds != n)
        return bad_key(g, SL_GATE_KEY_ROW_THRESHOLD, "a number a row");
    sl_status status = check_rates(g, SL_GATE_KEY_ROW_KEEP, keep, n);
    if (status != SL_OK) return status;
    gate->calibration = calloc(n + 1, sizeof *gate->calibration);
    if (!gate->calibration) return SL_ERR_MEMORY;
    gate->n_calibration = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        if (window[i] < 1 || isnan(threshold[i]))
            return bad_key(g, SL_GATE_KEY_ROW_WINDOW,
                           "1 or more, with thresholds that are numbers");
        gate->calibration[i] = (sl_gate_calibration){
            .keep = keep[i], .threshold = threshold[i], .window = (uint32_t)window[i]};
    }
    status = read_retention(g, file);
    return status == SL_OK ? read_steer(g, gate) : status;
}

/* ---- files ---- */

static sl_status check_keys(const sl_gguf *g)
{
    static const char PREFIX[] = "sluice.";
    for (size_t i = 0; i < sl_gguf_n_keys(g); i++) {
        sl_text key = sl_gguf_key_at(g, i);
        if (key.bytes < sizeof PREFIX - 1 || memcmp(key.data, PREFIX, sizeof PREFIX - 1) != 0)
            continue;
        size_t k = 0;
        while (k < SL_GATE_KEYS && !sl_text_is(key, SL_GATE_KEY_LIST[k])) k++;
        if (k < SL_GATE_KEYS) continue;
        sl_error("%s: key %.*s, which this build does not know", sl_gguf_path(g), shown(key),
                 key.data);
        return SL_ERR_UNSUPPORTED;
    }
    return SL_OK;
}

static uint64_t hash_of(const sl_gguf *g)
{
    uint64_t hash = sl_gguf_header_hash(g);
    for (size_t i = 0; i < sl_gguf_n_tensors(g); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(g, i);
        hash = XXH3_64bits_withSeed(t->data, t->data_bytes, hash);
    }
    return hash;
}

static sl_status read_gate(const sl_gguf *g, sl_gate_file *file)
{
    sl_gate *gate = &file->gate;
    sl_status status = check_version(g);
    if (status == SL_OK) status = check_keys(g);
    if (status == SL_OK) status = read_header(g, gate);
    if (status != SL_OK) return status;
    gate->layers = calloc(gate->n_layers, sizeof *gate->layers);
    if (!gate->layers) return SL_ERR_MEMORY;
    status = read_shapes(g, gate);
    if (status == SL_OK) status = bind_tensors(g, gate);
    if (status == SL_OK) status = read_calibration(g, file);
    if (status == SL_OK) file->hash = hash_of(g);
    return status;
}

sl_status sl_gate_file_read(const sl_gguf *gguf, sl_gate_file **file_out)
{
    sl_gate_file *file = calloc(1, sizeof *file);
    if (!file) return SL_ERR_MEMORY;
    file->gguf = gguf;
    sl_status status = read_gate(gguf, file);
    if (status == SL_OK)
        *file_out = file;
    else
        sl_gate_file_close(file);
    return status;
}

sl_status sl_gate_file_open(const char *path, sl_gate_file **file_out)
{
    sl_gguf *gguf;
    sl_status status = sl_gguf_open(path, &gguf);
    if (status != SL_OK) return status;
    status = check_version(gguf); /* before all of it is read: it may be a model */
    if (status == SL_OK) status = sl_gguf_load(gguf);
    if (status == SL_OK) status = sl_gate_file_read(gguf, file_out);
    if (status == SL_OK)
        (*file_out)->owned = gguf;
    else
        sl_gguf_close(gguf);
    return status;
}

void sl_gate_file_close(sl_gate_file *file)
{
    if (!file) return;
    free(file->gate.layers);
    free(file->gate.calibration);
    free(file->retention);
    sl_gguf_close(file->owned);
    free(file);
}

const sl_gate *sl_gate_file_gate(const sl_gate_file *file) { return &file->gate; }
uint64_t sl_gate_file_hash(const sl_gate_file *file) { return file->hash; }
const sl_gguf *sl_gate_file_gguf(const sl_gate_file *file) { return file->gguf; }

/* ---- whom it is for ---- */

sl_status sl_gate_fits(const sl_gate *gate, const char *path, uint32_t n_layers,
                       uint32_t n_kv_heads, uint32_t model_width)
{
    if (gate->n_layers == n_layers && gate->n_kv_heads == n_kv_heads &&
        gate->model_width == model_width)
        return SL_OK;
    sl_error("%s is a gate for '%s', of %u layers, %u KV heads and width %u; this model has %u, %u "
             "and %u",
             path, gate->model_name, gate->n_layers, gate->n_kv_heads, gate->model_width, n_layers,
             n_kv_heads, model_width);
    return SL_ERR_OPTION;
}

sl_status sl_gate_fits_hash(const sl_gate *gate, const char *path, uint64_t model_hash,
                            const char *model_path)
{
    if (gate->model_hash == model_hash) return SL_OK;
    sl_error(
        "%s is a gate for '%s' with tensors of hash %016llx; those of %s have %016llx: a gate is "
        "for the model it was trained with",
        path, gate->model_name, (unsigned long long)gate->model_hash, model_path,
        (unsigned long long)model_hash);
    return SL_ERR_OPTION;
}
