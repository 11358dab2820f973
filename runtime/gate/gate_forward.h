/* runtime/gate/gate_forward.h - the gates of one stage at work: scores of tokens, a span at a time
 * (equations: gate_file.h). MHA' runs over pages of the cache's f16 layout with the same kernel as
 * the layer's own attention, so a token's logits depend on its own span alone (contract 1).
 *
 * A token of a `window` gate has its logits `delay` tokens after it arrived, when the last token it
 * may see has: min(ahead, window - 1) of the policy's window. State of a sequence is a ring of gate
 * keys and values, and what delayed tokens need of themselves: constant. A `causal` gate's is as
 * long as the context. A `prompt` gate has none beyond its span, which must be the whole prompt. */
#ifndef SL_GATE_FORWARD_H
#define SL_GATE_FORWARD_H

#include "runtime/base/arena.h"
#include "runtime/frame/frame.h"
#include "runtime/gate/gate_file.h"
#include "runtime/kernels/matmul/linear.h"

typedef struct {
    const sl_gate *gate;
    const sl_kernels *kernels;
    uint32_t layer_begin, layer_end; /* of the model's, this stage's */
    uint32_t window;                 /* of the policy */
    uint32_t sequences_max, context, rows_max;
    int threads;
} sl_gate_options;

/* One layer's gate at work. */
typedef struct {
    const sl_gate_layer *weights;
    sl_matrix x, q, k, v; /* of the weights, packed for the kernels */
    uint32_t delay, kv_heads, inner;
    uint32_t ring_pages; /* of one gate KV head */
    uint8_t *pages;      /* [sequences_max][kv_heads][ring_pages]; of a `prompt` gate without the
                            first, and shared by layers: nothing lasts beyond the span */
    float *late;         /* [sequences_max][delay] tokens that wait: q [heads * width], z [inner] */
} sl_gate_stage_layer;

/* What each thread has for itself, for a block of tokens. */
typedef struct {
    sl_kv_tile *tiles;
    sl_slots *visible;
    float *q, *acc, *attended, *inner, *logits;
    sl_softmax *state;
} sl_gate_scratch;

typedef struct {
    sl_gate_options options;
    const sl_kv_layout *layout;
    sl_gate_stage_layer *layers; /* [layer_end - layer_begin] */
    float *q, *k, *v, *z;        /* [rows_max][..] what the maps of the layer at hand give */
    float *logits;               /* [n_kv_heads][rows_max] */
    sl_gate_scratch *own;        /* [threads] */
} sl_gates;

enum { SL_GATE_MAPS_MAX = 4 };

/* gate NULL in the options: no layer has one. Memory from the arena, zeroed. */
void sl_gates_init(sl_gates *gates, const sl_gate_options *options, sl_arena *arena);
void sl_gates_fork(sl_gates *gates, uint32_t sequence, uint32_t parent);
/* State of one sequence; it needs no opening: what was before its tokens is never read. */
size_t sl_gates_sequence_bytes(const sl_gates *gates);

/* Maps of the layer's normed input that come before scoring, to be computed beside the layer's own.
 * maps_out: [SL_GATE_MAPS_MAX]. Returns how many; 0: the layer has no gate. */
size_t sl_gates_maps(const sl_gates *gates, uint32_t layer, sl_linear *maps_out);

/* Logits of tokens [position - delay, position + n_tokens - delay) of a span, in
 * gates->logits[head * rows_max + first_row + i]; those of tokens before the first are not written.
 * Where nothing decides (no gate, or a `prompt` gate and generated tokens, n_prompt and later) they
 * are not numbers. Returns delay. By all threads of a team; logits are whole then. */
uint32_t sl_gates_score_prompt(sl_gates *gates, sl_member me, uint32_t layer, const sl_span *span,
                               uint32_t n_prompt);
/* The same for a span of one token, by one thread alone: different spans at once. */
uint32_t sl_gates_score_decode(sl_gates *gates, uint32_t layer, const sl_span *span,
                               uint32_t n_prompt, int thread);

/* For pictures: what one gate head's queries looked at in a prompt span just scored that began the
 * sequence: map [n_tokens][n_tokens], row t the weights of query t. Zeros for a head the layer has
 * not. */
void sl_gates_map(const sl_gates *gates, uint32_t layer, const sl_span *span, uint32_t head,
                  float *map);

#endif
