/* runtime/stage/probe.h - a callback that sees the rows of each layer while a stage computes,
 * without changing them: pictures (attention_maps.h) and training (runtime/train) copy what they
 * need. */
#ifndef SL_PROBE_H
#define SL_PROBE_H

#include <stdint.h>

#include "runtime/frame/frame.h"

struct sl_layer_context;

typedef struct {
    void *context;
    /* By one thread while the others wait: layer `layer` of the stage has attended over the frame,
     * and added nothing to frame->hidden yet. shared.normed.x is what the maps to q, k and v read;
     * q, k and v are what attention met: q and k normed and turned where the layer does that. */
    void (*layer)(void *context, const struct sl_layer_context *at, const sl_frame *frame,
                  uint32_t layer);
} sl_probe;

#endif
