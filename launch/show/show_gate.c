/* launch/show/show_gate.c - see show_gate.h. Needs no model: a gate file says itself what it is
 * for. */
#include "launch/show/show_gate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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
        bool absent = s->span == SL_GATE_ABSENT;
        json_array_append_new(
            layers, json_pack("{s:s, s:i, s:i, s:i, s:i, s:s, s:i, s:s?, s:I}", "span",
                              sl_gate_span_name(s->span), "back", (int)s->back, "ahead",
                              (int)s->ahead, "heads", (int)s->heads, "width", (int)s->width, "kv",
                              sl_gate_kv_name(s->kv), "hidden", (int)s->hidden, "type",
                              absent ? NULL : type_of(l), "bytes", (json_int_t)bytes_of(l)));
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
        json_array_append_new(
            rows, json_pack("{s:f, s:i, s:o, s:f, s:o}", "keep", (double)row->keep, "window",
                            (int)row->window, "threshold", number_json(row->threshold), "steer",
                            (double)row->steer, "retention", retention_json(gate, row->retention)));
    }
    return rows;
}

static json_t *gate_json(const sl_gguf *gguf, const sl_gate *gate)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, gate->model_hash);
    json_t *model = json_pack("{s:o*, s:s, s:i, s:i, s:i}", "name", json_string(gate->model_name),
                              "hash", hash, "layers", (int)gate->n_layers, "kv_heads",
                              (int)gate->n_kv_heads, "width", (int)gate->model_width);
    return json_pack("{s:s, s:I, s:o, s:i, s:i, s:o, s:f, s:f, s:o, s:o}", "path",
                     sl_gguf_path(gguf), "bytes", (json_int_t)sl_gguf_bytes(gguf), "model", model,
                     "sinks", (int)gate->sinks, "window", (int)gate->window, "threshold",
                     number_json(gate->threshold), "p", sigmoid((double)gate->threshold), "keep",
                     (double)gate->keep, "layers", layers_json(gate), "calibration",
                     calibration_json(gate));
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
