/* launch/output/report_train.c - see report_train.h. */
#include "launch/output/report_train.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/json/json_object.h"
#include "launch/output/picture.h"
#include "launch/output/report.h"
#include "launch/output/train_summary.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"

enum { PICTURE_WIDTH = 1000, PICTURE_HEIGHT = 420 };

/* ---- writing ---- */

/* JSON has no NaN. */
static json_t *real(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *reals(const double *x, uint32_t n)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < n; i++) json_array_append_new(array, real(x[i]));
    return array;
}

/* The callers do not know the name of the log; the system does. */
static sl_status log_unwritten(FILE *log, int error)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fileno(log));
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    sl_error("cannot write the log %s: %s", path, strerror(error));
    return SL_ERR_FILE;
}

/* Takes the reference. */
static sl_status append(FILE *log, json_t *line)
{
    enum { DIGITS = 7 };
    bool good = line && json_dumpf(line, log, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) == 0 &&
                fputc('\n', log) != EOF && fflush(log) == 0;
    int error = errno;
    json_decref(line);
    return good ? SL_OK : log_unwritten(log, error);
}

sl_status sl_report_train_round(FILE *log, const sl_train_round *round)
{
    const sl_train_round *r = round;
    sl_json_object line = sl_json_begin();
    sl_json_set_text(&line, "phase", r->phase);
    sl_json_set_count(&line, "round", r->round);
    sl_json_set_count(&line, "rounds", r->rounds);
    sl_json_set_text(&line, "text", r->text);
    sl_json_set_count(&line, "context", r->context);
    sl_json_set_count(&line, "tokens", r->tokens);
    sl_json_set_number(&line, "seconds", r->seconds);
    sl_json_set_number(&line, "tok_s", r->tok_s);
    sl_json_set_item(&line, "loss", real(r->loss));
    sl_json_set_item(&line, "r2", real(r->r2));
    sl_json_set_number(&line, "rate", r->rate);
    return append(log, sl_json_end(&line));
}

sl_status sl_report_train_held_out(FILE *log, const char *phase, const double *r2,
                                   uint32_t n_layers)
{
    sl_json_object line = sl_json_begin();
    sl_json_set_text(&line, "phase", "held-out");
    sl_json_set_text(&line, "after", phase);
    sl_json_set_item(&line, "layer_r2", reals(r2, n_layers));
    return append(log, sl_json_end(&line));
}

sl_status sl_report_train_calibrated(FILE *log, const sl_train_calibrated *row)
{
    json_t *measured = json_object();
    for (uint32_t i = 0; i < row->n_texts; i++)
        json_object_set_new(measured, row->texts[i], real(row->measured[i]));
    sl_json_object line = sl_json_begin();
    sl_json_set_text(&line, "phase", "calibrate");
    sl_json_set_number(&line, "keep", row->keep);
    sl_json_set_count(&line, "window", row->window);
    sl_json_set_number(&line, "threshold", row->threshold);
    sl_json_set_item(&line, "texts", measured);
    sl_json_set_item(&line, "layer_retention", reals(row->retention, row->n_layers));
    return append(log, sl_json_end(&line));
}

sl_status sl_report_train_cost(FILE *log, const sl_train_cost *cost)
{
    sl_json_object line = sl_json_begin();
    sl_json_set_text(&line, "phase", "cost");
    sl_json_set_number(&line, "keep", cost->keep);
    sl_json_set_number(&line, "kept", cost->kept);
    sl_json_set_number(&line, "rise", cost->rise);
    sl_json_set_number(&line, "kl", cost->kl);
    return append(log, sl_json_end(&line));
}

void sl_report_train_describe(const sl_train_round *round, char *out, size_t out_bytes)
{
    const sl_train_round *r = round;
    char fit[64] = "";
    if (isfinite(r->r2))
        snprintf(fit, sizeof fit, " loss %.4f, R2 %.3f,", r->loss, r->r2);
    else if (isfinite(r->loss))
        snprintf(fit, sizeof fit, " loss %.4f,", r->loss);
    double left = (double)(r->rounds - r->round) * r->seconds / (double)r->round;
    snprintf(out, out_bytes, "round %llu of %llu, %s:%s %.0f tok/s, about %d:%02d left",
             (unsigned long long)r->round, (unsigned long long)r->rounds, r->phase, fit, r->tok_s,
             (int)left / 60, (int)left % 60);
}

/* ---- reading ---- */

static sl_status read_summary(const char *path, sl_train_summary *summary)
{
    FILE *log = fopen(path, "rb");
    if (!log) return sl_file_error("open", path);
    sl_status status = sl_train_summary_read(log, path, summary);
    fclose(log);
    return status;
}

static sl_status draw(const sl_train_summary *summary, const char *path)
{
    int panels = sl_train_summary_panels(summary);
    sl_picture picture;
    if (panels == 0) {
        sl_error("the log says nothing that can be drawn");
        return SL_ERR_OPTION;
    }
    sl_status status = sl_picture_begin(path, PICTURE_WIDTH * panels / 2, PICTURE_HEIGHT, &picture);
    if (status != SL_OK) return status;
    sl_train_summary_plot(summary, picture.script);
    return sl_picture_end(&picture, path);
}

static json_t *summary_json(const sl_train_summary *summary)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_item(&object, "rounds", json_incref(summary->rounds));
    sl_json_set_item(&object, "held_out", json_incref(summary->held_out));
    sl_json_set_item(&object, "costs", json_incref(summary->costs));
    sl_json_set_item(&object, "calibrated", json_incref(summary->calibrated));
    return sl_json_end(&object);
}

sl_status sl_report_train_show(const sl_settings *settings)
{
    sl_train_summary summary = {0};
    sl_status status = read_summary(settings->words[1], &summary);
    if (status == SL_OK && settings->output) status = draw(&summary, settings->output);
    if (status == SL_OK && settings->json)
        status = sl_report_print(summary_json(&summary));
    else if (status == SL_OK)
        sl_train_summary_print(&summary, stdout);
    sl_train_summary_free(&summary);
    return status;
}
