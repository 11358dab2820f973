/* launch/pipeline/engine_agree.h - one collective after every step that can fail, so that ranks
 * fail together, and what ranks must have in common is compared. */
#ifndef SL_ENGINE_AGREE_H
#define SL_ENGINE_AGREE_H

#include "launch/pipeline/engine_state.h"

/* Collective. status: how the step went on this rank. Returns the first bad status of any rank, or
 * an error if ranks have other models or options; fills in the limits and pages of all ranks and
 * the model's hash. When ranks cannot be reached it ends the whole job. */
sl_status sl_engine_agree(sl_engine *engine, sl_status status);

#endif
