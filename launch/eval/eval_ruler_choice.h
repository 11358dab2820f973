/* launch/eval/eval_ruler_choice.h - what `sluice eval ruler` is asked for: tasks, and runs, each a
 * policy at a rate with settings of its own. Knows no model beside the spans of its gates. */
#ifndef SL_EVAL_RULER_CHOICE_H
#define SL_EVAL_RULER_CHOICE_H

#include "launch/eval/eval_ruler_tasks.h"
#include "launch/options/settings.h"

typedef struct {
    uint32_t n_tasks, n_runs;
    const sl_ruler_task *tasks[SL_RULER_TASKS];
    sl_settings *runs;  /* [n_runs], owned; the full cache's first */
    char left_out[128]; /* policies that --keep 0 leaves out, commas between */
} sl_ruler_choice;

/* Read --tasks, --policies and --keep. Prompts are read in one piece in every run where a gate of
 * one of them sees whole prompts, since all runs share one transport and its longest message.
 * Ended with sl_ruler_choice_fini, also after an error: SL_ERR_OPTION, SL_ERR_MEMORY, or those of
 * sl_gate_file_open, logged. */
sl_status sl_ruler_choose(const sl_settings *settings, sl_ruler_choice *out);
void sl_ruler_choice_fini(sl_ruler_choice *choice); /* all zero is fine */

#endif
