/* tests/unit/launch/pipeline/test_driver.c - the driver alone: which frames it fills from prompts,
 * choices and slots, and what it gives back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/launch/pipeline/driver_expected.h"

static void check_span(const sl_frame *f, uint32_t index, uint32_t position, uint32_t n_tokens,
                       bool sample)
{
    assert_non_null(f);
    assert_true(index < f->n_spans);
    assert_int_equal(f->spans[index].position, position);
    assert_int_equal(f->spans[index].n_tokens, n_tokens);
    assert_int_equal(f->spans[index].sample, sample);
}

static void test_long_prompt(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0);
    rig_submit(r, request_new(100, 5, 1));
    check_span(rig_send(r), 0, 0, 32, false);
    check_span(rig_send(r), 0, 32, 32, false);
    check_span(rig_send(r), 0, 64, 32, false);
    assert_null(rig_send(r)); /* frames_max are under way */
    assert_int_equal(sl_driver_frames_out(r->driver), 3);
    rig_receive(r);
    check_span(rig_send(r), 0, 96, 4, true);
    assert_null(rig_send(r));
    rig_run(r);
    assert_int_equal(sl_driver_progress_now(r->driver)->prompt_tokens, 100);
    assert_int_equal(sl_driver_progress_now(r->driver)->generated_tokens, 5);
    check_served(r, sl_driver_finished(r->driver));
    rig_stop(r);
}

/* Rows of all sequences travel together; with two stages, half of them, so that both compute. */
static void test_decode_rows(void **state)
{
    (void)state;
    for (uint32_t ranks = 1; ranks <= 2; ranks++) {
        rig_shape s = ROOMY;
        s.slots = 6, s.ranks = ranks;
        rig *r = rig_open(&s, 0);
        for (int i = 0; i < 6; i++) rig_submit(r, request_new(1, 20, 1));
        rig_run(r);
        assert_int_equal(r->most_decoding, 6 / ranks);
        assert_int_equal(r->most_under_way, ranks);
        for (int i = 0; i < 6; i++) check_served(r, sl_driver_finished(r->driver));
        rig_stop(r);
    }
}

static void test_choices_fork(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0);
    rig_submit(r, request_new(70, 8, 3));
    check_span(rig_send(r), 0, 0, 32, false);
    check_span(rig_send(r), 0, 32, 32, false);
    const sl_frame *f = rig_send(r);
    check_span(f, 0, 64, 5, false); /* up to the prompt's last token */
    assert_int_equal(f->n_controls, 0);
    rig_receive(r);
    f = rig_send(r);
    assert_int_equal(f->n_controls, 2);
    assert_int_equal(f->n_spans, 3);
    for (uint32_t i = 0; i < 3; i++) check_span(f, i, 69, 1, true);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(f->controls[i].kind, SL_CONTROL_FORK);
        assert_int_equal(f->controls[i].sampling.seed, 8 + i);
    }
    rig_run(r);
    check_served(r, sl_driver_finished(r->driver));

    rig_submit(r, request_new(1, 4, 4)); /* nothing to share: forks of an empty sequence */
    rig_submit(r, request_new(33, 0, 2));
    rig_run(r);
    for (int i = 0; i < 2; i++) check_served(r, sl_driver_finished(r->driver));
    rig_stop(r);
}

