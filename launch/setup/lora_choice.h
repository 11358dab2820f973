/* launch/setup/lora_choice.h - from the command line to the LoRA adapters of a run. */
#ifndef SL_LORA_CHOICE_H
#define SL_LORA_CHOICE_H

#include "launch/options/settings.h"
#include "runtime/gate/gate.h"
#include "runtime/model/lora.h"

/* Open those of settings->lora, "FILE[=SCALE],...", into *lora, which is {0}; none without it. What
 * stands behind the last = of an item is its scale, any finite number, by default 1.
 * SL_ERR_OPTION, logged: an item is empty or its scale is no number, or a file is also written by
 * this command. Else as sl_lora_add, whose errors leave those opened before in *lora. */
sl_status sl_lora_choose(const sl_settings *settings, const sl_gguf *model,
                         const sl_model_shape *shape, sl_lora *lora);
/* Warn where the gate, of file `path`, is for the model with an adapter that is not among these. */
void sl_lora_check_gate(const sl_lora *lora, const sl_gate *gate, const char *path);

#endif
