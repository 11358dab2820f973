/* launch/setup/retention.c - see retention.h. */
#include "launch/setup/retention.h"

#include <jansson.h>
#include <stdlib.h>

#include "runtime/base/log.h"
#include "runtime/base/read_file.h"

static sl_status read_layer(const char *path, const json_t *heads, uint32_t layer,
                            uint32_t n_kv_heads, double *keep_out)
{
    if (json_array_size(heads) != n_kv_heads) {
        sl_error("%s: retention of layer %u has %zu numbers, this model has %u KV heads", path,
                 layer, json_array_size(heads), n_kv_heads);
        return SL_ERR_FORMAT;
    }
    *keep_out = 0;
    for (uint32_t h = 0; h < n_kv_heads; h++) {
        const json_t *item = json_array_get(heads, h);
        if (json_is_null(item)) {
            sl_error("%s: nothing was eligible in layer %u: it tells nothing of what is kept; give "
                     "the report of a job with longer prompts",
                     path, layer);
            return SL_ERR_FORMAT;
        }
        double keep = json_is_number(item) ? json_number_value(item) : -1;
        if (!(keep >= 0 && keep <= 1)) {
            sl_error("%s: retention of layer %u, KV head %u is not a number from 0 to 1", path,
                     layer, h);
            return SL_ERR_FORMAT;
        }
        *keep_out += keep / n_kv_heads;
    }
    return SL_OK;
}

static sl_status read_all(const char *path, const json_t *root, const sl_model_shape *shape,
                          double *keep_out)
{
    uint32_t n_layers = shape->n_layers;
    const json_t *layers = json_object_get(root, "retention");
    if (!json_is_array(layers)) {
        sl_error("%s has no \"retention\": give what batch --json or eval --json printed", path);
        return SL_ERR_FORMAT;
    }
    if (json_array_size(layers) != n_layers) {
        sl_error("%s: retention of %zu layers, this model has %u", path, json_array_size(layers),
                 n_layers);
        return SL_ERR_FORMAT;
    }
    sl_status status = SL_OK;
    for (uint32_t i = 0; status == SL_OK && i < n_layers; i++) {
        keep_out[i] = 1;
        if (sl_sliding_window(shape, i)) continue;
        status = read_layer(path, json_array_get(layers, i), i, shape->n_kv_heads, &keep_out[i]);
    }
    return status;
}

sl_status sl_retention_parse(const char *path, const char *text, size_t bytes,
                             const sl_model_shape *shape, double *keep_out)
{
    json_error_t error;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        sl_error("%s: line %d: %s", path, error.line, error.text);
        return SL_ERR_FORMAT;
    }
    sl_status status = read_all(path, root, shape, keep_out);
    json_decref(root);
    return status;
}

sl_status sl_retention_read(const char *path, const sl_model_shape *shape, double *keep_out)
{
    char *text;
    size_t bytes;
    sl_status status = sl_read_text(path, &text, &bytes);
    if (status != SL_OK) return status;
    status = sl_retention_parse(path, text, bytes, shape, keep_out);
    free(text);
    return status;
}
