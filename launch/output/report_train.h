/* launch/output/report_train.h - the log of a training run, written as one JSON object a line, and
 * `show report`, which shows it: curves, and what each layer keeps. */
#ifndef SL_REPORT_TRAIN_H
#define SL_REPORT_TRAIN_H

#include <stdint.h>
#include <stdio.h>

#include "launch/options/settings.h"
#include "runtime/base/status.h"

/* One round: a piece on every rank. */
typedef struct {
    uint64_t round, rounds; /* done, in all */
    const char *phase;      /* "ridge", "adamw" */
    const char *text;       /* of rank 0's piece */
    uint32_t context;       /* tokens of the pieces */
    uint64_t tokens;        /* so far, all ranks */
    double seconds;         /* so far, earlier sittings included */
    double tok_s;           /* of this sitting */
    double loss, r2;        /* on pieces not yet learned from; NAN: unknown */
    double rate;
} sl_train_round;

/* Append a line; SL_ERR_FILE, logged. */
sl_status sl_report_train_round(FILE *log, const sl_train_round *round);
/* R^2 of each layer on held-out text, NAN where there is no gate. */
sl_status sl_report_train_held_out(FILE *log, const char *phase, const double *r2,
                                   uint32_t n_layers);
/* What gates cost on held-out text, so much of it kept. */
typedef struct {
    double keep, kept; /* asked, and measured */
    double rise;       /* of perplexity over the full cache: 0.01 is 1% */
    double kl;         /* to the full cache, nat a token */
} sl_train_cost;
sl_status sl_report_train_cost(FILE *log, const sl_train_cost *cost);
/* A row of the calibration table. */
typedef struct {
    double keep;
    uint32_t window;
    double threshold;
    uint32_t n_texts;
    const char *const *texts; /* [n_texts] */
    const double *measured;   /* [n_texts] what was kept of each */
    uint32_t n_layers;
    const double *retention; /* [n_layers] */
} sl_train_calibrated;
sl_status sl_report_train_calibrated(FILE *log, const sl_train_calibrated *row);

/* "round 12 of 40, adamw: loss 1.234, R2 0.66, 812 tok/s, about 9:30 left" */
void sl_report_train_describe(const sl_train_round *round, char *out, size_t out_bytes);

/* `show report LOG [-o PICTURE]`: the log's train_summary.h as text, or with
 * --json, and drawn if a picture is asked for. */
sl_status sl_report_train_show(const sl_settings *settings);

#endif
