/* launch/machine/ranks.c - see ranks.h. State: the job's transport, for who must end it from
 * anywhere, and whether a signal has been told. */
#include "launch/machine/ranks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "comm/reduction.h"
#include "launch/machine/launcher.h"
#include "launch/machine/process.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/queue.h"
#include "runtime/base/thread.h"

static const double SILENCE_MAX_S = 5; /* of commands without --peer-timeout */

static sl_comm *job_comm;

static void abort_job(void)
{
    if (job_comm) sl_comm_abort(job_comm, SL_EXIT_BUG);
}

sl_status sl_ranks_open(sl_comm **comm_out)
{
    sl_comm *comm;
    sl_comm_options options = {.heartbeat_ns = SL_SECOND,
                               .lost_code = SL_EXIT_INTERRUPTED,
                               .tells_start = sl_launcher_prints()};
    sl_status status = sl_comm_open(sl_launcher_rank() ? "mpi" : "self", &options, &comm);
    if (status != SL_OK) return status;
    status = sl_launcher_check(sl_comm_ranks(comm));
    if (status != SL_OK) {
        sl_comm_close(comm);
        return status;
    }
    job_comm = comm;
    sl_assert_set_abort(abort_job);
    sl_log_set_rank(sl_comm_rank(comm), sl_comm_ranks(comm));
    if (sl_comm_ranks(comm) > 1) sl_process_catch_signals();
    *comm_out = comm;
    return SL_OK;
}

/* ---- attending ---- */

static bool tell_signal(const sl_comm *comm)
{
    static int told;
    int number = sl_process_signal();
    if (number == 0) return false;
    if (number != told) {
        char waiting[256];
        sl_comm_describe_wait(comm, waiting, sizeof waiting);
        sl_error("%s: %s", sl_process_signal_name(number), waiting);
    }
    told = number;
    return true;
}

static bool only_tell_signal(const sl_comm *comm)
{
    (void)tell_signal(comm);
    return false;
}

sl_status sl_ranks_attend(sl_comm *comm, double peer_timeout_s, sl_signal_use signal_use,
                          sl_status (*work)(void *context), void *context)
{
    double silence_s = peer_timeout_s > 0 ? peer_timeout_s : SILENCE_MAX_S;
    sl_attend_options options = {
        .silence_max_ns = (int64_t)(silence_s * (double)SL_SECOND),
        .give_up = signal_use == SL_SIGNAL_ENDS_JOB ? tell_signal : only_tell_signal,
    };
    sl_status status;
    if (!sl_comm_attend(comm, &options, work, context, &status))
        sl_ranks_abort(comm, sl_exit_code_stopped(status));
    return status;
}

typedef struct {
    sl_status (*work)(void *context);
    void *context;
    sl_queue *finished;
} brief_work;

static void *run_brief(void *argument)
{
    brief_work *w = argument;
    (void)w->work(w->context); /* the job fails in any case, with a status of its own */
    sl_queue_put(w->finished, w, 0);
    return NULL;
}

bool sl_ranks_work_briefly(sl_status (*work)(void *context), void *context, int64_t patience_ns)
{
    brief_work *w = calloc(1, sizeof *w);
    sl_queue *finished = sl_queue_open(1);
    pthread_t thread;
    void *item;
    if (w) *w = (brief_work){.work = work, .context = context, .finished = finished};
    if (!w || !finished || sl_thread_start(&thread, run_brief, w) != 0) {
        free(w);
        sl_queue_close(finished);
        return false;
    }
    if (sl_queue_take(finished, &item, (int)(patience_ns / SL_MS)) == SL_OK) {
        pthread_join(thread, NULL);
        free(w);
        sl_queue_close(finished);
        return true;
    }
    pthread_detach(thread); /* it may outlive this call, and so does what it uses */
    sl_warn("the last records could not be written within %.0f s: ending without them",
            (double)patience_ns / SL_SECOND);
    return false;
}

/* Room for what each rank says, zeros, malloc'd; without it the job ends. */
static void *room_for_all(sl_comm *comm, size_t bytes_each)
{
    void *all = calloc((size_t)sl_comm_ranks(comm), bytes_each);
    if (!all) sl_ranks_abort_memory(comm);
    return all;
}

sl_status sl_ranks_agree(sl_comm *comm, sl_status status)
{
    size_t ranks = (size_t)sl_comm_ranks(comm);
    sl_status *all = room_for_all(comm, sizeof *all), worst = status;
    sl_status gathered = sl_comm_gather(comm, &status, sizeof status, all, 0);
    for (size_t r = 0; gathered == SL_OK && r < ranks; r++)
        if (all[r] < worst) worst = all[r];
    free(all);
    return gathered == SL_OK ? worst : gathered;
}

sl_status sl_ranks_sum_doubles(sl_comm *comm, double *x, size_t n)
{
    sl_status status = sl_comm_sum_doubles(comm, x, n);
    if (status == SL_ERR_MEMORY) sl_ranks_abort_memory(comm);
    return status;
}

sl_status sl_ranks_sum_floats(sl_comm *comm, float *x, size_t n)
{
    sl_status status = sl_comm_sum_floats(comm, x, n);
    if (status == SL_ERR_MEMORY) sl_ranks_abort_memory(comm);
    return status;
}

sl_status sl_ranks_same(sl_comm *comm, uint64_t value, bool *same_out)
{
    size_t ranks = (size_t)sl_comm_ranks(comm);
    uint64_t *all = room_for_all(comm, sizeof *all);
    sl_status status = sl_comm_gather(comm, &value, sizeof value, all, 0);
    *same_out = true;
    for (size_t r = 0; r < ranks; r++) *same_out = *same_out && all[r] == value;
    free(all);
    return status;
}

sl_status sl_ranks_any(sl_comm *comm, bool mine, bool *any_out)
{
    double sum = mine;
    sl_status status = sl_ranks_sum_doubles(comm, &sum, 1);
    *any_out = sum > 0;
    return status;
}

/* ---- ending ---- */

/* Launchers that kill a job when one rank leaves with another code than 0 then find nobody left. */
static int leave_last(int rank, int code)
{
    if (rank != 0) return SL_EXIT_OK;
    nanosleep(&(struct timespec){.tv_nsec = 300 * SL_MS}, NULL);
    return code;
}

int sl_ranks_close(sl_comm *comm, int code)
{
    int rank = sl_comm_rank(comm), ranks = sl_comm_ranks(comm);
    job_comm = NULL;
    if (code != SL_EXIT_SOME_FAILED) {
        sl_comm_close(comm);
        return code;
    }
    sl_comm_close_with(comm, code);
    return ranks > 1 ? leave_last(rank, code) : code;
}

void sl_ranks_abort(sl_comm *comm, int code)
{
    sl_comm_abort(comm, code);
    abort(); /* it does not return */
}

void sl_ranks_abort_memory(sl_comm *comm)
{
    sl_error("no memory for what the %d ranks tell each other: ending the job",
             sl_comm_ranks(comm));
    sl_ranks_abort(comm, SL_EXIT_MEMORY);
}
