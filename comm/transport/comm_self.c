/* comm/transport/comm_self.c - the transport of a job of one rank: nothing to send to, nothing
 * arrives. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm_ops.h"
#include "runtime/base/log.h"

static sl_status self_open(const sl_comm_options *options, sl_comm **comm_out)
{
    (void)options;
    sl_comm *comm = calloc(1, sizeof *comm);
    if (!comm) {
        sl_error("no memory for the transport");
        return SL_ERR_MEMORY;
    }
    comm->ranks = 1;
    comm->ranks_on_host = 1;
    *comm_out = comm;
    return SL_OK;
}

static sl_status self_listen(sl_comm *comm)
{
    (void)comm;
    return SL_OK;
}

static void self_close(sl_comm *comm) { free(comm); }

static void self_close_with(sl_comm *comm, int exit_code)
{
    (void)exit_code;
    self_close(comm);
}

static sl_status self_gather(sl_comm *comm, const void *mine, size_t bytes, void *all_out,
                             int64_t timeout_ns)
{
    (void)comm, (void)timeout_ns;
    if (bytes > 0) memcpy(all_out, mine, bytes);
    return SL_OK;
}

static sl_status self_start(sl_comm *comm)
{
    (void)comm;
    return SL_OK;
}

static size_t self_start_bytes(size_t message_bytes_max)
{
    (void)message_bytes_max;
    return 0;
}

/* The front door refuses sends of a job of one rank. */
static sl_status self_send(sl_comm *comm, int slot, const void *bytes, size_t n_bytes,
                           int64_t now_ns)
{
    (void)comm, (void)slot, (void)bytes, (void)n_bytes, (void)now_ns;
    return SL_ERR_UNSUPPORTED;
}

static sl_status self_sent(sl_comm *comm, int slot, int64_t now_ns)
{
    (void)comm, (void)slot, (void)now_ns;
    return SL_ERR_UNSUPPORTED;
}

static sl_status self_receive(sl_comm *comm, int64_t now_ns, const uint8_t **bytes_out,
                              size_t *n_bytes_out)
{
    (void)comm, (void)now_ns, (void)bytes_out, (void)n_bytes_out;
    return SL_AGAIN;
}

static sl_status self_heartbeats(sl_comm *comm, int64_t now_ns)
{
    (void)comm, (void)now_ns;
    return SL_OK;
}

static void self_abort(sl_comm *comm, int exit_code)
{
    (void)comm;
    _exit(exit_code); /* other threads may be anywhere: no exit handlers */
}

const sl_comm_ops sl_comm_self_ops = {
    .name = "self",
    .open = self_open,
    .listen = self_listen,
    .close = self_close,
    .close_with = self_close_with,
    .gather = self_gather,
    .start = self_start,
    .start_bytes = self_start_bytes,
    .send = self_send,
    .sent = self_sent,
    .receive = self_receive,
    .send_heartbeats = self_heartbeats,
    .receive_heartbeats = self_heartbeats,
    .abort = self_abort,
};
