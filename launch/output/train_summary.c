/* launch/output/train_summary.c - see train_summary.h. */
#include "launch/output/train_summary.h"

#include <math.h>
#include <string.h>

#include "runtime/base/line_reader.h"
#include "runtime/base/log.h"
#include "runtime/base/skipped.h"

enum { LINE_BYTES_MAX = 1 << 20 };
enum { WRITTEN_OUT_MAX = 10000 }; /* a number further from 0 is printed by its first digits */

/* ---- reading ---- */

static bool is_phase(const json_t *line, const char *phase)
{
    const char *value = json_string_value(json_object_get(line, "phase"));
    return value && strcmp(value, phase) == 0;
}

/* "" or what is wrong with it. */
static const char *take_line(sl_train_summary *s, json_t *line)
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
    if (is_phase(line, "cost")) {
        json_array_append(s->costs, line);
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
    while (json_array_size(s->rounds) >= (size_t)round) /* resumed: written again from here on */
        json_array_remove(s->rounds, json_array_size(s->rounds) - 1);
    json_array_append(s->rounds, line);
    return "";
}

sl_status sl_train_summary_read(FILE *log, const char *name, sl_train_summary *summary)
{
    *summary = (sl_train_summary){json_array(), json_object(), json_array(), json_array()};
    sl_line_reader reader;
    sl_line_reader_init(&reader, log, LINE_BYTES_MAX);
    const char *line;
    size_t bytes;
    sl_status status;
    sl_skipped skipped = {.path = name, .part = "line"};
    while ((status = sl_line_reader_next(&reader, &line, &bytes, NULL)) == SL_OK) {
        json_t *object = json_loadb(line, bytes, 0, NULL);
        const char *wrong = object ? take_line(summary, object) : "no JSON";
        json_decref(object);
        if (*wrong) sl_skip(&skipped, reader.number, wrong);
    }
    sl_skipped_end(&skipped);
    sl_line_reader_fini(&reader);
    return status == SL_END ? SL_OK : status;
}

void sl_train_summary_free(sl_train_summary *summary)
{
    json_decref(summary->rounds);
    json_decref(summary->held_out);
    json_decref(summary->costs);
    json_decref(summary->calibrated);
    *summary = (sl_train_summary){0};
}

static double number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- in words ---- */

static void print_layers(FILE *out, const char *what, const json_t *values)
{
    fprintf(out, "%s", what);
    size_t i;
    const json_t *value;
    json_array_foreach(values, i, value)
    {
        if (i % 10 == 0) fprintf(out, "\n  layer %3zu", i);
        if (!json_is_number(value)) { /* no gate, or none that is finite */
            fprintf(out, " %6s", "-");
            continue;
        }
        double number = json_number_value(value);
        fprintf(out, fabs(number) < WRITTEN_OUT_MAX ? " %6.3f" : " %6.3g", number);
    }
    fprintf(out, "\n");
}

void sl_train_summary_print(const sl_train_summary *summary, FILE *out)
{
    size_t n = json_array_size(summary->rounds);
    if (n > 0) {
        const json_t *last = json_array_get(summary->rounds, n - 1);
        fprintf(out, "%zu rounds, %.0f tokens in %.0f s; last loss %.4f", n,
                number_of(last, "tokens"), number_of(last, "seconds"), number_of(last, "loss"));
        if (json_is_number(json_object_get(last, "r2")))
            fprintf(out, ", R2 %.3f", number_of(last, "r2"));
        fprintf(out, "\n");
    }
    const char *phase;
    json_t *r2;
    json_object_foreach(summary->held_out, phase, r2)
    {
        char what[80];
        snprintf(what, sizeof what, "R2 on held-out text after %s", phase);
        print_layers(out, what, r2);
    }
    size_t i;
    const json_t *row;
    json_array_foreach(summary->costs, i, row)
        fprintf(out, "held-out text, %.2f%% kept: perplexity %+.2f%%, KL %.4f\n",
                100 * number_of(row, "kept"), 100 * number_of(row, "rise"), number_of(row, "kl"));
    json_array_foreach(summary->calibrated, i, row)
    {
        char what[120];
        snprintf(what, sizeof what, "kept at rate %g, window %.0f, threshold %.4f",
                 number_of(row, "keep"), number_of(row, "window"), number_of(row, "threshold"));
        print_layers(out, what, json_object_get(row, "layer_retention"));
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

static void plot_rounds(FILE *plot, const sl_train_summary *s)
{
    size_t i;
    const json_t *round;
    fprintf(plot, "set title 'loss on pieces not yet learned from'; set xlabel 'round'\n"
                  "plot '-' with points pointtype 7 pointsize 0.4 notitle\n");
    json_array_foreach(s->rounds, i, round) if (json_is_number(json_object_get(round, "loss")))
        fprintf(plot, "%zu %g\n", i + 1, number_of(round, "loss"));
    fprintf(plot, "e\n");
}

static void plot_layers(FILE *plot, const sl_train_summary *s)
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

static void plot_retention(FILE *plot, const sl_train_summary *s)
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

int sl_train_summary_panels(const sl_train_summary *summary)
{
    return (json_array_size(summary->rounds) > 0) + (json_object_size(summary->held_out) > 0) +
           (json_array_size(summary->calibrated) > 0);
}

void sl_train_summary_plot(const sl_train_summary *summary, FILE *plot)
{
    fprintf(plot, "set multiplot layout 1,%d\nset key bottom right\n",
            sl_train_summary_panels(summary));
    if (json_array_size(summary->rounds) > 0) plot_rounds(plot, summary);
    if (json_object_size(summary->held_out) > 0) plot_layers(plot, summary);
    if (json_array_size(summary->calibrated) > 0) plot_retention(plot, summary);
}
