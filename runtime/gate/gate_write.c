/* runtime/gate/gate_write.c - a gate as a file: GATE_FILE.md, key by key. */
#include <stdio.h>
#include <stdlib.h>

#include "runtime/base/log.h"
#include "runtime/gate/gate_file.h"
#include "runtime/gate/gate_keys.h"
#include "runtime/gguf/gguf_writer.h"

static void put_shapes(const sl_gate *gate, const char **words, int32_t *numbers, sl_gguf_writer *w)
{
    uint32_t n = gate->n_layers;
    const sl_gate_layer *l = gate->layers;
    for (uint32_t i = 0; i < n; i++) words[i] = SL_GATE_SPANS[l[i].shape.span];
    sl_gguf_put_strings(w, SL_GATE_KEY_SPAN, words, n);
    for (uint32_t i = 0; i < n; i++) words[i] = SL_GATE_KVS[l[i].shape.kv];
    sl_gguf_put_strings(w, SL_GATE_KEY_KV, words, n);
    for (uint32_t i = 0; i < n; i++) numbers[i] = (int32_t)l[i].shape.back;
    sl_gguf_put_i32s(w, SL_GATE_KEY_BACK, numbers, n);
    for (uint32_t i = 0; i < n; i++) numbers[i] = (int32_t)l[i].shape.ahead;
    sl_gguf_put_i32s(w, SL_GATE_KEY_AHEAD, numbers, n);
    for (uint32_t i = 0; i < n; i++) numbers[i] = (int32_t)l[i].shape.heads;
    sl_gguf_put_i32s(w, SL_GATE_KEY_HEADS, numbers, n);
    for (uint32_t i = 0; i < n; i++) numbers[i] = (int32_t)l[i].shape.width;
    sl_gguf_put_i32s(w, SL_GATE_KEY_HEAD_WIDTH, numbers, n);
    for (uint32_t i = 0; i < n; i++) numbers[i] = (int32_t)l[i].shape.hidden;
    sl_gguf_put_i32s(w, SL_GATE_KEY_HIDDEN, numbers, n);
}

static void put_calibration(const sl_gate *gate, float *reals, int32_t *numbers, sl_gguf_writer *w)
{
    uint32_t n = gate->n_calibration;
    size_t each = (size_t)gate->n_layers * gate->n_kv_heads;
    if (n == 0) return;
    for (uint32_t i = 0; i < n; i++) reals[i] = gate->calibration[i].keep;
    sl_gguf_put_f32s(w, SL_GATE_KEY_ROW_KEEP, reals, n);
    for (uint32_t i = 0; i < n; i++) numbers[i] = (int32_t)gate->calibration[i].window;
    sl_gguf_put_i32s(w, SL_GATE_KEY_ROW_WINDOW, numbers, n);
    for (uint32_t i = 0; i < n; i++) reals[i] = gate->calibration[i].threshold;
    sl_gguf_put_f32s(w, SL_GATE_KEY_ROW_THRESHOLD, reals, n);
    if (!gate->calibration[0].retention) return;
    for (uint32_t i = 0; i < n; i++) reals[i] = gate->calibration[i].steer;
    sl_gguf_put_f32s(w, SL_GATE_KEY_ROW_STEER, reals, n);
    for (uint32_t i = 0; i < n; i++)
        for (size_t k = 0; k < each; k++) reals[i * each + k] = gate->calibration[i].retention[k];
    sl_gguf_put_f32s(w, SL_GATE_KEY_ROW_RETENTION, reals, n * each);
}

static void put_layer(const sl_gate *gate, uint32_t layer, sl_gguf_writer *w)
{
    const sl_gate_layer *l = &gate->layers[layer];
    for (size_t k = 0; k < SL_GATE_TENSORS; k++) {
        const sl_gate_tensor *which = &SL_GATE_TENSOR_TABLE[k];
        const void *place = (const char *)l + which->offset;
        uint32_t n_in, n_out;
        char name[64];
        if (!sl_gate_tensor_size(gate, &l->shape, which, &n_in, &n_out)) continue;
        snprintf(name, sizeof name, "blk.%u.%s", layer, which->name);
        if (which->types == SL_GATE_VECTOR) {
            sl_gguf_put_tensor(w, name, SL_TYPE_F32, (uint64_t[]){n_out}, 1,
                               *(const float *const *)place, n_out * sizeof(float));
            continue;
        }
        const sl_matrix *m = place;
        SL_ASSERT(m->n_in == n_in && m->n_out == n_out);
        sl_gguf_put_tensor(w, name, m->type, (uint64_t[]){n_in, n_out}, 2, m->data,
                           m->row_bytes * n_out);
    }
}

static void put_gate(const sl_gate *gate, void *room, sl_gguf_writer *w)
{
    char name[192];
    snprintf(name, sizeof name, "gates for %s", gate->model_name);
    sl_gguf_put_string(w, "general.architecture", SL_GATE_ARCHITECTURE);
    sl_gguf_put_string(w, "general.name", name);
    sl_gguf_put_u32(w, SL_GATE_KEY_VERSION, SL_GATE_VERSION);
    sl_gguf_put_u64(w, SL_GATE_KEY_MODEL_HASH, gate->model_hash);
    sl_gguf_put_string(w, SL_GATE_KEY_MODEL_NAME, gate->model_name);
    if (gate->adapter_hash) sl_gguf_put_u64(w, SL_GATE_KEY_ADAPTER_HASH, gate->adapter_hash);
    sl_gguf_put_u32(w, SL_GATE_KEY_LAYERS, gate->n_layers);
    sl_gguf_put_u32(w, SL_GATE_KEY_WIDTH, gate->model_width);
    sl_gguf_put_u32(w, SL_GATE_KEY_KV_HEADS, gate->n_kv_heads);
    sl_gguf_put_u32(w, SL_GATE_KEY_SINKS, gate->sinks);
    sl_gguf_put_u32(w, SL_GATE_KEY_WINDOW, gate->window);
    sl_gguf_put_f32(w, SL_GATE_KEY_THRESHOLD, gate->threshold);
    sl_gguf_put_f32(w, SL_GATE_KEY_KEEP, gate->keep);
    const char **words = room;
    int32_t *numbers = (int32_t *)(words + gate->n_layers + gate->n_calibration);
    put_shapes(gate, words, numbers, w);
    put_calibration(gate, (float *)(numbers + gate->n_layers + gate->n_calibration), numbers, w);
    for (uint32_t i = 0; i < gate->n_layers; i++) put_layer(gate, i, w);
}

sl_status sl_gate_file_write(const char *path, const sl_gate *gate)
{
    size_t n = (size_t)gate->n_layers + gate->n_calibration;
    size_t retention = (size_t)gate->n_calibration * gate->n_layers * gate->n_kv_heads;
    void *room = malloc(n * (sizeof(char *) + 2 * sizeof(int32_t)) + retention * sizeof(float));
    if (!room) return SL_ERR_MEMORY;
    sl_gguf_writer w = {0};
    put_gate(gate, room, &w);
    sl_status status = sl_gguf_writer_save(&w, path);
    sl_gguf_writer_fini(&w);
    free(room);
    return status;
}
