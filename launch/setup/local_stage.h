/* launch/setup/local_stage.h - a stage with the first layers of a model, or all, that this rank
 * runs by itself, without a pipeline: one prompt in one frame. Training, pictures and measurements
 * use it. It owns weights, threads and memory until it is closed. */
#ifndef SL_LOCAL_STAGE_H
#define SL_LOCAL_STAGE_H

#include "runtime/model/lora.h"
#include "runtime/stage/stage.h"

typedef struct {
    sl_stage_options options;
    sl_weights weights;
    sl_lora_weights lora;
    sl_stage *stage;
    sl_team *team;
    sl_frame frame;
    uint64_t tensors_hash; /* of what was loaded: with all layers, what a gate names the model by */
    void *storage;
    size_t storage_bytes;
} sl_local_stage;

/* Layers [0, n_layers) and a frame within options->limits. The caller leaves weights, adapters,
 * threads and team out of the options; `lora` NULL, or n 0: no adapters; `threads` 0: all cores.
 * Ended with sl_local_stage_close, also after an error. SL_ERR_MEMORY, SL_ERR_FILE: logged. */
sl_status sl_local_stage_open(const sl_gguf *gguf, const sl_lora *lora, const sl_model_shape *shape,
                              uint32_t n_layers, const sl_stage_options *options, uint32_t threads,
                              sl_local_stage *out);
void sl_local_stage_close(sl_local_stage *local); /* all zero is fine */

/* A prompt of n tokens, limits.rows_max at most, through the stage. SL_ERR_FORMAT, logged. */
sl_status sl_local_stage_compute(sl_local_stage *local, const int32_t *tokens, uint32_t n);

#endif
