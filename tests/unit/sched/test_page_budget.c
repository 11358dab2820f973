/* tests/unit/sched/test_page_budget.c - pages of a request worked out by hand, decisions one by
 * one, and the account after any number of requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/page_budget.h"
#include "tests/support/seeded.h"

enum { RANKS = 2, SLOTS = 4 };

typedef struct {
    sl_plan plan;
    sl_plan_rank ranks[RANKS];
    uint64_t expected[RANKS];
    sl_page_budget budget;
} rig;

/* 4 sinks and a window of 16; ranks of 2 and 3 heads, with so many pages for each head. */
static void rig_init(rig *r, uint32_t head_pages)
{
    *r = (rig){0};
    sl_plan_init(RANKS, r->ranks, &r->plan);
    for (uint32_t i = 0; i < RANKS; i++) {
        r->ranks[i].n_paged_heads = i + 2;
        r->ranks[i].n_pages = (uint64_t)head_pages * (i + 2);
    }
    r->budget = (sl_page_budget){.plan = &r->plan,
                                 .sinks = 4,
                                 .window = 16,
                                 .forks = true,
                                 .expected_tokens = 100,
                                 .sequences_max = SLOTS,
                                 .head_pages = head_pages,
                                 .expected = r->expected};
}

/* The head pages it is expected to take, on every rank. */
static void assert_takes(rig *r, sl_page_request request, uint64_t head_pages)
{
    sl_page_budget_take(&r->budget, &request);
    for (uint32_t i = 0; i < RANKS; i++)
        assert_int_equal(r->expected[i], head_pages * r->ranks[i].n_paged_heads);
    sl_page_budget_give_back(&r->budget, &request);
    for (uint32_t i = 0; i < RANKS; i++) assert_int_equal(r->expected[i], 0);
}

static void test_pages_of_a_request(void **state)
{
    (void)state;
    rig r;
    rig_init(&r, 1000);
    sl_page_request one = {.n_prompt = 16, .max_tokens = 64, .n_choices = 1};
    assert_takes(&r, one, 1); /* 80 - 16 */
    one.max_tokens = 65;
    assert_takes(&r, one, 2);
    one.max_tokens = 5000; /* but 100 are expected */
    assert_takes(&r, one, 2);
    one = (sl_page_request){.n_prompt = 1016, .max_tokens = 64, .n_choices = 3};
    /* 1064 tokens are 17 pages; 1000 of the prompt are 16: each fork costs 1, and a copy */
    assert_takes(&r, one, 17 + 2 * (17 - 16 + 1));
    r.budget.forks = false; /* each reads the prompt */
    assert_takes(&r, one, 17 + 2 * (17 + 1));
}

/* A rank pays by what it is expected to keep, with the margin. */
static void test_pages_by_retention(void **state)
{
    (void)state;
    rig r;
    rig_init(&r, 1000);
    r.ranks[1].keep = 0.5;
    sl_page_request one = {.n_prompt = 1020, .max_tokens = 0, .n_choices = 1};
    sl_page_budget_take(&r.budget, &one);
    assert_int_equal(r.expected[0], 2 * 16); /* 1004 of 64 */
    assert_int_equal(r.expected[1], 3 * 9);  /* 4 + 0.55 * 1000 */
}

/* The whole prompt, and for each choice what survives and what is generated. */
static void test_pages_of_a_pruned_prompt(void **state)
{
    (void)state;
    rig r;
    rig_init(&r, 1000);
    sl_page_request one = {.n_prompt = 1040,
                           .max_tokens = 30,
                           .n_choices = 2,
                           .holds_prompt = true,
                           .prunes_prompt = true,
                           .survivors = 100};
    assert_takes(&r, one, 16 + 2 * 3);
}

static void test_decisions(void **state)
{
    (void)state;
    rig r;
    rig_init(&r, 10);
    sl_request_admission_state alone = {.sequences_free = SLOTS}, beside = alone;
    beside.requests_active = 1;
    sl_page_request one = {.n_prompt = 16 + 5 * 64, .n_choices = 1, .holds_prompt = true};
    assert_int_equal(sl_page_budget_least(&r.budget, &one), 5);
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &alone), SL_REQUEST_ADMITTED);
    sl_page_budget_take(&r.budget, &one);
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &beside), SL_REQUEST_ADMITTED);
    beside.closed = true;
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &beside), SL_REQUEST_WAITS);
    beside.closed = false;
    beside.sequences_free = 0;
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &beside), SL_REQUEST_WAITS);
    beside.sequences_free = 1;
    sl_page_budget_take(&r.budget, &one); /* now all is taken */
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &beside), SL_REQUEST_WAITS);
    sl_page_budget_give_back(&r.budget, &one);
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &beside), SL_REQUEST_ADMITTED);

    one.n_prompt = 16 + 10 * 64;
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &beside), SL_REQUEST_WAITS);
    one.n_prompt++;
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &beside), SL_REQUEST_REFUSED);
    one.holds_prompt = false; /* what it will keep is not known: it may try, with no other */
    assert_int_equal(sl_page_budget_least(&r.budget, &one), 0);
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &beside), SL_REQUEST_WAITS);
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &alone), SL_REQUEST_ADMITTED);
    one = (sl_page_request){.n_prompt = 1, .n_choices = SLOTS};
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &alone), SL_REQUEST_ADMITTED);
    one.n_choices++;
    assert_int_equal(sl_page_budget_decide(&r.budget, &one, &alone), SL_REQUEST_REFUSED);
}

static sl_page_request random_request(seeded *random)
{
    sl_page_request request = {.n_prompt = 1 + seeded_below(random, 400),
                               .max_tokens = seeded_below(random, 200),
                               .n_choices = 1 + seeded_below(random, SLOTS),
                               .holds_prompt = seeded_below(random, 2)};
    request.prunes_prompt = request.holds_prompt && seeded_below(random, 2);
    request.survivors = request.prunes_prompt ? seeded_below(random, request.n_prompt) : 0;
    return request;
}

/* Beside others, what is let in never adds up to more than the pools; all is given back. */
static void test_any_requests(void **state)
{
    (void)state;
    enum { ACTIVE_MAX = 200 };
    for (uint64_t seed = 1; seed <= 300; seed++) {
        seeded random = seeded_from(seed);
        rig r;
        rig_init(&r, 5 + seeded_below(&random, 60));
        for (uint32_t i = 0; i < RANKS; i++) r.ranks[i].keep = seeded_below(&random, 101) / 100.0;
        sl_page_request active[ACTIVE_MAX];
        sl_request_admission_state now = {.sequences_free = SLOTS};
        for (int i = 0; i < ACTIVE_MAX; i++) {
            sl_page_request request = random_request(&random);
            if (sl_page_budget_decide(&r.budget, &request, &now) != SL_REQUEST_ADMITTED) continue;
            sl_page_budget_take(&r.budget, &request);
            for (uint32_t k = 0; k < RANKS && now.requests_active > 0; k++)
                assert_seeded(&random, r.expected[k] <= r.ranks[k].n_pages);
            active[now.requests_active++] = request;
        }
        while (now.requests_active > 0) {
            uint32_t which = seeded_below(&random, now.requests_active);
            sl_page_budget_give_back(&r.budget, &active[which]);
            active[which] = active[--now.requests_active];
        }
        for (uint32_t k = 0; k < RANKS; k++) assert_seeded(&random, r.expected[k] == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_of_a_request),
        cmocka_unit_test(test_pages_by_retention),
        cmocka_unit_test(test_pages_of_a_pruned_prompt),
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_any_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
