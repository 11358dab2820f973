/* launch/alone.c - see alone.h. */
#include "launch/alone.h"

#include <stdlib.h>
#include <string.h>

#include "launch/engine.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

int sl_run_alone(sl_status (*work)(const sl_settings *settings), const sl_settings *settings)
{
    sl_comm *comm;
    sl_comm_options options = {.heartbeat_ns = SL_SECOND};
    sl_status status = sl_comm_open(sl_engine_transport(), &options, &comm);
    if (status != SL_OK) return sl_exit_code(status);
    int rank = sl_comm_rank(comm), ranks = sl_comm_ranks(comm);
    sl_log_set_rank(rank, ranks);
    if (rank == 0) status = work(settings);
    sl_comm_close(comm); /* waits for rank 0 as long as it takes */
    return sl_exit_code(status);
}

const char *sl_launched_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *rank = getenv(names[i]);
        if (rank) return rank;
    }
    return NULL;
}

bool sl_alone_prints(void)
{
    const char *rank = sl_launched_rank();
    return !rank || strcmp(rank, "0") == 0;
}