static void test_slots(void **state)
{
    (void)state;
    rig_shape s = ROOMY;
    s.slots = 1;
    rig *r = rig_open(&s, 0);
    rig_submit(r, request_new(3, 1, 1));
    rig_submit(r, request_new(5, 1, 1));
    check_span(rig_send(r), 0, 0, 3, true);
    assert_null(rig_send(r));
    assert_null(sl_driver_finished(r->driver));
    rig_receive(r);
    check_served(r, sl_driver_finished(r->driver)); /* before its slot is closed */

    sl_frame *closing = rig_send(r);
    assert_int_equal(closing->n_controls, 1);
    assert_int_equal(closing->controls[0].kind, SL_CONTROL_CLOSE);
    assert_int_equal(closing->n_spans, 0);
    const sl_frame *opening = rig_send(r);
    assert_int_equal(opening->controls[0].kind, SL_CONTROL_OPEN);
    check_span(opening, 0, 0, 5, true);

    /* a result in a frame from before the slot had its new owner is not for the new one */
    rig_add_result(closing, SL_RESULT_SAMPLED, 0, 3, tiny_byte('!'));
    rig_receive(r);
    assert_null(sl_driver_finished(r->driver));
    rig_run(r);
    check_served(r, sl_driver_finished(r->driver));
    assert_int_equal(sl_driver_progress_now(r->driver)->generated_tokens, 2);
    rig_stop(r);
}

static void test_scores(void **state)
{
    (void)state;
    static const size_t froms[] = {0, 1, 31, 32, 33, 34, 64, 69, 70};
    for (size_t i = 0; i < sizeof froms / sizeof *froms; i++) {
        rig *r = rig_open(&ROOMY, 0);
        sl_request *scored = request_new(70, 0, 1), *both = request_new(70, 3, 2);
        scored->score_from = both->score_from = froms[i];
        rig_submit(r, scored);
        for (int k = 0; k < 3; k++) assert_non_null(rig_send(r)); /* all of its prompt */
        for (int k = 0; k < 3; k++) {
            assert_null(sl_driver_finished(r->driver));
            rig_receive(r);
        }
        check_served(r, sl_driver_finished(r->driver));
        rig_submit(r, both);
        rig_run(r);
        check_served(r, sl_driver_finished(r->driver));
        assert_int_equal(r->n_reported, 6);
        rig_stop(r);
    }
}

/* Nothing is sent beyond the pause until what was sent before it is back; then the rest as
 * usual. */
static void test_pause(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0);
    sl_request *request = request_new(70, 2, 1);
    request->pause_after = 40;
    rig_submit(r, request);
    assert_int_equal(rig_send(r)->n_rows, 32);
    assert_int_equal(rig_send(r)->n_rows, 8);
    assert_null(rig_send(r));
    rig_receive(r);
    assert_int_equal(r->n_read, 32);
    assert_null(rig_send(r));
    rig_receive(r);
    assert_int_equal(r->n_read, 40);
    assert_int_equal(rig_send(r)->n_rows, 30);
    rig_receive(r);
    assert_int_equal(r->n_read, 70);
    rig_run(r);
    check_served(r, sl_driver_finished(r->driver));
    rig_stop(r);
}

static void test_full(void **state)
{
    (void)state;
    rig_shape s = ROOMY;
    s.slots = 2;
    rig *r = rig_open(&s, 0);
    for (int i = 0; i < 4; i++) rig_submit(r, request_new(3, 2, 1));
    sl_request *more = request_new(4, 2, 1);
    assert_int_equal(sl_request_bind(more), SL_OK);
    assert_int_equal(sl_driver_submit(r->driver, more), SL_AGAIN);
    assert_int_equal(sl_driver_progress_now(r->driver)->requests_waiting, 4);
    rig_run(r);
    /* The finished ones were not taken. */
    assert_int_equal(sl_driver_submit(r->driver, more), SL_AGAIN);
    check_served(r, sl_driver_finished(r->driver));
    assert_int_equal(sl_driver_submit(r->driver, more), SL_OK);
    rig_run(r);
    for (int i = 0; i < 4; i++) check_served(r, sl_driver_finished(r->driver));
    rig_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_prompt),  cmocka_unit_test(test_decode_rows),
        cmocka_unit_test(test_choices_fork), cmocka_unit_test(test_slots),
        cmocka_unit_test(test_scores),       cmocka_unit_test(test_pause),
        cmocka_unit_test(test_full),
    };
    int failed = cmocka_run_group_tests_name("driver", tests, rig_model_open, rig_model_close);
    failed += driver_pages_tests();
    failed += driver_ends_tests();
    failed += driver_any_job_tests();
    return failed;
}
