/* runtime/gate/admission.c - see admission.h. */
#include "runtime/gate/admission.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/float_bits.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

enum { SNAPKV_POOL = 5 }; /* neighbours a score is averaged over: the paper's code */

static size_t heads_of(const sl_admission *a)
{
    return (size_t)a->options.n_layers * a->options.n_kv_heads;
}

static size_t index_of(const sl_admission *a, uint32_t sequence, uint32_t layer, uint32_t head)
{
    const sl_admission_options *o = &a->options;
    SL_DEBUG_ASSERT(sequence < o->sequences_max && layer < o->n_layers && head < o->n_kv_heads);
    return sequence * heads_of(a) + (size_t)layer * o->n_kv_heads + head;
}

static bool has_key_scores(const sl_policy *p)
{
    return p->kind == SL_POLICY_KEYNORM || p->kind == SL_POLICY_KEYDIFF;
}

bool sl_admission_scores_keys(const sl_admission *admission)
{
    return has_key_scores(&admission->options.policy);
}

/* Floats of each state that one head has; 0: the policy has no use for it. */
typedef struct {
    size_t pending, history, kept, anchor, received;
} head_floats;

static head_floats floats_of(const sl_admission_options *o)
{
    const sl_policy *p = &o->policy;
    bool scored = has_key_scores(p) || p->kind == SL_POLICY_GATE;
    return (head_floats){
        .pending = scored ? p->window : 0,
        .history = scored && !p->has_threshold ? SL_RANKED_TOKENS : 0,
        .kept = p->steer > 0 ? 1 : 0,
        .anchor = p->kind == SL_POLICY_KEYDIFF ? o->head_dim : 0,
        .received = sl_policy_at_prompt_end(p->kind) ? o->context : 0,
    };
}

void sl_admission_init(sl_admission *admission, const sl_admission_options *options,
                       sl_arena *arena)
{
    *admission = (sl_admission){.options = *options};
    size_t n = options->sequences_max * heads_of(admission);
    head_floats each = floats_of(options);
    admission->sequences = sl_arena_array(arena, sl_admission_sequence, options->sequences_max);
    if (each.pending) admission->pending = sl_arena_array(arena, float, n *each.pending);
    if (each.history) admission->history = sl_arena_array(arena, float, n *each.history);
    if (each.kept) admission->kept = sl_arena_array(arena, uint32_t, n * each.kept);
    if (each.anchor) admission->anchor = sl_arena_array(arena, float, n *each.anchor);
    if (each.received) admission->received = sl_arena_array(arena, float, n *each.received);
}

size_t sl_admission_sequence_bytes(const sl_admission *admission)
{
    head_floats f = floats_of(&admission->options);
    return heads_of(admission) * (f.pending + f.history + f.kept + f.anchor + f.received) *
           sizeof(float);
}

/* Where a sequence's part of one state begins; `each` floats a head. */
static float *state_of(const sl_admission *a, float *state, size_t each, uint32_t sequence)
{
    return state + sequence * heads_of(a) * each;
}

void sl_admission_open(sl_admission *admission, uint32_t sequence, sl_admission_sequence as)
{
    sl_admission *a = admission;
    head_floats each = floats_of(&a->options);
    a->sequences[sequence] = as;
    if (a->history) { /* nothing ranks below what is not there */
        float *history = state_of(a, a->history, each.history, sequence);
        for (size_t i = 0; i < heads_of(a) * each.history; i++) history[i] = -INFINITY;
    }
    if (a->kept) memset(a->kept + sequence * heads_of(a), 0, heads_of(a) * sizeof *a->kept);
    if (a->anchor)
        memset(state_of(a, a->anchor, each.anchor, sequence), 0,
               heads_of(a) * each.anchor * sizeof(float));
    if (a->received)
        memset(state_of(a, a->received, each.received, sequence), 0,
               heads_of(a) * each.received * sizeof(float));
}

