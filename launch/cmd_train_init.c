/* launch/cmd_train_init.c - `sluice train init`: a gate file for a model, with weights that are random
 * or do nothing: what training starts from, and what tries the machinery without training. Every
 * number is a hash of (seed, layer, tensor, index), so a seed means one file everywhere. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/alone.h"
#include "launch/commands.h"
#include "launch/engine.h"
#include "runtime/base/log.h"
#include "runtime/gate/gate_file.h"
#include "runtime/model/weights.h"

typedef struct {
    const sl_settings *settings;
    sl_gate_shape shape; /* of every layer */
    uint32_t type;       /* of the wide matrices */
    double bias[2];      /* of logits, first and last layer */
    bool random;
    sl_gate gate;
    sl_arena arena; /* all weights; counts first */
} making;

/* ---- options ---- */

static sl_status wrong(const char *option, const char *value, const char *expected)
{
    sl_error("--%s: '%s' is not %s", option, value, expected);
    return SL_ERR_OPTION;
}

/* "X" or "X,Y". Returns how many; 0: it is something else. */
static int read_numbers(const char *text, double numbers[2])
{
    for (int n = 0; n < 2; n++) {
        char *end;
        numbers[n] = strtod(text, &end);
        if (end == text || !isfinite(numbers[n])) return 0;
        if (!*end) return n + 1;
        if (*end != ',') return 0;
        text = end + 1;
    }
    return 0;
}

static bool is_reach(double x) { return x >= 0 && x <= 1 << 20 && x == floor(x); }

static sl_status read_span(const char *text, sl_gate_shape *shape)
{
    static const char WINDOW[] = "window:";
    double reach[2] = {0};
    bool window = strncmp(text, WINDOW, sizeof WINDOW - 1) == 0;
    shape->span = window                        ? SL_GATE_WINDOW
                  : strcmp(text, "causal") == 0 ? SL_GATE_CAUSAL
                                                : SL_GATE_PROMPT;
    bool known = window ? read_numbers(text + sizeof WINDOW - 1, reach) == 2 &&
                              is_reach(reach[0]) && is_reach(reach[1])
                        : shape->span == SL_GATE_CAUSAL || strcmp(text, "prompt") == 0;
    if (!known) return wrong("span", text, "window:BACK,AHEAD, causal or prompt");
    shape->back = (uint32_t)reach[0];
    shape->ahead = (uint32_t)reach[1];
    return SL_OK;
}

static sl_status read_options(making *m)
{
    const sl_settings *s = m->settings;
    sl_status status = read_span(s->span, &m->shape);
    if (status != SL_OK) return status;
    m->shape.heads = s->gate_heads;
    m->shape.width = s->gate_heads > 0 ? s->gate_width : 0;
    m->shape.hidden = s->gate_hidden;
    m->shape.kv = s->own_kv ? SL_GATE_OWN_KV : SL_GATE_SHARED_KV;
    if (m->shape.width % 16 != 0) {
        sl_error("--gate-width: %u is not a multiple of 16", m->shape.width);
        return SL_ERR_OPTION;
    }
    m->random = strcmp(s->fill, "random") == 0;
    if (!m->random && strcmp(s->fill, "constant") != 0)
        return wrong("fill", s->fill, "random or constant");
    m->type = strcmp(s->type, "f16") == 0 ? SL_TYPE_F16 : SL_TYPE_Q8_0;
    if (m->type == SL_TYPE_Q8_0 && strcmp(s->type, "q8_0") != 0)
        return wrong("type", s->type, "q8_0 or f16");
    int found = read_numbers(s->bias, m->bias);
    if (found == 0) return wrong("bias", s->bias, "a number, or two with a comma between");
    if (found == 1) m->bias[1] = m->bias[0];
    return SL_OK;
}

/* ---- weights ---- */

/* Standard normal: Box and Muller 1958, from two halves of a hash. */
static float normal(uint64_t seed, uint32_t layer, uint32_t tensor, uint32_t index)
{
    const uint32_t key[3] = {layer, tensor, index};
    uint64_t bits = XXH3_64bits_withSeed(key, sizeof key, seed);
    double u = ((double)(bits >> 32) + 1) * 0x1p-32, v = (double)(uint32_t)bits * 0x1p-32;
    return (float)(sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v));
}

