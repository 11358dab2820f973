/* launch/setup/rank0_command.h - a command whose work rank 0 does by itself. Started with mpirun,
 * too, it prints once, and all ranks end with the same exit code. */
#ifndef SL_RANK0_COMMAND_H
#define SL_RANK0_COMMAND_H

#include "launch/options/settings.h"

/* Run `work` on rank 0, while the other ranks wait, and return its exit code on every rank. */
int sl_rank0_command_run(sl_status (*work)(const sl_settings *settings),
                         const sl_settings *settings);

#endif
