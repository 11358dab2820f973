/* launch/pipeline/model_placement.h - what sched/placement.h needs to know to split a model:
 * filled in from the model's file, so that the plan of a job and the command `plan` ask for the
 * same split. */
#ifndef SL_MODEL_PLACEMENT_H
#define SL_MODEL_PLACEMENT_H

#include "runtime/gate/policy.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"
#include "sched/placement.h"

typedef struct {
    sl_placement_options options; /* points into what follows */
    uint64_t layer_weights[SL_SPLIT_LAYERS_MAX];
    double keep[SL_SPLIT_LAYERS_MAX]; /* 1 */
    uint32_t sliding_windows[SL_SPLIT_LAYERS_MAX];
} sl_model_placement;

/* At most SL_SPLIT_LAYERS_MAX layers, and no more ranks than layers. Adapters count as weights of
 * their layers; NULL: none. */
void sl_model_placement_init(const sl_gguf *gguf, const sl_model_shape *shape, const sl_lora *lora,
                             int ranks, const sl_policy *policy, uint32_t sequences,
                             uint64_t page_bytes, sl_model_placement *out);

/* Pages of the rings of one KV head in each of layers [first, first + n), of one sequence. */
uint64_t sl_model_ring_pages(const sl_model_shape *shape, uint32_t first, uint32_t n,
                             uint32_t window, uint32_t context);

#endif
