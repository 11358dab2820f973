/* launch/train/train_commands.h - The commands that make and tune gates, with the texts,
 * checkpoints and logs that only they need. Refuses to know how a gate is computed (runtime/gate)
 * or its gradients (runtime/train). */
#ifndef SL_TRAIN_COMMANDS_H
#define SL_TRAIN_COMMANDS_H

#include "launch/options/command.h"

extern const sl_command sl_cmd_train_init, sl_cmd_train_warm, sl_cmd_train_cpt, sl_cmd_train_sft,
    sl_cmd_train_calibrate;

#endif
