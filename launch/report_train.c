/* launch/report_train.c - see report_train.h. */
#include "launch/report_train.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "launch/line_reader.h"
#include "launch/picture.h"
#include "launch/report.h"
#include "runtime/base/log.h"

enum { LINE_BYTES_MAX = 1 << 20, PICTURE_WIDTH = 1000, PICTURE_HEIGHT = 420 };

/* ---- writing ---- */

/* JSON has no NaN. */
static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *reals(const double *x, uint32_t n)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < n; i++) json_array_append_new(array, real(x[i]));
    return array;
}

/* Takes the reference. */
static sl_status append(FILE *log, json_t *line)
{
    enum { DIGITS = 7 };
    bool good = line && json_dumpf(line, log, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) == 0 &&
                fputc('\n', log) != EOF && fflush(log) == 0;
    json_decref(line);
    if (!good) sl_error("cannot write the log: %s", strerror(errno));
    return good ? SL_OK : SL_ERR_FILE;
}

sl_status sl_report_train_round(FILE *log, const sl_train_round *round)
{
    const sl_train_round *r = round;
    return append(log,
                  json_pack("{s:s, s:I, s:I, s:s, s:i, s:I, s:f, s:f, s:o, s:o, s:f}", "phase",
                            r->phase, "round", (json_int_t)r->round, "rounds",
                            (json_int_t)r->rounds, "text", r->text, "context", (int)r->context,
                            "tokens", (json_int_t)r->tokens, "seconds", r->seconds, "tok_s",
                            r->tok_s, "loss", real(r->loss), "r2", real(r->r2), "rate", r->rate));
}

sl_status sl_report_train_held_out(FILE *log, const char *phase, const double *r2,
                                   uint32_t n_layers)
{
    return append(log, json_pack("{s:s, s:s, s:o}", "phase", "held-out", "after", phase, "layer_r2",
                                 reals(r2, n_layers)));
}

sl_status sl_report_train_calibrated(FILE *log, const sl_train_calibrated *row)
{
    json_t *measured = json_object();
    for (uint32_t i = 0; i < row->n_texts; i++)
        json_object_set_new(measured, row->texts[i], real(row->measured[i]));
    return append(log, json_pack("{s:s, s:f, s:i, s:f, s:o, s:o}", "phase", "calibrate", "keep",
                                 row->keep, "window", (int)row->window, "threshold", row->threshold,
                                 "texts", measured, "layer_retention",
                                 reals(row->retention, row->n_layers)));
}

void sl_report_train_describe(const sl_train_round *round, char *out, size_t out_bytes)
{
    const sl_train_round *r = round;
    char fit[64] = "";
    if (isfinite(r->loss)) snprintf(fit, sizeof fit, " loss %.4f, R2 %.3f,", r->loss, r->r2);
    double left = (double)(r->rounds - r->round) * r->seconds / (double)r->round;
    snprintf(out, out_bytes, "round %llu of %llu, %s:%s %.0f tok/s, about %d:%02d left",
             (unsigned long long)r->round, (unsigned long long)r->rounds, r->phase, fit, r->tok_s,
             (int)left / 60, (int)left % 60);
}

/* ---- reading ---- */

/* What a log says, each thing once. */
typedef struct {
    json_t *rounds;     /* array by round */
    json_t *held_out;   /* object by phase: [layers] */
    json_t *calibrated; /* array of its lines, in order */
} story;

static bool is_phase(const json_t *line, const char *phase)
{
    const char *value = json_string_value(json_object_get(line, "phase"));
    return value && strcmp(value, phase) == 0;
}

/* "" or what is wrong with it. */
static const char *take_line(story *s, json_t *line)
{
    if (is_phase(line, "held-out")) {
        const char *after = json_string_value(json_object_get(line, "after"));
        json_t *r2 = json_object_get(line, "layer_r2");
        bool known = after && (strcmp(after, "ridge") == 0 || strcmp(after, "adamw") == 0);
        if (!known || !json_is_array(r2))
            return "held-out without \"layer_r2\", or \"after\" neither ridge nor adamw";
        json_object_set(s->held_out, after, r2);
        return "";
    }
    if (is_phase(line, "calibrate")) {
        if (!json_is_array(json_object_get(line, "layer_retention")))
            return "calibrate without \"layer_retention\"";
        json_array_append(s->calibrated, line);
        return "";
    }
    json_int_t round = json_integer_value(json_object_get(line, "round"));
    size_t known = json_array_size(s->rounds);
    if (round < 1 || (size_t)round > known + 1) return "a round that does not follow";
    while (json_array_size(s->rounds) >= (size_t)round) /* resumed: told again from here */
        json_array_remove(s->rounds, json_array_size(s->rounds) - 1);
    json_array_append(s->rounds, line);
    return "";
}

static sl_status read_story(const char *path, story *s)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        sl_error("cannot open %s: %s", path, strerror(errno));
        return SL_ERR_FILE;
    }
    sl_line_reader reader;
    sl_line_reader_init(&reader, file, LINE_BYTES_MAX);
    const char *line;
    size_t bytes;
    sl_status status;
    while ((status = sl_line_reader_next(&reader, &line, &bytes, NULL)) == SL_OK) {
        json_t *object = json_loadb(line, bytes, 0, NULL);
        const char *wrong = object ? take_line(s, object) : "no JSON";
        json_decref(object);
        if (*wrong)
            sl_warn("%s, line %llu is skipped: %s", path, (unsigned long long)reader.number, wrong);
    }
    sl_line_reader_fini(&reader);
    fclose(file);
    return status == SL_END ? SL_OK : status;
}

