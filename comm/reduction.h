/* comm/reduction.h - arrays of numbers added up over all ranks. A sum runs in the order of ranks,
 * so every rank has the same bits, whatever the network does. */
#ifndef SL_REDUCTION_H
#define SL_REDUCTION_H

#include "comm/comm.h"

/* x [n] = the sum of all ranks' x [n]. Collective, with equal n; every rank sends its array to
 * every other, in parts: n (ranks - 1) numbers arrive at each rank, which holds 16 MB of them at a
 * time. SL_ERR_PEER, logged; SL_ERR_MEMORY: this rank has not taken part, so the others wait for
 * it. */
sl_status sl_comm_sum_doubles(sl_comm *comm, double *x, size_t n);
sl_status sl_comm_sum_floats(sl_comm *comm, float *x, size_t n);

#endif
