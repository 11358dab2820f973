/* launch/commands.c - the list of commands. */
#include "launch/commands.h"

#include <stddef.h>

#include "launch/bench/bench_commands.h"
#include "launch/eval/eval_commands.h"
#include "launch/job/job_commands.h"
#include "launch/ops/ops_commands.h"
#include "launch/show/show_commands.h"
#include "launch/train/train_commands.h"

const sl_command *const sl_commands[] = {
    /* launch/job */
    &sl_cmd_batch,
    &sl_cmd_run,
    /* launch/ops */
    &sl_cmd_plan,
    /* launch/eval */
    &sl_cmd_eval_perplexity,
    &sl_cmd_eval_agreement,
    &sl_cmd_eval_tasks,
    &sl_cmd_eval_needle,
    &sl_cmd_eval_ruler,
    /* launch/train */
    &sl_cmd_train_init,
    &sl_cmd_train_warm,
    &sl_cmd_train_cpt,
    &sl_cmd_train_sft,
    &sl_cmd_train_calibrate,
    /* launch/show */
    &sl_cmd_show,
    &sl_cmd_show_cache,
    /* launch/bench */
    &sl_cmd_bench,
    &sl_cmd_bench_codec,
    &sl_cmd_bench_link,
    &sl_cmd_bench_figure3,
    /* launch/ops */
    &sl_cmd_tokenize,
    NULL,
};
