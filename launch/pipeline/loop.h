/* launch/pipeline/loop.h - drives one rank in real time. The calling thread is the progress
 * thread, the only one that calls comm. A second thread computes, and is the only one that runs
 * the stage's team. */
#ifndef SL_LOOP_H
#define SL_LOOP_H

#include "launch/pipeline/feeder.h"
#include "launch/pipeline/rank.h"
#include "runtime/stage/stage.h"

typedef struct {
    sl_rank *rank;
    sl_stage *stage;
    const sl_team *team; /* the stage's: the compute thread enters it */
    sl_driver *driver;   /* rank 0 only */
    const sl_port *port; /* rank 0 only */
    const sl_watch *watch;
    bool spare_core; /* the progress thread may poll without pause while compute is idle */
} sl_loop_options;

/* Run until the stop frame has passed. SL_ERR_PEER, SL_ERR_JOB, SL_ERR_FORMAT, or the port's
 * error: logged; the caller then aborts the job at once, since compute may still be at work.
 * SL_ERR_JOB also on a signal (process.h), after a line that says what this rank was waiting
 * for. */
sl_status sl_loop_run(const sl_loop_options *options);

#endif
