/* tests/unit/stage/stage_hostile_tests.c - frames that are legal by sl_frame_check, but not for
 * the sequences as they are: each stage returns an error. A context that gets full is fine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/stage_rig.h"
#include "tests/unit/stage/stage_tests.h"

static const int32_t some_tokens[16] = {5, 6, 7, 8, 9};
static const sl_sampling greedy = {.top_p = 1, .repetition_penalty = 1, .n_logprobs = -1};

static void open_closed(stage_rig *r) { stage_rig_control(r, SL_CONTROL_CLOSE, 2, 0, NULL); }
static void open_twice(stage_rig *r) { stage_rig_control(r, SL_CONTROL_OPEN, 0, 0, &greedy); }
static void fork_of_closed(stage_rig *r) { stage_rig_control(r, SL_CONTROL_FORK, 2, 3, &greedy); }
static void fork_onto_open(stage_rig *r) { stage_rig_control(r, SL_CONTROL_FORK, 0, 1, &greedy); }

static void close_twice(stage_rig *r)
{
    stage_rig_control(r, SL_CONTROL_CLOSE, 0, 0, NULL);
    stage_rig_control(r, SL_CONTROL_CLOSE, 0, 0, NULL);
}

static void span_of_closed(stage_rig *r)
{
    stage_rig_span(r, SL_SPAN_PROMPT, 2, 0, some_tokens, 3);
}

static void span_after_close(stage_rig *r)
{
    stage_rig_control(r, SL_CONTROL_CLOSE, 0, 0, NULL);
    stage_rig_span(r, SL_SPAN_PROMPT, 0, 5, some_tokens, 3);
}

static void span_with_a_gap(stage_rig *r)
{
    stage_rig_span(r, SL_SPAN_PROMPT, 0, 6, some_tokens, 3);
}

static void span_again(stage_rig *r) { stage_rig_span(r, SL_SPAN_PROMPT, 0, 0, some_tokens, 5); }

static void row_with_a_gap(stage_rig *r)
{
    stage_rig_span(r, SL_SPAN_DECODE, 1, 7, some_tokens, 1);
}

static void beyond_context(stage_rig *r)
{
    stage_rig_span(r, SL_SPAN_PROMPT, 0, 5, some_tokens, 16);
}

static void far_position(stage_rig *r)
{
    stage_rig_span(r, SL_SPAN_DECODE, 0, 2000000000, some_tokens, 1);
}

static void prompt_after_rows(stage_rig *r)
{
    stage_rig_span(r, SL_SPAN_PROMPT, 1, 6, some_tokens, 2);
}

static void two_rows(stage_rig *r)
{
    stage_rig_span(r, SL_SPAN_DECODE, 1, 6, some_tokens, 1);
    stage_rig_span(r, SL_SPAN_DECODE, 1, 7, some_tokens, 1);
}

static void two_spans(stage_rig *r)
{
    stage_rig_span(r, SL_SPAN_PROMPT, 0, 5, some_tokens, 2);
    stage_rig_span(r, SL_SPAN_PROMPT, 0, 7, some_tokens, 2);
}

static void sampled_and_given(stage_rig *r)
{
    sl_span *span = stage_rig_span(r, SL_SPAN_PROMPT, 0, 5, some_tokens, 2);
    span->sample = true, span->score_from = 0, span->next_token = 3;
}

static const struct {
    const char *name;
    void (*fill)(stage_rig *r);
} hostile[] = {
    {"close of a closed slot", open_closed},
    {"open of an open slot", open_twice},
    {"fork of a closed slot", fork_of_closed},
    {"fork onto an open slot", fork_onto_open},
    {"closed twice", close_twice},
    {"span of a closed slot", span_of_closed},
    {"span after close", span_after_close},
    {"span with a gap", span_with_a_gap},
    {"span again", span_again},
    {"row with a gap", row_with_a_gap},
    {"beyond the context", beyond_context},
    {"far beyond the context", far_position},
    {"prompt after rows", prompt_after_rows},
    {"two rows of a sequence", two_rows},
    {"two spans of a sequence", two_spans},
    {"sampled and given", sampled_and_given},
};

static const stage_rig_options four_slots = {.n_stages = 1,
                                             .threads = 1,
                                             .rows_max = 20,
                                             .spans_max = 4,
                                             .controls_max = 4,
                                             .sequences_max = 4,
                                             .context = 20,
                                             .policy = {.sinks = 0, .window = 1}};

/* Slot 0 has a prompt of 5, slot 1 the same and a generated token; 2 and 3 are closed. */
static void begin_two(stage_rig *r)
{
    sl_frame_reset(&r->frame, 0);
    for (uint32_t i = 0; i < 2; i++) {
        stage_rig_control(r, SL_CONTROL_OPEN, i, 0, &greedy);
        stage_rig_span(r, SL_SPAN_PROMPT, i, 0, some_tokens, 5);
    }
    assert_int_equal(stage_rig_compute(r), SL_OK);
    sl_frame_reset(&r->frame, 1);
    stage_rig_span(r, SL_SPAN_DECODE, 1, 5, some_tokens, 1);
    assert_int_equal(stage_rig_compute(r), SL_OK);
}

static void test_hostile(void **state)
{
    (void)state;
    synth_model model;
    synth_shape shape = synth_shape_default();
    shape.layers = 2;
    synth_model_open(&model, &shape);
    stage_rig_options o = four_slots;
    o.n_stages = 2, o.policy = (sl_policy){.sinks = 1, .window = 2};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        stage_rig r;
        stage_rig_open(&r, &o, model.gguf, sl_kernels_named("ref"));
        begin_two(&r);
        sl_frame_reset(&r.frame, 2);
        hostile[i].fill(&r);
        assert_int_equal(sl_frame_check(&r.frame, &r.limits, 4, r.shape.vocab), SL_OK);
        sl_log_set_level(SL_LOG_NONE);
        for (int stage = 0; stage < r.n_stages; stage++) { /* each must see it for itself */
            int errors = sl_log_errors();
            sl_status status = sl_stage_compute(r.stages[stage], &r.frame);
            if (status != SL_ERR_FORMAT || sl_log_errors() != errors + 1)
                fail_msg("%s, stage %d: status %d", hostile[i].name, stage, status);
        }
        sl_log_set_level(SL_LOG_INFO);
        stage_rig_close(&r);
    }
    synth_model_close(&model);
}

/* The last position a context has room for. */
static void test_full_context(void **state)
{
    (void)state;
    synth_model model;
    synth_shape shape = synth_shape_default();
    synth_model_open(&model, &shape);
    stage_rig r;
    stage_rig_open(&r, &four_slots, model.gguf, sl_kernels_named("ref"));
    begin_two(&r);
    sl_frame_reset(&r.frame, 2);
    stage_rig_span(&r, SL_SPAN_PROMPT, 0, 5, some_tokens, 15)->sample = true;
    assert_int_equal(stage_rig_compute(&r), SL_OK);
    assert_int_equal(r.frame.n_results, 1);
    assert_int_equal(r.frame.results[0].position, 20);
    stage_rig_close(&r);
    synth_model_close(&model);
}

int stage_hostile_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_full_context),
    };
    return cmocka_run_group_tests_name("stage hostile", tests, NULL, NULL);
}
