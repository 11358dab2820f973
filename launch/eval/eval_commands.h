/* launch/eval/eval_commands.h - The commands that measure what eviction costs: perplexity,
 * agreement, tasks, needles, RULER. Each is a port of launch/pipeline that makes requests and
 * scores what comes back. */
#ifndef SL_EVAL_COMMANDS_H
#define SL_EVAL_COMMANDS_H

#include "launch/options/command.h"

extern const sl_command sl_cmd_eval_perplexity, sl_cmd_eval_agreement, sl_cmd_eval_tasks,
    sl_cmd_eval_needle, sl_cmd_eval_ruler;

#endif
