/* runtime/base/team.c - see team.h. A run is two barriers: one that the workers wait at for
 * something to do, one when it is done. */
#include "runtime/base/team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/thread.h"

enum { SPINS = 4000 }; /* a tenth of a millisecond, about: a phase of decode is shorter */

typedef struct {
    sl_member me;
    pthread_t id;
    int cpu; /* -1: anywhere */
} worker;

struct sl_team {
    int threads, spins;
    worker *workers; /* [threads], the first is the caller's */
    void (*work)(void *context, sl_member me);
    void *context;
    bool ending;
    /* written by all, each on a cache line of its own */
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint phase; /* counts barriers passed */
    _Alignas(64) atomic_size_t taken;
    _Alignas(64) atomic_int n_asleep;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static void relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
}

/* ---- barrier ---- */

static void sleep_until_past(sl_team *team, unsigned phase)
{
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->n_asleep, 1);
    while (atomic_load(&team->phase) == phase) pthread_cond_wait(&team->wake, &team->mutex);
    atomic_fetch_sub(&team->n_asleep, 1);
    pthread_mutex_unlock(&team->mutex);
}

static void wake_all(sl_team *team)
{
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
}

void sl_team_barrier(sl_member me)
{
    sl_team *team = me.team;
    unsigned phase = atomic_load(&team->phase); /* does not move before this thread arrives */
    if (atomic_fetch_add(&team->arrived, 1) + 1 == team->threads) {
        atomic_store(&team->arrived, 0);
        atomic_store(&team->taken, 0);
        atomic_store(&team->phase, phase + 1);
        if (atomic_load(&team->n_asleep) > 0) wake_all(team);
        return;
    }
    for (int i = 0; i < team->spins; i++) {
        if (atomic_load_explicit(&team->phase, memory_order_acquire) != phase) return;
        relax();
    }
    sleep_until_past(team, phase);
}

size_t sl_team_take(sl_member me)
{
    return atomic_fetch_add_explicit(&me.team->taken, 1, memory_order_relaxed);
}

sl_share sl_team_share(sl_member me, size_t n, size_t unit)
{
    size_t units = (n + unit - 1) / unit, threads = (size_t)me.team->threads;
    size_t t = (size_t)me.thread;
    size_t begin = units * t / threads * unit, end = units * (t + 1) / threads * unit;
    return (sl_share){begin < n ? begin : n, end < n ? end : n};
}

/* ---- threads ---- */

int sl_team_threads(const sl_team *team) { return team->threads; }

static void pin(const worker *w)
{
    cpu_set_t set;
    if (w->cpu < 0 || w->cpu >= CPU_SETSIZE) return;
    CPU_ZERO(&set);
    CPU_SET(w->cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
        sl_debug("thread %d could not be pinned to processing unit %d", w->me.thread, w->cpu);
}

static void *serve(void *context)
{
    const worker *w = context;
    const sl_team *team = w->me.team;
    pin(w);
    for (;;) {
        sl_team_barrier(w->me);
        if (team->ending) return NULL;
        team->work(team->context, w->me);
        sl_team_barrier(w->me);
    }
}

sl_team_place sl_team_enter(const sl_team *team)
{
    sl_team_place before = {.pinned = false};
    const worker *first = &team->workers[0];
    if (first->cpu < 0) return before;
    before.pinned = pthread_getaffinity_np(pthread_self(), sizeof before.cpus, &before.cpus) == 0;
    if (before.pinned) pin(first);
    return before;
}

void sl_team_leave(const sl_team_place *place)
{
    if (place->pinned) pthread_setaffinity_np(pthread_self(), sizeof place->cpus, &place->cpus);
}

void sl_team_run(sl_team *team, void (*work)(void *context, sl_member me), void *context)
{
    team->work = work;
    team->context = context;
    sl_member me = team->workers[0].me;
    sl_team_barrier(me);
    work(context, me);
    sl_team_barrier(me);
}

/* The first n, of which this thread is one; the others were never started. */
static void end_workers(sl_team *team, int n)
{
    team->ending = true;
    atomic_fetch_add(&team->arrived, team->threads - n);
    sl_team_barrier(team->workers[0].me);
    for (int i = 1; i < n; i++) pthread_join(team->workers[i].id, NULL);
}

static void free_team(sl_team *team)
{
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->mutex);
    free(team->workers);
    free(team);
}

/* Returns how many threads there are then. */
static int start_workers(sl_team *team)
{
    int started = 1;
    for (; started < team->threads; started++) {
        worker *w = &team->workers[started];
        if (sl_thread_start(&w->id, serve, w) != 0) break;
    }
    return started;
}

sl_status sl_team_open(const sl_team_options *options, sl_team **team_out)
{
    SL_ASSERT(options->threads > 0);
    int threads = options->threads;
    sl_team *team = aligned_alloc(_Alignof(sl_team), sizeof *team);
    worker *workers = calloc((size_t)threads, sizeof *workers);
    if (!team || !workers) {
        free(team), free(workers);
        sl_error("no memory for a team of %d threads", threads);
        return SL_ERR_MEMORY;
    }
    memset(team, 0, sizeof *team);
    team->threads = threads;
    team->spins = options->spins ? SPINS : 0;
    team->workers = workers;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    for (int i = 0; i < threads; i++)
        workers[i] = (worker){.me = {team, i}, .cpu = options->cpus ? options->cpus[i] : -1};
    int started = start_workers(team);
    if (started < threads) {
        sl_error("only %d of %d threads could be started: the system allows no more; try -t %d",
                 started, threads, started);
        end_workers(team, started);
        free_team(team);
        return SL_ERR_MEMORY;
    }
    *team_out = team;
    return SL_OK;
}

void sl_team_close(sl_team *team)
{
    if (!team) return;
    end_workers(team, team->threads);
    free_team(team);
}
