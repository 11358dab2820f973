/* launch/pipeline/rank.c - see rank.h. Holds the slots of a rank and moves frames between comm,
 * compute and the driver. Encoding and decoding happen here, on the progress thread, beside
 * compute. */
#include "launch/pipeline/rank.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/machine/memory.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

typedef enum { SLOT_FREE, SLOT_QUEUED, SLOT_COMPUTING, SLOT_COMPUTED, SLOT_SENDING } slot_state;

typedef struct {
    sl_work work; /* first: sl_rank_computed gets back to its slot from here */
    slot_state state;
    uint8_t *room; /* the encoded message */
} frame_slot;

struct sl_rank {
    sl_rank_options options;
    sl_wire *wire;
    sl_codec *codec;
    size_t room_bytes;
    frame_slot *slots;  /* [frames_max] */
    frame_slot **queue; /* [frames_max] ring of queued slots, oldest first */
    uint32_t queue_first, queue_count;
    frame_slot *computing; /* or NULL */
    sl_frame result;       /* rank 0 of several: what comes back */
    uint64_t next_number;  /* of the frame expected */
    bool stopped;
    int64_t idle_since_ns; /* since when nothing arrived or was computed */
    int64_t wire_ns, codec_ns;
    uint64_t peak_bytes; /* as of peak_ns: it is read from the kernel now and then */
    int64_t peak_ns;
    sl_ledger_row *final;
};

static bool is_last(const sl_rank *r)
{
    return sl_comm_rank(r->options.comm) == sl_comm_ranks(r->options.comm) - 1;
}

static bool is_alone(const sl_rank *r) { return sl_comm_ranks(r->options.comm) == 1; }

static size_t payload_bytes_max(const sl_frame_limits *limits)
{
    return sl_codec_bytes_max((size_t)limits->rows_max * limits->width);
}

size_t sl_rank_message_bytes_max(const sl_frame_limits *limits)
{
    return sl_wire_header_bytes_max(limits) + payload_bytes_max(limits);
}

size_t sl_rank_open_bytes(const sl_frame_limits *limits)
{
    return sl_wire_open_bytes(limits) +
           sl_codec_open_bytes((size_t)limits->rows_max * limits->width);
}

/* Take a rank's memory; shared by measuring and opening, so they cannot disagree. */
static void take_memory(sl_rank *r, const sl_frame_limits *limits, uint32_t frames_max,
                        sl_arena *arena)
{
    r->room_bytes = sl_rank_message_bytes_max(limits);
    r->slots = sl_arena_array(arena, frame_slot, frames_max);
    r->queue = sl_arena_array(arena, frame_slot *, frames_max);
    r->final = sl_arena_array(arena, sl_ledger_row, limits->ranks);
    for (uint32_t i = 0; i < frames_max; i++) {
        frame_slot slot = {.state = SLOT_FREE};
        sl_frame_init(&slot.work.frame, limits, SL_FRAME_WITH_HIDDEN, arena);
        slot.room = sl_arena_take(arena, r->room_bytes);
        if (r->slots) r->slots[i] = slot;
    }
    sl_frame_init(&r->result, limits, SL_FRAME_WITHOUT_HIDDEN, arena);
}

void sl_rank_measure(const sl_frame_limits *limits, uint32_t frames_max, sl_arena *arena)
{
    sl_rank counted;
    sl_arena_take(arena, sizeof(sl_rank));
    take_memory(&counted, limits, frames_max, arena);
}

sl_status sl_rank_open(const sl_rank_options *options, sl_arena *arena, sl_rank **rank_out)
{
    sl_rank *r = sl_arena_array(arena, sl_rank, 1);
    *r = (sl_rank){.options = *options};
    take_memory(r, &options->limits, options->frames_max, arena);
    r->idle_since_ns = options->clock(options->clock_context);
    sl_status status = sl_wire_open(&options->limits, &r->wire);
    if (status != SL_OK) return status;
    size_t values_max = (size_t)options->limits.rows_max * options->limits.width;
    status = sl_codec_open(options->codec, values_max, &r->codec);
    if (status != SL_OK) {
        sl_wire_close(r->wire);
        return status;
    }
    *rank_out = r;
    return SL_OK;
}

