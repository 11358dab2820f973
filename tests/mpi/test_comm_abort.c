/* tests/mpi/test_comm_abort.c - the last rank aborts the job with code 42 while the others poll
 * for ever: all of them end. The command that runs this expects 42. */
#include <unistd.h>

#include "comm/comm.h"
#include "runtime/base/clock.h"

int main(void)
{
    sl_comm *comm;
    const sl_comm_options options = {.heartbeat_ns = SL_SECOND};
    if (sl_comm_open("mpi", &options, &comm) != SL_OK) return 1;
    if (sl_comm_start(comm, 1000, sl_clock_now_ns()) != SL_OK) return 1;
    if (sl_comm_rank(comm) == sl_comm_ranks(comm) - 1) sl_comm_abort(comm, 42);
    for (;;) {
        sl_comm_event event;
        (void)sl_comm_poll(comm, sl_clock_now_ns(), SL_COMM_ANY_EVENT, &event);
        usleep(1000);
    }
}
