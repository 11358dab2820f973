/* launch/pipeline/driver_state.h - what the files of the driver share, hidden from all others.
 *
 * driver_admission.c takes requests in, gives them out and decides which of them are active.
 * driver_fill.c decides what the next frame carries. driver_results.c takes in what came back.
 * driver_requests.h and driver_sequences.h keep the lists that the three work on. */
#ifndef SL_DRIVER_STATE_H
#define SL_DRIVER_STATE_H

#include "launch/pipeline/driver.h"
#include "launch/pipeline/driver_requests.h"
#include "launch/pipeline/driver_sequences.h"
#include "sched/batching.h"
#include "sched/credit.h"
#include "sched/page_budget.h"

/* What is remembered of a frame until it comes back. */
typedef struct {
    uint32_t head_pages; /* that credit was taken for */
    bool generates;      /* it carries generated tokens */
} sl_driver_frame;

struct sl_driver {
    sl_driver_options options;
    sl_credit credit;
    sl_page_budget budget;
    sl_head_account *heads; /* [n_heads] */
    size_t n_heads;
    sl_driver_requests requests;
    sl_driver_sequences sequences;
    /* What each sequence could send, and which it is: made anew for each frame. */
    sl_batching_sequence *items;         /* [sequences_max] */
    sl_driver_sequence **item_sequences; /* [sequences_max] */
    sl_batching_pick *picks;             /* [spans_max] */
    sl_request **finished;               /* [requests.max] ring */
    uint32_t finished_first, finished_count;
    sl_driver_frame *frames; /* [frames_max] those under way, each at its number % frames_max */
    uint64_t frames_sent, frames_back;
    uint32_t generating_frames_out; /* of those under way, that carry generated tokens */
    /* Pages ran out: no request is let in beside others until one of them finishes. */
    bool admission_closed;
    bool ending;    /* no more requests will come */
    bool stop_sent; /* the stop frame is under way */
    bool stopped;   /* the stop frame has come back */
    char *text;     /* room for one decoded token */
    sl_driver_progress progress;
};

/* The stages know of this sequence: its OPEN or FORK was sent, and it is not being closed. */
bool sl_driver_is_open(const sl_driver_sequence *s);

#endif
