/* launch/bench/bench_codec.c - half a model as one stage, its hidden rows through every codec. */
#include "launch/bench/bench_codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/bench/codec_speed.h"
#include "launch/json/json_object.h"
#include "launch/machine/cores.h"
#include "launch/machine/process.h"
#include "launch/machine/version.h"
#include "launch/output/report.h"
#include "launch/setup/local_stage.h"
#include "launch/setup/model_setup.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/base/read_file.h"
#include "runtime/text/tokenizer.h"

static const double LINKS_GBIT_S[] = {0.1, 1, 2.5, 10, 25, 100};
enum { N_LINKS = sizeof LINKS_GBIT_S / sizeof *LINKS_GBIT_S };

/* Ordinary prose: activations of real text, without a file to bring along. */
static const char TEXT[] =
    "A sluice is a channel whose flow is ruled by a gate at its head. Millers built them to lead "
    "a stream onto the wheel, and to let it pass by when the stones were to rest. In the mountains "
    "of Saxony, miners of the sixteenth century washed ore in long wooden boxes: the water carried "
    "the light sand away, while the heavy grains of tin stayed behind the ridges of the floor. "
    "Farmers on low land open theirs at ebb and close them before the tide comes back, so that the "
    "fields drain twice a day without a pump. What all of these have in common is that nobody "
    "lifts the water. One only decides, at the right moment and with little effort, what may go on "
    "and what must wait. \"It is a small thing to turn a wheel,\" an old keeper told his daughter, "
    "\"but you must know the river.\" She learned to read the colour of the flood, the height of "
    "the mark on the third post, and the sound of the boards when 2 or 3 of them were about to "
    "give. By 1874 she kept a book of every level, morning and evening, in a clear round hand; it "
    "is still used to check the newer instruments.\n\n";

/* ---- hidden rows ---- */

typedef struct {
    sl_model_setup setup;
    uint32_t n_layers;    /* of the stage */
    sl_tokens tokens;     /* at least a chunk */
    sl_local_stage stage; /* its frame's hidden rows are what is measured */
} half;

static sl_status open_model(const sl_settings *s, half *h)
{
    if (!s->model) {
        sl_error("no model: give one with -m FILE.gguf");
        return SL_ERR_OPTION;
    }
    h->setup = (sl_model_setup){.model = s->model, .settings = s};
    sl_status status = sl_model_setup_open(&h->setup, SL_SETUP_KERNELS | SL_SETUP_SHAPE);
    if (status != SL_OK) return status;
    h->n_layers = h->setup.shape.n_layers / 2;
    if (h->n_layers > 0) return SL_OK;
    sl_error("%s has one layer: no link could lie behind it", s->model);
    return SL_ERR_UNSUPPORTED;
}

/* The text's tokens, again and again until there are a chunk. */
static sl_status repeat_text(const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                             uint32_t chunk, sl_tokens *tokens)
{
    sl_status status = sl_tokenizer_begin(tokenizer, tokens);
    while (status == SL_OK && tokens->n < chunk) {
        size_t before = tokens->n;
        status = sl_tokenizer_encode(tokenizer, text, bytes, SL_SPECIAL_AS_TEXT, tokens);
        if (status == SL_OK && tokens->n == before) {
            sl_error("the text has no tokens to measure with");
            status = SL_ERR_OPTION;
        }
    }
    return status;
}

static sl_status read_tokens(const sl_settings *s, half *h)
{
    sl_status status = sl_model_setup_open(&h->setup, SL_SETUP_TOKENIZER);
    if (status != SL_OK) return status;
    char *text = NULL;
    size_t bytes = 0;
    if (s->text) status = sl_read_file(s->text, &text, &bytes);
    if (status == SL_OK)
        status = repeat_text(h->setup.tokenizer, text ? text : TEXT, text ? bytes : strlen(TEXT),
                             s->chunk, &h->tokens);
    free(text);
    return status;
}

