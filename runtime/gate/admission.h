/* runtime/gate/admission.h - each token's fate, per layer and KV head, under one policy.
 *
 * A token's score is known when it arrives, or, for a gate that looks ahead, `delay` tokens later;
 * its fate is decided when it leaves the window. Between the two its score waits in a ring, so
 * state is constant for every sequence. A score that is not a number keeps. Everything depends on a
 * sequence's own tokens and positions alone, never on spans (contract 1). Calls for different
 * (sequence, layer, head) may run at the same time. */
#ifndef SL_ADMISSION_H
#define SL_ADMISSION_H

#include "runtime/base/arena.h"
#include "runtime/gate/policy.h"

typedef struct {
    sl_policy policy;
    uint32_t first_layer; /* of this stage, in the model: random's hash is of the model's layer */
    uint32_t n_layers, n_kv_heads, head_dim;
    uint32_t sequences_max, context;
} sl_admission_options;

typedef struct {
    uint64_t id_seed;  /* of the sequence, whatever slot it has */
    uint32_t n_prompt; /* tokens from here on are generated */
    bool keeps_all;    /* whatever the policy: every token is admitted, none is eligible */
} sl_admission_sequence;

typedef struct {
    sl_admission_options options;
    sl_admission_sequence *sequences; /* [sequences_max] */
    /* all [sequences_max][n_layers][n_kv_heads][..]; NULL when the policy has no use for it */
    float *pending;  /* [window] scores by position */
    float *history;  /* [SL_RANKED_TOKENS] scores of eligible tokens, for ranks */
    uint32_t *kept;  /* [1] eligible tokens kept so far, for a threshold that steers */
    float *anchor;   /* [head_dim] sum of unit keys, of keydiff */
    float *received; /* [context] attention each prompt token received, of prompt-end policies */
} sl_admission;

void sl_admission_init(sl_admission *admission, const sl_admission_options *options,
                       sl_arena *arena);
/* A sequence starts empty, or as a copy. */
void sl_admission_open(sl_admission *admission, uint32_t sequence, sl_admission_sequence as);
void sl_admission_fork(sl_admission *admission, uint32_t sequence, uint32_t parent,
                       sl_admission_sequence as);
/* State of one sequence. */
size_t sl_admission_sequence_bytes(const sl_admission *admission);

/* Scores of n keys from `position` on, under keynorm and keydiff: k: token t's row at k + t *
 * stride, [head_dim] f32, rotated. scores: [n]. Other policies have none. */
void sl_admission_key_scores(sl_admission *admission, uint32_t sequence, uint32_t layer,
                             uint32_t head, const float *k, size_t stride, uint32_t n,
                             float *scores);

/* The policy is keynorm or keydiff. */
bool sl_admission_scores_keys(const sl_admission *admission);

/* n tokens arrive from `position` on. scores: of tokens [position - delay, position + n - delay),
 * [n] (entries of tokens before the first are not read), delay < window; policies without scores do
 * not read them. keep[t]: whether token position + t - window is kept, 1 for sinks; not written
 * where there is no such token. */
void sl_admission_decide(sl_admission *admission, uint32_t sequence, uint32_t layer, uint32_t head,
                         uint32_t position, uint32_t n, const float *scores, uint32_t delay,
                         uint8_t *keep);

/* Prompt-end: where attention is added up, [context], by position. */
float *sl_admission_received(const sl_admission *admission, uint32_t sequence, uint32_t layer,
                             uint32_t head);
/* The prompt has been read: of its tokens outside the window, [n_prompt - window], which are kept.
 * room: for as many floats. Returns how many eligible tokens were kept. */
uint32_t sl_admission_prompt_end(sl_admission *admission, uint32_t sequence, uint32_t layer,
                                 uint32_t head, float *room, uint8_t *keep);

#endif
