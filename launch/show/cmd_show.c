/* launch/show/cmd_show.c - `sluice show model FILE`: what is in a GGUF, whether we can run it, and
 * why not. Works on files we cannot run: that is when one looks. `show gate FILE` is show_gate.c's,
 * and `show model FILE --sums` show_sums.c's. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "launch/json/json_object.h"
#include "launch/machine/process.h"
#include "launch/output/report.h"
#include "launch/output/report_train.h"
#include "launch/setup/model_setup.h"
#include "launch/setup/rank0_command.h"
#include "launch/show/show_commands.h"
#include "launch/show/show_gate.h"
#include "launch/show/show_sums.h"
#include "runtime/base/append.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/base/plain.h"
#include "runtime/model/architecture.h"
#include "runtime/model/weights.h"

static void shape_text(const sl_gguf_tensor *t, char *out, size_t out_bytes)
{
    size_t n = 0;
    sl_append(out, out_bytes, &n, "[");
    for (uint32_t d = t->n_dims; d-- > 0;)
        sl_append(out, out_bytes, &n, "%" PRIu64 "%s", t->dims[d], d ? "][" : "]");
}

static size_t count_tensors(const sl_gguf *gguf, size_t part)
{
    size_t n = 0;
    for (size_t i = 0; i < sl_gguf_n_tensors(gguf); i++)
        n += sl_gguf_tensor_at(gguf, i)->part == part;
    return n;
}

static void print_parts(const sl_gguf *gguf)
{
    for (size_t i = 0; i < sl_gguf_n_parts(gguf); i++) {
        sl_plain_room path;
        printf("  part %zu: %s, %zu tensors, %.1f MB\n", i + 1,
               sl_plain_string(sl_gguf_part_path(gguf, i), &path), count_tensors(gguf, i),
               sl_megabytes(sl_gguf_part_bytes(gguf, i)));
    }
}

static void print_tensors(const sl_gguf *gguf)
{
    for (size_t i = 0; i < sl_gguf_n_tensors(gguf); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(gguf, i);
        char shape[112];
        sl_plain_room name;
        shape_text(t, shape, sizeof shape);
        printf("  %-32s %-8s %-18s %12zu bytes\n", sl_plain_in(t->name.data, t->name.bytes, &name),
               sl_type_name(t->type), shape, t->data_bytes);
    }
}

static uint32_t layers_of_kind(const sl_model_shape *shape, uint32_t kind)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < shape->n_layers; i++) n += shape->kind_of[i] == kind;
    return n;
}

/* As files call it. */
static const char *scaling_name(const sl_rope *rope)
{
    static const char *const NAMES[] = {[SL_ROPE_PLAIN] = "none",
                                        [SL_ROPE_LINEAR] = "linear",
                                        [SL_ROPE_LLAMA3] = "llama3",
                                        [SL_ROPE_YARN] = "yarn"};
    return NAMES[rope->factor == 1 ? SL_ROPE_PLAIN : rope->scaling];
}

static void print_rope(const sl_gguf *gguf, const sl_rope *rope)
{
    if (rope->dim == 0) {
        printf("no rope\n");
        return;
    }
    printf("rope: base %g, ", (double)rope->base);
    if (strcmp(scaling_name(rope), "none") == 0)
        printf("not scaled");
    else
        printf("scaled by %g (%s)", (double)rope->factor, scaling_name(rope));
    printf("%s\n", sl_gguf_find(gguf, "rope_freqs.weight") ? ", divided by rope_freqs" : "");
}

static void print_kind(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t kind)
{
    uint32_t n_layers = layers_of_kind(shape, kind), window = shape->kinds[kind].window;
    if (n_layers == 0) return;
    if (n_layers < shape->n_layers) printf("%u of the layers: ", n_layers);
    if (window > 0) printf("sliding attention to the latest %u tokens, ", window);
    print_rope(gguf, &shape->kinds[kind].rope);
}

