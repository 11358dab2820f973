/* runtime/stage/probe.h - attention maps of a prompt that a stage reads in one span: what each query
 * looks at, in the model's heads and in the gate's. For pictures; the layers compute as ever. */
#ifndef SL_PROBE_H
#define SL_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/frame.h"

typedef struct {
    const uint32_t *layers; /* whose maps are wanted, of this stage */
    uint32_t n_layers;
    uint32_t n_tokens;   /* of the prompt */
    uint32_t gate_heads; /* the most of any layer; 0: no gate */
    float *attention;    /* [n_layers][n_heads][n_tokens][n_tokens]: row t is query t's weights */
    float *gate;         /* [n_layers][gate_heads][n_tokens][n_tokens], likewise; may be NULL */
} sl_probe;

struct sl_layer_context;
/* After a layer's attention over a frame of one prompt span from position 0, with flags. */
void sl_probe_layer(const struct sl_layer_context *context, const sl_frame *frame, uint32_t layer);

#endif