static float weight_of(const making *m, uint32_t layer, uint32_t tensor, uint32_t index,
                       size_t n_in)
{
    if (!m->random) return 0;
    return normal(m->settings->seed, layer, tensor, index) / sqrtf((float)n_in);
}

static size_t row_bytes(uint32_t type, size_t n_in)
{
    size_t elements, bytes;
    sl_type_block(type, &elements, &bytes);
    return n_in / elements * bytes;
}

/* As ggml quantizes: scale = f16(max|x| / 127). */
static void put_q8_0(const float *x, uint8_t *out)
{
    float most = 0;
    for (int i = 0; i < SL_BLOCK; i++) most = fmaxf(most, fabsf(x[i]));
    uint16_t scale = sl_f32_to_f16(most / 127);
    float inverse = most > 0 ? 127 / most : 0;
    memcpy(out, &scale, sizeof scale);
    for (int i = 0; i < SL_BLOCK; i++) out[2 + i] = (uint8_t)(int8_t)lrintf(x[i] * inverse);
}

static void put_row(const making *m, uint32_t layer, uint32_t tensor, size_t row,
                    const sl_matrix *w, uint8_t *out)
{
    for (size_t i = 0; i < w->n_in; i += SL_BLOCK) {
        float x[SL_BLOCK] = {0};
        size_t n = w->n_in - i < SL_BLOCK ? w->n_in - i : SL_BLOCK;
        for (size_t k = 0; k < n; k++)
            x[k] = weight_of(m, layer, tensor, (uint32_t)(row * w->n_in + i + k), w->n_in);
        if (w->type == SL_TYPE_Q8_0)
            put_q8_0(x, out + i / SL_BLOCK * (2 + SL_BLOCK));
        else
            for (size_t k = 0; k < n; k++) ((uint16_t *)out)[i + k] = sl_f32_to_f16(x[k]);
    }
}

static sl_matrix take_matrix(making *m, uint32_t layer, uint32_t tensor, uint32_t type,
                             size_t n_out, size_t n_in)
{
    sl_matrix w = {.type = type, .n_out = n_out, .n_in = n_in, .row_bytes = row_bytes(type, n_in)};
    uint8_t *bytes = sl_arena_take(&m->arena, n_out * w.row_bytes);
    for (size_t row = 0; bytes && row < n_out; row++)
        put_row(m, layer, tensor, row, &w, bytes + row * w.row_bytes);
    w.data = bytes;
    return w;
}

static const float *take_bias(making *m, size_t n, double value)
{
    float *bias = sl_arena_array(&m->arena, float, n);
    for (size_t i = 0; bias && i < n; i++) bias[i] = (float)value;
    return bias;
}

static void make_layer(making *m, uint32_t layer, sl_gate_layer *l)
{
    const sl_gate_shape *s = &m->shape;
    uint32_t n_kv = m->gate.n_kv_heads, last = m->gate.n_layers - 1;
    double bias = m->bias[0] + (m->bias[1] - m->bias[0]) * (last > 0 ? (double)layer / last : 0);
    size_t width = m->gate.model_width, inner = sl_gate_inner(s, n_kv);
    size_t q = (size_t)s->heads * s->width, kv = (size_t)sl_gate_kv_heads(s) * s->width;
    *l = (sl_gate_layer){.shape = *s};
    l->x = take_matrix(m, layer, 0, m->type, inner, width);
    l->x_bias = take_bias(m, inner, s->hidden > 0 ? 0 : bias);
    if (s->heads > 0) {
        l->q = take_matrix(m, layer, 1, m->type, q, width);
        l->k = take_matrix(m, layer, 2, m->type, kv, width);
        l->v = take_matrix(m, layer, 3, m->type, kv, width);
        l->a = take_matrix(m, layer, 4, SL_TYPE_F16, inner, q);
    }
    if (s->hidden == 0) return;
    l->out = take_matrix(m, layer, 5, SL_TYPE_F16, n_kv, s->hidden);
    l->out_bias = take_bias(m, n_kv, bias);
}