/* The prompt through the stage, in one frame. */
static sl_status compute(const sl_settings *s, half *h)
{
    sl_stage_options options = {
        .kernels = h->setup.kernels,
        .limits = {.rows_max = s->chunk,
                   .spans_max = 1,
                   .controls_max = 1,
                   .ranks = 1,
                   .width = h->setup.shape.width,
                   .n_layers = h->setup.shape.n_layers,
                   .n_kv_heads = h->setup.shape.n_kv_heads},
        .sequences_max = 1,
        .context = s->chunk,
        .policy = {.window = s->chunk}, /* everything is in the ring: no pages */
    };
    sl_status status = sl_local_stage_open(h->setup.gguf, NULL, &h->setup.shape, h->n_layers,
                                           &options, s->threads, &h->stage);
    return status == SL_OK ? sl_local_stage_compute(&h->stage, h->tokens.ids, s->chunk) : status;
}

static void close_half(half *h)
{
    sl_local_stage_close(&h->stage);
    sl_tokens_free(&h->tokens);
    sl_model_setup_close(&h->setup);
}

/* ---- measuring and telling ---- */

enum { SIZES_MAX = 3 };
typedef struct {
    uint32_t n_sizes, n_rows[SIZES_MAX];
    sl_codec_speed speeds[SIZES_MAX][SL_CODEC_KINDS];
} measured;

static sl_status measure(const half *h, uint32_t chunk, measured *m)
{
    const uint32_t wanted[SIZES_MAX] = {1, 16, chunk};
    sl_status status = SL_OK;
    for (int i = 0; i < SIZES_MAX && status == SL_OK; i++) {
        uint32_t n = wanted[i];
        if (n > chunk || (m->n_sizes > 0 && n <= m->n_rows[m->n_sizes - 1])) continue;
        const float *rows = h->stage.frame.hidden + (size_t)(chunk - n) * h->setup.shape.width;
        m->n_rows[m->n_sizes] = n;
        status = sl_codec_speed_measure(rows, n, h->setup.shape.width, m->speeds[m->n_sizes++]);
    }
    return status;
}

static double ratio(const sl_codec_speed *s) { return (double)s->n_bytes / (double)s->raw_bytes; }
static double bound_ratio(const sl_codec_speed *s) { return s->bound_bytes / (double)s->raw_bytes; }
static double gb_s(const sl_codec_speed *s, double seconds)
{
    return (double)s->raw_bytes / seconds / 1e9;
}

static const char *choice_name(const sl_codec_speed *speeds, sl_codec_choice among, double gbit_s)
{
    return sl_codec_kind_name(sl_codec_speed_choose(speeds, among, gbit_s * 1e9 / 8));
}

static sl_status print_table(const sl_settings *s, const half *h, const measured *m)
{
    sl_plain_room model;
    printf(
        "Hidden rows of %u floats behind layer %u of %s; GB/s of floats, one thread\n"
        "codec      rows     bytes  ratio  bound  encode GB/s  decode GB/s  max error  rms error\n",
        h->setup.shape.width, h->n_layers - 1, sl_plain_string(s->model, &model));
    for (uint32_t i = 0; i < m->n_sizes; i++)
        for (int k = 0; k < SL_CODEC_KINDS; k++) {
            const sl_codec_speed *c = &m->speeds[i][k];
            char bound[16] = "-";
            if (c->bound_bytes > 0) snprintf(bound, sizeof bound, "%.3f", bound_ratio(c));
            printf("%-9s %5u %9zu  %5.3f  %5s  %11.2f  %11.2f  %9.2g  %9.2g%s%s\n",
                   sl_codec_kind_name(c->kind), m->n_rows[i], c->n_bytes, ratio(c), bound,
                   gb_s(c, c->encode_s), gb_s(c, c->decode_s), c->max_error, c->rms_error,
                   c->written_as == c->kind ? "" : "  written as ",
                   c->written_as == c->kind ? "" : sl_codec_kind_name(c->written_as));
        }
    printf(
        "The bound is what a perfect code of the rows' exponents would reach. Errors are relative "
        "to the\nroot mean square of the row. What a link would choose, by encode + wire + decode "
        "time:\n"
        "Gbit/s   rows  lossless   any\n");
    for (int l = 0; l < N_LINKS; l++)
        for (uint32_t i = 0; i < m->n_sizes; i++)
            printf("%6g  %5u  %-9s  %s\n", LINKS_GBIT_S[l], m->n_rows[i],
                   choice_name(m->speeds[i], SL_CHOICE_LOSSLESS, LINKS_GBIT_S[l]),
                   choice_name(m->speeds[i], SL_CHOICE_ANY, LINKS_GBIT_S[l]));
    return sl_process_flush_stdout();
}

