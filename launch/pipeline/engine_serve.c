/* launch/pipeline/engine_serve.c - a job from start to end: open, serve, end together. */
#include <stdlib.h>

#include "launch/machine/cores.h"
#include "launch/machine/ranks.h"
#include "launch/pipeline/engine_agree.h"
#include "launch/pipeline/engine_open.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

/* How long the last records of a job that fails may take. */
static const int64_t LAST_WORDS_NS = 2 * SL_SECOND;
/* How long a job that is refused waits for the check that may explain why. */
static const int64_t VERDICT_WAIT_NS = 5 * SL_SECOND;

/* ---- the steps, each on all ranks ---- */

static sl_status open_engine(void *context) { return sl_engine_open(context); }

static sl_status check_model(void *context) { return sl_engine_check_model(context); }

static sl_status begin_service(void *context)
{
    sl_engine *e = context;
    const sl_service *service = e->service;
    bool first = sl_engine_rank(e) == 0;
    e->begun = first ? service->begin(service->context, e, &e->port) : SL_OK;
    /* A job may be refused as another one than it was because this copy of the model is damaged:
     * then that is what the user should read. */
    if (e->begun == SL_ERR_OPTION &&
        sl_model_check_wait(e->check, VERDICT_WAIT_NS) == SL_ERR_FORMAT)
        e->begun = SL_ERR_FORMAT;
    /* Results wait until all ranks are known to have the same model. */
    e->port.ready = sl_model_check_ready;
    e->port.ready_context = e->check;
    return sl_engine_agree(e, e->begun);
}

static sl_status run(sl_engine *e)
{
    int busy = sl_comm_ranks_on_host(e->comm) * e->threads;
    sl_loop_options options = {
        .rank = e->assembly.rank,
        .stage = e->assembly.stage,
        .driver = e->assembly.driver,
        .team = e->assembly.team,
        .port = sl_engine_rank(e) == 0 ? &e->port : NULL,
        .watch = &e->service->watch,
        .spare_core = sl_cores_usable() > busy,
    };
    e->ready_ns = sl_clock_now_ns();
    sl_process_catch_signals(); /* until now a signal just ended this process */
    sl_assembly_options assembly = sl_engine_assembly_options(e);
    sl_frame_limits limits = sl_assembly_frame_limits(&assembly);
    sl_status status = sl_comm_start(e->comm, sl_rank_message_bytes_max(&limits), e->ready_ns);
    if (status == SL_OK) status = sl_loop_run(&options);
    e->ended_ns = sl_clock_now_ns();
    e->failed_alone = status != SL_OK;
    return status;
}

/* All ranks agree on whether their files are still those that were loaded. */
static sl_status end_check(sl_engine *e)
{
    const char *unverified = sl_model_check_unverified(e->check);
    if (sl_engine_rank(e) == 0 && unverified) sl_info("model: unverified (%s)", unverified);
    return sl_engine_agree(e, sl_model_check_end(e->check));
}

/* Let the service end, with how serving went; rank 0's exit code is then that of all. */
static sl_status end_service(void *context)
{
    sl_engine *e = context;
    const sl_service *service = e->service;
    sl_status status = SL_OK, files = end_check(e);
    if (sl_engine_rank(e) == 0) {
        status = service->end(service->context, e, SL_OK);
        e->code = status == SL_OK && service->some_failed && *service->some_failed
                      ? SL_EXIT_SOME_FAILED
                      : sl_exit_code(status);
        if (status == SL_OK && files != SL_OK) e->code = sl_exit_code(files);
    }
    int *codes = calloc((size_t)sl_engine_ranks(e), sizeof *codes);
    if (!codes) abort(); /* four bytes a rank: no rank can be told any more */
    sl_status gathered = sl_comm_gather(e->comm, &e->code, sizeof e->code, codes, 0);
    if (gathered == SL_OK) e->code = codes[0];
    free(codes);
    return gathered == SL_OK ? status : gathered;
}

static sl_status end_failed_service(void *context)
{
    sl_engine *e = context;
    return e->service->end(e->service->context, e, e->failure);
}

/* Let rank 0 write what is finished, within LAST_WORDS_NS: other ranks wait for the abort, and a
 * file system that hangs may be why the job fails. The thread that computes is not waited for. */
static void end_in_failure(sl_engine *e, sl_status status)
{
    if (sl_engine_rank(e) != 0 || e->begun != SL_OK) return;
    e->failure = status;
    if (!sl_ranks_work_briefly(end_failed_service, e, LAST_WORDS_NS)) e->failed_alone = true;
}

/* ---- the whole job ---- */

static sl_status attend(sl_engine *e, sl_status (*work)(void *context))
{
    return sl_ranks_attend(e->comm, e->settings.peer_timeout_s, SL_SIGNAL_ENDS_JOB, work, e);
}

static sl_status serve(sl_engine *e)
{
    e->begun = SL_AGAIN;
    sl_status status = attend(e, open_engine);
    /* From here on new threads inherit no pinning. */
    if (status == SL_OK) status = attend(e, check_model);
    if (status == SL_OK) status = attend(e, begin_service);
    if (status == SL_OK) status = run(e);
    if (status == SL_OK) return attend(e, end_service);
    end_in_failure(e, status);
    return status;
}

/* Close, or end the whole job with the status's exit code, which is returned. */
static int end(sl_engine *e, sl_status status)
{
    int code = status == SL_OK ? e->code : sl_exit_code_stopped(status);
    if (e->failed_alone) sl_ranks_abort(e->comm, code);
    sl_engine_close(e);
    return code;
}

int sl_engine_serve_each(const sl_settings *settings, size_t n, const sl_service *service)
{
    sl_comm *comm;
    sl_status status = sl_ranks_open(&comm);
    if (status != SL_OK) return sl_exit_code_stopped(status);
    int code = SL_EXIT_OK; /* the same on all ranks, so all of them go on or stop */
    for (size_t i = 0; i < n && code == SL_EXIT_OK; i++) {
        sl_engine engine = {.settings = settings[i], .service = service, .comm = comm};
        status = sl_engine_init_plan(&engine);
        if (status == SL_OK) status = serve(&engine);
        code = end(&engine, status);
    }
    return sl_ranks_close(comm, code);
}

int sl_engine_serve(const sl_settings *settings, const sl_service *service)
{
    return sl_engine_serve_each(settings, 1, service);
}
