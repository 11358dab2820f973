/* launch/show/look.h - one prompt through a model in this process alone, watched: who is kept where, and
 * what is looked at. What `show cache` draws. */
#ifndef SL_LOOK_H
#define SL_LOOK_H

#include "launch/options/settings.h"
#include "runtime/gate/gate_file.h"
#include "runtime/gate/policy.h"
#include "runtime/model/shape.h"
#include "runtime/text/tokenizer.h"

enum { SL_LOOK_TOKENS_MAX = 2048 }; /* maps grow with its square */

typedef enum { SL_FATE_EVICTED, SL_FATE_KEPT, SL_FATE_ALWAYS } sl_fate;

typedef struct {
    sl_gguf *gguf;
    sl_model_shape shape;
    sl_tokenizer *tokenizer;
    sl_gate_file *gate_file; /* NULL: none */
    sl_policy policy;
    sl_tokens tokens;
    uint8_t *fates; /* [n_layers][n_kv_heads][tokens.n]: sl_fate; sinks and window are ALWAYS */
    uint32_t gate_heads; /* the most of any layer that was asked for */
    float *attention;    /* [settings->layers.n][n_heads][tokens.n][tokens.n] */
    float *gate;         /* [settings->layers.n][gate_heads][..][..]; NULL: no gate */
} sl_look;

/* Open the model, read the prompt (settings->prompt or file) and compute it; maps of
 * settings->layers. Errors are logged; sl_look_close in any case. */
sl_status sl_look_take(const sl_settings *settings, sl_look *look);
void sl_look_close(sl_look *look); /* all zero is fine */

/* Of eligible tokens, all heads. */
double sl_look_retention(const sl_look *look);

#endif