static json_t *speed_json(const sl_codec_speed *c, uint32_t n_rows)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "codec", sl_codec_kind_name(c->kind));
    sl_json_set_text(&object, "written_as", sl_codec_kind_name(c->written_as));
    sl_json_set_count(&object, "rows", n_rows);
    sl_json_set_count(&object, "bytes", c->n_bytes);
    sl_json_set_number(&object, "ratio", ratio(c));
    if (c->bound_bytes > 0)
        sl_json_set_number(&object, "bound_ratio", bound_ratio(c));
    else
        sl_json_set_null(&object, "bound_ratio");
    sl_json_set_number(&object, "encode_gb_s", gb_s(c, c->encode_s));
    sl_json_set_number(&object, "decode_gb_s", gb_s(c, c->decode_s));
    sl_json_set_number(&object, "max_error", c->max_error);
    sl_json_set_number(&object, "rms_error", c->rms_error);
    return sl_json_end(&object);
}

static json_t *choice_json(const sl_codec_speed *speeds, uint32_t n_rows, double gbit_s)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_number(&object, "gbit_s", gbit_s);
    sl_json_set_count(&object, "rows", n_rows);
    sl_json_set_text(&object, "lossless", choice_name(speeds, SL_CHOICE_LOSSLESS, gbit_s));
    sl_json_set_text(&object, "any", choice_name(speeds, SL_CHOICE_ANY, gbit_s));
    return sl_json_end(&object);
}

static sl_status print_json(const sl_settings *s, const half *h, const measured *m)
{
    json_t *rows = json_array(), *choices = json_array();
    for (uint32_t i = 0; i < m->n_sizes; i++)
        for (int k = 0; k < SL_CODEC_KINDS; k++)
            json_array_append_new(rows, speed_json(&m->speeds[i][k], m->n_rows[i]));
    for (int l = 0; l < N_LINKS; l++)
        for (uint32_t i = 0; i < m->n_sizes; i++)
            json_array_append_new(choices,
                                  choice_json(m->speeds[i], m->n_rows[i], LINKS_GBIT_S[l]));
    char machine[SL_MACHINE_BYTES];
    sl_cores_machine(machine, sizeof machine);
    sl_json_object object = sl_json_begin();
    sl_json_set_item(&object, "rows", rows);
    sl_json_set_item(&object, "choices", choices);
    sl_json_set_text(&object, "model", s->model);
    sl_json_set_count(&object, "layers", h->n_layers);
    sl_json_set_count(&object, "width", h->setup.shape.width);
    sl_json_set_count(&object, "chunk", s->chunk);
    sl_json_set_text(&object, "kernels", h->setup.kernels->name);
    sl_json_set_text(&object, "machine", machine);
    sl_json_set_text(&object, "commit", sl_version());
    return sl_report_print(sl_json_end(&object));
}

sl_status sl_bench_codec(const sl_settings *settings)
{
    half h = {0};
    measured m = {0};
    sl_status status = open_model(settings, &h);
    if (status == SL_OK) status = read_tokens(settings, &h);
    if (status == SL_OK) status = compute(settings, &h);
    if (status == SL_OK) status = measure(&h, settings->chunk, &m);
    if (status == SL_OK) status = (settings->json ? print_json : print_table)(settings, &h, &m);
    close_half(&h);
    return status;
}
