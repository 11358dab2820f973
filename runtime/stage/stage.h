/* runtime/stage/stage.h - a run of layers over a frame. Knows no ranks: being first means it
 * embeds, being last means it has a head and samples.
 * One thread calls it: the master of the only OpenMP team. All memory comes from the arena. */
#ifndef SL_STAGE_H
#define SL_STAGE_H

#include "runtime/base/frame.h"
#include "runtime/cache/cache.h"
#include "runtime/model/weights.h"

typedef struct {
    const sl_weights *weights;
    const sl_kernels *kernels;
    int threads; /* of the team */
    sl_frame_limits limits;
    uint32_t sequences_max, context;
    uint32_t sinks, window;
    uint32_t n_pages; /* of the cache's pool */
} sl_stage_options;

typedef struct sl_stage sl_stage;

/* Take everything from the arena; with a counting arena it measures and *stage_out is NULL. */
void sl_stage_init(const sl_stage_options *options, sl_arena *arena, sl_stage **stage_out);

/* Apply the frame's controls, then run its spans through the layers: the first stage reads tokens,
 * others read hidden; hidden is replaced, or, on the last stage, results are filled.
 * SL_ERR_FORMAT, logged: a control or span that does not fit the sequences as they are (a peer's
 * fault, checked so that it cannot harm). Allocates nothing. */
sl_status sl_stage_compute(sl_stage *stage, sl_frame *frame);

uint64_t sl_stage_pages_used(const sl_stage *stage);

#endif
