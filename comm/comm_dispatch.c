/* comm/comm_dispatch.c - the front door: picks the transport, checks the caller, keeps the queue of
 * sends, decides when heartbeats are due and accounts silence. Knows no wire; time is told to it,
 * but for the waits of start and end. */
#include "comm/comm.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "comm/comm_ops.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

static const sl_comm_ops *const transports[] = {&sl_comm_mpi_ops, &sl_comm_self_ops,
                                                &sl_comm_sim_ops};
enum { N_TRANSPORTS = sizeof transports / sizeof transports[0] };

static const sl_comm_ops *transport_named(const char *kind)
{
    for (int i = 0; i < N_TRANSPORTS; i++)
        if (strcmp(transports[i]->name, kind) == 0) return transports[i];
    return NULL;
}

sl_status sl_comm_open(const char *kind, const sl_comm_options *options, sl_comm **comm_out)
{
    const sl_comm_ops *ops = transport_named(kind);
    if (!ops) {
        sl_error("unknown transport '%s': there are mpi, self and sim", kind);
        return SL_ERR_OPTION;
    }
    if (options->heartbeat_ns <= 0) {
        sl_error("the time between heartbeats must be positive, not %lld ns",
                 (long long)options->heartbeat_ns);
        return SL_ERR_OPTION;
    }
    sl_comm *comm;
    sl_status status = ops->open(options, &comm);
    if (status != SL_OK) return status;

    comm->ops = ops;
    comm->driver = pthread_self();
    comm->lost_code = options->lost_code;
    comm->heartbeat_ns = options->heartbeat_ns;
    comm->n_neighbours = comm->ranks < 3 ? comm->ranks - 1 : 2;
    comm->neighbours[0].rank = sl_comm_previous(comm);
    comm->neighbours[1].rank = sl_comm_next(comm);
    status = ops->listen(comm);
    if (status != SL_OK) return status; /* the transport is broken: it cannot even close */
    *comm_out = comm;
    return SL_OK;
}

void sl_comm_close(sl_comm *comm)
{
    if (comm) comm->ops->close(comm);
}

void sl_comm_close_with(sl_comm *comm, int exit_code) { comm->ops->close_with(comm, exit_code); }

const char *sl_comm_kind(const sl_comm *comm) { return comm->ops->name; }
int sl_comm_rank(const sl_comm *comm) { return comm->rank; }

int sl_comm_ranks(const sl_comm *comm) { return comm->ranks; }

int sl_comm_ranks_on_host(const sl_comm *comm) { return comm->ranks_on_host; }
int sl_comm_rank_on_host(const sl_comm *comm) { return comm->rank_on_host; }

int sl_comm_next(const sl_comm *comm) { return (comm->rank + 1) % comm->ranks; }

int sl_comm_previous(const sl_comm *comm) { return (comm->rank + comm->ranks - 1) % comm->ranks; }

sl_status sl_comm_gather(sl_comm *comm, const void *mine, size_t bytes, void *all_out,
                         int64_t timeout_ns)
{
    if (!pthread_equal(pthread_self(), comm->driver))
        return sl_attendance_gather(comm, mine, bytes, all_out, timeout_ns);
    return comm->ops->gather(comm, mine, bytes, all_out, timeout_ns);
}

sl_status sl_comm_start(sl_comm *comm, size_t message_bytes_max, int64_t now_ns)
{
    if (!comm->started) {
        comm->message_bytes_max = message_bytes_max;
        sl_status status = comm->ops->start(comm);
        if (status != SL_OK) return status;
    }
    SL_ASSERT(message_bytes_max <= sl_comm_message_bytes_max(comm));

    comm->started = true;
    comm->heartbeat_due_ns = now_ns;
    for (int i = 0; i < comm->n_neighbours; i++)
        comm->neighbours[i].silence = sl_silence_begin(now_ns);
    return SL_OK;
}

size_t sl_comm_message_bytes_max(const sl_comm *comm)
{
    return comm->started && comm->ranks > 1 ? comm->message_bytes_max : SIZE_MAX;
}

size_t sl_comm_start_bytes(const char *kind, size_t message_bytes_max)
{
    const sl_comm_ops *ops = transport_named(kind);
    SL_ASSERT(ops);
    return ops->start_bytes(message_bytes_max);
}

