/* runtime/frame/frame.h - what travels down the pipeline, as plain structs: the words that
 * runtime computes over, proto encodes, comm's payload belongs to and launch schedules.
 *
 * A frame carries controls (applied first, in order), then spans with one hidden row per
 * token, then what the last stage found out, and a ledger every stage adds its row to.
 * Frames are first-in-first-out: all stages apply everything at the same logical moment.
 * The room is this header: it knows neither how rows are computed nor how bytes are written. */
#ifndef SL_FRAME_H
#define SL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/arena.h"

enum { SL_TOP_LOGPROBS_MAX = 20, SL_LOGIT_BIAS_MAX = 300, SL_ENDS_MAX = 128 };

typedef struct {
    int32_t token;
    float value; /* added to the token's logit */
} sl_logit_bias;

/* How the last stage draws a sequence's tokens. Defaults of a request: launch/openai/request.h. */
typedef struct {
    float temperature;        /* 0: the most likely token */
    int32_t top_k;            /* 0: off */
    float top_p;              /* 1: off */
    float min_p;              /* 0: off */
    float repetition_penalty; /* 1: off; over prompt and generated tokens */
    float presence_penalty;   /* 0: off; over generated tokens */
    float frequency_penalty;  /* 0: off; over generated tokens */
    uint64_t seed;
    int32_t n_logprobs; /* -1: none; N: the token's log-probability and the N best */
    uint32_t n_bias;
    sl_logit_bias bias[SL_LOGIT_BIAS_MAX];
    uint32_t min_tokens; /* before so many are generated, none of `ends` is drawn */
    uint32_t n_ends;
    int32_t ends[SL_ENDS_MAX];
} sl_sampling;

typedef enum {
    SL_CONTROL_OPEN = 1, /* sequence starts empty, with `sampling` */
    SL_CONTROL_FORK = 2, /* sequence starts as a copy of `parent`, with `sampling` */
    SL_CONTROL_CLOSE = 3,
    SL_CONTROL_STOP = 4, /* the last frame: stages add their final ledger row and end */
} sl_control_kind;

typedef enum {
    SL_COMPARISON_NONE,
    SL_COMPARISON_STORE, /* the last stage keeps the distributions of compared positions */
    SL_COMPARISON_WITH,  /* and tells how this sequence's differ from those it keeps */
} sl_comparison_kind;

/* Distributions of two sequences of the same tokens, one after the other. At most one sequence with
 * a comparison is open at a time. */
typedef struct {
    sl_comparison_kind kind;
    uint32_t from, step; /* scored positions from, from + step ... are compared; step > 0 */
} sl_comparison;

typedef struct {
    sl_control_kind kind;
    uint32_t sequence; /* a slot, 0 .. sequences_max - 1 */
    uint32_t parent;
    /* of open and fork: */
    uint64_t id_seed;  /* of the request, whichever slot it has: what policies draw with */
    uint32_t n_prompt; /* tokens of it that are prompt to policies; later ones are generated */
    bool keeps_all;    /* whatever the policy: every token is admitted, none counts as eligible */
    sl_comparison comparison;
    sl_sampling sampling;
} sl_control;

typedef enum { SL_SPAN_PROMPT = 1, SL_SPAN_DECODE = 2 } sl_span_kind;

/* Consecutive tokens of one sequence; rows of a frame are its spans' tokens in order. Decode spans
 * come before those of prompts, which kernels may compute otherwise. */
typedef struct {
    sl_span_kind kind;
    uint32_t sequence;
    uint32_t position;   /* of the first token in its sequence */
    uint32_t first_row;  /* in the frame */
    uint32_t n_tokens;   /* 1 for a decode span */
    bool sample;         /* draw a token after the last row */
    uint32_t score_from; /* rows from here on (counted in the span) tell the log-probability
                            of the token that follows them; n_tokens: none do */
    int32_t next_token;  /* what follows the last row when it is scored, else -1 */

    /* Of its sequence after this span, over all layers and KV heads so far: each stage adds its
     * own. Eligible tokens are those that have left the window and are no sinks. */
    uint64_t seen, kept;  /* eligible tokens; those of them in the cache */
    uint64_t cache_bytes; /* of pages, ring, and the state of gate and policy */
} sl_span;

