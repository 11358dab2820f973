/* runtime/stage/layer_context.h - what the steps of a layer work on: the model's shape, the cache
 * and the policy of this stage, and the scratch memory of a frame, bound once and used for every
 * layer. Below layer.h, attention.h and prompt_end.h, which all need it; it knows none of them. */
#ifndef SL_LAYER_CONTEXT_H
#define SL_LAYER_CONTEXT_H

#include "runtime/cache/cache.h"
#include "runtime/frame/frame.h"
#include "runtime/gate/admission.h"
#include "runtime/gate/gate_forward.h"
#include "runtime/kernels/matmul/linear.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"
#include "runtime/stage/probe.h"
#include "runtime/stage/profile.h"

/* What threads share while a frame passes; sized for rows_max. */
typedef struct {
    sl_activations normed, attended, hidden; /* rows entering linear maps; n_rows is the frame's */
    float *reduced;   /* [rows][lora->reduced_max]: rows at the low ranks of adapters */
    float *q, *k, *v; /* [rows][heads * head_dim], [rows][kv_heads * head_dim] */
    float *cos_sin[SL_LAYER_KINDS_MAX]; /* [rows][rope.dim] of a kind; NULL: it has no rope */
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
    const sl_weights *weights; /* of the stage */
    const sl_kernels *kernels;
    sl_cache *cache;
    sl_admission *admission;
    sl_gates *gates;             /* NULL: the policy asks none */
    const sl_lora_weights *lora; /* NULL: no adapters */
    const sl_probe *probe;       /* NULL: none */
    sl_profile *profile;         /* NULL: not measured */
    int threads;                 /* of the team */
    uint32_t decode_max;         /* decode spans of a frame */
    uint32_t layer_begin;        /* of the stage, in the model */
    size_t rows_max;             /* of a frame */
    sl_rope_table ropes[SL_LAYER_KINDS_MAX];
    sl_layer_scratch shared;
    sl_thread_scratch *own; /* [threads] */
    uint64_t *kept;         /* [layers of the stage][kv_heads] eligible tokens kept so far */
    int64_t gate_ns;        /* spent on gates so far, but for what decode overlaps */
} sl_layer_context;

/* Fill in `ropes`, `shared` and `own` from the arena for frames within the limits; what stands
 * before them is set by the caller. */
void sl_layer_context_init(sl_layer_context *context, const sl_frame_limits *limits,
                           sl_arena *arena);

/* Query heads that share one KV head. */
uint32_t sl_layer_query_group(const sl_model_shape *shape);
/* Query tokens of one block: SL_QUERY_ROWS rows, or one token's group if that is more. */
uint32_t sl_layer_block_tokens(const sl_model_shape *shape);
/* Tokens of the prompt that a span's sequence began with. */
uint32_t sl_layer_prompt_tokens(const sl_layer_context *context, const sl_span *span);
/* The policy evicts as a prompt ends. */
bool sl_layer_prunes_at_prompt_end(const sl_layer_context *context);

/* The first n_rows of `all` as they enter a linear map: those of prompts in bf16 where the kernel
 * set has tiles. Rows of generated tokens come before those of prompts (sl_frame_check). */
sl_activations sl_layer_input(const sl_layer_context *c, const sl_activations *all, size_t n_rows);
/* What comes between the maps of q and k and attention, for rows [begin, end) of layer `layer` of
 * the stage: the norms of each head and rotary embedding, where the layer has them. */
void sl_layer_finish_heads(const sl_layer_context *c, uint32_t layer, size_t begin, size_t end);
/* Queries of one KV head's group for rows [row, row + n), scaled, as [n * group][head_dim]. */
void sl_layer_queries(const sl_layer_context *c, uint32_t head, size_t row, size_t n, float *out);
/* Where softmax of a prompt row ended, [group]; kept for prompt-end policies only. */
sl_softmax *sl_layer_row_state(const sl_layer_context *c, uint32_t head, size_t row);

#endif
