/* comm/comm_ops.h - what a transport gives the front door, and what they share. Private.
 * The front door owns ranks, heartbeat times, silence, the queue of sends and every check of
 * the caller; a transport only moves bytes. */
#ifndef SL_COMM_OPS_H
#define SL_COMM_OPS_H

#include <pthread.h>
#include <stdatomic.h>

#include "comm/comm.h"
#include "comm/deadline.h"

/* A rank we exchange heartbeats with: two, or one in a ring of two, or none when alone. */
typedef struct {
    int rank;
    bool heard; /* since the last poll; set by the transport */
    sl_silence silence;
} sl_comm_neighbour;

typedef struct {
    void *cookie;
    int64_t began_ns;
} sl_comm_sending;

/* Slots number the sends under way, 0 .. SL_COMM_SENDS_MAX - 1, reused in order. */
typedef struct {
    const char *name;
    /* Fills in rank, ranks, ranks_on_host and rank_on_host of the comm it allocates. */
    sl_status (*open)(const sl_comm_options *options, sl_comm **comm_out);
    /* Right after it, with the neighbours known: be ready to hear their heartbeats. */
    sl_status (*listen)(sl_comm *comm);
    void (*close)(sl_comm *comm);
    void (*close_with)(sl_comm *comm, int exit_code);
    sl_status (*gather)(sl_comm *comm, const void *mine, size_t bytes, void *all_out,
                        int64_t timeout_ns);
    sl_status (*start)(sl_comm *comm);
    size_t (*start_bytes)(size_t message_bytes_max);
    sl_status (*send)(sl_comm *comm, int slot, const void *bytes, size_t n_bytes, int64_t now_ns);
    /* SL_OK: what is in this slot, the oldest, has left. SL_AGAIN: not yet. */
    sl_status (*sent)(sl_comm *comm, int slot, int64_t now_ns);
    /* SL_OK: a message, lent until the next call. SL_AGAIN: none. */
    sl_status (*receive)(sl_comm *comm, int64_t now_ns, const uint8_t **bytes_out,
                         size_t *n_bytes_out);
    sl_status (*send_heartbeats)(sl_comm *comm, int64_t now_ns);
    sl_status (*receive_heartbeats)(sl_comm *comm, int64_t now_ns);
    void (*abort)(sl_comm *comm, int exit_code);
} sl_comm_ops;

/* The first member of each transport's own struct. */
struct sl_comm {
    const sl_comm_ops *ops;
    pthread_t driver;       /* the thread that opened it, the only one inside the transport */
    atomic_int abort_asked; /* exit code + 1: by another thread */
    struct sl_attendance *attendance; /* during sl_comm_attend */
    int lost_code;
    int rank, ranks, ranks_on_host, rank_on_host;
    int n_neighbours; /* the first is the previous rank, the last the next */
    sl_comm_neighbour neighbours[2];
    int64_t heartbeat_ns, heartbeat_due_ns;
    bool started;
    size_t message_bytes_max;
    sl_comm_sending sending[SL_COMM_SENDS_MAX];
    int first_slot, n_sending;
    uint64_t bytes_sent;
};

/* One turn of a wait before or after the pipeline runs: say that we live, hear who does; attended,
 * also judge. SL_ERR_PEER, logged: a neighbour is lost. SL_ERR_JOB: the attended work is given
 * up. */
sl_status sl_comm_waiting(sl_comm *comm);
/* The same without judging, and without a clock; for the front door's own files. */
sl_status sl_comm_pulse(sl_comm *comm, int64_t now_ns);
/* The part of sl_comm_waiting for a comm that is attended. */
sl_status sl_attendance_judge(sl_comm *comm, int64_t now_ns);
/* A gather of the thread that is attended, done by the one that attends. */
sl_status sl_attendance_gather(sl_comm *comm, const void *mine, size_t bytes, void *all_out,
                               int64_t timeout_ns);

extern const sl_comm_ops sl_comm_mpi_ops, sl_comm_self_ops, sl_comm_sim_ops;

#endif
