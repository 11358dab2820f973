/* comm/comm.h - moves messages between the ranks of a pipeline. The front door of comm, which knows
 * buffers and floats, no frames and no models; comm/codec makes rows smaller, comm/transport owns
 * the networks (MPI, one rank alone, a simulated one), each behind the functions here.
 *
 * Links form a ring: a rank receives from the one before it and sends to the one after it (the
 * last stage's results go to rank 0); heartbeats go both ways. One sl_comm per process (one
 * per simulated rank). Not thread-safe: the thread that opened it drives it; another one may call
 * sl_comm_abort, and sl_comm_gather while it is attended. Between open and close nothing blocks but
 * sl_comm_gather and sl_comm_attend, which watch the neighbours. */
#ifndef SL_COMM_H
#define SL_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef struct sl_comm sl_comm;         /* opaque: it has invariants */
typedef struct sl_comm_net sl_comm_net; /* the simulated network: comm_sim.h */

typedef struct {
    int64_t heartbeat_ns; /* how often to tell the neighbours that we live; positive */
    int lost_code;        /* exit code of the job when a rank is lost while closing */
    bool tells_start;     /* "mpi": this process says when the start of all ranks takes long */
    sl_comm_net *sim_net; /* transport "sim" only */
    int sim_rank;
} sl_comm_options;

/* Open transport `kind`: "mpi", "self" or "sim". Collective: every rank calls it.
 * "mpi" initializes MPI (MPI_THREAD_FUNNELED) from the process's environment.
 * On SL_OK the caller owns *comm_out and ends it with sl_comm_close.
 * SL_ERR_OPTION: unknown kind, or heartbeat_ns. SL_ERR_JOB: the transport did not start. */
sl_status sl_comm_open(const char *kind, const sl_comm_options *options, sl_comm **comm_out);
/* NULL is fine. "mpi": collective, finalizes, and only here may it wait: unfinished sends leave,
 * messages that still arrive are dropped, and a neighbour silent for 10 s aborts the job with
 * lost_code. After an error use sl_comm_abort instead. */
void sl_comm_close(sl_comm *comm);

/* Close a job that is finished and yet ends with an exit code that is not 0; all ranks call it, and
 * have nothing left to write. Open MPI's mpirun takes such a code for a failure and tells the user
 * that the job was terminated, unless a rank asked for the end: then it passes the code on in
 * silence. So under that mpirun rank 0 asks for it and no rank returns from here; else this is
 * sl_comm_close. */
void sl_comm_close_with(sl_comm *comm, int exit_code);

const char *sl_comm_kind(const sl_comm *comm); /* as given to sl_comm_open */
int sl_comm_rank(const sl_comm *comm);
int sl_comm_ranks(const sl_comm *comm);
/* Ranks of this job on this rank's host (1 for self, all for sim). */
int sl_comm_ranks_on_host(const sl_comm *comm);
int sl_comm_rank_on_host(const sl_comm *comm); /* which of them, from 0 */
int sl_comm_next(const sl_comm *comm);         /* (rank + 1) % ranks */
int sl_comm_previous(const sl_comm *comm);     /* (rank + ranks - 1) % ranks */

/* Every rank's `bytes` bytes in rank order into all_out[ranks * bytes]. Collective, equal `bytes`.
 * SL_ERR_PEER after timeout_ns, logged; 0: as long as it takes, which wants to be attended. "sim"
 * does not wait: SL_AGAIN until every rank has called. */
sl_status sl_comm_gather(sl_comm *comm, const void *mine, size_t bytes, void *all_out,
                         int64_t timeout_ns);

/* What goes on beside sl_comm_attend's waiting. */
typedef struct {
    int64_t silence_max_ns; /* of a neighbour, before it counts as lost */
    /* Asked each turn whether to wait no more (it has logged why), or NULL: never. */
    bool (*give_up)(const sl_comm *comm);
} sl_attend_options;

/* Run work(context) on a thread of its own while this one sends heartbeats, hears the neighbours'
 * and does the gathers that `work` asks for: for what takes longer than a rank may be silent, as
 * opening a model, training, writing. The neighbours must attend, gather or close meanwhile. With
 * one rank `work` simply runs here. True: *status_out is what `work` returned. False: it is still
 * at work, and its memory in use, so the caller ends the job with sl_comm_abort: SL_ERR_PEER (a
 * neighbour is lost, logged), SL_ERR_JOB (given up, or the transport failed), SL_ERR_MEMORY (no
 * thread could be started, logged). */
bool sl_comm_attend(sl_comm *comm, const sl_attend_options *options,
                    sl_status (*work)(void *context), void *context, sl_status *status_out);
/* What the attended thread is doing, for how long, and when the neighbours were heard. */
void sl_comm_describe_wait(const sl_comm *comm, char *out, size_t out_bytes);

/* From here on messages of up to message_bytes_max arrive into buffers owned by comm, and
 * heartbeats flow. Collective, equal arguments. Called again once all that was sent has arrived,
 * with messages no longer than at first, it begins anew to count how long neighbours are silent.
 * SL_ERR_MEMORY. */
sl_status sl_comm_start(sl_comm *comm, size_t message_bytes_max, int64_t now_ns);
/* What it was started with; SIZE_MAX: it was not yet, or one rank sends nothing. */
size_t sl_comm_message_bytes_max(const sl_comm *comm);
/* Memory sl_comm_start will take. */
size_t sl_comm_start_bytes(const char *kind, size_t message_bytes_max);

typedef enum { SL_COMM_MESSAGE = 1, SL_COMM_SENT = 2 } sl_comm_event_kind;
typedef struct {
    sl_comm_event_kind kind;
    const uint8_t *bytes; /* MESSAGE: lent until the next sl_comm_poll */
    size_t n_bytes;
    void *cookie;    /* SENT: as given to sl_comm_send */
    int64_t wire_ns; /* SENT: from sl_comm_send to now */
} sl_comm_event;

/* Send to the next rank, after everything sent before. `bytes` stays the caller's and untouched
 * until the SENT event with `cookie`. At most SL_COMM_SENDS_MAX unfinished sends.
 * SL_ERR_PEER, SL_ERR_JOB. */
enum { SL_COMM_SENDS_MAX = 64 };
sl_status sl_comm_send(sl_comm *comm, const void *bytes, size_t n_bytes, void *cookie,
                       int64_t now_ns);

/* Make progress, send due heartbeats, and take one event if there is one; with SL_COMM_SENT_ONLY
 * messages stay where they are: the caller has no place for one.
 * SL_AGAIN: none. SL_ERR_FORMAT: a message larger than agreed. SL_ERR_JOB: transport error. */
typedef enum { SL_COMM_ANY_EVENT, SL_COMM_SENT_ONLY } sl_comm_wanted;
sl_status sl_comm_poll(sl_comm *comm, int64_t now_ns, sl_comm_wanted wanted,
                       sl_comm_event *event_out);

/* How long neighbour `rank` has said nothing, as of the last poll. Time in which this process
 * itself did not poll (stopped, swapped out) does not count: comm/deadline.h. */
int64_t sl_comm_silence_ns(const sl_comm *comm, int rank);

uint64_t sl_comm_bytes_sent(const sl_comm *comm); /* messages, not heartbeats */

/* End the whole job now with this exit code; does not return ("sim": marks this rank lost and
 * returns). From any thread: the one that drives does it, or, when it does not come to it within
 * two seconds, this process just ends, and the launcher ends the others. */
void sl_comm_abort(sl_comm *comm, int exit_code);

#endif
