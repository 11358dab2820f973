/* launch/pipeline/engine_plan.h - which rank holds which layers, and how much memory each takes. */
#ifndef SL_ENGINE_PLAN_H
#define SL_ENGINE_PLAN_H

#include "launch/pipeline/engine_state.h"

/* Whether the model can be split over so many ranks, and what each layer is expected to keep.
 * SL_ERR_OPTION, SL_ERR_UNSUPPORTED, or an error of the file of measured retention: logged. */
sl_status sl_engine_plan_check(sl_engine *e);
/* What weights and cache may take on this rank, into the plan. */
void sl_engine_plan_limits(sl_engine *e);
/* Layers to ranks, within the limits of all. All ranks compute the same. */
void sl_engine_plan_split(sl_engine *e);
/* Pages of this rank's pool, and all that it will take. SL_ERR_MEMORY: logged. */
sl_status sl_engine_plan_memory(sl_engine *e);

#endif
