/* test_team.c - a team's threads meet at barriers, see what was written before them, and share work
 * without losing or doubling a piece; asleep or spinning. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/team.h"

enum { THREADS_MAX = 5, PHASES = 300, PIECES = 97 };

typedef struct {
    int done[THREADS_MAX][PHASES]; /* by each thread, plainly: barriers alone keep them apart */
    int wrong[THREADS_MAX];
    int taken[PHASES][PIECES], owned[PIECES];
    int threads;
} job;

static void in_phases(void *context, sl_member me)
{
    job *j = context;
    for (int phase = 0; phase < PHASES; phase++) {
        j->done[me.thread][phase] = phase + 1;
        for (size_t i; (i = sl_team_take(me)) < PIECES;) j->taken[phase][i]++;
        if (phase % 100 == 50 && me.thread == phase / 100 % j->threads)
            usleep(3000); /* others sleep */
        sl_team_barrier(me);
        for (int t = 0; t < j->threads; t++) j->wrong[me.thread] += j->done[t][phase] != phase + 1;
    }
    sl_share share = sl_team_share(me, PIECES, 10);
    for (size_t i = share.begin; i < share.end; i++) j->owned[i]++;
    if (share.begin % 10 != 0) j->wrong[me.thread]++;
}

static void check(int threads, bool spins)
{
    sl_team *team;
    sl_team_options options = {.threads = threads, .spins = spins};
    assert_int_equal(sl_team_open(&options, &team), SL_OK);
    assert_int_equal(sl_team_threads(team), threads);
    for (int run = 0; run < 3; run++) {
        job *j = calloc(1, sizeof *j);
        assert_non_null(j);
        j->threads = threads;
        sl_team_run(team, in_phases, j);
        for (int t = 0; t < threads; t++) assert_int_equal(j->wrong[t], 0);
        for (int i = 0; i < PHASES * PIECES; i++)
            assert_int_equal(j->taken[i / PIECES][i % PIECES], 1);
        for (int i = 0; i < PIECES; i++) assert_int_equal(j->owned[i], 1);
        free(j);
        if (run == 1) usleep(2000); /* workers fall asleep between runs, too */
    }
    sl_team_close(team);
}

static void test_phases(void **state)
{
    (void)state;
    for (int threads = 1; threads <= THREADS_MAX; threads++) check(threads, threads <= 2);
    check(2, false);
}

static void test_shares(void **state)
{
    (void)state;
    sl_team *team;
    assert_int_equal(sl_team_open(&(sl_team_options){.threads = 3}, &team), SL_OK);
    for (size_t n = 0; n < 50; n++)
        for (size_t unit = 1; unit < 20; unit++) {
            size_t at = 0, least = n + 1, most = 0;
            for (int t = 0; t < 3; t++) {
                sl_share share = sl_team_share((sl_member){team, t}, n, unit);
                assert_int_equal(share.begin, at);
                assert_true(share.begin <= share.end);
                assert_true(share.end % unit == 0 || share.end == n);
                size_t units = (share.end - share.begin + unit - 1) / unit;
                if (units < least) least = units;
                if (units > most) most = units;
                at = share.end;
            }
            assert_int_equal(at, n);
            assert_true(most - least <= 1);
        }
    sl_team_close(team);
}

static void test_pinned(void **state)
{
    (void)state;
    sl_team *team;
    int cpus[2] = {0, 1 << 20}; /* one that exists, one that cannot: the thread runs anyway */
    assert_int_equal(sl_team_open(&(sl_team_options){.threads = 2, .cpus = cpus}, &team), SL_OK);
    job *j = calloc(1, sizeof *j);
    assert_non_null(j);
    j->threads = 2;
    cpu_set_t before, inside, after;
    pthread_getaffinity_np(pthread_self(), sizeof before, &before);
    sl_team_run(team, in_phases, j); /* who only runs the team stays where it may be */
    pthread_getaffinity_np(pthread_self(), sizeof after, &after);
    assert_true(CPU_EQUAL(&before, &after));
    sl_team_place place = sl_team_enter(team);
    pthread_getaffinity_np(pthread_self(), sizeof inside, &inside);
    sl_team_run(team, in_phases, j);
    sl_team_leave(&place);
    pthread_getaffinity_np(pthread_self(), sizeof after, &after);
    assert_true(CPU_ISSET(0, &inside) && CPU_COUNT(&inside) == 1);
    assert_true(CPU_EQUAL(&before, &after));
    assert_int_equal(j->wrong[0] + j->wrong[1], 0);
    free(j);
    sl_team_close(team);
    sl_team_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_phases), cmocka_unit_test(test_shares),
                                       cmocka_unit_test(test_pinned)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
