/* launch/setup/lone_stage.h - the first layers of a model, or all, on this rank alone, for one prompt in one
 * frame: what pictures and measurements look at. */
#ifndef SL_LONE_STAGE_H
#define SL_LONE_STAGE_H

#include "runtime/stage/stage.h"

typedef struct {
    sl_stage_options options;
    sl_weights weights;
    sl_stage *stage;
    sl_team *team;
    sl_frame frame;
    uint64_t tensors_hash; /* of what was loaded: with all layers, what a gate names the model by */
    void *storage;
    size_t storage_bytes;
} sl_lone_stage;

/* Layers [0, n_layers) and a frame within options->limits. The caller leaves weights, threads and team
 * out of the options; `threads` 0: all cores. Ended with sl_lone_stage_close, also after an error.
 * SL_ERR_MEMORY, SL_ERR_FILE: logged. */
sl_status sl_lone_stage_open(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t n_layers,
                             const sl_stage_options *options, uint32_t threads, sl_lone_stage *out);
void sl_lone_stage_close(sl_lone_stage *lone); /* all zero is fine */

/* A prompt of n tokens, limits.rows_max at most, through the stage. SL_ERR_FORMAT, logged. */
sl_status sl_lone_stage_compute(sl_lone_stage *lone, const int32_t *tokens, uint32_t n);

#endif
