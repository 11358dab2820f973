/* runtime/gate/policy.h - which policies there are, and what one run of them is told. The front
 * door of runtime/gate, which decides what is kept; where it is kept is runtime/cache's.
 *
 * All share sinks and window: the first `sinks` tokens of a sequence and its latest `window` are
 * always visible. Tokens outside both are eligible: a policy keeps or evicts each of them, per
 * layer and KV head. Admission policies decide once, when a token leaves the window; prompt-end
 * policies keep all until the prompt has been read, then keep the best, and all that is generated.
 */
#ifndef SL_POLICY_H
#define SL_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef enum {
    SL_POLICY_FULL,      /* keep all */
    SL_POLICY_STREAMING, /* keep none: Xiao et al. 2023, arXiv:2309.17453 */
    SL_POLICY_RANDOM,    /* a hash of the sequence's id, layer, head and position */
    SL_POLICY_KEYNORM,   /* keys of small norm: Devoto et al. 2024, arXiv:2406.11430 */
    SL_POLICY_KEYDIFF,   /* keys unlike the mean key: Park et al. 2025, arXiv:2504.15364 */
    SL_POLICY_GATE,      /* the layer's Attention-Gate */
    SL_POLICY_SNAPKV, /* prompt-end: attention from the prompt's last queries, smoothed: Li et al.
                            2024, arXiv:2404.14469 */
    SL_POLICY_H2O,    /* prompt-end: attention from all queries: Zhang et al. 2023,
                            arXiv:2306.14048 */
} sl_policy_kind;
#define SL_POLICY_NAMES "full, streaming, random, keynorm, keydiff, gate, snapkv, h2o"

typedef struct {
    sl_policy_kind kind;
    uint32_t sinks, window;
    double keep; /* of the eligible tokens; full and streaming do not ask */
    /* Admit by score >= threshold; else by rank: among the best `keep` of the head's last
     * SL_RANKED_TOKENS eligible tokens; one that equals many is kept with them, so that a head
     * whose scores say nothing keeps all. */
    bool has_threshold;
    float threshold;
    /* A gate's threshold may steer, so that texts unlike those it was calibrated on keep as much:
     * when a head has kept n tokens more than its share of those seen, it stands n / steer higher.
     * 0: fixed. */
    float steer;
    const float *share; /* [n_layers][n_kv_heads] of the model, lent by the gate; with steer only */
    /* A prompt is gated as one piece, so it must come in one span. */
    bool whole_prompts;
} sl_policy;

enum { SL_RANKED_TOKENS = 1024 };

/* SL_ERR_OPTION, logged with the names there are, and the option that the name was given to. */
sl_status sl_policy_named(const char *option, const char *name, sl_policy_kind *kind_out);
const char *sl_policy_name(sl_policy_kind kind);
/* It prunes once, when the prompt has been read. */
bool sl_policy_at_prompt_end(sl_policy_kind kind);
/* It heeds `keep`. */
bool sl_policy_has_rate(sl_policy_kind kind);

/* Of n tokens of a sequence, how many are eligible: beside sinks and window. */
uint32_t sl_policy_eligible(const sl_policy *policy, uint32_t n_tokens);
/* How many of a prompt's eligible tokens a prompt-end policy keeps in each head. */
uint32_t sl_policy_survivors(const sl_policy *policy, uint32_t n_prompt);

#endif
