/* launch/train/train_program.h - `sluice train warm` and `train cpt` compute in a program of their
 * own, sluice-train, which lies beside sluice: OpenBLAS takes 134 MB of address space a thread as
 * it is loaded, and spins for ever where a limit does not leave them, so nothing else may carry
 * it. */
#ifndef SL_TRAIN_PROGRAM_H
#define SL_TRAIN_PROGRAM_H

#include "launch/options/settings.h"

/* The commands, in sluice-train; they return the exit code. */
int sl_train_warm(sl_settings *settings);
int sl_train_cpt(sl_settings *settings);
int sl_train_sft(sl_settings *settings);

#endif
