/* comm/transport/comm_sim.c - many ranks in one process in virtual time. A rank's wire to a
 * neighbour is a queue of packets, each with the time it is due, but never before those in front of
 * it; messages and heartbeats share it. All delays come from one seeded generator, so the same
 * calls give the same events. Packets are copies: they outlive the sender's buffer, and die one
 * receive after they are handed out. */
#include "comm/transport/comm_sim.h"

#include <stdlib.h>
#include <string.h>

#include "comm/comm_ops.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

typedef struct packet {
    struct packet *following;
    int64_t due_ns;
    bool heartbeat;
    size_t n_bytes;
    uint8_t bytes[];
} packet;

typedef struct {
    packet *first, *last;
    int64_t free_ns; /* when the sender may put the next byte on it */
    int64_t stalled_until_ns;
} wire;

typedef struct {
    sl_comm base;
    sl_comm_net *net;
    packet *lent;
    int64_t sent_ns[SL_COMM_SENDS_MAX]; /* by slot: when the wire has it all */
} sim_comm;

typedef struct {
    wire wires[2]; /* out, to base.neighbours */
    sim_comm *endpoint;
    bool lost;       /* or closed */
    bool gave, took; /* in the gather under way */
} seat;

struct sl_comm_net {
    sl_comm_net_options options;
    uint64_t random;
    uint8_t *gathered; /* [ranks][gather_bytes] while a gather is under way */
    size_t gather_bytes;
    int n_gave, n_took;
    uint64_t n_packets;
    seat seats[];
};

