/* runtime/base/team.h - the threads of a rank that compute together.
 *
 * A team runs one function on all of its threads at once. Inside, work goes in phases: each thread
 * does its share, or takes pieces until none are left, and a barrier ends the phase; what was
 * written before it is seen by all behind it. Waiting spins for a moment and then sleeps, so phases
 * of microseconds cost little and an idle team costs nothing. */
#ifndef SL_TEAM_H
#define SL_TEAM_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/status.h"

typedef struct sl_team sl_team;

typedef struct {
    int threads;     /* 1 or more, the caller of sl_team_run among them */
    bool spins;      /* false: sleep at once, where threads outnumber the cores */
    const int *cpus; /* [threads] the system's numbers of processing units to pin them to, or NULL:
                        wherever the system likes; read before open returns */
} sl_team_options;

/* SL_ERR_MEMORY, logged: no thread could be started. */
sl_status sl_team_open(const sl_team_options *options, sl_team **team_out);
void sl_team_close(sl_team *team); /* NULL is fine; no thread may be inside run */
int sl_team_threads(const sl_team *team);

/* One thread inside: what it calls the functions below with. */
typedef struct {
    sl_team *team;
    int thread;
} sl_member;

/* Run work(context, member) on every thread, the caller being thread 0, and return when all have.
 * One caller at a time. */
void sl_team_run(sl_team *team, void (*work)(void *context, sl_member me), void *context);

/* Where the calling thread may run. */
typedef struct {
    cpu_set_t cpus;
    bool pinned;
} sl_team_place;
/* For the thread that calls run: pin it to the team's first processing unit, if the team is pinned,
 * until it leaves with what enter returned. Threads that it starts meanwhile inherit its place, so
 * it starts none. */
sl_team_place sl_team_enter(const sl_team *team);
void sl_team_leave(const sl_team_place *place);

/* ---- inside work: all threads go through the same barriers ---- */

void sl_team_barrier(sl_member me);

typedef struct {
    size_t begin, end;
} sl_share;
/* This thread's part of n items: as even as whole units of `unit` items allow, in order. */
sl_share sl_team_share(sl_member me, size_t n, size_t unit);

/* The next piece, 0, 1, 2 ..., that no thread has taken since the last barrier: for pieces that
 * differ in size. Between two barriers there is one loop over pieces at most. */
size_t sl_team_take(sl_member me);

#endif
