/* launch/pipeline/rank.h - one rank as a state machine: what arrived, what was computed and the
 * time go in; what to compute comes out, and messages go to comm. On rank 0 frames come from the
 * driver.
 *
 * A frame's slot goes from queued to computing, sending and free, in the order of arrival. The
 * driver never has more frames under way than a rank has slots, so an arriving frame finds a free
 * one. A rank never blocks. */
#ifndef SL_RANK_H
#define SL_RANK_H

#include "comm/codec/codec.h"
#include "comm/comm.h"
#include "launch/pipeline/driver.h"
#include "proto/wire.h"
#include "runtime/stage/stage.h"

typedef struct {
    sl_comm *comm; /* started; outlives the rank */
    sl_frame_limits limits;
    uint32_t sequences_max, vocab;
    uint32_t frames_max;
    sl_codec_kind codec;
    int64_t silence_max_ns; /* a neighbour silent for longer is lost */
    sl_driver *driver;      /* rank 0 only */
    int64_t (*clock)(void *context);
    void *clock_context;
    uint64_t planned_bytes;
} sl_rank_options;

typedef struct sl_rank sl_rank;

/* A frame that is computed, and what was measured meanwhile. */
typedef struct {
    sl_frame frame;
    sl_status status;            /* of sl_stage_compute */
    sl_stage_account account;    /* of this rank's stage, afterwards */
    int64_t compute_ns, wait_ns; /* cumulative */
    int64_t started_ns;
} sl_work;

/* Frames and buffers come from the arena; codec and wire have their own (sl_rank_open_bytes). */
sl_status sl_rank_open(const sl_rank_options *options, sl_arena *arena, sl_rank **rank_out);
void sl_rank_close(sl_rank *rank); /* NULL is fine */
void sl_rank_measure(const sl_frame_limits *limits, uint32_t frames_max, sl_arena *arena);
size_t sl_rank_open_bytes(const sl_frame_limits *limits);
size_t sl_rank_message_bytes_max(const sl_frame_limits *limits);

/* Do what can be done now. *work_out: a frame to compute, or NULL; at most one is out at a time.
 * SL_ERR_PEER: a neighbour is lost; SL_ERR_FORMAT, SL_ERR_JOB. Logged. */
sl_status sl_rank_step(sl_rank *rank, int64_t now_ns, sl_work **work_out);
/* The work is done. */
void sl_rank_computed(sl_rank *rank, sl_work *work);
/* The stop frame has passed: there is nothing more to do. */
bool sl_rank_stopped(const sl_rank *rank);

/* What this rank waits for and since when, as one line without a newline. */
void sl_rank_describe_wait(const sl_rank *rank, int64_t now_ns, char *out, size_t out_bytes);
/* Rank 0, once stopped: every rank's final account, [ranks]. */
const sl_ledger_row *sl_rank_ledger(const sl_rank *rank);

#endif
