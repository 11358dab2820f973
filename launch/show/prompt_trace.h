/* launch/show/prompt_trace.h - what happens to one prompt in a model that this rank runs by itself:
 * which head keeps which token, and what the attention of chosen layers looks at. `show cache`
 * draws it. */
#ifndef SL_PROMPT_TRACE_H
#define SL_PROMPT_TRACE_H

#include "launch/setup/model_setup.h"

enum { SL_PROMPT_TRACE_TOKENS_MAX = 2048 }; /* attention maps grow with its square */

/* Of a token in a KV head's cache. Sinks, the window and all of sliding layers are no
 * policy's to evict: ALWAYS. */
typedef enum { SL_FATE_EVICTED, SL_FATE_KEPT, SL_FATE_ALWAYS } sl_fate;

typedef struct {
    sl_model_setup setup;
    sl_tokens tokens;    /* of the prompt */
    uint8_t *fates;      /* [n_layers][n_kv_heads][tokens.n] of sl_fate */
    uint32_t gate_heads; /* the most of any layer in settings->layers */
    float *attention;    /* [settings->layers.n][n_heads][tokens.n][tokens.n] */
    float *gate;         /* [settings->layers.n][gate_heads][..][..]; NULL: no gate */
} sl_prompt_trace;

/* Open the model, read the prompt (settings->prompt or file), compute it, and take the attention
 * maps of settings->layers. Errors are logged; end it with sl_prompt_trace_close in any case. */
sl_status sl_prompt_trace_take(const sl_settings *settings, sl_prompt_trace *trace);
void sl_prompt_trace_close(sl_prompt_trace *trace); /* all zero is fine */

/* The share of eligible tokens that was kept, over all heads. */
double sl_prompt_trace_retention(const sl_prompt_trace *trace);

#endif
