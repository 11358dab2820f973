/* launch/ops/ops_commands.h - The commands for those who prepare a job: what a cluster would do
 * with it, what a text is in tokens. */
#ifndef SL_OPS_COMMANDS_H
#define SL_OPS_COMMANDS_H

#include "launch/options/command.h"

extern const sl_command sl_cmd_plan, sl_cmd_tokenize;

#endif
