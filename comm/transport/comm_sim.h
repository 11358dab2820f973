/* comm/transport/comm_sim.h - a network of many ranks in one process, in virtual time, from one
 * seed. Messages on a link keep their order; links delay independently, so ranks see each other's
 * messages reordered. Used by launch/pipeline/sim.c and tests; one thread. Time is what
 * sl_comm_poll and sl_comm_send are told. A rank polled less often than every 500 ms of it
 * undercounts silence (comm/deadline.h). */
#ifndef SL_COMM_SIM_H
#define SL_COMM_SIM_H

#include "comm/comm.h"

typedef struct {
    int ranks;
    uint64_t seed;
    int64_t delay_min_ns, delay_max_ns; /* uniform, per message */
    double bytes_per_second;            /* 0: infinite */
} sl_comm_net_options;

sl_status sl_comm_net_open(const sl_comm_net_options *options, sl_comm_net **net_out);
void sl_comm_net_close(sl_comm_net *net); /* after its endpoints */

/* When the next message or heartbeat is due anywhere, or a send is done; INT64_MAX: none. */
int64_t sl_comm_net_next_ns(const sl_comm_net *net);
/* Messages and heartbeats so far: each takes one malloc here, and nothing else does. */
uint64_t sl_comm_net_packets(const sl_comm_net *net);
/* From now on the rank says and hears nothing; what it said before still arrives. */
void sl_comm_net_lose(sl_comm_net *net, int rank);
/* Messages between now and `until_ns` on the link rank -> rank + 1 wait until then. */
void sl_comm_net_stall(sl_comm_net *net, int rank, int64_t until_ns);

#endif
