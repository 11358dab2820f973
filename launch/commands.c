/* launch/commands.c - the list of commands. */
#include "launch/commands.h"

#include <stddef.h>

#include "launch/bench/bench_commands.h"
#include "launch/eval/eval_commands.h"
#include "launch/job/job_commands.h"
#include "launch/ops/ops_commands.h"
#include "launch/show/show_commands.h"
#include "launch/train/train_commands.h"

const sl_command_entry *const sl_commands[] = {&sl_cmd_batch,          &sl_cmd_run,
                                               &sl_cmd_plan,           &sl_cmd_eval_perplexity,
                                               &sl_cmd_eval_agreement, &sl_cmd_eval_tasks,
                                               &sl_cmd_eval_needle,    &sl_cmd_train_init,
                                               &sl_cmd_train_warm,     &sl_cmd_train_calibrate,
                                               &sl_cmd_show,           &sl_cmd_show_cache,
                                               &sl_cmd_bench,          &sl_cmd_bench_codec,
                                               &sl_cmd_bench_link,     &sl_cmd_bench_figure3,
                                               &sl_cmd_tokenize,       NULL};