void sl_admission_fork(sl_admission *admission, uint32_t sequence, uint32_t parent,
                       sl_admission_sequence as)
{
    sl_admission *a = admission;
    head_floats each = floats_of(&a->options);
    const struct {
        float *state;
        size_t each;
    } states[] = {{a->pending, each.pending},
                  {a->history, each.history},
                  {a->anchor, each.anchor},
                  {a->received, each.received}};
    a->sequences[sequence] = as;
    if (a->kept)
        memcpy(a->kept + sequence * heads_of(a), a->kept + parent * heads_of(a),
               heads_of(a) * sizeof *a->kept);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (states[i].state)
            memcpy(state_of(a, states[i].state, states[i].each, sequence),
                   state_of(a, states[i].state, states[i].each, parent),
                   heads_of(a) * states[i].each * sizeof(float));
}

/* ---- scores from keys ---- */

static float dot(const float *x, const float *y, uint32_t n)
{
    float sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* - cos(k, mean of the unit keys so far, this one included) */
static float unlike_anchor(const float *k, float *anchor, uint32_t head_dim)
{
    float norm = sqrtf(dot(k, k, head_dim));
    for (uint32_t i = 0; i < head_dim && norm > 0; i++) anchor[i] += k[i] / norm;
    float anchor_norm = sqrtf(dot(anchor, anchor, head_dim));
    return -dot(k, anchor, head_dim) / (norm * anchor_norm);
}

void sl_admission_key_scores(sl_admission *admission, uint32_t sequence, uint32_t layer,
                             uint32_t head, const float *k, size_t stride, uint32_t n,
                             float *scores)
{
    const sl_admission_options *o = &admission->options;
    size_t index = index_of(admission, sequence, layer, head);
    for (uint32_t t = 0; t < n; t++, k += stride)
        scores[t] = o->policy.kind == SL_POLICY_KEYNORM
                        ? -sqrtf(dot(k, k, o->head_dim))
                        : unlike_anchor(k, admission->anchor + index * o->head_dim, o->head_dim);
}

/* ---- the moment a token leaves the window ---- */

/* In [0, 1). */
static double random_of(uint64_t seed, uint32_t layer, uint32_t head, uint32_t position)
{
    const uint32_t key[3] = {layer, head, position};
    return (double)(XXH3_64bits_withSeed(key, sizeof key, seed) >> 11) * 0x1p-53;
}

/* Among the best `rate` of the last SL_RANKED_TOKENS eligible tokens, this one, the i-th,
 * included. */
static bool ranks_high(float *history, uint32_t i, float score, double rate)
{
    uint32_t n_better = 0, n_seen = sl_min_u32(i + 1, SL_RANKED_TOKENS);
    history[i % SL_RANKED_TOKENS] = score;
    for (uint32_t j = 0; j < SL_RANKED_TOKENS; j++) n_better += history[j] > score;
    return n_better < rate * n_seen;
}

/* By a threshold that rises with every token that the head keeps beyond its share, and falls with
 * those it does not. Counts are whole numbers, so spans leave no trace. */
static bool steered(const sl_admission *a, uint32_t sequence, uint32_t layer, uint32_t head,
                    uint32_t position, float score)
{
    const sl_admission_options *o = &a->options;
    const sl_policy *p = &o->policy;
    uint32_t *kept = &a->kept[index_of(a, sequence, layer, head)];
    float share = p->share[(o->first_layer + layer) * o->n_kv_heads + head];
    float surplus = (float)*kept - share * (float)(position - p->sinks);
    bool keep = !(score < p->threshold + surplus / p->steer);
    *kept += keep;
    return keep;
}

static bool keeps(sl_admission *a, uint32_t sequence, uint32_t layer, uint32_t head,
                  uint32_t position, float score)
{
    const sl_admission_options *o = &a->options;
    const sl_policy *p = &o->policy;
    if (a->sequences[sequence].keeps_all) return true;
    switch (p->kind) {
    case SL_POLICY_FULL:
    case SL_POLICY_SNAPKV:
    case SL_POLICY_H2O: return true;
    case SL_POLICY_STREAMING: return false;
    case SL_POLICY_RANDOM:
        return random_of(a->sequences[sequence].id_seed, o->first_layer + layer, head, position) <
               p->keep;
    case SL_POLICY_GATE:
    case SL_POLICY_KEYNORM:
    case SL_POLICY_KEYDIFF: break;
    }
    if (p->has_threshold && p->steer > 0) return steered(a, sequence, layer, head, position, score);
    if (p->has_threshold) return !(score < p->threshold);
    float *history = a->history + index_of(a, sequence, layer, head) * SL_RANKED_TOKENS;
    return ranks_high(history, position - p->sinks, score, p->keep) || isnan(score);
}

void sl_admission_decide(sl_admission *admission, uint32_t sequence, uint32_t layer, uint32_t head,
                         uint32_t position, uint32_t n, const float *scores, uint32_t delay,
                         uint8_t *keep)
{
    sl_admission *a = admission;
    const sl_policy *p = &a->options.policy;
    uint32_t window = p->window;
    SL_ASSERT(window > 0 && delay < window);
    float *pending = a->pending ? a->pending + index_of(a, sequence, layer, head) * window : NULL;
    for (uint32_t t = sl_saturating_sub_u32(window, position); t < n; t++) {
        uint32_t leaving = position + t - window;
        float score = 0;
        if (pending)
            score = leaving + delay >= position ? scores[leaving + delay - position]
                                                : pending[leaving % window];
        keep[t] = leaving < p->sinks || keeps(a, sequence, layer, head, leaving, score);
    }
    for (uint32_t t = sl_saturating_sub_u32(n, window); pending && t < n; t++)
        if (position + t >= delay) pending[(position + t - delay) % window] = scores[t];
}

/* ---- the end of a prompt ---- */

float *sl_admission_received(const sl_admission *admission, uint32_t sequence, uint32_t layer,
                             uint32_t head)
{
    size_t index = index_of(admission, sequence, layer, head);
    return admission->received + index * admission->options.context;
}

/* Each as the sum of itself and its neighbours: [n], from scores [n]. */
static void smooth(const float *scores, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t first = sl_saturating_sub_u32(i, SNAPKV_POOL / 2);
        uint32_t end = sl_min_u32(i + SNAPKV_POOL / 2 + 1, n);
        out[i] = 0;
        for (uint32_t j = first; j < end; j++) out[i] += scores[j];
    }
}

