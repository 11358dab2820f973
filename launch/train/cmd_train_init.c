/* launch/train/cmd_train_init.c - `sluice train init`: a gate file for a model, with weights that
 * are random or do nothing: what training starts from, and what tries the machinery without
 * training. Every number is a hash of (seed, layer, tensor, index), so a seed means one file
 * everywhere. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/machine/process.h"
#include "launch/setup/model_setup.h"
#include "launch/setup/rank0_command.h"
#include "launch/train/train_commands.h"
#include "launch/train/train_options.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/gate/gate_params.h"
#include "runtime/model/weights.h"

typedef struct {
    const sl_settings *settings;
    sl_gate_shape shape; /* of every layer, but for heads, width and hidden */
    uint32_t type;       /* of the wide matrices */
    double bias[2];      /* of logits, first and last layer */
    bool random;
    sl_model_shape model;
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
    m->shape.kv = s->own_kv ? SL_GATE_OWN_KV : SL_GATE_SHARED_KV;
    for (uint32_t i = 0; i < s->gate_width.n; i++) {
        if (s->gate_width.items[i] % 16 == 0) continue;
        sl_error("--gate-width: %u is not a multiple of 16", s->gate_width.items[i]);
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

/* Tensors by the numbers their hashes have had since the first file. */
static void fill_part(const making *m, uint32_t layer, uint32_t tensor, const sl_gate_part *part,
                      float *params)
{
    uint32_t n = part->n_out * part->n_in;
    for (uint32_t i = 0; i < n; i++)
        params[part->at + i] = weight_of(m, layer, tensor, i, part->n_in);
}

static void fill_layer(const making *m, uint32_t layer, const sl_gate_params *p, float *params)
{
    uint32_t last = m->gate.n_layers - 1;
    double bias = m->bias[0] + (m->bias[1] - m->bias[0]) * (last > 0 ? (double)layer / last : 0);
    const sl_gate_part *logits = p->out.n_out > 0 ? &p->out_bias : &p->x_bias;
    memset(params, 0, p->n * sizeof *params);
    fill_part(m, layer, 0, &p->x, params);
    fill_part(m, layer, 1, &p->q, params);
    fill_part(m, layer, 2, &p->k, params);
    fill_part(m, layer, 3, &p->v, params);
    fill_part(m, layer, 4, &p->a, params);
    fill_part(m, layer, 5, &p->out, params);
    for (uint32_t i = 0; i < logits->n_out; i++) params[logits->at + i] = (float)bias;
}

/* Numbers are given for runs of layers, all of about one length. */
static uint32_t of_layer(const making *m, const sl_counts *given, uint32_t layer)
{
    return given->items[(uint64_t)layer * given->n / m->gate.n_layers];
}

static sl_gate_shape shape_of(const making *m, uint32_t layer)
{
    const sl_settings *s = m->settings;
    sl_gate_shape shape = m->shape;
    if (sl_sliding_window(&m->model, layer)) return (sl_gate_shape){.span = SL_GATE_ABSENT};
    shape.heads = of_layer(m, &s->gate_heads, layer);
    shape.width = shape.heads > 0 ? of_layer(m, &s->gate_width, layer) : 0;
    shape.hidden = of_layer(m, &s->gate_hidden, layer);
    return shape;
}

static void make_layer(making *m, uint32_t layer, sl_gate_layer *l)
{
    sl_gate_shape shape = shape_of(m, layer);
    sl_gate_params p;
    sl_gate_params_plan(&m->gate, &shape, &p);
    float *params = sl_arena_array(&m->arena, float, p.n);
    if (params) fill_layer(m, layer, &p, params);
    sl_gate_params_encode(&p, params, m->type, &m->arena, l);
}

/* ---- the file ---- */

/* Of all layers of a model that was checked. */
static sl_status hash_tensors(const sl_gguf *gguf, const sl_model_shape *shape, uint64_t *hash_out)
{
    sl_sums sums;
    sl_status status = sl_sums_whole(gguf, shape->n_layers, &sums);
    if (status != SL_OK) return status;
    *hash_out = sl_sums_tensors(&sums);
    sl_sums_fini(&sums);
    return SL_OK;
}

static sl_status describe_model(making *m)
{
    sl_model_setup setup = {.model = m->settings->model, .settings = m->settings};
    const sl_model_shape *shape = &setup.shape;
    sl_gate *gate = &m->gate;
    sl_status status = sl_model_setup_open(&setup, SL_SETUP_SHAPE);
    if (status == SL_OK) status = hash_tensors(setup.gguf, shape, &gate->model_hash);
    if (status == SL_OK) {
        sl_text name = {"", 0};
        sl_gguf_text(setup.gguf, "general.name", &name);
        size_t bytes = sl_plain_prefix(name.data, name.bytes, sizeof gate->model_name - 1);
        memcpy(gate->model_name, name.data, bytes);
        gate->model_name[bytes] = '\0';
        m->model = *shape;
        gate->n_layers = shape->n_layers;
        gate->n_kv_heads = shape->n_kv_heads;
        gate->model_width = shape->width;
    }
    sl_model_setup_close(&setup);
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
    if (status == SL_OK) status = describe_model(&m);
    if (status == SL_OK && sl_full_heads(&m.model, 0, m.model.n_layers) == 0) {
        sl_error("%s: all layers have a sliding window: there is nothing to gate", s->model);
        status = SL_ERR_UNSUPPORTED;
    }
    if (status != SL_OK) return status;
    bool paper = m.shape.span == SL_GATE_PROMPT;
    m.gate.sinks = s->sinks != SL_NOT_GIVEN ? s->sinks : paper ? 0 : 4;
    m.gate.window = s->window != SL_NOT_GIVEN ? s->window : paper ? 1 : 128;
    m.gate.keep = 1; /* not known before training */
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
        sl_info("%s: gates for %u layers of '%s'", s->output,
                sl_full_heads(&m.model, 0, m.gate.n_layers) / m.gate.n_kv_heads, m.gate.model_name);
    sl_storage_release(storage, bytes);
    return status;
}

static int train_init_command(sl_settings *settings)
{
    if (!settings->model || !settings->output) {
        sl_error("train init needs a model (-m FILE) and where the gates go (-o FILE)");
        return SL_EXIT_USAGE;
    }
    return sl_rank0_command_run(init, settings);
}

static const sl_option SHAPE[] = {
    {"span", 0, "SPAN", "window:96,32", "what gates see: window:BACK,AHEAD, causal, prompt",
     SL_SETS_TEXT(span)},
    {"gate-heads", 0, "N,...", "3",
     "heads of each gate; 0: linear. More numbers: of as many runs of layers, first to last",
     SL_SETS_COUNTS(gate_heads, 0, SL_GATE_HEADS_MAX)},
    {"gate-width", 0, "N,...", "16", "width of a gate head",
     SL_SETS_COUNTS(gate_width, 16, SL_GATE_WIDTH_MAX)},
    {"gate-hidden", 0, "N,...", "0", "units of a hidden layer; 0: none",
     SL_SETS_COUNTS(gate_hidden, 0, SL_GATE_HIDDEN_MAX)},
    {"own-kv", 0, NULL, NULL, "each gate head has keys and values of its own",
     SL_SETS_FLAG(own_kv)},
    {"fill", 0, "NAME", "random", "weights: random, constant", SL_SETS_TEXT(fill)},
    {"bias", 0, "X[,Y]", "0", "of the logits, from X in the first layer to Y in the last",
     SL_SETS_TEXT(bias)},
    {0},
};

const sl_command sl_cmd_train_init = {
    .name = "train init",
    .summary = "make a gate file for a model, not trained yet",
    .usage = "-m MODEL -o GATE",
    .about = "Make Attention-Gates for a model, with random weights, or with constant ones whose "
             "logits are --bias alone: above 0 they keep everything, below nothing.",
    .examples =
        "  sluice train init -m model.gguf -o gate.gguf --seed 1\n"
        "  sluice train init -m model.gguf -o gate.gguf --gate-heads 4,2,0   deep layers less\n"
        "  sluice train init -m model.gguf -o paper.gguf --span prompt\n"
        "  sluice train init -m model.gguf -o all.gguf --fill constant --bias 1\n"
        "  sluice train init -m model.gguf -o slope.gguf --bias 2,-2   early layers keep more",
    .groups = {sl_options_model, sl_options_seed, sl_train_options_output, SHAPE,
               sl_train_options_type, sl_options_sinks, sl_options_window, sl_options_talk},
    .run = train_init_command,
};