void sl_rank_close(sl_rank *rank)
{
    if (!rank) return;
    sl_codec_close(rank->codec);
    sl_wire_close(rank->wire);
}

/* ---- slots ---- */

static frame_slot *free_slot(sl_rank *r)
{
    for (uint32_t i = 0; i < r->options.frames_max; i++)
        if (r->slots[i].state == SLOT_FREE) return &r->slots[i];
    return NULL;
}

static void enqueue(sl_rank *r, frame_slot *slot)
{
    SL_ASSERT(r->queue_count < r->options.frames_max);
    slot->state = SLOT_QUEUED;
    r->queue[(r->queue_first + r->queue_count++) % r->options.frames_max] = slot;
}

/* ---- arrivals ---- */

static sl_status expect_number(sl_rank *r, const sl_frame *frame)
{
    if (frame->number == r->next_number++) return SL_OK;
    sl_error("frame %" PRIu64 " arrived where %" PRIu64 " was expected", frame->number,
             r->next_number - 1);
    return SL_ERR_FORMAT;
}

/* Stages add a ledger row each, in order; results come from the last one. */
static sl_status check_gathered(const sl_rank *r, const sl_frame *frame)
{
    uint32_t rank = (uint32_t)sl_comm_rank(r->options.comm);
    bool good = frame->n_ledger == (rank == 0 ? r->options.limits.ranks : rank) &&
                (rank == 0 || frame->n_results == 0);
    const sl_frame_limits *limits = &r->options.limits;
    if (rank == 0) good = good && frame->n_heads == limits->n_layers * limits->n_kv_heads;
    for (uint32_t i = 0; i < frame->n_ledger && good; i++) good = frame->ledger[i].rank == i;
    if (good) return SL_OK;
    sl_error("frame %" PRIu64 " gathered %u ledger rows and %u results on its way here",
             frame->number, frame->n_ledger, frame->n_results);
    return SL_ERR_FORMAT;
}

static sl_status decode_header(sl_rank *r, const sl_comm_event *event, sl_frame *frame,
                               sl_wire_payload *payload, const uint8_t **bytes)
{
    const sl_rank_options *o = &r->options;
    sl_status status = sl_wire_decode_frame(r->wire, event->bytes, event->n_bytes, frame, payload,
                                            bytes);
    if (status == SL_OK) status = sl_frame_check(frame, &o->limits, o->sequences_max, o->vocab);
    if (status == SL_OK) status = expect_number(r, frame);
    return status == SL_OK ? check_gathered(r, frame) : status;
}

/* A frame of results is back at rank 0. */
static sl_status take_result(sl_rank *r, const sl_frame *frame)
{
    sl_status status = sl_driver_take(r->options.driver, frame);
    r->stopped = sl_driver_stopped(r->options.driver);
    if (r->stopped) memcpy(r->final, frame->ledger, frame->n_ledger * sizeof *frame->ledger);
    return status;
}

static sl_status on_message(sl_rank *r, const sl_comm_event *event)
{
    sl_wire_payload payload;
    const uint8_t *bytes;
    if (r->options.driver) {
        sl_status status = decode_header(r, event, &r->result, &payload, &bytes);
        return status == SL_OK ? take_result(r, &r->result) : status;
    }
    frame_slot *slot = free_slot(r);
    SL_ASSERT(slot); /* messages are polled for only while there is one */
    sl_frame *frame = &slot->work.frame;
    sl_status status = decode_header(r, event, frame, &payload, &bytes);
    if (status != SL_OK) return status;

    if ((payload.n_bytes == 0) != (frame->n_rows == 0)) {
        sl_error("frame %" PRIu64 " has %u rows and a payload of %zu bytes", frame->number,
                 frame->n_rows, payload.n_bytes);
        return SL_ERR_FORMAT;
    }
    int64_t before = r->options.clock(r->options.clock_context);
    if (frame->n_rows > 0)
        status = sl_codec_decode(r->codec, (sl_codec_kind)payload.codec, bytes, payload.n_bytes,
                                 frame->hidden, (size_t)frame->n_rows * r->options.limits.width);
    r->codec_ns += r->options.clock(r->options.clock_context) - before;
    if (status == SL_OK) enqueue(r, slot);
    return status;
}

