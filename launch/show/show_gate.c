/* launch/show/show_gate.c - see show_gate.h. Needs no model: a gate file says itself what it is
 * for. */
#include "launch/show/show_gate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launch/json/json_object.h"
#include "launch/output/report.h"
#include "runtime/base/append.h"
#include "runtime/base/numbers.h"
#include "runtime/base/plain.h"
#include "runtime/gate/gate_file.h"

static double sigmoid(double logit) { return 1 / (1 + exp(-logit)); }

static size_t bytes_of(const sl_gate_layer *l)
{
    const sl_matrix *all[] = {&l->q, &l->k, &l->v, &l->x, &l->a, &l->out};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        bytes += all[i]->n_out * all[i]->row_bytes;
    return bytes + (l->x.n_out + l->out.n_out) * sizeof(float);
}

static const char *type_of(const sl_gate_layer *l)
{
    return l->shape.span == SL_GATE_ABSENT ? "-" : sl_type_name(l->x.type);
}

/* ---- in words ---- */

/* The layer after the last of those from `first` on that are alike. */
static uint32_t alike_end(const sl_gate *gate, uint32_t first)
{
    const sl_gate_layer *a = &gate->layers[first], *b = a;
    while (b < gate->layers + gate->n_layers &&
           memcmp(&a->shape, &b->shape, sizeof a->shape) == 0 && a->x.type == b->x.type &&
           bytes_of(a) == bytes_of(b))
        b++;
    return (uint32_t)(b - gate->layers);
}

static void print_layers(const sl_gate *gate)
{
    printf("  %-9s %-22s %5s %5s  %-6s %6s  %-6s %12s\n", "layers", "span", "heads", "width",
           "K'V'", "hidden", "type", "bytes each");
    for (uint32_t i = 0, end; i < gate->n_layers; i = end) {
        const sl_gate_layer *l = &gate->layers[i];
        const sl_gate_shape *s = &l->shape;
        char layers[32], span[32];
        size_t layers_bytes = 0, span_bytes = 0;
        end = alike_end(gate, i);
        sl_append(layers, sizeof layers, &layers_bytes, "%u", i);
        if (end > i + 1) sl_append(layers, sizeof layers, &layers_bytes, "-%u", end - 1);
        sl_append(span, sizeof span, &span_bytes, "%s", sl_gate_span_name(s->span));
        if (s->span == SL_GATE_WINDOW)
            sl_append(span, sizeof span, &span_bytes, " %u,%u", s->back, s->ahead);
        printf("  %-9s %-22s %5u %5u  %-6s %6u  %-6s %12zu\n", layers, span, s->heads, s->width,
               s->heads > 0 ? sl_gate_kv_name(s->kv) : "-", s->hidden, type_of(l), bytes_of(l));
    }
}

static void print_calibration(const sl_gate *gate)
{
    size_t each = (size_t)gate->n_layers * gate->n_kv_heads;
    if (gate->n_calibration == 0) {
        printf("not calibrated: no threshold is known for other rates\n");
        return;
    }
    printf("  %8s %8s %10s  %s\n", "keep", "window", "threshold", "least and most of a KV head");
    for (uint32_t i = 0; i < gate->n_calibration; i++) {
        const sl_gate_calibration *row = &gate->calibration[i];
        float least = 1, most = 0;
        for (size_t k = 0; row->retention && k < each; k++) {
            if (gate->layers[k / gate->n_kv_heads].shape.span == SL_GATE_ABSENT) continue;
            least = fminf(least, row->retention[k]);
            most = fmaxf(most, row->retention[k]);
        }
        printf("  %7.1f%% %8u %10.4f", 100 * (double)row->keep, row->window,
               (double)row->threshold);
        if (row->retention) printf("  %.1f%% %.1f%%", 100 * (double)least, 100 * (double)most);
        if (row->steer > 0) printf("  steers by 1 for %g tokens", (double)row->steer);
        printf("\n");
    }
}

static void print_text(const sl_gguf *gguf, const sl_gate *gate)
{
    sl_plain_room path, name;
    printf("%s: gates for '%s', %.2f MB\n", sl_plain_string(sl_gguf_path(gguf), &path),
           sl_plain_string(gate->model_name, &name), sl_megabytes(sl_gguf_bytes(gguf)));
    printf("model: %u layers, %u KV heads, width %u, tensors of hash %016" PRIx64 "\n",
           gate->n_layers, gate->n_kv_heads, gate->model_width, gate->model_hash);
    if (gate->adapter_hash)
        printf("for the model with the LoRA adapter of hash %016" PRIx64 "\n", gate->adapter_hash);
    printf("sinks %u, window %u, threshold %g (p %.3g), expected to keep %.1f%%\n", gate->sinks,
           gate->window, (double)gate->threshold, sigmoid((double)gate->threshold),
           100 * (double)gate->keep);
    print_layers(gate);
    print_calibration(gate);
}

