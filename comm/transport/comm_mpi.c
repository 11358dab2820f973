/* comm/transport/comm_mpi.c - the transport over MPI: the only file that knows it.
 *
 * A message is a run of fragments of FRAGMENT_BYTES on one tag; a shorter one, possibly
 * empty, ends it. So the receiver needs no size in advance: it keeps one receive posted
 * into the next offset of its one buffer. Heartbeats are one byte on a tag of their own.
 * Every receive has room for a whole fragment, also beyond message_bytes_max: what is too
 * large is our finding, since Open MPI 4.1 writes a long message past the end of a receive
 * that is too short (seen over shared memory and TCP) before it reports MPI_ERR_TRUNCATE.
 *
 * Open MPI 4.1 tells survivors nothing about a dead rank, so no call here waits in MPI but
 * MPI_Init, the split right after it and MPI_Finalize. A rank finalizes only when all ranks
 * have come to close, and after the last heartbeat it will ever be sent. */
#include <limits.h>
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "comm/comm_ops.h"
#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

#define FRAGMENT_BYTES   ((size_t)4 << 20)
#define CLOSE_SILENCE_NS (10 * SL_SECOND)

enum { TAG_MESSAGE = 1, TAG_HEARTBEAT = 2 };
enum { ALIVE = 1, GOODBYE = 2 }; /* what a heartbeat says; nothing follows a goodbye */

/* Heartbeats with one neighbour. */
typedef struct {
    MPI_Request send, receive;
    uint8_t said, told; /* MPI's while the request is under way */
    bool gone;          /* told goodbye */
} pulse;

typedef struct {
    sl_comm base;
    void *storage; /* the two arrays below */
    size_t storage_bytes;
    MPI_Request *sends; /* [SL_COMM_SENDS_MAX][fragments_max] */
    size_t fragments_max;
    uint8_t *message;     /* [message_bytes_max + FRAGMENT_BYTES] */
    size_t message_bytes; /* of it, arrived */
    MPI_Request receive;  /* null while the message is complete or lent */
    pulse pulses[2];      /* beside base.neighbours */
    bool leaving;         /* no more heartbeats but a goodbye */
} mpi_comm;

static sl_status translate(int code, const char *what)
{
    if (code == MPI_SUCCESS) return SL_OK;
    char text[MPI_MAX_ERROR_STRING];
    int length;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) strcpy(text, "unknown error");
    sl_error("%s: %s", what, text);
    return SL_ERR_JOB;
}

static sl_status count_ranks(mpi_comm *self)
{
    sl_comm *base = &self->base;
    MPI_Comm host;
    sl_status status = translate(MPI_Comm_rank(MPI_COMM_WORLD, &base->rank), "MPI_Comm_rank");
    if (status == SL_OK)
        status = translate(MPI_Comm_size(MPI_COMM_WORLD, &base->ranks), "MPI_Comm_size");
    if (status == SL_OK)
        status = translate(
            MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
    if (status != SL_OK) return status;
    status = translate(MPI_Comm_size(host, &base->ranks_on_host), "MPI_Comm_size");
    if (status == SL_OK)
        status = translate(MPI_Comm_rank(host, &base->rank_on_host), "MPI_Comm_rank");
    MPI_Comm_free(&host);
    return status;
}

/* MPI_Init waits for all ranks, inside MPI: a signal can at least say so. */
enum { START_S = 30 };

static void tell_slow_start(int number)
{
    (void)number;
    sl_log_in_handler(
        SL_LOG_WARN,
        (const char *const[]){"still waiting for all ranks to start (MPI_Init): is one stopped, or "
                              "its host out of reach? The launcher's --timeout or the batch "
                              "system ends this wait",
                              NULL});
    alarm(START_S);
}

static sl_status init_mpi(const sl_comm_options *options, int *threads_out)
{
    struct sigaction action = {.sa_handler = tell_slow_start, .sa_flags = SA_RESTART}, before;
    sigaction(SIGALRM, &action, &before);
    if (options->tells_start) alarm(START_S);
    sl_status status = translate(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, threads_out),
                                 "MPI_Init_thread");
    alarm(0);
    sigaction(SIGALRM, &before, NULL);
    return status;
}

