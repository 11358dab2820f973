/* launch/train/train_program.h - `sluice train warm` computes in a program of its own,
 * sluice-train, which lies beside sluice: OpenBLAS takes 134 MB of address space a thread as it is
 * loaded, and spins for ever where a limit does not leave them, so nothing else may carry it. */
#ifndef SL_TRAIN_PROGRAM_H
#define SL_TRAIN_PROGRAM_H

#include "launch/options/settings.h"

/* The command, in sluice-train; returns the exit code. */
int sl_train_warm(sl_settings *settings);

#endif