typedef struct {
    int32_t token;
    float logprob; /* natural logarithm, of the model's own distribution */
} sl_token_logprob;

typedef enum { SL_RESULT_SAMPLED = 1, SL_RESULT_SCORED = 2 } sl_result_kind;

/* One token drawn or scored by the last stage. */
typedef struct {
    sl_result_kind kind;
    uint32_t sequence;
    uint32_t position; /* of `token` in its sequence */
    int32_t token;
    float logprob; /* 0 when not asked for */
    /* Of a scored token under SL_COMPARISON_WITH. p: the stored distribution, q: this
     * sequence's. */
    bool compared; /* the next two are there */
    bool agrees;   /* the most likely token is the same */
    float kl;      /* KL(p || q) in nats, over the whole vocabulary */
    uint32_t n_top;
    sl_token_logprob top[SL_TOP_LOGPROBS_MAX]; /* most likely first, ties by lower id */
} sl_token_result;

/* One rank's account, cumulative since weights were ready. */
typedef struct {
    uint32_t rank;
    uint64_t pages_used; /* of its pool, after this frame */
    uint64_t pages_peak; /* the most that were ever used */
    uint64_t seen;       /* eligible tokens of all sequences: the same for each of its heads */
    int64_t compute_ns, wait_ns, wire_ns, codec_ns;
    int64_t gate_ns; /* of compute: gates on prompts */
    uint64_t bytes_sent, planned_bytes, peak_bytes;
} sl_ledger_row;

/* One KV head of one layer. */
typedef struct {
    uint64_t kept;  /* eligible tokens of all sequences, cumulative */
    uint32_t pages; /* of the pool, the most so far; those that forks share count once */
} sl_head_account;

/* Bounds of every frame of a job: equal on all ranks. */
typedef struct {
    uint32_t rows_max, spans_max, controls_max, ranks;
    uint32_t width;                /* of a hidden row */
    uint32_t n_layers, n_kv_heads; /* of the model */
    bool flags;                    /* frames tell who was kept */
} sl_frame_limits;

typedef struct {
    uint64_t number; /* 0, 1, 2 ... in the stream */
    uint32_t n_controls, n_spans, n_rows, n_results, n_ledger, n_heads;
    sl_control *controls;     /* [controls_max] */
    sl_span *spans;           /* [spans_max] */
    int32_t *tokens;          /* [rows_max] */
    sl_token_result *results; /* [rows_max] */
    sl_ledger_row *ledger;    /* [ranks] */
    sl_head_account *heads;   /* [n_layers][n_kv_heads], the first n_heads so far */
    /* [n_layers][n_kv_heads][rows_max], or NULL when the limits say so: whether what row t of a
     * span pushed out of the window was kept (1 where nothing eligible was); after the span that
     * ends a prompt under a prompt-end policy, and is all of it, whether token t itself was. */
    uint8_t *flags;
    uint32_t n_kv_heads, rows_max; /* of flags */
    float *hidden;                 /* [rows_max][width]; NULL in a frame made without */
} sl_frame;

typedef enum { SL_FRAME_WITH_HIDDEN, SL_FRAME_WITHOUT_HIDDEN } sl_frame_payload;

/* An empty frame whose arrays come from the arena. */
void sl_frame_init(sl_frame *frame, const sl_frame_limits *limits, sl_frame_payload payload,
                   sl_arena *arena);
/* Empty again, ready to be filled as frame `number`. */
void sl_frame_reset(sl_frame *frame, uint64_t number);
/* The frame's STOP control is there. */
bool sl_frame_stops(const sl_frame *frame);
/* Flags of one head, [rows_max]. */
uint8_t *sl_frame_flags(const sl_frame *frame, uint32_t layer, uint32_t head);
/* Check counts and indices of bytes from elsewhere against the limits and each other:
 * spans tile the rows, decode before prompts, slots are below sequences_max, tokens below vocab.
 * SL_ERR_FORMAT, logged, when something is out of bounds. */
sl_status sl_frame_check(const sl_frame *frame, const sl_frame_limits *limits,
                         uint32_t sequences_max, uint32_t vocab);

#endif
