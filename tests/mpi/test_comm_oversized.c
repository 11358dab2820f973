/* tests/mpi/test_comm_oversized.c - rank 1 agreed to less than rank 0 sends: rank 1 says
 * SL_ERR_FORMAT, nothing is written beyond its buffer, rank 0 does not notice, and the job can
 * still close. Ranks agree on the exit status. */
#include <stdlib.h>

#include "comm/comm.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

enum { BIG_BYTES = 200 * 1024, SMALL_BYTES = 1000 };

/* The first thing that happens within a minute. */
static sl_status first_status(sl_comm *comm)
{
    int64_t began_ns = sl_clock_now_ns();
    sl_status status = SL_AGAIN;
    while (status == SL_AGAIN && sl_clock_now_ns() - began_ns < 60 * SL_SECOND) {
        sl_comm_event event;
        status = sl_comm_poll(comm, sl_clock_now_ns(), SL_COMM_ANY_EVENT, &event);
    }
    return status;
}

int main(void)
{
    static uint8_t bytes[BIG_BYTES];
    sl_comm *comm;
    const sl_comm_options options = {.heartbeat_ns = SL_SECOND};
    if (sl_comm_open("mpi", &options, &comm) != SL_OK) return 1;
    int rank = sl_comm_rank(comm), ranks = sl_comm_ranks(comm);
    sl_log_set_rank(rank, ranks);
    size_t agreed = rank == 1 ? SMALL_BYTES : BIG_BYTES;
    sl_status status = sl_comm_start(comm, agreed, sl_clock_now_ns());
    if (status != SL_OK) sl_comm_abort(comm, 1);

    if (rank == 0) status = sl_comm_send(comm, bytes, BIG_BYTES, NULL, sl_clock_now_ns());
    if (rank < 2 && status == SL_OK) status = first_status(comm);
    int failed = status != (rank == 1 ? SL_ERR_FORMAT : SL_OK);
    if (failed) sl_error("unexpected status %d", (int)status);

    int *all = calloc((size_t)ranks, sizeof *all);
    if (sl_comm_gather(comm, &failed, sizeof failed, all, 60 * SL_SECOND) != SL_OK)
        sl_comm_abort(comm, 1);
    for (int i = 0; i < ranks; i++) failed |= all[i];
    free(all);
    sl_comm_close(comm);
    return failed;
}
