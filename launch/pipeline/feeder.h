/* launch/pipeline/feeder.h - moves requests on rank 0: new ones from the port of a command to the
 * driver, finished ones from the driver back to the port.
 *
 * It owns a request only while the driver has no room for it. It does not know where a port reads
 * requests and writes results. */
#ifndef SL_FEEDER_H
#define SL_FEEDER_H

#include "launch/pipeline/driver.h"

/* Where requests come from and results go to. Called on the progress thread: must not block. */
typedef struct {
    void *context;
    /* The next bound request. SL_AGAIN: none yet; SL_END: no more will come; errors end the job. */
    sl_status (*next)(void *context, sl_request **request_out);
    /* Takes a finished request. An error ends the job. */
    sl_status (*done)(void *context, sl_request *request);
    /* Called before finished requests go out, unless it is NULL. SL_AGAIN keeps them in the driver,
     * which takes no more than it has room for. An error ends the job. */
    sl_status (*ready)(void *ready_context);
    void *ready_context;
} sl_port;

typedef struct {
    const sl_port *port; /* NULL on ranks that have none: a step then does nothing */
    const sl_watch *watch;
    sl_driver *driver;
    int64_t started_ns, progress_ns; /* progress_ns: of the last call of the watch's progress */
    sl_request *held;                /* read, but the driver had no room yet */
    bool ended;                      /* the port has no more requests */
    bool driver_ended;               /* the driver knows that */
    bool wait_explained; /* the user was told that results wait for the check of the model */
} sl_feeder;

void sl_feeder_init(sl_feeder *feeder, const sl_port *port, const sl_watch *watch,
                    sl_driver *driver, int64_t now_ns);
void sl_feeder_fini(sl_feeder *feeder);
/* Move what can be moved now. Its errors are the port's. */
sl_status sl_feeder_step(sl_feeder *feeder, int64_t now_ns);

#endif
