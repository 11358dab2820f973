/* launch/output/report_story.h - what the log of a training run tells (report_train.h writes it), and how it is
 * told on: in words, and as a script for gnuplot. The log is a file that anybody may have written: of its
 * texts only known names reach words or script, everything else that does is a number. */
#ifndef SL_REPORT_STORY_H
#define SL_REPORT_STORY_H

#include <jansson.h>
#include <stdio.h>

#include "runtime/base/status.h"

/* Each thing once: a resumed run tells some rounds again, and its last word counts. */
typedef struct {
    json_t *rounds;     /* array by round */
    json_t *held_out;   /* object by phase, "ridge" or "adamw": [layers] */
    json_t *calibrated; /* array of its lines, in order */
} sl_train_story;

/* Lines that say nothing known are told and skipped; `name` is the log's, for messages. SL_ERR_FILE,
 * SL_ERR_MEMORY: logged. Ended with sl_train_story_free, also after an error. */
sl_status sl_train_story_read(FILE *log, const char *name, sl_train_story *story);
void sl_train_story_free(sl_train_story *story); /* all zero is fine */

void sl_train_story_print(const sl_train_story *story, FILE *out);
/* Panels of the picture; 0: nothing can be drawn. */
int sl_train_story_panels(const sl_train_story *story);
/* The script that draws them, after sl_picture_begin. */
void sl_train_story_plot(const sl_train_story *story, FILE *plot);

#endif
