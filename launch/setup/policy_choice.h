/* launch/setup/policy_choice.h - from the command line and a gate file to the policy of a run. */
#ifndef SL_POLICY_CHOICE_H
#define SL_POLICY_CHOICE_H

#include "launch/options/settings.h"
#include "runtime/gate/gate_file.h"
#include "runtime/gate/policy.h"

/* gate: the file given by -g, or NULL. Defaults: policy gate with one, else full; sinks and window
 * the gate's, else 4 and 128; keep the gate's own threshold, else half. SL_ERR_OPTION, logged: a
 * policy that is not known, or needs a gate. `notes`: say what is ignored. */
sl_status sl_policy_choose(const sl_settings *settings, const sl_gate *gate, bool notes,
                           sl_policy *policy_out);

/* What is expected to be kept of a layer's eligible tokens, [n_layers] into keep_out: what the gate
 * was seen to keep there, or the policy's rate. Prompt-end policies need room for all. */
void sl_policy_expect(const sl_policy *policy, const sl_gate *gate, uint32_t n_layers,
                      uint32_t n_kv_heads, double *keep_out);

#endif
