/* launch/pipeline/feeder.h - how rank 0 meets whoever reads and writes the job, and the hand that passes
 * requests between that port and the driver. */
#ifndef SL_FEEDER_H
#define SL_FEEDER_H

#include "launch/pipeline/driver.h"

/* Called on the progress thread: must not block. */
typedef struct {
    void *context;
    /* The next bound request. SL_AGAIN: none yet; SL_END: no more will come; errors end the job. */
    sl_status (*next)(void *context, sl_request **request_out);
    /* Takes a finished request. An error ends the job. */
    sl_status (*done)(void *context, sl_request *request);
    /* Asked before finished requests go out, if it is not NULL: SL_AGAIN keeps them in the driver, which
     * takes no more than it has room for; errors end the job. */
    sl_status (*ready)(void *ready_context);
    void *ready_context;
} sl_port;

typedef struct {
    const sl_port *port; /* NULL on ranks that have none: feeding is then nothing */
    const sl_watch *watch;
    sl_driver *driver;
    int64_t started_ns, told_ns;
    sl_request *held; /* read, but the driver had no room yet */
    bool ended;       /* the port: no more will come */
    bool told_end;
    bool told_wait; /* the user, that results wait for the verdict */
} sl_feeder;

void sl_feeder_init(sl_feeder *feeder, const sl_port *port, const sl_watch *watch,
                    sl_driver *driver, int64_t now_ns);
void sl_feeder_fini(sl_feeder *feeder);
/* Pass on what can be passed on now. The port's errors. */
sl_status sl_feeder_step(sl_feeder *feeder, int64_t now_ns);

#endif