/* splitmix64: Steele, Lea and Flood 2014. */
static uint64_t random_next(sl_comm_net *net)
{
    uint64_t z = net->random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void wire_clear(wire *w)
{
    while (w->first) {
        packet *gone = w->first;
        w->first = gone->following;
        free(gone);
    }
    w->last = NULL;
}

static packet *wire_take(wire *w)
{
    packet *taken = w->first;
    w->first = taken->following;
    if (!w->first) w->last = NULL;
    return taken;
}

/* The wire that brings what neighbour i of this rank sends here. */
static wire *wire_from(sl_comm *comm, int i)
{
    seat *seats = ((sim_comm *)comm)->net->seats;
    return &seats[comm->neighbours[i].rank].wires[comm->n_neighbours - 1 - i];
}

sl_status sl_comm_net_open(const sl_comm_net_options *options, sl_comm_net **net_out)
{
    SL_ASSERT(options->ranks > 0);
    SL_ASSERT(0 <= options->delay_min_ns && options->delay_min_ns <= options->delay_max_ns);
    sl_comm_net *net = calloc(1, sizeof *net + (size_t)options->ranks * sizeof(seat));
    if (!net) {
        sl_error("no memory for a network of %d ranks", options->ranks);
        return SL_ERR_MEMORY;
    }
    net->options = *options;
    net->random = options->seed;
    *net_out = net;
    return SL_OK;
}

uint64_t sl_comm_net_packets(const sl_comm_net *net) { return net->n_packets; }

void sl_comm_net_close(sl_comm_net *net)
{
    if (!net) return;
    for (int rank = 0; rank < net->options.ranks; rank++) {
        SL_ASSERT(!net->seats[rank].endpoint);
        wire_clear(&net->seats[rank].wires[0]);
        wire_clear(&net->seats[rank].wires[1]);
    }
    free(net->gathered);
    free(net);
}

/* A lost rank has nothing inbound, since it is cleared then and nothing is sent to it later. */
int64_t sl_comm_net_next_ns(const sl_comm_net *net)
{
    int64_t next_ns = INT64_MAX;
    for (int rank = 0; rank < net->options.ranks; rank++) {
        const seat *s = &net->seats[rank];
        for (int i = 0; i < 2; i++)
            if (s->wires[i].first && s->wires[i].first->due_ns < next_ns)
                next_ns = s->wires[i].first->due_ns;
        if (s->lost || !s->endpoint || s->endpoint->base.n_sending == 0) continue;
        int64_t sent_ns = s->endpoint->sent_ns[s->endpoint->base.first_slot];
        if (sent_ns < next_ns) next_ns = sent_ns;
    }
    return next_ns;
}

void sl_comm_net_lose(sl_comm_net *net, int rank)
{
    SL_ASSERT(0 <= rank && rank < net->options.ranks);
    seat *s = &net->seats[rank];
    s->lost = true;
    if (!s->endpoint) return;
    for (int i = 0; i < s->endpoint->base.n_neighbours; i++)
        wire_clear(wire_from(&s->endpoint->base, i));
}

void sl_comm_net_stall(sl_comm_net *net, int rank, int64_t until_ns)
{
    SL_ASSERT(0 <= rank && rank < net->options.ranks);
    wire *w = &net->seats[rank].wires[net->options.ranks > 2];
    w->stalled_until_ns = sl_max_i64(w->stalled_until_ns, until_ns);
    if (w->first)
        w->first->due_ns = sl_max_i64(w->first->due_ns, until_ns); /* the rest are behind */
}

static sl_status sim_open(const sl_comm_options *options, sl_comm **comm_out)
{
    sl_comm_net *net = options->sim_net;
    SL_ASSERT(net && 0 <= options->sim_rank && options->sim_rank < net->options.ranks);
    seat *s = &net->seats[options->sim_rank];
    SL_ASSERT(!s->endpoint && !s->lost);
    sim_comm *self = calloc(1, sizeof *self);
    if (!self) {
        sl_error("no memory for simulated rank %d", options->sim_rank);
        return SL_ERR_MEMORY;
    }
    self->base.rank = self->base.rank_on_host = options->sim_rank;
    self->base.ranks = self->base.ranks_on_host = net->options.ranks;
    self->net = net;
    s->endpoint = self;
    *comm_out = &self->base;
    return SL_OK;
}

/* No rank is heard before the start. */
static sl_status sim_listen(sl_comm *comm)
{
    (void)comm;
    return SL_OK;
}

static void sim_close(sl_comm *comm)
{
    sim_comm *self = (sim_comm *)comm;
    sl_comm_net_lose(self->net, comm->rank);
    self->net->seats[comm->rank].endpoint = NULL;
    free(self->lent);
    free(self);
}

static void sim_close_with(sl_comm *comm, int exit_code)
{
    (void)exit_code;
    sim_close(comm);
}

/* A rank back early for the next gather waits until all have taken this one. */
static sl_status sim_gather(sl_comm *comm, const void *mine, size_t bytes, void *all_out,
                            int64_t timeout_ns)
{
    (void)timeout_ns; /* time is not told here: the caller stops asking */
    sl_comm_net *net = ((sim_comm *)comm)->net;
    seat *s = &net->seats[comm->rank];
    size_t all_bytes = (size_t)comm->ranks * bytes;
    if (s->lost || s->took) return SL_AGAIN;
    if (!net->gathered) {
        net->gathered = malloc(all_bytes + 1);
        if (!net->gathered) {
            sl_error("no memory to gather %zu bytes", all_bytes);
            return SL_ERR_MEMORY;
        }
        net->gather_bytes = bytes;
    }
    SL_ASSERT(bytes == net->gather_bytes);
    if (!s->gave) {
        if (bytes > 0) memcpy(net->gathered + (size_t)comm->rank * bytes, mine, bytes);
        s->gave = true;
        net->n_gave++;
    }
    if (net->n_gave < comm->ranks) return SL_AGAIN;

    if (bytes > 0) memcpy(all_out, net->gathered, all_bytes);
    s->took = true;
    if (++net->n_took < comm->ranks) return SL_OK;
    for (int rank = 0; rank < comm->ranks; rank++)
        net->seats[rank].gave = net->seats[rank].took = false;
    net->n_gave = net->n_took = 0;
    free(net->gathered);
    net->gathered = NULL;
    return SL_OK;
}

static sl_status sim_start(sl_comm *comm)
{
    (void)comm;
    return SL_OK;
}

static size_t sim_start_bytes(size_t message_bytes_max)
{
    (void)message_bytes_max; /* packets come from the heap, one by one */
    return 0;
}

/* Put a packet on the wire to neighbour i. *sent_ns_out: when the wire has all of it. */
static sl_status put(sim_comm *self, int i, bool heartbeat, const void *bytes, size_t n_bytes,
                     int64_t now_ns, int64_t *sent_ns_out)
{
    sl_comm_net *net = self->net;
    const sl_comm_net_options *options = &net->options;
    wire *w = &net->seats[self->base.rank].wires[i];
    w->free_ns = sl_max_i64(w->free_ns, now_ns);
    if (options->bytes_per_second > 0)
        w->free_ns += (int64_t)((double)n_bytes / options->bytes_per_second * 1e9);
    *sent_ns_out = w->free_ns;
    uint64_t range = (uint64_t)(options->delay_max_ns - options->delay_min_ns) + 1;
    int64_t delay_ns = options->delay_min_ns + (int64_t)(random_next(net) % range);
    if (net->seats[self->base.neighbours[i].rank].lost) return SL_OK;

    packet *p = malloc(sizeof *p + n_bytes);
    if (!p) {
        sl_error("no memory for a simulated message of %zu bytes", n_bytes);
        return SL_ERR_MEMORY;
    }
    net->n_packets++;
    int64_t due_ns = sl_max_i64(w->free_ns + delay_ns, w->stalled_until_ns);
    *p = (packet){.due_ns = due_ns, .heartbeat = heartbeat, .n_bytes = n_bytes};
    if (n_bytes > 0) memcpy(p->bytes, bytes, n_bytes);
    if (w->last)
        w->last->following = p;
    else
        w->first = p;
    w->last = p;
    return SL_OK;
}

static sl_status sim_send(sl_comm *comm, int slot, const void *bytes, size_t n_bytes,
                          int64_t now_ns)
{
    sim_comm *self = (sim_comm *)comm;
    if (self->net->seats[comm->rank].lost) return SL_OK; /* and never SENT */
    return put(self, comm->n_neighbours - 1, false, bytes, n_bytes, now_ns, &self->sent_ns[slot]);
}

static sl_status sim_sent(sl_comm *comm, int slot, int64_t now_ns)
{
    sim_comm *self = (sim_comm *)comm;
    if (self->net->seats[comm->rank].lost) return SL_AGAIN;
    return self->sent_ns[slot] <= now_ns ? SL_OK : SL_AGAIN;
}

static sl_status sim_receive(sl_comm *comm, int64_t now_ns, const uint8_t **bytes_out,
                             size_t *n_bytes_out)
{
    sim_comm *self = (sim_comm *)comm;
    free(self->lent);
    self->lent = NULL;
    if (comm->ranks == 1) return SL_AGAIN;
    wire *w = wire_from(comm, 0);
    if (!w->first || w->first->heartbeat || w->first->due_ns > now_ns) return SL_AGAIN;

    comm->neighbours[0].heard = true;
    self->lent = wire_take(w);
    if (self->lent->n_bytes > comm->message_bytes_max) {
        sl_error("rank %d sent %zu bytes, %zu were agreed", comm->neighbours[0].rank,
                 self->lent->n_bytes, comm->message_bytes_max);
        return SL_ERR_FORMAT;
    }
    *bytes_out = self->lent->bytes;
    *n_bytes_out = self->lent->n_bytes;
    return SL_OK;
}

static sl_status sim_send_heartbeats(sl_comm *comm, int64_t now_ns)
{
    sim_comm *self = (sim_comm *)comm;
    if (self->net->seats[comm->rank].lost) return SL_OK;
    for (int i = 0; i < comm->n_neighbours; i++) {
        int64_t sent_ns;
        sl_status status = put(self, i, true, NULL, 0, now_ns, &sent_ns);
        if (status != SL_OK) return status;
    }
    return SL_OK;
}

/* Heartbeats behind a message wait until it is taken. */
static sl_status sim_receive_heartbeats(sl_comm *comm, int64_t now_ns)
{
    for (int i = 0; i < comm->n_neighbours; i++) {
        wire *w = wire_from(comm, i);
        while (w->first && w->first->heartbeat && w->first->due_ns <= now_ns) {
            comm->neighbours[i].heard = true;
            free(wire_take(w));
        }
    }
    return SL_OK;
}

static void sim_abort(sl_comm *comm, int exit_code)
{
    (void)exit_code;
    sl_comm_net_lose(((sim_comm *)comm)->net, comm->rank);
}

const sl_comm_ops sl_comm_sim_ops = {
    .name = "sim",
    .open = sim_open,
    .listen = sim_listen,
    .close = sim_close,
    .close_with = sim_close_with,
    .gather = sim_gather,
    .start = sim_start,
    .start_bytes = sim_start_bytes,
    .send = sim_send,
    .sent = sim_sent,
    .receive = sim_receive,
    .send_heartbeats = sim_send_heartbeats,
    .receive_heartbeats = sim_receive_heartbeats,
    .abort = sim_abort,
};