/* The k-th largest of n scores, as bits: of numbers not negative their order is that of the floats,
 * and what is not a number comes first. 0 < k <= n. */
static uint32_t kth_largest(const float *scores, uint32_t n, uint32_t k)
{
    uint32_t found = 0;
    for (uint32_t bit = 1U << 31; bit > 0; bit >>= 1) {
        uint32_t n_reaching = 0;
        for (uint32_t i = 0; i < n; i++) n_reaching += sl_float_bits(scores[i]) >= (found | bit);
        if (n_reaching >= k) found |= bit;
    }
    return found;
}

/* Keep the k largest of n scores; of equal ones the earlier. */
static void keep_largest(const float *scores, uint32_t n, uint32_t k, uint8_t *keep)
{
    memset(keep, 0, n);
    if (k == 0) return;
    uint32_t least = kth_largest(scores, n, k), n_above = 0;
    for (uint32_t i = 0; i < n; i++) n_above += sl_float_bits(scores[i]) > least;
    uint32_t n_equal = k - n_above;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = sl_float_bits(scores[i]);
        bool equal = bits == least && n_equal > 0;
        keep[i] = bits > least || equal;
        n_equal -= equal;
    }
}

uint32_t sl_admission_prompt_end(sl_admission *admission, uint32_t sequence, uint32_t layer,
                                 uint32_t head, float *room, uint8_t *keep)
{
    const sl_policy *p = &admission->options.policy;
    uint32_t n_prompt = admission->sequences[sequence].n_prompt;
    if (n_prompt <= p->window) return 0;
    uint32_t n_left = n_prompt - p->window, n_sinks = sl_min_u32(p->sinks, n_left);
    uint32_t n = n_left - n_sinks, k = sl_policy_survivors(p, n_prompt);
    const float *scores = sl_admission_received(admission, sequence, layer, head);
    if (p->kind == SL_POLICY_SNAPKV) {
        smooth(scores, n_left, room);
        scores = room;
    }
    memset(keep, 1, n_sinks);
    keep_largest(scores + n_sinks, n, k, keep + n_sinks);
    return k;
}