static void print_text(const sl_gguf *gguf, const sl_model_shape *shape)
{
    sl_plain_room path;
    printf("%s: GGUF v%u, %zu keys, %zu tensors, %.1f MB\n",
           sl_plain_string(sl_gguf_path(gguf), &path), sl_gguf_version(gguf), sl_gguf_n_keys(gguf),
           sl_gguf_n_tensors(gguf), sl_megabytes(sl_gguf_bytes(gguf)));
    if (sl_gguf_n_parts(gguf) > 1) print_parts(gguf);
    for (size_t i = 0; i < sl_gguf_n_keys(gguf); i++) {
        char line[640];
        sl_gguf_describe_key(gguf, i, line, sizeof line);
        printf("  %s\n", line);
    }
    print_tensors(gguf);
    if (!shape) return;
    printf("%s: %u layers, width %u, FFN %u, %u heads, %u KV heads of %u, context %u, "
           "vocabulary %u, "
           "%s head\n",
           sl_architecture_of(gguf)->name, shape->n_layers, shape->width, shape->ffn_width,
           shape->n_heads, shape->n_kv_heads, shape->head_dim, shape->context, shape->vocab,
           shape->tied ? "tied" : "own");
    for (uint32_t kind = 0; kind < shape->n_kinds; kind++) print_kind(gguf, shape, kind);
    printf("bytes: embedding %" PRIu64 ", layer 0 %" PRIu64 ", head %" PRIu64
           "; f16 cache %zu bytes a token%s\n",
           sl_weights_embedding_bytes(gguf), sl_weights_layer_bytes(gguf, 0),
           sl_weights_head_bytes(gguf, shape),
           (size_t)sl_full_heads(shape, 0, shape->n_layers) * shape->head_dim * 4,
           sl_full_heads(shape, 0, shape->n_layers) < shape->n_layers * shape->n_kv_heads
               ? ", beside windows"
               : "");
}

static json_t *parts_json(const sl_gguf *gguf)
{
    json_t *parts = json_array();
    for (size_t i = 0; i < sl_gguf_n_parts(gguf); i++) {
        sl_json_object part = sl_json_begin();
        sl_json_set_text(&part, "path", sl_gguf_part_path(gguf, i));
        sl_json_set_count(&part, "bytes", sl_gguf_part_bytes(gguf, i));
        sl_json_set_count(&part, "tensors", count_tensors(gguf, i));
        json_array_append_new(parts, sl_json_end(&part));
    }
    return parts;
}

static json_t *tensors_json(const sl_gguf *gguf)
{
    json_t *tensors = json_array();
    for (size_t i = 0; i < sl_gguf_n_tensors(gguf); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(gguf, i);
        json_t *shape = json_array();
        for (uint32_t d = t->n_dims; d-- > 0;)
            json_array_append_new(shape, json_integer((json_int_t)t->dims[d]));
        json_t *name = json_stringn(t->name.data, t->name.bytes); /* left out if it is no UTF-8 */
        sl_json_object tensor = sl_json_begin();
        if (name) sl_json_set_item(&tensor, "name", name);
        sl_json_set_text(&tensor, "type", sl_type_name(t->type));
        sl_json_set_item(&tensor, "shape", shape);
        sl_json_set_count(&tensor, "bytes", t->data_bytes);
        json_array_append_new(tensors, sl_json_end(&tensor));
    }
    return tensors;
}

static json_t *rope_json(const sl_rope *rope)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_count(&object, "dim", rope->dim);
    sl_json_set_number(&object, "base", (double)rope->base);
    sl_json_set_text(&object, "scaling", scaling_name(rope));
    sl_json_set_number(&object, "factor", (double)rope->factor);
    return sl_json_end(&object);
}

/* Each kind with the layers that are of it; "window" is of sliding attention. What it has not is
 * left out. */
static json_t *kinds_json(const sl_model_shape *shape)
{
    json_t *kinds = json_array();
    for (uint32_t kind = 0; kind < shape->n_kinds; kind++) {
        json_t *layers = json_array();
        for (uint32_t i = 0; i < shape->n_layers; i++)
            if (shape->kind_of[i] == kind) json_array_append_new(layers, json_integer(i));
        sl_json_object object = sl_json_begin();
        sl_json_set_item(&object, "layers", layers);
        const sl_rope *rope = &shape->kinds[kind].rope;
        if (shape->kinds[kind].window > 0)
            sl_json_set_count(&object, "window", shape->kinds[kind].window);
        if (rope->dim > 0) sl_json_set_item(&object, "rope", rope_json(rope));
        json_array_append_new(kinds, sl_json_end(&object));
    }
    return kinds;
}

