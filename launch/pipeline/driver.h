/* launch/pipeline/driver.h - decides what the next frame carries: the state machine behind rank 0.
 *
 * Requests go in, frames come out; frames come back with results, requests come out. A sequence is
 * a slot of the pipeline; a request with n choices has n of them: the first reads the prompt up to
 * its last token, the others fork from it there, and each then reads the last token and draws for
 * itself. Where choices have tails, the others fork from it at the prompt's end, and each reads its
 * tail.
 *
 * The driver owns the slots of the whole pipeline and the page credit of every rank. It never
 * blocks, reads a clock or touches a file, so it runs the same in a job, in the simulator and in a
 * test. Which file does what is said in driver_state.h. */
#ifndef SL_DRIVER_H
#define SL_DRIVER_H

#include <stdbool.h>

#include "launch/openai/request.h"
#include "runtime/base/arena.h"
#include "runtime/frame/frame.h"
#include "runtime/gate/policy.h"
#include "sched/plan.h"

typedef struct {
    uint64_t prompt_tokens, generated_tokens; /* of frames that came back */
    uint64_t requests_done, requests_failed;
    uint32_t requests_active, requests_waiting;
    uint32_t requests_most; /* that were active at the same time */
    uint64_t restarts;      /* of requests, for lack of pages */
    uint64_t pages_used;    /* of all ranks' pools, as of the last frame that came back */
    uint64_t peak_bytes;    /* of the largest rank so far */
    /* Of all ranks, as of the same frame. Gates take time on prompts only. */
    int64_t compute_ns, gate_ns;
} sl_driver_progress;

/* Callbacks that see at once what comes back. */
typedef struct {
    void *context;
    /* A generated token, once, also of a request that is started again; end tokens are left out. */
    void (*token)(void *context, const sl_request *request, uint32_t choice, int32_t token);
    /* The first n_tokens of the prompt have passed all ranks. */
    void (*prompt)(void *context, const sl_request *request, size_t n_tokens);
    /* A span of a request has passed all ranks; the frame's flags say which tokens were kept. */
    void (*span)(void *context, const sl_request *request, const sl_frame *frame,
                 const sl_span *span);
    /* About every 100 ms, how far the job is (feeder.c calls it). */
    void (*progress)(void *context, const sl_driver_progress *progress, int64_t elapsed_ns);
} sl_watch;

typedef struct {
    sl_frame_limits limits;
    uint32_t chunk;         /* prompt rows of a frame, at most limits.rows_max */
    uint32_t sequences_max; /* slots */
    uint32_t frames_max;    /* that may be under way at once */
    /* Tokens that a request is expected to generate at most when it is let in. When requests
     * generate more and pages run out, the youngest is restarted. */
    uint32_t expected_tokens;
    sl_policy policy;
    const sl_plan *plan;           /* heads, pages and expected retention of each rank */
    const sl_tokenizer *tokenizer; /* for end tokens and stop strings */
    sl_watch watch;                /* its calls may be NULL */
} sl_driver_options;

typedef struct sl_driver sl_driver;

/* Memory from the arena; a counting arena measures. */
void sl_driver_init(const sl_driver_options *options, sl_arena *arena, sl_driver **driver_out);

/* Free the requests that are still inside; the arena's memory stays. NULL is fine. */
void sl_driver_fini(sl_driver *driver);

/* Take a bound request, and own it from now on. SL_AGAIN: enough are waiting, offer it later. */
sl_status sl_driver_submit(sl_driver *driver, sl_request *request);
/* Give up a request that is inside: its slots and pages are given back with the next frame, results
 * under way are dropped, and it comes out of sl_driver_finished with the error "cancelled".
 * false: it is not inside (it may have finished). */
bool sl_driver_cancel(sl_driver *driver, const sl_request *request);
/* No more requests will come: once all are finished, the next frame stops the pipeline. */
void sl_driver_end(sl_driver *driver);

/* Fill the next frame; false: nothing to send now. */
bool sl_driver_fill(sl_driver *driver, sl_frame *frame);
/* A frame came back from the last stage. Frames come back in the order they went out; the ledger of
 * each has one row a rank.
 * SL_ERR_FORMAT, logged: it is not what was sent, or has results that were not asked for. */
sl_status sl_driver_take(sl_driver *driver, const sl_frame *frame);
/* A finished request, served or failed; the caller owns it. NULL: none. */
sl_request *sl_driver_finished(sl_driver *driver);

/* Each head's account, [n_layers][n_kv_heads]: tokens kept so far, and the most pages it ever had.
 * Lent as long as the driver lives. */
const sl_head_account *sl_driver_heads(const sl_driver *driver);

uint32_t sl_driver_frames_out(const sl_driver *driver);
bool sl_driver_stopped(const sl_driver *driver); /* the stop frame has come back */
const sl_driver_progress *sl_driver_progress_now(const sl_driver *driver);

#endif
