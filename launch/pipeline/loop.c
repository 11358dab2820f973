/* launch/pipeline/loop.c - see loop.h. Gives a rank's state machine what it lacks: a clock, a
 * thread that computes, the two queues to it, and sleep. */
#include "launch/pipeline/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "launch/machine/process.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/queue.h"
#include "runtime/base/thread.h"

/* ---- the compute thread ---- */

typedef struct {
    sl_stage *stage;
    const sl_team *team;
    sl_queue *work, *done; /* of sl_work; one item each at most */
    pthread_t thread;
} computer;

static void *compute(void *argument)
{
    computer *c = argument;
    int64_t compute_ns = 0, wait_ns = 0, before = sl_clock_now_ns();
    void *item;
    (void)sl_team_enter(c->team); /* until the thread ends */
    while (sl_queue_take(c->work, &item, -1) == SL_OK) {
        sl_work *work = item;
        int64_t begin = sl_clock_now_ns();
        work->status = sl_stage_compute(c->stage, &work->frame);
        sl_stage_account_get(c->stage, &work->account);
        int64_t end = sl_clock_now_ns();
        wait_ns += begin - before;
        compute_ns += end - begin;
        before = end;
        work->compute_ns = compute_ns;
        work->wait_ns = wait_ns;
        sl_queue_put(c->done, work, -1);
    }
    return NULL;
}

static void free_computer(computer *c)
{
    if (!c) return;
    sl_queue_close(c->work);
    sl_queue_close(c->done);
    free(c);
}

static sl_status start_computer(const sl_loop_options *options, computer **computer_out)
{
    computer *c = calloc(1, sizeof *c);
    if (c)
        *c = (computer){.stage = options->stage,
                        .team = options->team,
                        .work = sl_queue_open(1),
                        .done = sl_queue_open(1)};
    int error = c && c->work && c->done ? sl_thread_start(&c->thread, compute, c) : ENOMEM;
    if (error == 0) {
        *computer_out = c;
        return SL_OK;
    }
    sl_error("cannot start the compute thread: %s", strerror(error));
    free_computer(c);
    return SL_ERR_MEMORY; /* there was no room for its stack */
}

static void stop_computer(computer *c)
{
    sl_queue_end(c->work);
    pthread_join(c->thread, NULL);
    free_computer(c);
}

/* ---- the loop ---- */

static sl_status report_signal(const sl_rank *rank)
{
    char waiting[256];
    sl_rank_describe_wait(rank, sl_clock_now_ns(), waiting, sizeof waiting);
    sl_error("%s: %s", sl_process_signal_name(sl_process_signal()), waiting);
    return SL_ERR_JOB;
}

static sl_status loop(const sl_loop_options *options, computer *c)
{
    sl_feeder feeder;
    sl_feeder_init(&feeder, options->port, options->watch, options->driver, sl_clock_now_ns());
    bool computing = false;
    sl_status status = SL_OK;
    while (status == SL_OK && !sl_rank_stopped(options->rank)) {
        void *done;
        if (computing && sl_queue_try_take(c->done, &done) == SL_OK) {
            sl_rank_computed(options->rank, done);
            computing = false;
        }
        int64_t now_ns = sl_clock_now_ns();
        sl_work *work;
        status = sl_feeder_step(&feeder, now_ns);
        if (status == SL_OK) status = sl_rank_step(options->rank, now_ns, &work);
        if (status == SL_OK && work) {
            sl_queue_put(c->work, work, -1);
            computing = true;
        }
        if (status == SL_OK && sl_process_signal()) status = report_signal(options->rank);
        if (computing || !options->spare_core)
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    sl_feeder_fini(&feeder);
    return status;
}

sl_status sl_loop_run(const sl_loop_options *options)
{
    computer *c;
    sl_status status = start_computer(options, &c);
    if (status != SL_OK) return status;
    status = loop(options, c);
    if (status == SL_OK)
        stop_computer(c);
    else /* The job is about to be aborted: the thread is not waited for, and its memory stays. */
        pthread_detach(c->thread);
    return status;
}
