/* runtime/stage/layer.h - one transformer layer over the rows of a frame (Touvron et al. 2023,
 * arXiv:2302.13971): x += Wo attention(norm(x)); x += Wdown swiglu(norm(x)). */
#ifndef SL_LAYER_H
#define SL_LAYER_H

#include "runtime/cache/cache.h"
#include "runtime/frame/frame.h"
#include "runtime/gate/admission.h"
#include "runtime/gate/gate_forward.h"
#include "runtime/kernels/matmul/linear.h"
#include "runtime/model/weights.h"
#include "runtime/stage/probe.h"
#include "runtime/stage/profile.h"

/* What threads share while a frame passes; sized for rows_max. */
typedef struct {
    sl_activations normed, attended, hidden; /* rows entering linear maps; n_rows is the frame's */
    float *q, *k, *v; /* [rows][heads * head_dim], [rows][kv_heads * head_dim] */
    float *cos_sin;   /* [rows][rope.dim] */
    /* decode attention's partial results: [decode row][kv_head][run], then merged in order */
    sl_softmax *run_state;  /* [..][group] */
    float *run_acc;         /* [..][group][head_dim] */
    uint32_t *decode_spans; /* [n_decode] indices of the frame's decode spans */
    uint32_t n_decode;
    float *key_scores;     /* [kv_heads][rows], of policies that score keys */
    uint8_t *keep;         /* [kv_heads][rows]: what each row's arrival pushes out is kept */
    sl_softmax *row_state; /* [kv_heads][rows][group] of prompt rows, for prompt-end policies */
} sl_layer_scratch;

/* What each thread has for itself. */
typedef struct {
    sl_kv_tile *tiles;
    sl_slots *visible;
    float *q, *acc; /* [SL_QUERY_ROWS or group][head_dim] */
    sl_softmax *state;
    uint64_t n_tiles, n_products; /* attended to: pages, and rows times pages */
    /* for prompt-end policies: */
    float *scores;     /* [SL_QUERY_ROWS or group][SL_PAGE_TOKENS] */
    float *smoothed;   /* [context] */
    uint8_t *survives; /* [context] */
} sl_thread_scratch;

enum { SL_QUERY_ROWS = 256 }; /* query rows that share one pass over the tiles */

typedef struct sl_layer_context {
    const sl_model_shape *shape;
    const float *rope_freqs; /* as in sl_weights */
    const sl_kernels *kernels;
    sl_cache *cache;
    sl_admission *admission;
    sl_gates *gates;       /* NULL: the policy asks none */
    const sl_probe *probe; /* NULL: nobody looks */
    sl_profile *profile;   /* NULL: nobody asks */
    int threads;           /* of the team */
    uint32_t decode_max;   /* decode spans of a frame */
    uint32_t layer_begin;  /* of the stage, in the model */
    size_t rows_max;       /* of a frame */
    sl_rope_table rope;
    sl_layer_scratch shared;
    sl_thread_scratch *own; /* [threads] */
    uint64_t *kept;         /* [layers of the stage][kv_heads] eligible tokens kept so far */
    int64_t gate_ns;        /* spent on gates so far, but for what decode overlaps */
} sl_layer_context;

/* Fill in `rope`, `shared` and `own` from the arena for frames within the limits; what stands before
 * them is set by the caller. */
void sl_layer_context_init(sl_layer_context *context, const sl_frame_limits *limits,
                           sl_arena *arena);

/* Both are called by all threads of the team, and end with a barrier. What layers share of a frame, the
 * angles of its rows: once, before its layers. */
void sl_layer_begin_frame(sl_layer_context *context, sl_member me, const sl_frame *frame);
/* Layer `index` of this stage; frame->hidden [n_rows][width] in place. */
void sl_layer_forward(sl_layer_context *context, sl_member me, const sl_layer_weights *weights,
                      uint32_t index, sl_frame *frame);

/* Rows as they enter a linear map: those of prompts in bf16 where the kernel set has tiles. */
sl_activations sl_layer_input(const sl_layer_context *c, const sl_activations *all, size_t n_rows);

/* Rotary embedding of q and k of rows [begin, end). */
void sl_layer_rotate(const sl_layer_context *c, size_t begin, size_t end);

#endif
