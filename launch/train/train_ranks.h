/* launch/train/train_ranks.h - what data-parallel ranks do together, attended (ranks.h): add up
 * arrays, and see whether they are alike. Sums run in the order of ranks, so every rank has the
 * same bits. Collective: each costs one pass of the array from every rank to every other. */
#ifndef SL_TRAIN_RANKS_H
#define SL_TRAIN_RANKS_H

#include <stdbool.h>

#include "comm/comm.h"

/* x [n] = the sum of all ranks' x. SL_ERR_PEER, SL_ERR_MEMORY: logged. */
sl_status sl_train_sum_doubles(sl_comm *comm, double *x, size_t n);
sl_status sl_train_sum_floats(sl_comm *comm, float *x, size_t n);

/* Whether all ranks have the same value. */
sl_status sl_train_same(sl_comm *comm, uint64_t value, bool *same_out);
/* Whether any rank says so. */
sl_status sl_train_any(sl_comm *comm, bool mine, bool *any_out);

#endif
