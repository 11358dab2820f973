/* tests/unit/sched/test_batching.c - the rules of batching.h one by one, then all at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sched/batching.h"
#include "sched/credit.h"
#include "tests/support/seeded.h"

enum { PICKS_MAX = 64 };

/* A roomy frame of a pipeline of one stage: nothing but the rows binds. */
static sl_batching_room roomy(void)
{
    return (sl_batching_room){.rows_max = 512,
                              .spans_max = PICKS_MAX,
                              .stages = 1,
                              .frames_in_flight = 0,
                              .frames_max = 2,
                              .head_pages = 1000};
}

static sl_batching_sequence prompt(uint32_t n)
{
    return (sl_batching_sequence){.prompt_tokens = n};
}
static sl_batching_sequence ready(void) { return (sl_batching_sequence){.row_ready = true}; }
static sl_batching_sequence flying(void) { return (sl_batching_sequence){0}; }

/* The picks are these (index, n_tokens), no more. */
static void assert_picks(const sl_batching_room *room, const sl_batching_sequence *sequences,
                         uint32_t n, const sl_batching_pick *expected, uint32_t n_expected)
{
    sl_batching_pick picks[PICKS_MAX];
    assert_int_equal(sl_batching_next(room, sequences, n, picks), n_expected);
    for (uint32_t i = 0; i < n_expected; i++) {
        assert_int_equal(picks[i].index, expected[i].index);
        assert_int_equal(picks[i].n_tokens, expected[i].n_tokens);
    }
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    sl_batching_room room = roomy();
    const sl_batching_sequence sequences[] = {flying(), flying()};
    assert_picks(&room, sequences, 2, NULL, 0);
    assert_picks(&room, NULL, 0, NULL, 0);
}

static void test_rule_1_frames_in_flight(void **state)
{
    (void)state;
    sl_batching_room room = roomy();
    const sl_batching_sequence sequences[] = {ready(), prompt(10)};
    room.frames_in_flight = 1;
    assert_picks(&room, sequences, 2, (sl_batching_pick[]){{0, 1}, {1, 10}}, 2);
    room.frames_in_flight = 2;
    assert_picks(&room, sequences, 2, NULL, 0);
}

static void test_rule_2_decode_rows_first_and_oldest_first(void **state)
{
    (void)state;
    sl_batching_room room = roomy();
    const sl_batching_sequence sequences[] = {prompt(10), ready(), flying(), ready()};
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{1, 1}, {3, 1}, {0, 10}}, 3);
}

/* Two stages have a frame of them each: rows wait for one to come back, prompts do not. */
static void test_rule_2_rows_wait_for_each_other(void **state)
{
    (void)state;
    sl_batching_room room = roomy();
    room.stages = 2, room.frames_max = 4;
    const sl_batching_sequence sequences[] = {ready(), flying(), flying(), prompt(10)};
    room.frames_in_flight = 2, room.decode_frames_in_flight = 2;
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{3, 10}}, 1);
    room.decode_frames_in_flight = 1;
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{0, 1}, {3, 10}}, 2);
}

static void test_rule_2_share_of_a_stage(void **state)
{
    (void)state;
    sl_batching_room room = roomy();
    room.stages = 2;
    const sl_batching_sequence all[] = {ready(), ready(), ready(), ready(), ready()};
    assert_picks(&room, all, 5, (sl_batching_pick[]){{0, 1}, {1, 1}, {2, 1}}, 3);
    /* those in flight count: the second frame carries the rest */
    const sl_batching_sequence later[] = {flying(), flying(), flying(), ready(), ready()};
    assert_picks(&room, later, 5, (sl_batching_pick[]){{3, 1}, {4, 1}}, 2);
    /* prompts do not count, and fill what the share leaves */
    const sl_batching_sequence mixed[] = {ready(), ready(), prompt(9), ready(), prompt(8)};
    assert_picks(&room, mixed, 5, (sl_batching_pick[]){{0, 1}, {1, 1}, {2, 9}, {4, 8}}, 4);
    room.stages = 100;
    assert_picks(&room, all, 5, (sl_batching_pick[]){{0, 1}}, 1);
}

static void test_rule_3_prompts_fill_the_rows(void **state)
{
    (void)state;
    sl_batching_room room = roomy();
    room.rows_max = 100;
    const sl_batching_sequence sequences[] = {prompt(30), ready(), prompt(300), prompt(5)};
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{1, 1}, {0, 30}, {2, 69}}, 3);
    room.rows_max = 1;
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{1, 1}}, 1);
}

