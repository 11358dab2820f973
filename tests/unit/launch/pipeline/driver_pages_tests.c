/* tests/unit/launch/pipeline/driver_pages_tests.c - fewer pages than all requests want: the driver
 * restarts requests or holds them back, and refuses what can never fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sched/head_pages.h"
#include "tests/unit/launch/pipeline/driver_expected.h"

static void test_restart(void **state)
{
    (void)state;
    /* each has two pages after its prompt and wants five: not both at once */
    const rig_shape s = {.chunk = 64, .slots = 3, .frames = 3, .ranks = 2, .head_pages = 6};
    rig *r = rig_open(&s, 0);
    sl_request *older = rig_submit(r, request_new(100, 200, 1));
    sl_request *younger = rig_submit(r, request_new(101, 200, 1));
    rig_run(r);
    const sl_driver_progress *p = sl_driver_progress_now(r->driver);
    assert_true(p->restarts > 0);
    /* Tokens are generated again, and never fed as prompt. */
    assert_true(p->generated_tokens > 400);
    assert_int_equal(p->requests_done, 2);
    assert_int_equal(p->requests_failed, 0);
    assert_ptr_equal(sl_driver_finished(r->driver), older);
    assert_ptr_equal(sl_driver_finished(r->driver), younger);
    assert_int_equal(r->n_reported, 400); /* and the watch gets each once */
    check_served(r, older);
    check_served(r, younger);
    rig_stop(r);
}

/* How many tokens the choice gets until one that ends it. */
static uint32_t tokens_to_end(const rig *r, const sl_request *request, uint32_t choice)
{
    int32_t tokens[CONTEXT];
    uint32_t n = (uint32_t)request->n_prompt;
    memcpy(tokens, request->prompt, n * sizeof *tokens);
    do {
        tokens[n] = rig_draw(r, tokens, n, request->sampling.seed + choice);
        n++;
    } while (n < CONTEXT && tokens[n - 1] >= SYNTH_SPECIALS);
    return n - (uint32_t)request->n_prompt;
}

/* A choice that was finished before the restart is made again with the others. */
static void test_restart_of_choices(void **state)
{
    (void)state;
    const rig_shape s = {.chunk = 64, .slots = 3, .frames = 3, .ranks = 2, .head_pages = 8};
    rig *r = rig_open(&s, 0);
    sl_request *older = request_new(100, 200, 1), *younger = request_new(101, 180, 2);
    younger->ignore_eos = false;
    while (tokens_to_end(r, younger, 0) > 20 || tokens_to_end(r, younger, 1) < 180)
        younger->sampling.seed++;
    rig_submit(r, older);
    rig_submit(r, younger);
    rig_run(r);
    assert_true(sl_driver_progress_now(r->driver)->restarts > 0);
    size_t n_reported = 0;
    for (uint32_t i = 0; i < 2; i++)
        n_reported += younger->choices[i].n_tokens - younger->choices[i].ended_by_token;
    assert_int_equal(r->n_reported, 200 + n_reported);
    check_served(r, sl_driver_finished(r->driver));
    check_served(r, sl_driver_finished(r->driver));
    rig_stop(r);
}

static void test_expected_pages_hold_back(void **state)
{
    (void)state;
    rig_shape s = {
        .chunk = 64, .slots = 3, .frames = 3, .ranks = 2, .head_pages = 6, .expected = 200};
    rig *r = rig_open(&s, 0);
    for (int i = 0; i < 2; i++) rig_submit(r, request_new(100, 200, 1));
    rig_run(r); /* one after the other: nothing is done twice */
    assert_int_equal(sl_driver_progress_now(r->driver)->restarts, 0);
    assert_int_equal(sl_driver_progress_now(r->driver)->generated_tokens, 400);
    for (int i = 0; i < 2; i++) check_served(r, sl_driver_finished(r->driver));
    rig_stop(r);
}

static void test_cannot_fit(void **state)
{
    (void)state;
    const rig_shape s = {.chunk = 64, .slots = 2, .frames = 3, .ranks = 2, .head_pages = 3};
    rig *r = rig_open(&s, 0);
    rig_submit(r, request_new(3 * PAGE + 1, 1, 1));
    rig_submit(r, request_new(10, 1, 3));
    rig_submit(r, request_new(10, 4 * PAGE, 1));
    rig_submit(r, request_new(10, 40, 2));
    rig_run(r);
    check_failed(sl_driver_finished(r->driver), "193 tokens need 4 pages");
    check_failed(sl_driver_finished(r->driver), "3 sequences; the pool has 3 and 2");
    check_failed(sl_driver_finished(r->driver),
                 "filled the cache after 129 tokens (prompt 10, up to 256");
    check_served(r, sl_driver_finished(r->driver)); /* the others are served as ever */
    assert_int_equal(sl_driver_progress_now(r->driver)->requests_failed, 3);
    assert_int_equal(sl_driver_progress_now(r->driver)->requests_done, 4);
    rig_stop(r);
}

/* What rank_assembly.c plans for one sequence is enough to fill its context, also when all of it
 * is in the window: a page more than it fills. */
static void test_lone_request_fills_its_pages(void **state)
{
    (void)state;
    static const uint32_t windows[] = {0, 30, 64, 200, CONTEXT};
    for (int i = 0; i < 5; i++) {
        rig_shape s = {.chunk = 48, .slots = 1, .frames = 3, .ranks = 2, .window = windows[i]};
        s.head_pages = (windows[i] < 300 ? (300 - windows[i] + PAGE - 1) / PAGE : 0) + 1;
        rig *r = rig_open(&s, windows[i]);
        rig_submit(r, request_new(150, 150, 1));
        rig_submit(r, request_new(299, 1, 1));
        rig_run(r);
        assert_int_equal(sl_driver_progress_now(r->driver)->restarts, 0);
        for (int k = 0; k < 2; k++) check_served(r, sl_driver_finished(r->driver));
        rig_stop(r);
    }
}

/* sched cannot see the cache and the policy: it counts pages and eligible tokens as they do. */
static void test_pages_as_cache_and_policy_count(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        seeded random = seeded_from(seed);
        sl_policy policy = {.sinks = seeded_below(&random, 100),
                            .window = seeded_below(&random, 300)};
        uint32_t n = seeded_below(&random, 2000);
        uint32_t eligible = sl_policy_eligible(&policy, n);
        sl_head_retention none = {.sinks = policy.sinks, .window = policy.window}, all = none;
        all.keep = 1;
        uint32_t whole = sl_cache_head_pages(policy.window, n);
        assert_seeded(&random, sl_head_pages_whole(policy.window, n) == whole);
        assert_seeded(&random, sl_head_pages_expected(all, n) == whole);
        if (eligible == 0) continue;
        assert_seeded(&random, n - policy.window - policy.sinks == eligible);
        assert_seeded(&random, sl_head_pages_expected(none, n) == sl_cache_pages_for(policy.sinks));
    }
}

int driver_pages_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_of_choices),
        cmocka_unit_test(test_expected_pages_hold_back),
        cmocka_unit_test(test_cannot_fit),
        cmocka_unit_test(test_lone_request_fills_its_pages),
        cmocka_unit_test(test_pages_as_cache_and_policy_count),
    };
    return cmocka_run_group_tests_name("driver pages", tests, rig_model_open, rig_model_close);
}