static sl_status mpi_open(const sl_comm_options *options, sl_comm **comm_out)
{
    mpi_comm *self = calloc(1, sizeof *self);
    if (!self) {
        sl_error("no memory for the transport");
        return SL_ERR_MEMORY;
    }
    self->receive = MPI_REQUEST_NULL;
    for (int i = 0; i < 2; i++)
        self->pulses[i] = (pulse){.send = MPI_REQUEST_NULL, .receive = MPI_REQUEST_NULL};

    int threads;
    sl_status status = init_mpi(options, &threads);
    if (status != SL_OK) goto release;
    if (threads < MPI_THREAD_FUNNELED) {
        sl_error("this MPI does not allow threads: MPI_THREAD_FUNNELED is needed");
        status = SL_ERR_JOB;
        goto finalize;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    status = count_ranks(self);
    if (status != SL_OK) goto finalize;
    *comm_out = &self->base;
    return SL_OK;

finalize:
    MPI_Finalize();
release:
    free(self);
    return status;
}

/* Both buffers belong to MPI until the collective is done, so it works on a copy; after a
 * timeout the copy is never given back. */
static sl_status mpi_gather(sl_comm *comm, const void *mine, size_t bytes, void *all_out,
                            int64_t timeout_ns)
{
    SL_ASSERT(bytes <= INT_MAX);
    size_t all_bytes = bytes * (size_t)comm->ranks;
    uint8_t *copy = malloc(bytes + all_bytes + 1);
    if (!copy) {
        sl_error("no memory to gather %zu bytes", all_bytes);
        return SL_ERR_MEMORY;
    }
    if (bytes > 0) memcpy(copy, mine, bytes);
    MPI_Request request;
    int64_t began_ns = sl_clock_now_ns();
    sl_status status = translate(MPI_Iallgather(copy, (int)bytes, MPI_BYTE, copy + bytes,
                                                (int)bytes, MPI_BYTE, MPI_COMM_WORLD, &request),
                                 "MPI_Iallgather");
    for (int done = 0, pause_us = 100; status == SL_OK && !done;) {
        status = translate(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Iallgather");
        if (status != SL_OK || done) break;
        if (timeout_ns > 0 && sl_clock_now_ns() - began_ns > timeout_ns) {
            sl_error("gather: not every rank has answered after %.1f s",
                     (double)timeout_ns / (double)SL_SECOND);
            return SL_ERR_PEER;
        }
        status = sl_comm_waiting(comm);
        if (status != SL_OK) return status;
        usleep((useconds_t)pause_us);
        if (pause_us < 1000) pause_us += 100;
    }
    if (status == SL_OK && bytes > 0) memcpy(all_out, copy + bytes, all_bytes);
    free(copy);
    return status;
}

static size_t fragments_of(size_t n_bytes) { return n_bytes / FRAGMENT_BYTES + 1; }

/* Binds the arrays when the arena has storage; measures them when it has none. */
static void bind_arrays(mpi_comm *self, size_t message_bytes_max, sl_arena *arena)
{
    self->fragments_max = fragments_of(message_bytes_max);
    self->sends = sl_arena_array(arena, MPI_Request, SL_COMM_SENDS_MAX * self->fragments_max);
    self->message = sl_arena_array(arena, uint8_t, message_bytes_max + FRAGMENT_BYTES);
}

static size_t mpi_start_bytes(size_t message_bytes_max)
{
    mpi_comm measured;
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    bind_arrays(&measured, message_bytes_max, &arena);
    return arena.used_bytes;
}

static sl_status post_receive(mpi_comm *self)
{
    SL_ASSERT(self->message_bytes <= self->base.message_bytes_max);
    return translate(MPI_Irecv(self->message + self->message_bytes, (int)FRAGMENT_BYTES, MPI_BYTE,
                               self->base.neighbours[0].rank, TAG_MESSAGE, MPI_COMM_WORLD,
                               &self->receive),
                     "MPI_Irecv of a message");
}

static sl_status post_heartbeat_receive(mpi_comm *self, int i)
{
    pulse *p = &self->pulses[i];
    return translate(MPI_Irecv(&p->told, 1, MPI_BYTE, self->base.neighbours[i].rank, TAG_HEARTBEAT,
                               MPI_COMM_WORLD, &p->receive),
                     "MPI_Irecv of a heartbeat");
}

static sl_status mpi_start(sl_comm *comm)
{
    mpi_comm *self = (mpi_comm *)comm;
    if (comm->ranks == 1) return SL_OK;
    self->storage_bytes = mpi_start_bytes(comm->message_bytes_max);
    sl_status status = sl_storage_take(self->storage_bytes, "messages", &self->storage);
    if (status != SL_OK) return status;

    sl_arena arena;
    sl_arena_init(&arena, self->storage, self->storage_bytes);
    bind_arrays(self, comm->message_bytes_max, &arena);
    for (size_t i = 0; i < SL_COMM_SENDS_MAX * self->fragments_max; i++)
        self->sends[i] = MPI_REQUEST_NULL;
    return post_receive(self);
}

static sl_status mpi_listen(sl_comm *comm)
{
    sl_status status = SL_OK;
    for (int i = 0; status == SL_OK && i < comm->n_neighbours; i++)
        status = post_heartbeat_receive((mpi_comm *)comm, i);
    return status;
}

static sl_status mpi_send(sl_comm *comm, int slot, const void *bytes, size_t n_bytes,
                          int64_t now_ns)
{
    (void)now_ns;
    mpi_comm *self = (mpi_comm *)comm;
    MPI_Request *requests = self->sends + (size_t)slot * self->fragments_max;
    size_t n_fragments = fragments_of(n_bytes);
    sl_status status = SL_OK;
    for (size_t i = 0; status == SL_OK && i < n_fragments; i++) {
        size_t offset = i * FRAGMENT_BYTES;
        int count = (int)(i + 1 < n_fragments ? FRAGMENT_BYTES : n_bytes - offset);
        status = translate(MPI_Isend((const uint8_t *)bytes + offset, count, MPI_BYTE,
                                     sl_comm_next(comm), TAG_MESSAGE, MPI_COMM_WORLD, &requests[i]),
                           "MPI_Isend of a message");
    }
    return status;
}

static sl_status mpi_sent(sl_comm *comm, int slot, int64_t now_ns)
{
    (void)now_ns;
    mpi_comm *self = (mpi_comm *)comm;
    MPI_Request *requests = self->sends + (size_t)slot * self->fragments_max;
    for (size_t i = 0; i < self->fragments_max; i++) {
        int done; /* a null request is: beyond the message's fragments, or done before */
        sl_status status = translate(MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE),
                                     "sending a message");
        if (status != SL_OK) return status;
        if (!done) return SL_AGAIN;
    }
    return SL_OK;
}

static sl_status mpi_receive(sl_comm *comm, int64_t now_ns, const uint8_t **bytes_out,
                             size_t *n_bytes_out)
{
    (void)now_ns;
    mpi_comm *self = (mpi_comm *)comm;
    if (comm->ranks == 1) return SL_AGAIN;
    if (self->receive == MPI_REQUEST_NULL) { /* the lend ends */
        self->message_bytes = 0;
        sl_status status = post_receive(self);
        if (status != SL_OK) return status;
    }
    for (;;) {
        int done, count;
        MPI_Status arrived;
        sl_status status = translate(MPI_Test(&self->receive, &done, &arrived),
                                     "receiving a message");
        if (status != SL_OK) return status;
        if (!done) return SL_AGAIN;

        comm->neighbours[0].heard = true;
        MPI_Get_count(&arrived, MPI_BYTE, &count);
        self->message_bytes += (size_t)count;
        if (self->message_bytes > comm->message_bytes_max) {
            sl_error("rank %d sends more than the %zu bytes agreed", comm->neighbours[0].rank,
                     comm->message_bytes_max);
            return SL_ERR_FORMAT;
        }
        if ((size_t)count < FRAGMENT_BYTES) break;
        status = post_receive(self);
        if (status != SL_OK) return status;
    }
    *bytes_out = self->message;
    *n_bytes_out = self->message_bytes;
    return SL_OK;
}

/* Say it unless the heartbeat before has not left: SL_AGAIN. */
static sl_status say(mpi_comm *self, int i, uint8_t word)
{
    pulse *p = &self->pulses[i];
    int left;
    sl_status status = translate(MPI_Test(&p->send, &left, MPI_STATUS_IGNORE), "heartbeat");
    if (status != SL_OK) return status;
    if (!left) return SL_AGAIN;
    p->said = word;
    return translate(MPI_Isend(&p->said, 1, MPI_BYTE, self->base.neighbours[i].rank, TAG_HEARTBEAT,
                               MPI_COMM_WORLD, &p->send),
                     "MPI_Isend of a heartbeat");
}

static sl_status mpi_send_heartbeats(sl_comm *comm, int64_t now_ns)
{
    (void)now_ns;
    mpi_comm *self = (mpi_comm *)comm;
    if (self->leaving) return SL_OK;
    for (int i = 0; i < comm->n_neighbours; i++) {
        sl_status status = say(self, i, ALIVE);
        if (status != SL_OK && status != SL_AGAIN) return status;
    }
    return SL_OK;
}

static sl_status mpi_receive_heartbeats(sl_comm *comm, int64_t now_ns)
{
    (void)now_ns;
    mpi_comm *self = (mpi_comm *)comm;
    for (int i = 0; i < comm->n_neighbours; i++) {
        pulse *p = &self->pulses[i];
        if (p->gone) continue;
        int heard;
        sl_status status = translate(MPI_Test(&p->receive, &heard, MPI_STATUS_IGNORE),
                                     "hearing a heartbeat");
        if (status == SL_OK && heard) {
            comm->neighbours[i].heard = true;
            p->gone = p->told == GOODBYE;
            if (!p->gone) status = post_heartbeat_receive(self, i);
        }
        if (status != SL_OK) return status;
    }
    return SL_OK;
}

/* One turn of the waits of close. What still arrives has no reader. */
static sl_status close_turn(mpi_comm *self)
{
    sl_comm_event event = {.kind = SL_COMM_SENT};
    int64_t now_ns = sl_clock_now_ns();
    sl_status status = self->base.started
                           ? sl_comm_poll(&self->base, now_ns, SL_COMM_ANY_EVENT, &event)
                           : sl_comm_pulse(&self->base, now_ns);
    if (status == SL_OK && event.kind == SL_COMM_MESSAGE)
        sl_warn("a message of %zu bytes came after the end: dropped", event.n_bytes);
    if (status == SL_OK && !self->base.started) status = SL_AGAIN;
    if (status != SL_OK && status != SL_AGAIN) return status;
    for (int i = 0; i < self->base.n_neighbours; i++) {
        int64_t silent_ns = self->base.neighbours[i].silence.silent_ns;
        if (self->pulses[i].gone || silent_ns < CLOSE_SILENCE_NS) continue;
        sl_error("close: waiting for rank %d, silent for %.1f s", self->base.neighbours[i].rank,
                 (double)silent_ns / (double)SL_SECOND);
        return SL_ERR_PEER;
    }
    if (status == SL_AGAIN) usleep(100);
    return SL_OK;
}

/* Turns until an operation of ours is done. */
static sl_status await_request(mpi_comm *self, MPI_Request *request, const char *what)
{
    sl_status status = SL_OK;
    for (int done = 0; status == SL_OK && !done;) {
        status = close_turn(self);
        if (status == SL_OK) status = translate(MPI_Test(request, &done, MPI_STATUS_IGNORE), what);
    }
    return status;
}

static sl_status say_goodbye(mpi_comm *self)
{
    self->leaving = true;
    for (int i = 0; i < self->base.n_neighbours; i++) {
        sl_status status;
        while ((status = say(self, i, GOODBYE)) == SL_AGAIN)
            if ((status = close_turn(self)) != SL_OK) return status;
        if (status != SL_OK) return status;
    }
    for (int i = 0; i < self->base.n_neighbours; i++) {
        pulse *p = &self->pulses[i];
        sl_status status = await_request(self, &p->send, "goodbye");
        while (status == SL_OK && !p->gone) status = close_turn(self);
        if (status != SL_OK) return status;
    }
    return SL_OK;
}

/* Let our sends leave, wait until every rank wants to close while still saying that we live,
 * exchange goodbyes, take back the one receive that will never be matched. */
static sl_status leave(mpi_comm *self)
{
    sl_status status = SL_OK;
    while (self->base.n_sending > 0)
        if ((status = close_turn(self)) != SL_OK) return status;

    MPI_Request everyone;
    status = translate(MPI_Ibarrier(MPI_COMM_WORLD, &everyone), "MPI_Ibarrier");
    if (status == SL_OK) status = await_request(self, &everyone, "MPI_Ibarrier");
    if (status == SL_OK) status = say_goodbye(self);
    if (status != SL_OK || self->receive == MPI_REQUEST_NULL) return status;
    status = translate(MPI_Cancel(&self->receive), "MPI_Cancel");
    if (status != SL_OK) return status;
    return translate(MPI_Wait(&self->receive, MPI_STATUS_IGNORE), "MPI_Wait");
}

/* MPI_Abort asks the launcher, which may be gone or stopped. */
enum { ABORT_S_MAX = 5 };
static volatile sig_atomic_t abort_code;

static void end_at_once(int number)
{
    (void)number;
    _exit(abort_code);
}

static void mpi_abort(sl_comm *comm, int exit_code)
{
    (void)comm;
    abort_code = exit_code;
    signal(SIGALRM, end_at_once);
    alarm(ABORT_S_MAX);
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    _exit(exit_code);
}

/* Without the others MPI_Finalize would wait for ever. */
static void leave_or_abort(sl_comm *comm)
{
    if (comm->ranks > 1 && leave((mpi_comm *)comm) != SL_OK) mpi_abort(comm, comm->lost_code);
}

static void finalize(sl_comm *comm)
{
    mpi_comm *self = (mpi_comm *)comm;
    MPI_Finalize();
    sl_storage_release(self->storage, self->storage_bytes);
    free(self);
}

static void mpi_close(sl_comm *comm)
{
    leave_or_abort(comm);
    finalize(comm);
}

/* ---- a code that is not 0, under the mpirun of Open MPI 4 ----
 *
 * Tried with 4.1: after MPI_Finalize and a code other than 0, of one rank or of all alike, mpirun
 * says that the job was terminated. --quiet silences that, but also what mpirun says when it
 * cannot start a job at all; orte_abort_on_non_zero_status=0 makes the code 0. MPI_Abort has a
 * notice of its own, which the function behind it, that asks mpirun for the end, has not. Where
 * there is no such function, as in other MPIs, the rank finalizes and leaves with its code. */
#if defined(OMPI_MAJOR_VERSION) && OMPI_MAJOR_VERSION == 4
extern int ompi_mpi_abort(MPI_Comm comm, int exit_code) __attribute__((weak));
static bool can_end_quietly(void) { return ompi_mpi_abort && getenv("OMPI_MCA_orte_hnp_uri"); }
#else
static int ompi_mpi_abort(MPI_Comm comm, int exit_code) { return MPI_Abort(comm, exit_code); }
static bool can_end_quietly(void) { return false; }
#endif

enum { DRAIN_MS_MAX = 2000, DRAIN_MS = 100, KILLED_S_MAX = 10 };

/* mpirun drops what it has not yet read of our output when the job ends: bytes left in a pipe, or
 * in its pseudoterminal, and then some time to pass them on. */
static void await_output_read(void)
{
    for (int waited_ms = 0; waited_ms < DRAIN_MS_MAX; waited_ms++) {
        int left = 0;
        for (int file = STDOUT_FILENO; file <= STDERR_FILENO; file++) {
            int bytes = 0;
            bool known = ioctl(file, isatty(file) ? TIOCOUTQ : FIONREAD, &bytes) == 0;
            if (known && bytes > 0) left += bytes;
        }
        if (left == 0) break;
        usleep(1000);
    }
    usleep(DRAIN_MS * 1000);
}

static void mpi_close_with(sl_comm *comm, int exit_code)
{
    leave_or_abort(comm);
    if (!can_end_quietly()) {
        finalize(comm);
        return;
    }
    await_output_read();
    if (comm->rank == 0) {
        (void)ompi_mpi_abort(MPI_COMM_WORLD, exit_code);
    } else { /* mpirun ends us as soon as rank 0 has asked for it */
        signal(SIGTERM, SIG_DFL);
        sleep(KILLED_S_MAX);
    }
    _exit(exit_code);
}

const sl_comm_ops sl_comm_mpi_ops = {
    .name = "mpi",
    .open = mpi_open,
    .listen = mpi_listen,
    .close = mpi_close,
    .close_with = mpi_close_with,
    .gather = mpi_gather,
    .start = mpi_start,
    .start_bytes = mpi_start_bytes,
    .send = mpi_send,
    .sent = mpi_sent,
    .receive = mpi_receive,
    .send_heartbeats = mpi_send_heartbeats,
    .receive_heartbeats = mpi_receive_heartbeats,
    .abort = mpi_abort,
};
