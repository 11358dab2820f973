/* launch/eval_agreement.h - `sluice eval agreement`: how far a policy's distributions are from those of
 * the full cache. Pieces as in eval_pieces.h. */
#ifndef SL_EVAL_AGREEMENT_H
#define SL_EVAL_AGREEMENT_H

#include "launch/settings.h"

/* Positions of a piece that are compared, at most: the last rank keeps a float for each of them and each
 * token of the vocabulary. */
enum { SL_AGREEMENT_ROWS_MAX = 256 };

/* Serve it and print the result; returns the process's exit code. Logged. */
int sl_eval_agreement(sl_settings *settings);

#endif
