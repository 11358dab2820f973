/* runtime/gate/policy.c - see policy.h. */
#include "runtime/gate/policy.h"

#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

static const char *const NAMES[] = {
    [SL_POLICY_FULL] = "full",       [SL_POLICY_STREAMING] = "streaming",
    [SL_POLICY_RANDOM] = "random",   [SL_POLICY_KEYNORM] = "keynorm",
    [SL_POLICY_KEYDIFF] = "keydiff", [SL_POLICY_GATE] = "gate",
    [SL_POLICY_SNAPKV] = "snapkv",   [SL_POLICY_H2O] = "h2o",
};

sl_status sl_policy_named(const char *option, const char *name, sl_policy_kind *kind_out)
{
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        if (strcmp(name, NAMES[i]) != 0) continue;
        *kind_out = (sl_policy_kind)i;
        return SL_OK;
    }
    sl_error("%s: '%s' is not known; there are: " SL_POLICY_NAMES, option, name);
    return SL_ERR_OPTION;
}

const char *sl_policy_name(sl_policy_kind kind) { return NAMES[kind]; }

bool sl_policy_at_prompt_end(sl_policy_kind kind)
{
    return kind == SL_POLICY_SNAPKV || kind == SL_POLICY_H2O;
}

bool sl_policy_has_rate(sl_policy_kind kind)
{
    return kind != SL_POLICY_FULL && kind != SL_POLICY_STREAMING;
}

uint32_t sl_policy_eligible(const sl_policy *policy, uint32_t n_tokens)
{
    uint64_t always = (uint64_t)policy->sinks + policy->window;
    return (uint32_t)sl_saturating_sub_u64(n_tokens, always);
}

uint32_t sl_policy_survivors(const sl_policy *policy, uint32_t n_prompt)
{
    return (uint32_t)lround(policy->keep * sl_policy_eligible(policy, n_prompt));
}
