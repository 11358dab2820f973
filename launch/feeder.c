/* launch/feeder.c - see feeder.h. */
#include "launch/feeder.h"

#include "runtime/base/clock.h"

void sl_feeder_init(sl_feeder *feeder, const sl_port *port, const sl_watch *watch,
                    sl_driver *driver, int64_t now_ns)
{
    *feeder = (sl_feeder){
        .port = port, .watch = watch, .driver = driver, .started_ns = now_ns, .told_ns = now_ns};
}

void sl_feeder_fini(sl_feeder *feeder) { sl_request_free(feeder->held); }

/* As many requests as the driver takes. */
static sl_status feed_in(sl_feeder *f)
{
    while (!f->ended) {
        if (!f->held) {
            sl_status status = f->port->next(f->port->context, &f->held);
            if (status == SL_AGAIN) return SL_OK;
            if (status == SL_END) {
                sl_driver_end(f->driver);
                f->ended = true;
                return SL_OK;
            }
            if (status != SL_OK) return status;
        }
        if (sl_driver_submit(f->driver, f->held) == SL_AGAIN) return SL_OK;
        f->held = NULL;
    }
    return SL_OK;
}

sl_status sl_feeder_step(sl_feeder *feeder, int64_t now_ns)
{
    const sl_port *port = feeder->port;
    if (!port) return SL_OK;
    sl_status status = feed_in(feeder);
    sl_request *request;
    while (status == SL_OK && (request = sl_driver_finished(feeder->driver)))
        status = port->done(port->context, request);
    const sl_watch *watch = feeder->watch;
    if (watch->progress && now_ns - feeder->told_ns > 100 * SL_MS) {
        feeder->told_ns = now_ns;
        watch->progress(watch->context, sl_driver_progress_now(feeder->driver),
                        now_ns - feeder->started_ns);
    }
    return status;
}