static void test_decode_rows_stay_within_the_rows(void **state)
{
    (void)state;
    sl_batching_room room = roomy();
    room.rows_max = 2;
    const sl_batching_sequence sequences[] = {ready(), ready(), ready(), prompt(4)};
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{0, 1}, {1, 1}}, 2);
}

static void test_spans_max(void **state)
{
    (void)state;
    sl_batching_room room = roomy();
    room.spans_max = 2;
    const sl_batching_sequence sequences[] = {prompt(4), ready(), prompt(4)};
    assert_picks(&room, sequences, 3, (sl_batching_pick[]){{1, 1}, {0, 4}}, 2);
    room.spans_max = 1;
    assert_picks(&room, sequences, 3, (sl_batching_pick[]){{1, 1}}, 1);
}

/* A decode row may open a page, so it costs one; a prompt is cut to the pages there are. */
static void test_credit(void **state)
{
    (void)state;
    sl_batching_room room = roomy();
    const sl_batching_sequence sequences[] = {ready(), ready(), prompt(300), prompt(20)};
    room.head_pages = 0;
    assert_picks(&room, sequences, 4, NULL, 0);
    room.head_pages = 1;
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{0, 1}}, 1);
    room.head_pages = 4;
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{0, 1}, {1, 1}, {2, 128}}, 3);
    room.head_pages = 7; /* 300 tokens are 5 pages: none is left for the last */
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{0, 1}, {1, 1}, {2, 300}}, 3);
    room.head_pages = 8;
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{0, 1}, {1, 1}, {2, 300}, {3, 20}}, 4);
    room.head_pages = UINT32_MAX;
    assert_picks(&room, sequences, 4, (sl_batching_pick[]){{0, 1}, {1, 1}, {2, 300}, {3, 20}}, 4);
}

/* Whatever is asked: bounds hold, a sequence is picked once, and with room there is progress. */
static void test_bounds_hold(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5000; seed++) {
        seeded random = seeded_from(seed);
        sl_batching_sequence sequences[40];
        uint32_t n = seeded_below(&random, 41), work = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t kind = seeded_below(&random, 3);
            sequences[i] = kind == 0   ? ready()
                           : kind == 1 ? flying()
                                       : prompt(1 + seeded_below(&random, 600));
            work += kind != 1;
        }
        sl_batching_room room = {.rows_max = 1 + seeded_below(&random, 600),
                                 .spans_max = 1 + seeded_below(&random, PICKS_MAX),
                                 .stages = 1 + seeded_below(&random, 8),
                                 .frames_max = 1,
                                 .head_pages = seeded_below(&random, 30)};
        sl_batching_pick picks[PICKS_MAX];
        uint32_t n_picks = sl_batching_next(&room, sequences, n, picks);
        uint32_t rows = 0, pages = 0;
        uint8_t seen[40] = {0};
        assert_seeded(&random, n_picks <= room.spans_max);
        for (uint32_t i = 0; i < n_picks; i++) {
            const sl_batching_sequence *sequence = &sequences[picks[i].index];
            assert_seeded(&random, picks[i].index < n && !seen[picks[i].index]++);
            assert_seeded(&random, picks[i].n_tokens >= 1);
            assert_seeded(&random, sequence->row_ready
                                       ? picks[i].n_tokens == 1
                                       : picks[i].n_tokens <= sequence->prompt_tokens);
            rows += picks[i].n_tokens;
            pages += sl_credit_tokens_pages(picks[i].n_tokens);
        }
        assert_seeded(&random, rows <= room.rows_max && pages <= room.head_pages);
        assert_seeded(&random, n_picks > 0 || work == 0 || room.head_pages == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_rule_1_frames_in_flight),
        cmocka_unit_test(test_rule_2_decode_rows_first_and_oldest_first),
        cmocka_unit_test(test_rule_2_rows_wait_for_each_other),
        cmocka_unit_test(test_rule_2_share_of_a_stage),
        cmocka_unit_test(test_rule_3_prompts_fill_the_rows),
        cmocka_unit_test(test_decode_rows_stay_within_the_rows),
        cmocka_unit_test(test_spans_max),
        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_bounds_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
