/* launch/output/train_summary.h - reads the log of a training run, which report_train.h writes, and
 * prints it in words or as a script for gnuplot. Anybody may have written the log: of its texts
 * only known names are printed or reach the script, everything else there is a number. */
#ifndef SL_TRAIN_SUMMARY_H
#define SL_TRAIN_SUMMARY_H

#include <jansson.h>
#include <stdio.h>

#include "runtime/base/status.h"

/* Each round once: a resumed run writes some rounds again, and the last line of a round counts. */
typedef struct {
    json_t *rounds;     /* array by round */
    json_t *held_out;   /* object by phase, "ridge" or "adamw": [layers] */
    json_t *costs;      /* array of its lines, in order: on held-out text, by what is kept */
    json_t *calibrated; /* array of its lines, in order */
} sl_train_summary;

/* Unknown lines are skipped with a warning; `name` is the log's, for messages. SL_ERR_FILE,
 * SL_ERR_MEMORY: logged. Ended with sl_train_summary_free, also after an error. */
sl_status sl_train_summary_read(FILE *log, const char *name, sl_train_summary *summary);
void sl_train_summary_free(sl_train_summary *summary); /* all zero is fine */

void sl_train_summary_print(const sl_train_summary *summary, FILE *out);
/* Panels of the picture; 0: nothing can be drawn. */
int sl_train_summary_panels(const sl_train_summary *summary);
/* The script that draws them, after sl_picture_begin. */
void sl_train_summary_plot(const sl_train_summary *summary, FILE *plot);

#endif
