/* launch/output/report.h - what is said at the end of a run, in words and as JSON. */
#ifndef SL_REPORT_H
#define SL_REPORT_H

#include <jansson.h>

#include "launch/pipeline/engine.h"

/* A table on stderr: tokens, speed, and each rank's time and memory. */
void sl_report_tell(const sl_engine_report *report);
/* What was kept of all eligible tokens; and by layer and KV head, [n_layers][n_kv_heads], the
 * caller's. */
double sl_report_retention(const sl_engine_report *report, json_t **layers_out);
/* {"requests", "failed", "prompt_tokens", "generated_tokens", "restarts", "seconds", "tok_s", "model"
 * ("verified": all ranks loaded the same, or "unverified"), "policy", "retention_mean", "retention", "layer_cache_bytes", "ranks": [...]}; the caller owns it. */
json_t *sl_report_json(const sl_engine_report *report);
/* One JSON value on stdout, with a newline; takes the reference. SL_ERR_FILE: stdout is gone. */
sl_status sl_report_print(json_t *value);
/* A text that is the result itself, on stdout: as it is, but on a terminal as plain.h has it, since a model may
 * say anything. Under a launcher no stdout is taken for a terminal. */
void sl_report_text(const char *text, size_t bytes);
/* JSON has no NAN: null. */
json_t *sl_report_real(double value);

#endif