sl_status sl_comm_send(sl_comm *comm, const void *bytes, size_t n_bytes, void *cookie,
                       int64_t now_ns)
{
    SL_ASSERT(comm->started);
    SL_ASSERT(comm->ranks > 1);
    SL_ASSERT(n_bytes <= comm->message_bytes_max);
    SL_ASSERT(comm->n_sending < SL_COMM_SENDS_MAX);
    int slot = (comm->first_slot + comm->n_sending) % SL_COMM_SENDS_MAX;
    sl_status status = comm->ops->send(comm, slot, bytes, n_bytes, now_ns);
    if (status != SL_OK) return status;

    comm->sending[slot] = (sl_comm_sending){.cookie = cookie, .began_ns = now_ns};
    comm->n_sending++;
    comm->bytes_sent += n_bytes;
    return SL_OK;
}

/* SENT comes first: there are at most SL_COMM_SENDS_MAX, so messages wait but never starve,
 * and the caller has its buffers back before it is handed more work. */
static sl_status take_event(sl_comm *comm, int64_t now_ns, sl_comm_wanted wanted,
                            sl_comm_event *event_out)
{
    if (comm->n_sending > 0) {
        sl_status status = comm->ops->sent(comm, comm->first_slot, now_ns);
        if (status == SL_OK) {
            const sl_comm_sending *oldest = &comm->sending[comm->first_slot];
            *event_out = (sl_comm_event){.kind = SL_COMM_SENT,
                                         .cookie = oldest->cookie,
                                         .wire_ns = now_ns - oldest->began_ns};
            comm->first_slot = (comm->first_slot + 1) % SL_COMM_SENDS_MAX;
            comm->n_sending--;
        }
        if (status != SL_AGAIN) return status;
    }
    if (wanted == SL_COMM_SENT_ONLY) return SL_AGAIN;
    sl_comm_event message = {.kind = SL_COMM_MESSAGE};
    sl_status status = comm->ops->receive(comm, now_ns, &message.bytes, &message.n_bytes);
    if (status == SL_OK) *event_out = message;
    return status;
}

static sl_status exchange_heartbeats(sl_comm *comm, int64_t now_ns)
{
    int asked = atomic_load(&comm->abort_asked);
    if (asked) comm->ops->abort(comm, asked - 1);
    sl_status status = SL_OK;
    if (now_ns >= comm->heartbeat_due_ns) {
        comm->heartbeat_due_ns = now_ns + comm->heartbeat_ns;
        status = comm->ops->send_heartbeats(comm, now_ns);
    }
    if (status == SL_OK) status = comm->ops->receive_heartbeats(comm, now_ns);
    return status;
}

/* Last in a turn, when all that waited has been heard. */
static void account_silence(sl_comm *comm, int64_t now_ns)
{
    for (int i = 0; i < comm->n_neighbours; i++) {
        sl_comm_neighbour *neighbour = &comm->neighbours[i];
        neighbour->silence = sl_silence_after(neighbour->silence, now_ns, neighbour->heard);
        neighbour->heard = false;
    }
}

sl_status sl_comm_poll(sl_comm *comm, int64_t now_ns, sl_comm_wanted wanted,
                       sl_comm_event *event_out)
{
    SL_ASSERT(comm->started);
    sl_status status = exchange_heartbeats(comm, now_ns);
    if (status == SL_OK) status = take_event(comm, now_ns, wanted, event_out);
    account_silence(comm, now_ns);
    return status;
}

sl_status sl_comm_pulse(sl_comm *comm, int64_t now_ns)
{
    sl_status status = exchange_heartbeats(comm, now_ns);
    account_silence(comm, now_ns);
    return status;
}

sl_status sl_comm_waiting(sl_comm *comm)
{
    int64_t now_ns = sl_clock_now_ns();
    sl_status status = sl_comm_pulse(comm, now_ns);
    return status == SL_OK && comm->attendance ? sl_attendance_judge(comm, now_ns) : status;
}

int64_t sl_comm_silence_ns(const sl_comm *comm, int rank)
{
    for (int i = 0; i < comm->n_neighbours; i++)
        if (comm->neighbours[i].rank == rank) return comm->neighbours[i].silence.silent_ns;
    SL_ASSERT(rank == comm->rank); /* alone, a rank is its own neighbour */
    return 0;
}

uint64_t sl_comm_bytes_sent(const sl_comm *comm) { return comm->bytes_sent; }

void sl_comm_abort(sl_comm *comm, int exit_code)
{
    if (pthread_equal(pthread_self(), comm->driver)) {
        comm->ops->abort(comm, exit_code);
        return;
    }
    atomic_store(&comm->abort_asked, exit_code + 1);
    nanosleep(&(struct timespec){.tv_sec = 2}, NULL);
    _exit(exit_code);
}
