/* launch/pipeline/feeder.c - see feeder.h. */
#include "launch/pipeline/feeder.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"

void sl_feeder_init(sl_feeder *feeder, const sl_port *port, const sl_watch *watch,
                    sl_driver *driver, int64_t now_ns)
{
    *feeder = (sl_feeder){.port = port,
                          .watch = watch,
                          .driver = driver,
                          .started_ns = now_ns,
                          .progress_ns = now_ns};
}

void sl_feeder_fini(sl_feeder *feeder)
{
    while (feeder->held) { /* each prompt that was not submitted */
        sl_request *also = feeder->held->also;
        sl_request_free(feeder->held);
        feeder->held = also;
    }
}

/* Prompts of one line are handed out one by one. */
static void count_prompts(sl_request *request)
{
    if (!request->also) return;
    for (const sl_request *r = request; r; r = r->also) request->n_under_way++;
}

/* As many requests as the driver takes. */
static sl_status feed_in(sl_feeder *f)
{
    while (!f->ended) {
        if (!f->held) {
            sl_status status = f->port->next(f->port->context, &f->held);
            if (status == SL_AGAIN) return SL_OK;
            if (status == SL_END) {
                f->ended = true;
                return SL_OK;
            }
            if (status != SL_OK) return status;
            count_prompts(f->held);
        }
        sl_request *also = f->held->also;
        if (sl_driver_submit(f->driver, f->held) == SL_AGAIN) return SL_OK;
        f->held = also;
    }
    return SL_OK;
}

/* A line is done when all its prompts are; its error is that of the first that has one. */
static sl_status finish(const sl_port *port, sl_request *request)
{
    sl_request *first = request->first ? request->first : request;
    if (first->n_under_way > 1) {
        first->n_under_way--;
        return SL_OK;
    }
    first->n_under_way = 0;
    for (const sl_request *r = first; r && first->error.http_status == 0; r = r->also)
        first->error = r->error;
    return port->done(port->context, first);
}

/* With a big model on slow storage the user would see nothing happen for long. */
static void explain_wait(sl_feeder *f, int64_t now_ns)
{
    if (f->wait_explained || now_ns - f->started_ns < 5 * SL_SECOND) return;
    f->wait_explained = true;
    sl_info("results wait until rank 0 has read the layers of other ranks, to compare them: the "
            "model's file of sums (sluice show model FILE --sums) or --trust-model spares it");
}

/* Finished requests, once they may leave. The pipeline is not stopped before that. */
static sl_status feed_out(sl_feeder *f, int64_t now_ns)
{
    const sl_port *port = f->port;
    sl_status status = port->ready ? port->ready(port->ready_context) : SL_OK;
    if (status == SL_AGAIN) {
        explain_wait(f, now_ns);
        return SL_OK;
    }
    if (status != SL_OK) return status;
    if (f->ended && !f->driver_ended) sl_driver_end(f->driver);
    f->driver_ended = f->ended;
    sl_request *request;
    while (status == SL_OK && (request = sl_driver_finished(f->driver)))
        status = finish(port, request);
    return status;
}

sl_status sl_feeder_step(sl_feeder *feeder, int64_t now_ns)
{
    if (!feeder->port) return SL_OK;
    sl_status status = feed_in(feeder);
    if (status == SL_OK) status = feed_out(feeder, now_ns);
    const sl_watch *watch = feeder->watch;
    if (watch->progress && now_ns - feeder->progress_ns > 100 * SL_MS) {
        feeder->progress_ns = now_ns;
        watch->progress(watch->context, sl_driver_progress_now(feeder->driver),
                        now_ns - feeder->started_ns);
    }
    return status;
}
