/* launch/setup/policy_choice.c - see policy_choice.h. */
#include "launch/setup/policy_choice.h"

#include <math.h>

#include "runtime/base/log.h"

enum { SINKS_DEFAULT = 4, WINDOW_DEFAULT = 128 };
static const double KEEP_DEFAULT = 0.5;

/* The row of the gate's table for this rate and window, or NULL. */
static const sl_gate_calibration *calibration_of(const sl_gate *gate, double keep, uint32_t window)
{
    for (uint32_t i = 0; i < gate->n_calibration; i++) {
        const sl_gate_calibration *row = &gate->calibration[i];
        if (row->window == window && fabs((double)row->keep - keep) < 1e-4) return row;
    }
    return NULL;
}

static void choose_gate(const sl_settings *s, const sl_gate *gate, bool notes, sl_policy *p)
{
    p->whole_prompts = sl_gate_has_prompt_span(gate);
    p->has_threshold = true;
    p->threshold = gate->threshold;
    if (s->keep == 0) p->keep = (double)gate->keep;
    const sl_gate_calibration *row = calibration_of(gate, p->keep, p->window);
    if (row) {
        p->threshold = row->threshold;
        p->share = row->retention;
        p->steer = row->steer;
        return;
    }
    if (s->keep == 0) {
        if (notes && p->window != gate->window)
            sl_info("%s has no threshold for window %u: its threshold for window %u is used",
                    s->gate, p->window, gate->window);
        return;
    }
    p->has_threshold = false;
    if (notes && gate->n_calibration == 0)
        sl_warn("%s is not calibrated, so that --keep %g has no threshold: each head keeps the "
                "best of its last %d eligible tokens at that rate; sluice train calibrate finds "
                "thresholds",
                s->gate, p->keep, SL_RANKED_TOKENS);
    else if (notes)
        sl_info("%s has no threshold for --keep %g at window %u: each head keeps the best of its "
                "last %d eligible tokens at that rate",
                s->gate, p->keep, p->window, SL_RANKED_TOKENS);
}

sl_status sl_policy_choose(const sl_settings *settings, const sl_gate *gate, bool notes,
                           sl_policy *policy_out)
{
    const sl_settings *s = settings;
    sl_policy p = {.kind = gate ? SL_POLICY_GATE : SL_POLICY_FULL,
                   .keep = s->keep > 0 ? s->keep : KEEP_DEFAULT};
    sl_status status = s->policy ? sl_policy_named("--policy", s->policy, &p.kind) : SL_OK;
    if (status != SL_OK) return status;
    if (p.kind == SL_POLICY_GATE && !gate) {
        sl_error("--policy gate needs a gate file: give one with -g FILE.gguf");
        return SL_ERR_OPTION;
    }
    bool gated = p.kind == SL_POLICY_GATE;
    bool visible = gated || (gate && s->same_visible); /* the gate says what is */
    if (notes && gate && !gated && !s->same_visible)
        sl_info("--policy %s does not ask the gate %s", sl_policy_name(p.kind), s->gate);
    if (notes && s->keep > 0 && !sl_policy_has_rate(p.kind))
        sl_info("--policy %s ignores --keep", sl_policy_name(p.kind));
    p.sinks = s->sinks != SL_NOT_GIVEN ? s->sinks : visible ? gate->sinks : SINKS_DEFAULT;
    p.window = s->window != SL_NOT_GIVEN ? s->window : visible ? gate->window : WINDOW_DEFAULT;
    if (gated) choose_gate(s, gate, notes, &p);
    if (sl_policy_at_prompt_end(p.kind)) p.whole_prompts = s->keep_out != NULL;
    *policy_out = p;
    return SL_OK;
}

static double expected_rate(const sl_policy *policy)
{
    switch (policy->kind) {
    case SL_POLICY_STREAMING: return 0;
    case SL_POLICY_RANDOM:
    case SL_POLICY_KEYNORM:
    case SL_POLICY_KEYDIFF:
    case SL_POLICY_GATE: return policy->keep;
    case SL_POLICY_FULL:
    case SL_POLICY_SNAPKV:
    case SL_POLICY_H2O: break;
    }
    return 1;
}

void sl_policy_expect(const sl_policy *policy, const sl_gate *gate, uint32_t n_layers,
                      uint32_t n_kv_heads, double *keep_out)
{
    bool gated = policy->kind == SL_POLICY_GATE;
    const sl_gate_calibration *row = gated ? calibration_of(gate, policy->keep, policy->window)
                                           : NULL;
    for (uint32_t i = 0; i < n_layers; i++) {
        keep_out[i] = expected_rate(policy);
        if (gated && gate->layers[i].shape.span == SL_GATE_ABSENT) keep_out[i] = 1;
        if (!row || !row->retention) continue;
        double sum = 0;
        for (uint32_t h = 0; h < n_kv_heads; h++)
            sum += (double)row->retention[(size_t)i * n_kv_heads + h];
        keep_out[i] = sum / n_kv_heads;
    }
}
