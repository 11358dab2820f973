/* tests/unit/launch/pipeline/driver_ends_tests.c - where a request ends: at its length, at a stop
 * string or a stop token, cancelled, with its job, or when the driver is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/launch/pipeline/driver_expected.h"

static void test_ends(void **state)
{
    (void)state;
    static const struct {
        const char *script, *stops[2];
        bool ignore_eos;
        size_t n_tokens;
        sl_finish finish;
        bool ended;
        size_t stop_text_end;
        uint32_t n_reported;
    } rows[] = {
        {"abcdefgh", {NULL}, false, 6, SL_FINISH_LENGTH, false, SIZE_MAX, 6},
        {"ab$defgh", {NULL}, false, 3, SL_FINISH_STOP, true, SIZE_MAX, 2},
        {"ab$defgh", {NULL}, true, 6, SL_FINISH_LENGTH, false, SIZE_MAX, 6},
        {"abcdefgh", {"cd"}, false, 4, SL_FINISH_STOP, false, 2, 4},
        {"abcdefgh", {"de", "c"}, false, 3, SL_FINISH_STOP, false, 2, 3},
        {"ab$cdefg", {"bc"}, true, 4, SL_FINISH_STOP, false, 1, 4}, /* '$' is no text */
        {"abcdefgh", {"f"}, false, 6, SL_FINISH_STOP, false, 5, 6}, /* also at the last token */
        {"abcde$gh", {NULL}, false, 6, SL_FINISH_STOP, true, SIZE_MAX, 5},
        {"$bcdefgh", {"a"}, false, 1, SL_FINISH_STOP, true, SIZE_MAX, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig *r = rig_open(&ROOMY, i);
        r->script = rows[i].script;
        sl_request *request = request_new(1, 6, 1);
        request->ignore_eos = rows[i].ignore_eos;
        for (int k = 0; k < 2 && rows[i].stops[k]; k++) request_add_stop(request, rows[i].stops[k]);
        rig_submit(r, request);
        rig_run(r);
        assert_ptr_equal(sl_driver_finished(r->driver), request);
        const sl_choice *choice = &request->choices[0];
        assert_seeded(&r->random, choice->n_tokens == rows[i].n_tokens);
        assert_seeded(&r->random, choice->finish == rows[i].finish);
        assert_seeded(&r->random, choice->ended_by_token == rows[i].ended);
        assert_seeded(&r->random, choice->stop_text_end == rows[i].stop_text_end);
        assert_seeded(&r->random, r->n_reported == rows[i].n_reported);
        check_served(r, request);
        rig_stop(r);
    }
}

/* A stop token ends the text and is no part of it; stop strings count after min_tokens. */
static void test_stop_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *script, *stop;
        char stop_token;
        uint32_t min_tokens;
        size_t n_tokens;
        bool ended;
        size_t stop_text_end;
    } rows[] = {
        {"abcdefgh", NULL, 'c', 0, 3, true, SIZE_MAX},
        {"ab$defgh", NULL, 'd', 0, 4, true, SIZE_MAX}, /* whatever ignore_eos says */
        {"abcdefgh", "b", 'z', 1, 2, false, 1},
        {"abcbefgh", "b", 'z', 2, 4, false, 3},
        {"abcdefgh", "bc", 'z', 2, 3, false, 1}, /* it ends after them */
        {"abcdefgh", "b", 'z', 3, 6, false, SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig *r = rig_open(&ROOMY, i);
        r->script = rows[i].script;
        sl_request *request = request_new(1, 6, 1);
        if (rows[i].stop) request_add_stop(request, rows[i].stop);
        request->stop_tokens[request->n_stop_tokens++] = tiny_byte((uint8_t)rows[i].stop_token);
        request->sampling.min_tokens = rows[i].min_tokens;
        rig_submit(r, request);
        rig_run(r);
        assert_ptr_equal(sl_driver_finished(r->driver), request);
        const sl_choice *choice = &request->choices[0];
        assert_seeded(&r->random, choice->n_tokens == rows[i].n_tokens);
        assert_seeded(&r->random, choice->ended_by_token == rows[i].ended);
        assert_seeded(&r->random, choice->stop_text_end == rows[i].stop_text_end);
        assert_seeded(&r->random, r->n_reported == rows[i].n_tokens - rows[i].ended);
        sl_request_free(request);
        rig_stop(r);
    }
}

