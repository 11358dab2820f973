/* launch/setup/alone.h - commands that one rank does while the others look on: under mpirun what is
 * printed is printed once, and all ranks end with the same code. */
#ifndef SL_ALONE_H
#define SL_ALONE_H

#include "launch/options/settings.h"

/* Run `work` on rank 0 and return its exit code on every rank. */
int sl_run_alone(sl_status (*work)(const sl_settings *settings), const sl_settings *settings);

#endif