static sl_status drain_comm(sl_rank *r, int64_t now_ns)
{
    for (;;) {
        bool take_messages = r->options.driver || free_slot(r);
        sl_comm_event event;
        sl_status status = sl_comm_poll(
            r->options.comm, now_ns, take_messages ? SL_COMM_ANY_EVENT : SL_COMM_SENT_ONLY, &event);
        if (status == SL_AGAIN) return SL_OK;
        if (status != SL_OK) return status;
        r->idle_since_ns = now_ns;
        if (event.kind == SL_COMM_MESSAGE) {
            status = on_message(r, &event);
            if (status != SL_OK) return status;
            continue;
        }
        frame_slot *slot = event.cookie;
        r->wire_ns += event.wire_ns;
        slot->state = SLOT_FREE;
        if (sl_frame_stops(&slot->work.frame) && !r->options.driver) r->stopped = true;
    }
}

/* ---- departures ---- */

/* Reading it takes some 30 us, so it is not done for every frame; for the last frame it is. */
static void update_peak(sl_rank *r, bool stops, int64_t now_ns)
{
    if (!stops && r->peak_bytes > 0 && now_ns - r->peak_ns < 100 * SL_MS) return;
    r->peak_bytes = sl_memory_peak_bytes();
    r->peak_ns = now_ns;
}

static void add_ledger_row(sl_rank *r, const sl_work *work, sl_frame *frame)
{
    SL_ASSERT(frame->n_ledger < r->options.limits.ranks);
    frame->ledger[frame->n_ledger++] = (sl_ledger_row){
        .rank = (uint32_t)sl_comm_rank(r->options.comm),
        .pages_used = work->account.pages_used,
        .pages_peak = work->account.pages_peak,
        .seen = work->account.seen,
        .gate_ns = work->account.gate_ns,
        .compute_ns = work->compute_ns,
        .wait_ns = work->wait_ns,
        .wire_ns = r->wire_ns,
        .codec_ns = r->codec_ns,
        .bytes_sent = sl_comm_bytes_sent(r->options.comm),
        .planned_bytes = r->options.planned_bytes,
        .peak_bytes = r->peak_bytes,
    };
}

static sl_status send_frame(sl_rank *r, frame_slot *slot, int64_t now_ns)
{
    const sl_frame *frame = &slot->work.frame;
    sl_wire_payload payload = {0};
    size_t header_max = sl_wire_header_bytes_max(&r->options.limits);
    if (!is_last(r) && frame->n_rows > 0) { /* controls alone have no payload */
        int64_t before = r->options.clock(r->options.clock_context);
        sl_codec_kind kind;
        sl_status status = sl_codec_encode(
            r->codec, frame->hidden, (size_t)frame->n_rows * r->options.limits.width,
            slot->room + header_max, r->room_bytes - header_max, &kind, &payload.n_bytes);
        r->codec_ns += r->options.clock(r->options.clock_context) - before;
        if (status != SL_OK) return status;
        payload.codec = kind;
    }
    const uint8_t *message;
    size_t n_bytes;
    sl_status status = sl_wire_encode_frame(r->wire, frame, &payload, slot->room, &message,
                                            &n_bytes);
    if (status != SL_OK) return status;
    slot->state = SLOT_SENDING;
    return sl_comm_send(r->options.comm, message, n_bytes, slot, now_ns);
}

void sl_rank_computed(sl_rank *rank, sl_work *work)
{
    frame_slot *slot = (frame_slot *)work;
    SL_ASSERT(slot == rank->computing && slot->state == SLOT_COMPUTING);
    slot->state = SLOT_COMPUTED;
}

