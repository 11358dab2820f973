/* runtime/stage/attention_maps.h - attention maps of a prompt that a stage reads in one span: what
 * each query looks at, in the model's heads and in the gate's. For pictures. */
#ifndef SL_ATTENTION_MAPS_H
#define SL_ATTENTION_MAPS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/stage/probe.h"

typedef struct {
    const uint32_t *layers; /* whose maps are wanted, of this stage */
    uint32_t n_layers;
    uint32_t n_tokens;   /* of the prompt */
    uint32_t gate_heads; /* the most of any layer; 0: no gate */
    float *attention;    /* [n_layers][n_heads][n_tokens][n_tokens]: row t is query t's weights */
    float *gate;         /* [n_layers][gate_heads][n_tokens][n_tokens], likewise; may be NULL */
} sl_attention_maps;

/* A probe's `layer` (probe.h) whose context is the maps: of a frame of one prompt span from
 * position 0, with flags. */
void sl_attention_maps_take(void *maps, const struct sl_layer_context *at, const sl_frame *frame,
                            uint32_t layer);

#endif
