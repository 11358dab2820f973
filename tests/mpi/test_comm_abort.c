/* tests/mpi/test_comm_abort.c - the last rank aborts the job with code 42 while the others poll for
 * ever: all of them end. The command that runs this expects 42. Who aborts is the thread that
 * drives; with "thread" another one, which asks the driver; with "stuck" another one while the
 * driver is lost in something. */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"
#include "runtime/base/clock.h"

static void *abort_42(void *comm)
{
    sl_comm_abort(comm, 42);
    return NULL;
}

int main(int argc, char **argv)
{
    sl_comm *comm;
    const sl_comm_options options = {.heartbeat_ns = SL_SECOND};
    const char *mode = argc > 1 ? argv[1] : "driver";
    if (sl_comm_open("mpi", &options, &comm) != SL_OK) return 1;
    if (sl_comm_start(comm, 1000, sl_clock_now_ns()) != SL_OK) return 1;
    if (sl_comm_rank(comm) == sl_comm_ranks(comm) - 1) {
        pthread_t thread;
        if (strcmp(mode, "driver") == 0) abort_42(comm);
        if (pthread_create(&thread, NULL, abort_42, comm) != 0) return 1;
        if (strcmp(mode, "stuck") == 0) sleep(60);
    }
    for (;;) {
        sl_comm_event event;
        (void)sl_comm_poll(comm, sl_clock_now_ns(), SL_COMM_ANY_EVENT, &event);
        usleep(1000);
    }
}