/* One that is served, one that forks, one that waits; the others do not notice. */
static void test_cancel(void **state)
{
    (void)state;
    for (int frames = 0; frames < 8; frames++) {
        rig *r = rig_open(&ROOMY, (uint64_t)frames);
        sl_request *all[] = {request_new(40, 50, 1), request_new(70, 50, 3), request_new(41, 50, 1),
                             request_new(42, 50, 1)};
        for (int i = 0; i < 4; i++) rig_submit(r, all[i]);
        for (int i = 0; i < frames; i++)
            if (!rig_send(r)) rig_receive(r);
        assert_true(sl_driver_cancel(r->driver, all[1]));
        assert_false(sl_driver_cancel(r->driver, all[1]));
        assert_ptr_equal(sl_driver_finished(r->driver), all[1]);
        assert_true(sl_driver_cancel(r->driver, all[3]));
        assert_ptr_equal(sl_driver_finished(r->driver), all[3]);
        check_cancelled(all[1]);
        check_cancelled(all[3]);
        rig_run(r);
        check_served(r, sl_driver_finished(r->driver));
        check_served(r, sl_driver_finished(r->driver));
        assert_int_equal(sl_driver_progress_now(r->driver)->pages_used, 0);
        rig_stop(r);
    }
}

static void test_stop_frame(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0); /* a job without requests */
    assert_null(rig_send(r));
    sl_driver_end(r->driver);
    const sl_frame *f = rig_send(r);
    assert_int_equal(f->n_controls, 1);
    assert_true(sl_frame_stops(f));
    assert_null(rig_send(r));
    assert_false(sl_driver_stopped(r->driver));
    rig_receive(r);
    assert_true(sl_driver_stopped(r->driver));
    assert_null(rig_send(r));
    rig_close(r);

    r = rig_open(&ROOMY, 0);
    rig_submit(r, request_new(3, 1, 1));
    sl_driver_end(r->driver);
    assert_false(sl_frame_stops(rig_send(r)));
    assert_null(rig_send(r));
    rig_receive(r);
    f = rig_send(r); /* behind the last close */
    assert_int_equal(f->n_controls, 2);
    assert_int_equal(f->controls[0].kind, SL_CONTROL_CLOSE);
    assert_int_equal(f->controls[1].kind, SL_CONTROL_STOP);
    rig_run(r);
    assert_true(sl_driver_stopped(r->driver));
    check_served(r, sl_driver_finished(r->driver));
    rig_close(r);
}

/* Requests that are still inside are freed: with a sanitizer a leak fails the test. */
static void test_closed_early(void **state)
{
    (void)state;
    rig *r = rig_open(&ROOMY, 0);
    for (int i = 0; i < 6; i++) rig_submit(r, request_new(40, i == 0 ? 1 : 50, 1));
    for (int i = 0; i < 4; i++) {
        rig_send(r);
        rig_receive(r);
    }
    assert_int_equal(sl_driver_progress_now(r->driver)->requests_done, 1);
    rig_close(r);
    sl_driver_fini(NULL);
}

int driver_ends_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),         cmocka_unit_test(test_stop_tokens),
        cmocka_unit_test(test_cancel),       cmocka_unit_test(test_stop_frame),
        cmocka_unit_test(test_closed_early),
    };
    return cmocka_run_group_tests_name("driver ends", tests, rig_model_open, rig_model_close);
}