static sl_status finish_computed(sl_rank *r, int64_t now_ns)
{
    frame_slot *slot = r->computing;
    if (!slot || slot->state != SLOT_COMPUTED) return SL_OK;
    r->computing = NULL;
    r->idle_since_ns = now_ns;
    if (slot->work.status != SL_OK) return slot->work.status;
    update_peak(r, sl_frame_stops(&slot->work.frame), now_ns);
    add_ledger_row(r, &slot->work, &slot->work.frame);
    if (!is_alone(r)) return send_frame(r, slot, now_ns);
    slot->state = SLOT_FREE;
    return take_result(r, &slot->work.frame);
}

/* ---- the step ---- */

static void start_frames(sl_rank *r)
{
    frame_slot *slot;
    while (r->options.driver && (slot = free_slot(r)) &&
           sl_driver_fill(r->options.driver, &slot->work.frame))
        enqueue(r, slot);
}

static sl_work *next_work(sl_rank *r, int64_t now_ns)
{
    if (r->computing || r->queue_count == 0) return NULL;
    r->computing = r->queue[r->queue_first];
    r->queue_first = (r->queue_first + 1) % r->options.frames_max;
    r->queue_count--;
    r->computing->state = SLOT_COMPUTING;
    r->computing->work.started_ns = now_ns;
    return &r->computing->work;
}

static sl_status check_neighbours(const sl_rank *r, int64_t now_ns)
{
    const sl_comm *comm = r->options.comm;
    if (is_alone(r) || r->stopped) return SL_OK;
    int neighbours[] = {sl_comm_previous(comm), sl_comm_next(comm)};
    for (int i = 0; i < 2; i++) {
        int64_t silence = sl_comm_silence_ns(comm, neighbours[i]);
        if (silence <= r->options.silence_max_ns) continue;
        char waiting[256];
        sl_rank_describe_wait(r, now_ns, waiting, sizeof waiting);
        sl_error("rank %d gave no sign of life for %.1f s; %s", neighbours[i],
                 (double)silence / SL_SECOND, waiting);
        return SL_ERR_PEER;
    }
    return SL_OK;
}

sl_status sl_rank_step(sl_rank *rank, int64_t now_ns, sl_work **work_out)
{
    *work_out = NULL;
    sl_status status = drain_comm(rank, now_ns);
    if (status == SL_OK) status = finish_computed(rank, now_ns);
    if (status == SL_OK) status = check_neighbours(rank, now_ns);
    if (status != SL_OK) return status;
    start_frames(rank);
    *work_out = next_work(rank, now_ns);
    return SL_OK;
}

bool sl_rank_stopped(const sl_rank *rank) { return rank->stopped; }

const sl_ledger_row *sl_rank_ledger(const sl_rank *rank) { return rank->final; }

void sl_rank_describe_wait(const sl_rank *rank, int64_t now_ns, char *out, size_t out_bytes)
{
    const sl_comm *comm = rank->options.comm;
    int previous = sl_comm_previous(comm), next = sl_comm_next(comm);
    double since = (double)(now_ns - rank->idle_since_ns) / SL_SECOND;
    uint32_t sending = 0;
    for (uint32_t i = 0; i < rank->options.frames_max; i++)
        sending += rank->slots[i].state == SLOT_SENDING;

    if (rank->computing) {
        snprintf(out, out_bytes, "was computing frame %" PRIu64 " for %.1f s",
                 rank->computing->work.frame.number,
                 (double)(now_ns - rank->computing->work.started_ns) / SL_SECOND);
    } else if (is_alone(rank)) {
        snprintf(out, out_bytes, "was waiting for requests for %.1f s", since);
    } else {
        snprintf(out, out_bytes,
                 "was waiting for %s from rank %d for %.1f s (heard from it %.1f s ago), %u frames "
                 "on their way to rank %d (heard from it %.1f s ago)",
                 rank->options.driver ? "results" : "frames", previous, since,
                 (double)sl_comm_silence_ns(comm, previous) / SL_SECOND, sending, next,
                 (double)sl_comm_silence_ns(comm, next) / SL_SECOND);
    }
}