/* ---- the file ---- */

static sl_status describe_model(const sl_settings *s, sl_gate *gate)
{
    sl_gguf *gguf;
    sl_model_shape shape;
    sl_status status = sl_gguf_open(s->model, &gguf);
    if (status != SL_OK) return status;
    status = sl_model_shape_read(gguf, &shape);
    if (status == SL_OK) {
        sl_weights weights = {0};
        sl_arena arena;
        void *storage;
        sl_arena_init(&arena, NULL, 0);
        sl_weights_bind(gguf, &shape, 0, shape.n_layers, &arena, &weights);
        size_t bytes = arena.used_bytes;
        status = sl_storage_take(bytes, "the list of layers", &storage);
        if (status == SL_OK) {
            sl_arena_init(&arena, storage, bytes);
            sl_weights_bind(gguf, &shape, 0, shape.n_layers, &arena, &weights);
            gate->model_hash = sl_weights_tensors_hash(gguf, sl_weights_hash_share(gguf, &weights));
            sl_storage_release(storage, bytes);
        }
    }
    sl_text name = {"", 0};
    sl_gguf_text(gguf, "general.name", &name);
    snprintf(gate->model_name, sizeof gate->model_name, "%.*s", (int)name.bytes, name.data);
    gate->n_layers = shape.n_layers;
    gate->n_kv_heads = shape.n_kv_heads;
    gate->model_width = shape.width;
    sl_gguf_close(gguf);
    return status;
}

static void make_gate(making *m)
{
    sl_gate_layer counted;
    m->gate.layers = sl_arena_array(&m->arena, sl_gate_layer, m->gate.n_layers);
    for (uint32_t i = 0; i < m->gate.n_layers; i++)
        make_layer(m, i, m->gate.layers ? &m->gate.layers[i] : &counted);
}

static sl_status init(const sl_settings *s)
{
    making m = {.settings = s};
    sl_status status = read_options(&m);
    if (status == SL_OK) status = describe_model(s, &m.gate);
    if (status != SL_OK) return status;
    bool paper = m.shape.span == SL_GATE_PROMPT;
    m.gate.sinks = s->sinks != SL_NOT_GIVEN ? s->sinks : paper ? 0 : 4;
    m.gate.window = s->window != SL_NOT_GIVEN ? s->window : paper ? 1 : 128;
    m.gate.keep = 1; /* nobody knows yet */
    sl_arena_init(&m.arena, NULL, 0);
    make_gate(&m);
    size_t bytes = m.arena.used_bytes;
    void *storage;
    status = sl_storage_take(bytes, "gates", &storage);
    if (status != SL_OK) return status;
    sl_arena_init(&m.arena, storage, bytes);
    make_gate(&m);
    status = sl_gate_file_write(s->output, &m.gate);
    if (status == SL_OK)
        sl_info("%s: gates for %u layers of '%s', %zu bytes", s->output, m.gate.n_layers,
                m.gate.model_name, bytes);
    sl_storage_release(storage, bytes);
    return status;
}

static int train_init_command(sl_settings *settings)
{
    if (!settings->model || !settings->output) {
        sl_error("train init needs a model (-m FILE) and where the gates go (-o FILE)");
        return SL_EXIT_USAGE;
    }
    return sl_run_alone(init, settings);
}

const sl_command_entry sl_cmd_train_init = {
    .command = SL_COMMAND_TRAIN_INIT,
    .name = "train init",
    .summary = "make a gate file for a model, not trained yet",
    .usage = "-m MODEL -o GATE",
    .about = "Make Attention-Gates for a model, with random weights, or with constant ones whose "
             "logits are --bias alone: above 0 they keep everything, below nothing.",
    .examples = "  sluice train init -m model.gguf -o gate.gguf --seed 1\n"
                "  sluice train init -m model.gguf -o paper.gguf --span prompt\n"
                "  sluice train init -m model.gguf -o all.gguf --fill constant --bias 1\n"
                "  sluice train init -m model.gguf -o slope.gguf --bias 2,-2   early layers keep "
                "more",
    .run = train_init_command,
};
