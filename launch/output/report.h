/* launch/output/report.h - the numbers of a run at its end: as a table on stderr for people, as
 * JSON on stdout for programs. The front door of launch/output, which owns how results, progress,
 * logs and pictures look, and knows nothing of how they were computed. */
#ifndef SL_REPORT_H
#define SL_REPORT_H

#include <jansson.h>

#include "launch/pipeline/engine.h"

/* A table on stderr: tokens, speed, and each rank's time and memory. */
void sl_report_show(const sl_engine_report *report);
/* What was kept of all eligible tokens; and by layer and KV head, [n_layers][n_kv_heads], the
 * caller's. */
double sl_report_retention(const sl_engine_report *report, json_t **layers_out);
/* {"requests", "failed", "at_once", "prompt_tokens", "generated_tokens", "restarts", "seconds",
 * "tok_s", "model" ("verified": all ranks loaded the same, or "unverified"), "policy",
 * "retention_mean", "retention", "layer_cache_bytes", "ranks": [...]}; the caller owns it. */
json_t *sl_report_json(const sl_engine_report *report);
/* One JSON value on stdout, with a newline; takes the reference. SL_ERR_FILE: stdout is gone. */
sl_status sl_report_print(json_t *value);
/* A text that is the result itself, on stdout: as it is, but on a terminal made safe by plain.h,
 * since a model may say anything. Under a launcher stdout is never taken for a terminal. */
void sl_report_text(const char *text, size_t bytes);
/* A number, or null for NAN, which JSON has not. */
json_t *sl_report_real(double value);

#endif