static json_t *shape_json(const sl_model_shape *shape)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_count(&object, "layers", shape->n_layers);
    sl_json_set_count(&object, "width", shape->width);
    sl_json_set_count(&object, "ffn_width", shape->ffn_width);
    sl_json_set_count(&object, "heads", shape->n_heads);
    sl_json_set_count(&object, "kv_heads", shape->n_kv_heads);
    sl_json_set_count(&object, "head_dim", shape->head_dim);
    sl_json_set_count(&object, "context", shape->context);
    sl_json_set_count(&object, "vocab", shape->vocab);
    sl_json_set_flag(&object, "tied", shape->tied);
    sl_json_set_item(&object, "layer_kinds", kinds_json(shape));
    return sl_json_end(&object);
}

static json_t *model_json(const sl_gguf *gguf, const sl_model_shape *shape)
{
    sl_json_object model = sl_json_begin();
    sl_json_set_text(&model, "path", sl_gguf_path(gguf));
    sl_json_set_count(&model, "bytes", sl_gguf_bytes(gguf));
    sl_json_set_count(&model, "version", sl_gguf_version(gguf));
    if (sl_gguf_n_parts(gguf) > 1) sl_json_set_item(&model, "parts", parts_json(gguf));
    sl_text name;
    if (sl_gguf_text(gguf, "general.architecture", &name))
        sl_json_set_bytes(&model, "architecture", name.data, name.bytes);
    sl_json_set_flag(&model, "runnable", shape != NULL);
    sl_json_set_item(&model, "tensors", tensors_json(gguf));
    if (shape) sl_json_set_item(&model, "shape", shape_json(shape));
    return sl_json_end(&model);
}

static sl_status show_model(const sl_settings *s)
{
    sl_model_setup setup = {.model = s->words[1], .settings = s};
    sl_status status = sl_model_setup_open(&setup, SL_SETUP_FILE);
    if (status != SL_OK) {
        sl_model_setup_close(&setup);
        return status;
    }
    /* An error has been logged, which says why the model cannot be run. */
    bool runnable = sl_model_setup_open(&setup, SL_SETUP_SHAPE) == SL_OK;
    const sl_model_shape *shape = runnable ? &setup.shape : NULL;
    if (s->json)
        status = sl_report_print(model_json(setup.gguf, shape));
    else
        print_text(setup.gguf, shape);
    sl_model_setup_close(&setup);
    return status;
}

static sl_status show_gate(const sl_settings *s) { return sl_show_gate(s->words[1], s->json); }

static int show_command(sl_settings *settings)
{
    const char *what = settings->n_words == 2 ? settings->words[0] : "";
    if (!strcmp(what, "model"))
        return sl_rank0_command_run(settings->sums ? sl_show_sums : show_model, settings);
    if (settings->sums) {
        sl_error("--sums is of models: show model FILE --sums");
        return SL_EXIT_USAGE;
    }
    if (!strcmp(what, "gate")) return sl_rank0_command_run(show_gate, settings);
    if (!strcmp(what, "report")) return sl_rank0_command_run(sl_report_train_show, settings);
    sl_error("show what? There is: show model FILE, show gate FILE, show report FILE");
    return SL_EXIT_USAGE;
}

static const sl_option OWN[] = {
    {"output", 'o', "FILE", NULL, "draw a training log, to a .png or .svg",
     SL_SETS_WRITTEN(output)},
    {"sums", 0, NULL, NULL,
     "what each layer's bytes hash to; kept in FILE.sums, or compared with it if it is there",
     SL_SETS_FLAG(sums)},
    {0},
};

const sl_command sl_cmd_show = {
    .name = "show",
    .summary = "say what is in a file: show model, show gate, show report",
    .usage = "(model | gate | report) FILE",
    .about = "Say what is in a model file: keys, tensors, bytes of each layer; or in a gate file: "
             "which model it is for, what the gates of each layer see, their bytes, and what each "
             "threshold keeps; or in the log of a training run.",
    .examples =
        "  sluice show model model.gguf\n"
        "  sluice show model model.gguf --sums   writes model.gguf.sums, or compares with it\n"
        "  sluice show gate gate.gguf\n"
        "  sluice show gate gate.gguf --json\n"
        "  sluice show report gate.gguf.log.jsonl -o curves.png",
    .groups = {OWN, sl_options_talk},
    .takes_words = true,
    .run = show_command,
};
