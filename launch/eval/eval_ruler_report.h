/* launch/eval/eval_ruler_report.h - what `sluice eval ruler` found, as a table for people and as
 * JSON for programs. */
#ifndef SL_EVAL_RULER_REPORT_H
#define SL_EVAL_RULER_REPORT_H

#include "launch/eval/eval_ruler_scores.h"
#include "launch/json/json_object.h"

/* On stdout: what was not solved, a line for each policy, task and length, and the means.
 * SL_ERR_FILE, logged. */
sl_status sl_ruler_report_print(const sl_ruler_scores *scores);
/* Add to the object: {"cells": [{"task", "tokens", "policy", "keep", "trials", "solved",
 * "score", "score_se", "of_full", "of_full_se", "retention", "cache_bytes", "phases", "depths",
 * "worst_phase"}], "policies": [{"policy", "keep", "retention", "cells", "of_full",
 * "of_full_se", "phases", "worst_phase"}]}. Scores of likelihood are nats for each token. phases
 * and depths are means of eighths, null where what is asked for is everywhere; worst_phase is
 * {"from", "to", "of_full", "of_full_se"}. */
void sl_ruler_report_json(const sl_ruler_scores *scores, sl_json_object *object);

#endif