static double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- in words ---- */

static void print_layers(const char *what, const json_t *values)
{
    printf("%s", what);
    size_t i;
    const json_t *value;
    json_array_foreach(values, i, value)
    {
        if (i % 10 == 0) printf("\n  layer %3zu", i);
        printf(" %6.3f", json_is_number(value) ? json_number_value(value) : NAN);
    }
    printf("\n");
}

static void print_story(const story *s)
{
    size_t n = json_array_size(s->rounds);
    if (n > 0) {
        const json_t *last = json_array_get(s->rounds, n - 1);
        printf("%zu rounds, %.0f tokens in %.0f s; last loss %.4f, R2 %.3f\n", n,
               number_of(last, "tokens"), number_of(last, "seconds"), number_of(last, "loss"),
               number_of(last, "r2"));
    }
    const char *phase;
    json_t *r2;
    json_object_foreach(s->held_out, phase, r2)
    {
        char what[80];
        snprintf(what, sizeof what, "R2 on held-out text after %s", phase);
        print_layers(what, r2);
    }
    size_t i;
    const json_t *row;
    json_array_foreach(s->calibrated, i, row)
    {
        char what[120];
        snprintf(what, sizeof what, "kept at rate %g, window %.0f, threshold %.4f",
                 number_of(row, "keep"), number_of(row, "window"), number_of(row, "threshold"));
        print_layers(what, json_object_get(row, "layer_retention"));
    }
}

/* ---- drawn ---- */

static void plot_values(FILE *plot, const json_t *values, double scale)
{
    size_t i;
    const json_t *value;
    json_array_foreach(values, i, value) if (json_is_number(value))
        fprintf(plot, "%zu %g\n", i, scale * json_number_value(value));
    fprintf(plot, "e\n");
}

static void plot_rounds(FILE *plot, const story *s)
{
    size_t i;
    const json_t *round;
    fprintf(plot, "set title 'loss on pieces not yet learned from'; set xlabel 'round'\n"
                  "plot '-' with points pointtype 7 pointsize 0.4 notitle\n");
    json_array_foreach(s->rounds, i, round) if (json_is_number(json_object_get(round, "loss")))
        fprintf(plot, "%zu %g\n", i + 1, number_of(round, "loss"));
    fprintf(plot, "e\n");
}

static void plot_layers(FILE *plot, const story *s)
{
    const char *phase;
    json_t *r2;
    const char *join = "plot";
    fprintf(plot, "set title 'R2 by layer, held-out'; set xlabel 'layer'; set yrange [0:1]\n");
    json_object_foreach(s->held_out, phase, r2)
    {
        fprintf(plot, "%s '-' with lines linewidth 2 title '%s'", join, phase);
        join = ",";
    }
    fprintf(plot, "\n");
    json_object_foreach(s->held_out, phase, r2) plot_values(plot, r2, 1);
}

static void plot_retention(FILE *plot, const story *s)
{
    size_t i;
    const json_t *row;
    const char *join = "plot";
    fprintf(plot, "set title 'kept by layer, %%'; set xlabel 'layer'; set yrange [0:100]\n"
                  "set key outside right top\n");
    json_array_foreach(s->calibrated, i, row)
    {
        fprintf(plot, "%s '-' with lines linewidth 2 title '%g%%, W %.0f'", join,
                100 * number_of(row, "keep"), number_of(row, "window"));
        join = ",";
    }
    fprintf(plot, "\n");
    json_array_foreach(s->calibrated, i, row)
        plot_values(plot, json_object_get(row, "layer_retention"), 100);
}

static sl_status draw(const story *s, const char *path)
{
    bool curves = json_array_size(s->rounds) > 0, layers = json_object_size(s->held_out) > 0;
    bool kept = json_array_size(s->calibrated) > 0;
    int n = curves + layers + kept;
    FILE *plot;
    if (n == 0) {
        sl_error("the log says nothing that can be drawn");
        return SL_ERR_OPTION;
    }
    sl_status status = sl_picture_begin(path, PICTURE_WIDTH * n / 2, PICTURE_HEIGHT, &plot);
    if (status != SL_OK) return status;
    fprintf(plot, "set multiplot layout 1,%d\nset key bottom right\n", n);
    if (curves) plot_rounds(plot, s);
    if (layers) plot_layers(plot, s);
    if (kept) plot_retention(plot, s);
    fprintf(plot, "unset multiplot\n");
    return sl_picture_end(plot, path);
}

sl_status sl_report_train_show(const sl_settings *settings)
{
    story s = {json_array(), json_object(), json_array()};
    sl_status status = read_story(settings->words[1], &s);
    if (status == SL_OK && settings->output) status = draw(&s, settings->output);
    if (status == SL_OK && settings->json)
        status = sl_report_print(json_pack("{s:O, s:O, s:O}", "rounds", s.rounds, "held_out",
                                           s.held_out, "calibrated", s.calibrated));
    else if (status == SL_OK)
        print_story(&s);
    json_decref(s.rounds);
    json_decref(s.held_out);
    json_decref(s.calibrated);
    return status;
}