/* ---- as JSON ---- */

/* null where JSON has no such number: a threshold may be infinite. */
static json_t *number_json(float x) { return isfinite(x) ? json_real((double)x) : json_null(); }

static json_t *layers_json(const sl_gate *gate)
{
    json_t *layers = json_array();
    for (uint32_t i = 0; i < gate->n_layers; i++) {
        const sl_gate_layer *l = &gate->layers[i];
        const sl_gate_shape *s = &l->shape;
        sl_json_object layer = sl_json_begin();
        sl_json_set_text(&layer, "span", sl_gate_span_name(s->span));
        sl_json_set_count(&layer, "back", s->back);
        sl_json_set_count(&layer, "ahead", s->ahead);
        sl_json_set_count(&layer, "heads", s->heads);
        sl_json_set_count(&layer, "width", s->width);
        sl_json_set_text(&layer, "kv", sl_gate_kv_name(s->kv));
        sl_json_set_count(&layer, "hidden", s->hidden);
        sl_json_set_text_or_null(&layer, "type", s->span == SL_GATE_ABSENT ? NULL : type_of(l));
        sl_json_set_count(&layer, "bytes", bytes_of(l));
        json_array_append_new(layers, sl_json_end(&layer));
    }
    return layers;
}

static json_t *retention_json(const sl_gate *gate, const float *retention)
{
    if (!retention) return json_null();
    json_t *layers = json_array();
    for (uint32_t i = 0; i < gate->n_layers; i++) {
        json_t *heads = json_array();
        for (uint32_t head = 0; head < gate->n_kv_heads; head++)
            json_array_append_new(heads, json_real((double)*retention++));
        json_array_append_new(layers, heads);
    }
    return layers;
}

static json_t *calibration_json(const sl_gate *gate)
{
    json_t *rows = json_array();
    for (uint32_t i = 0; i < gate->n_calibration; i++) {
        const sl_gate_calibration *row = &gate->calibration[i];
        sl_json_object object = sl_json_begin();
        sl_json_set_number(&object, "keep", (double)row->keep);
        sl_json_set_count(&object, "window", row->window);
        sl_json_set_item(&object, "threshold", number_json(row->threshold));
        sl_json_set_number(&object, "steer", (double)row->steer);
        sl_json_set_item(&object, "retention", retention_json(gate, row->retention));
        json_array_append_new(rows, sl_json_end(&object));
    }
    return rows;
}

static json_t *model_json(const sl_gate *gate)
{
    json_t *name = json_string(gate->model_name); /* left out where it is no UTF-8 */
    sl_json_object model = sl_json_begin();
    if (name) sl_json_set_item(&model, "name", name);
    sl_json_set_item(&model, "hash", json_sprintf("%016" PRIx64, gate->model_hash));
    sl_json_set_count(&model, "layers", gate->n_layers);
    sl_json_set_count(&model, "kv_heads", gate->n_kv_heads);
    sl_json_set_count(&model, "width", gate->model_width);
    return sl_json_end(&model);
}

static json_t *gate_json(const sl_gguf *gguf, const sl_gate *gate)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "path", sl_gguf_path(gguf));
    sl_json_set_count(&object, "bytes", sl_gguf_bytes(gguf));
    sl_json_set_item(&object, "model", model_json(gate));
    sl_json_set_item(&object, "adapter_hash",
                     gate->adapter_hash ? json_sprintf("%016" PRIx64, gate->adapter_hash)
                                        : json_null());
    sl_json_set_count(&object, "sinks", gate->sinks);
    sl_json_set_count(&object, "window", gate->window);
    sl_json_set_item(&object, "threshold", number_json(gate->threshold));
    sl_json_set_number(&object, "p", sigmoid((double)gate->threshold));
    sl_json_set_number(&object, "keep", (double)gate->keep);
    sl_json_set_item(&object, "layers", layers_json(gate));
    sl_json_set_item(&object, "calibration", calibration_json(gate));
    return sl_json_end(&object);
}

sl_status sl_show_gate(const char *path, bool json)
{
    sl_gate_file *file;
    sl_status status = sl_gate_file_open(path, &file);
    if (status != SL_OK) return status;
    const sl_gguf *gguf = sl_gate_file_gguf(file);
    const sl_gate *gate = sl_gate_file_gate(file);
    if (json)
        status = sl_report_print(gate_json(gguf, gate));
    else
        print_text(gguf, gate);
    sl_gate_file_close(file);
    return status;
}
