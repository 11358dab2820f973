/* tests/fuzz/fuzz_lora.h - the model that adapters of fuzz_lora.c are for, shared with what makes
 * its seeds. */
#ifndef SL_FUZZ_LORA_H
#define SL_FUZZ_LORA_H

#include "tests/support/synth_gguf.h"

static inline synth_shape fuzz_lora_model(void)
{
    synth_shape s = synth_shape_default();
    s.layers = 2, s.width = s.ffn = 32, s.heads = 2, s.kv_heads = 1, s.head_dim = 16;
    return s;
}

#endif
