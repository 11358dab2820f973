/* launch/pipeline/engine_open.h - opens the model on every rank and loads each rank's layers. What
 * is collective is called on all ranks; each returns the same status on all of them. */
#ifndef SL_ENGINE_OPEN_H
#define SL_ENGINE_OPEN_H

#include "launch/pipeline/engine_state.h"

/* Room for the plan of this many ranks. Its error is this rank's alone. */
sl_status sl_engine_init_plan(sl_engine *e);
/* Collective: open the model, split it, plan memory, take it and load. */
sl_status sl_engine_open(sl_engine *e);
/* Collective: begin to check that ranks loaded one model, and that the gate is made for it. */
sl_status sl_engine_check_model(sl_engine *e);
/* Free everything but the transport. */
void sl_engine_close(sl_engine *e);

#endif
