/* runtime/model/rope_keys.h - the keys "rope.*" of an architecture make a rope, in llama.cpp's
 * meaning. Knows no layers: which of them turn is the architecture's plan. */
#ifndef SL_ROPE_KEYS_H
#define SL_ROPE_KEYS_H

#include "runtime/kernels/rows/rope.h"
#include "runtime/model/model_keys.h"

/* Trained lengths of any model, tokens. */
enum { SL_CONTEXT_MAX = 1 << 24 };

/* The rope of heads of head_dim of a model trained to `context` tokens. SL_ERR_FORMAT,
 * SL_ERR_UNSUPPORTED: logged, naming the key. */
sl_status sl_rope_keys_read(const sl_model_keys *keys, uint32_t head_dim, uint32_t context,
                            sl_rope_pairing pairing, sl_rope *out);
/* Whether the above reads a key of this name, or may ignore it, where rope is scaled so. */
bool sl_rope_keys_know(sl_text name, sl_rope_scaling scaling);

#endif
