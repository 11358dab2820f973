/* tests/unit/launch/pipeline/driver_any_job_tests.c - random jobs on random pipelines:
 * every request gets what it must, or cannot fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/launch/pipeline/driver_expected.h"

enum { REQUESTS = 24, SEEDS = 400 };

static sl_request *random_request(seeded *random, uint32_t number)
{
    uint32_t n_prompt = 1 + seeded_below(random, seeded_below(random, 4) ? 40 : 300);
    uint32_t max_tokens = seeded_below(random, seeded_below(random, 4) ? 20 : 200);
    sl_request *request = request_new(n_prompt, max_tokens, 1);
    request->line = number;
    if (seeded_below(random, 3) == 0) request->n_choices = 1 + seeded_below(random, 4);
    if (max_tokens == 0 || seeded_below(random, 4) == 0)
        request->score_from = seeded_below(random, n_prompt);
    request->ignore_eos = seeded_below(random, 2);
    request->sampling.seed = number;
    bool asks = max_tokens > 0 && request->score_from == SIZE_MAX;
    if (asks && seeded_below(random, 3) == 0) request_add_tails(request, random);
    if (seeded_below(random, 3) == 0) request_add_stop(request, "q");
    if (seeded_below(random, 3) == 0) request_add_stop(request, "zx");
    return request;
}

/* An error is right only when the pool or the slots are too few for this request alone. */
static void check_out(rig *r, sl_request *request, bool *seen)
{
    assert_seeded(&r->random, !seen[request->line]);
    seen[request->line] = true;
    uint32_t most = (uint32_t)request->n_prompt + request->max_tokens + (request->tails ? 40 : 0);
    uint64_t needed = (uint64_t)request->n_choices * rig_pages_of(r, most) + 1; /* and one ahead */
    bool impossible = request->n_choices > r->options.sequences_max;
    if (request->error.http_status == 499) {
        check_cancelled(request);
    } else if (!request->error.http_status) {
        assert_seeded(&r->random, !impossible);
        check_served(r, request);
    } else {
        assert_seeded(&r->random,
                      impossible || needed * r->ranks[0].n_paged_heads > r->ranks[0].n_pages);
        check_failed(request, "pages");
    }
}

static void run_seed(uint64_t seed, uint64_t *restarts, uint64_t *failed)
{
    seeded random = seeded_from(seed);
    const rig_shape s = {.chunk = 1 + seeded_below(&random, 100),
                         .slots = 1 + seeded_below(&random, SLOTS_ROOM),
                         .frames = 1 + seeded_below(&random, FRAMES_ROOM - 1),
                         .ranks = 1 + seeded_below(&random, RANKS_ROOM),
                         .head_pages = 2 + seeded_below(&random, 14),
                         .expected = seeded_below(&random, 100),
                         .sinks = seeded_below(&random, 5),
                         .window = seeded_below(&random, 40)};
    rig *r = rig_open(&s, seed);
    bool seen[REQUESTS] = {false};
    uint32_t n_submitted = 0;
    sl_request *waiting = NULL, *last = NULL;
    for (int steps = 0; n_submitted < REQUESTS; steps++) {
        assert_seeded(&r->random, steps < 100000);
        switch (seeded_below(&random, 4)) {
        case 0:
            if (!waiting) {
                waiting = random_request(&random, n_submitted);
                assert_int_equal(sl_request_bind(waiting), SL_OK);
            }
            if (sl_driver_submit(r->driver, waiting) != SL_OK) break;
            n_submitted++;
            last = waiting;
            waiting = NULL;
            break;
        case 1: rig_send(r); break;
        case 2:
            if (rig_under_way(r) > 0) rig_receive(r);
            break;
        default:
            /* some are given up on the way */
            if (last && seeded_below(&random, 64) == 0) sl_driver_cancel(r->driver, last);
            for (sl_request *out; (out = sl_driver_finished(r->driver));) {
                if (out == last) last = NULL;
                check_out(r, out, seen);
            }
        }
    }
    rig_run(r);
    for (sl_request *out; (out = sl_driver_finished(r->driver));) check_out(r, out, seen);
    for (int i = 0; i < REQUESTS; i++) assert_seeded(&r->random, seen[i]);
    const sl_driver_progress *p = sl_driver_progress_now(r->driver);
    assert_seeded(&r->random, p->requests_done == REQUESTS);
    assert_seeded(&r->random, p->requests_active == 0 && p->requests_waiting == 0);
    *restarts += p->restarts;
    *failed += p->requests_failed;
    rig_stop(r);
}

static void test_any_job(void **state)
{
    (void)state;
    uint64_t restarts = 0, failed = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) run_seed(seed, &restarts, &failed);
    printf("%d jobs: %llu restarts, %llu requests that cannot fit\n", SEEDS,
           (unsigned long long)restarts, (unsigned long long)failed);
    assert_true(restarts > SEEDS / 4 && failed > SEEDS / 4); /* the seeds meet both cases */
}

int driver_any_job_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_job),
    };
    return cmocka_run_group_tests_name("driver any job", tests, rig_model_open, rig_model_close);
}
