/* comm/attend.c - work on one thread, heartbeats on another. MPI may be called by one thread alone
 * (MPI_THREAD_FUNNELED), so what the working thread wants gathered, the attending one gathers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm_ops.h"
#include "runtime/base/clock.h"
#include "runtime/base/condition.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"

enum { TURN_MS = 20 };                               /* between looks at the neighbours */
static const int64_t TELL_EVERY_NS = 60 * SL_SECOND; /* that others are still waited for */

typedef enum { NOTHING, ASKED, ANSWERED } gather_state;

/* Under `lock`, but the options and what only the attending thread has. */
struct sl_attendance {
    sl_attend_options options;
    int64_t began_ns, told_ns; /* the attending thread's: of work, or of the gather under way */
    bool gathering;            /* the attending thread's */
    sl_status (*work)(void *context);
    void *context;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool finished;
    sl_status status; /* of work */
    gather_state gather;
    const void *mine;
    void *all;
    size_t bytes;
    int64_t timeout_ns;
    sl_status gathered;
};
typedef struct sl_attendance attendance;

/* ---- the working thread ---- */

static void *run_work(void *argument)
{
    attendance *a = argument;
    sl_status status = a->work(a->context);
    pthread_mutex_lock(&a->lock);
    a->finished = true;
    a->status = status;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

sl_status sl_attendance_gather(sl_comm *comm, const void *mine, size_t bytes, void *all_out,
                               int64_t timeout_ns)
{
    attendance *a = comm->attendance;
    SL_ASSERT(a);
    pthread_mutex_lock(&a->lock);
    a->mine = mine;
    a->bytes = bytes;
    a->all = all_out;
    a->timeout_ns = timeout_ns;
    a->gather = ASKED;
    pthread_cond_broadcast(&a->changed);
    while (a->gather != ANSWERED) pthread_cond_wait(&a->changed, &a->lock);
    a->gather = NOTHING;
    sl_status status = a->gathered;
    pthread_mutex_unlock(&a->lock);
    return status;
}

/* ---- the attending thread ---- */

void sl_comm_describe_wait(const sl_comm *comm, char *out, size_t out_bytes)
{
    const attendance *a = comm->attendance;
    SL_ASSERT(a);
    int n = snprintf(out, out_bytes, "was %s for %.1f s",
                     a->gathering ? "waiting for all ranks to come as far" : "at work",
                     (double)(sl_clock_now_ns() - a->began_ns) / SL_SECOND);
    for (int i = 0; i < comm->n_neighbours && n >= 0 && (size_t)n < out_bytes; i++)
        n += snprintf(out + n, out_bytes - (size_t)n, "%srank %d was heard %.1f s ago",
                      i == 0 ? "; " : ", ", comm->neighbours[i].rank,
                      (double)comm->neighbours[i].silence.silent_ns / SL_SECOND);
}

static void tell_long_wait(sl_comm *comm, int64_t now_ns)
{
    attendance *a = comm->attendance;
    if (!a->gathering || comm->rank != 0 || now_ns - a->told_ns < TELL_EVERY_NS) return;
    a->told_ns = now_ns;
    char waiting[256];
    sl_comm_describe_wait(comm, waiting, sizeof waiting);
    sl_info("rank 0 %s", waiting);
}

sl_status sl_attendance_judge(sl_comm *comm, int64_t now_ns)
{
    const attendance *a = comm->attendance;
    for (int i = 0; i < comm->n_neighbours; i++) {
        int64_t silent_ns = comm->neighbours[i].silence.silent_ns;
        if (silent_ns <= a->options.silence_max_ns) continue;
        char waiting[256];
        sl_comm_describe_wait(comm, waiting, sizeof waiting);
        sl_error("rank %d gave no sign of life for %.1f s; %s", comm->neighbours[i].rank,
                 (double)silent_ns / SL_SECOND, waiting);
        return SL_ERR_PEER;
    }
    tell_long_wait(comm, now_ns);
    return a->options.give_up && a->options.give_up(comm) ? SL_ERR_JOB : SL_OK;
}

static void set_doing(attendance *a, bool gathering)
{
    a->gathering = gathering;
    a->began_ns = a->told_ns = sl_clock_now_ns();
}

/* Do the gather that is asked for. An error that is not an answer, but the end of waiting, is
 * returned; then the working thread gets no answer. */
static sl_status gather_for(sl_comm *comm)
{
    attendance *a = comm->attendance;
    set_doing(a, true);
    sl_status status = comm->ops->gather(comm, a->mine, a->bytes, a->all, a->timeout_ns);
    set_doing(a, false);
    if (status == SL_ERR_PEER || status == SL_ERR_JOB) return status;
    pthread_mutex_lock(&a->lock);
    a->gathered = status;
    a->gather = ANSWERED;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return SL_OK;
}

/* Sleep until the working thread wants something, or a turn is over. */
static void sleep_turn(attendance *a)
{
    const int64_t end_ns = sl_clock_now_ns() + TURN_MS * SL_MS;
    while (!a->finished && a->gather != ASKED)
        if (!sl_condition_wait(&a->changed, &a->lock, end_ns)) break;
}

static sl_status attend(sl_comm *comm)
{
    attendance *a = comm->attendance;
    for (;;) {
        pthread_mutex_lock(&a->lock);
        sleep_turn(a);
        bool asked = a->gather == ASKED, finished = a->finished;
        pthread_mutex_unlock(&a->lock);
        if (finished) return SL_OK;
        sl_status status = asked ? gather_for(comm) : sl_comm_waiting(comm);
        if (status != SL_OK) return status;
    }
}

static attendance *begin(const sl_attend_options *options, sl_status (*work)(void *context),
                         void *context)
{
    attendance *a = calloc(1, sizeof *a);
    if (!a) return NULL;
    *a = (attendance){.options = *options, .work = work, .context = context};
    pthread_mutex_init(&a->lock, NULL);
    sl_condition_init(&a->changed);
    set_doing(a, false);
    return a;
}

static void end(attendance *a)
{
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

bool sl_comm_attend(sl_comm *comm, const sl_attend_options *options,
                    sl_status (*work)(void *context), void *context, sl_status *status_out)
{
    SL_ASSERT(!comm->attendance);
    if (comm->ranks == 1) {
        *status_out = work(context);
        return true;
    }
    for (int i = 0; i < comm->n_neighbours; i++)
        comm->neighbours[i].silence = sl_silence_begin(sl_clock_now_ns());
    attendance *a = comm->attendance = begin(options, work, context);
    pthread_t thread;
    int error = a ? sl_thread_start(&thread, run_work, a) : ENOMEM;
    if (error != 0) {
        sl_error("cannot start a thread to work: %s", strerror(error));
        *status_out = SL_ERR_MEMORY;
        return false;
    }
    sl_status status = attend(comm);
    if (status != SL_OK) {
        *status_out = status;
        return false; /* what the thread uses stays where it is */
    }
    comm->attendance = NULL;
    pthread_join(thread, NULL);
    *status_out = a->status;
    end(a);
    return true;
}
