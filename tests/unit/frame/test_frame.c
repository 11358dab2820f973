/* tests/unit/frame/test_frame.c - a frame's storage, and one bad frame for each thing that
 * sl_frame_check says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/frame/frame.h"
#include "tests/support/capture.h"
#include "tests/support/frame_maker.h"

static const sl_frame_limits limits = {
    .rows_max = 16, .spans_max = 4, .controls_max = 3, .ranks = 2, .width = 5};
enum { SEQUENCES = 8, VOCAB = 100, ROOM_BYTES = 1 << 16 };

/* The frame of most tests, in storage whose addresses a table can name. */
static sl_control controls[3];
static sl_span spans[4];
static int32_t tokens[16];
static sl_token_result results[16];
static sl_ledger_row ledger[2];
static sl_frame frame;

static _Alignas(64) uint8_t room[ROOM_BYTES];
static char talk[4096];

/* Every kind of thing but generated tokens, all legal: rows 0-2 a prompt, 3 one of a token that is
 * drawn after, 4-7 a scored prompt. */
static void make_legal(void)
{
    memset(controls, 0, sizeof controls);
    memset(tokens, 0, sizeof tokens);
    memset(results, 0, sizeof results);
    memset(ledger, 0, sizeof ledger);
    frame = (sl_frame){.number = 42,
                       .controls = controls,
                       .spans = spans,
                       .tokens = tokens,
                       .results = results,
                       .ledger = ledger,
                       .n_controls = 3,
                       .n_spans = 3,
                       .n_rows = 8,
                       .n_results = 1,
                       .n_ledger = 2};
    controls[0] = (sl_control){.kind = SL_CONTROL_OPEN, .sequence = 7};
    controls[0].sampling.n_logprobs = -1;
    controls[1] = (sl_control){.kind = SL_CONTROL_FORK, .sequence = 0, .parent = 7};
    controls[1].sampling.n_logprobs = 20;
    controls[1].sampling.n_bias = 1;
    controls[1].sampling.bias[0].token = 99;
    controls[2] = (sl_control){.kind = SL_CONTROL_CLOSE, .sequence = 1};
    spans[0] = (sl_span){.kind = SL_SPAN_PROMPT,
                         .sequence = 7,
                         .position = 0,
                         .first_row = 0,
                         .n_tokens = 3,
                         .sample = false,
                         .score_from = 3,
                         .next_token = -1};
    spans[1] = (sl_span){.kind = SL_SPAN_PROMPT,
                         .sequence = 2,
                         .position = 900,
                         .first_row = 3,
                         .n_tokens = 1,
                         .sample = true,
                         .score_from = 1,
                         .next_token = -1};
    spans[2] = (sl_span){.kind = SL_SPAN_PROMPT,
                         .sequence = 3,
                         .position = 64,
                         .first_row = 4,
                         .n_tokens = 4,
                         .sample = false,
                         .score_from = 0,
                         .next_token = 99};
    tokens[7] = 99;
    results[0] = (sl_token_result){.kind = SL_RESULT_SCORED, .sequence = 7, .token = 99};
    results[0].n_top = 20;
    ledger[1].rank = 1;
}

static void test_init_measures_what_it_takes(void **state)
{
    (void)state;
    sl_arena counting, taking;
    sl_frame f;
    sl_arena_init(&counting, NULL, 0);
    sl_frame_init(&f, &limits, SL_FRAME_WITH_HIDDEN, &counting);
    sl_arena_init(&taking, room, counting.used_bytes);
    sl_frame_init(&f, &limits, SL_FRAME_WITH_HIDDEN, &taking);
    assert_int_equal(taking.used_bytes, counting.used_bytes);
    assert_int_equal(f.n_controls + f.n_spans + f.n_rows + f.n_results, 0);
    /* the last of every array is inside, and belongs to nothing else */
    memset(f.controls, 1, limits.controls_max * sizeof *f.controls);
    memset(f.spans, 2, limits.spans_max * sizeof *f.spans);
    memset(f.tokens, 3, limits.rows_max * sizeof *f.tokens);
    memset(f.results, 4, limits.rows_max * sizeof *f.results);
    memset(f.ledger, 5, limits.ranks * sizeof *f.ledger);
    memset(f.hidden, 6, limits.rows_max * limits.width * sizeof *f.hidden);
    assert_int_equal(((uint8_t *)(f.controls + limits.controls_max))[-1], 1);
    assert_int_equal(((uint8_t *)(f.spans + limits.spans_max))[-1], 2);
    assert_int_equal(((uint8_t *)(f.tokens + limits.rows_max))[-1], 3);
    assert_int_equal(((uint8_t *)(f.results + limits.rows_max))[-1], 4);
    assert_int_equal(((uint8_t *)(f.ledger + limits.ranks))[-1], 5);
    assert_true((uint8_t *)(f.hidden + limits.rows_max * limits.width) <=
                room + counting.used_bytes);

    sl_arena_init(&taking, room, sizeof room);
    sl_frame_init(&f, &limits, SL_FRAME_WITHOUT_HIDDEN, &taking);
    assert_null(f.hidden);
}

static void test_reset_and_stops(void **state)
{
    (void)state;
    make_legal();
    assert_false(sl_frame_stops(&frame));
    controls[2].kind = SL_CONTROL_STOP;
    assert_true(sl_frame_stops(&frame));
    sl_frame_reset(&frame, 43);
    assert_false(sl_frame_stops(&frame));
    assert_int_equal(frame.number, 43);
    assert_int_equal(frame.n_controls + frame.n_spans + frame.n_rows, 0);
    assert_int_equal(frame.n_results + frame.n_ledger, 0);
    assert_int_equal(sl_frame_check(&frame, &limits, SEQUENCES, VOCAB), SL_OK);
}

static void test_legal(void **state)
{
    (void)state;
    make_legal();
    assert_int_equal(sl_frame_check(&frame, &limits, SEQUENCES, VOCAB), SL_OK);
    controls[2] = (sl_control){.kind = SL_CONTROL_STOP, .sequence = 1000};
    assert_int_equal(sl_frame_check(&frame, &limits, SEQUENCES, VOCAB), SL_OK);
    spans[2].next_token = -1; /* a text's end: nothing follows the last scored row */
    assert_int_equal(sl_frame_check(&frame, &limits, SEQUENCES, VOCAB), SL_OK);

    for (uint64_t seed = 0; seed < 300; seed++) {
        seeded random = seeded_from(seed);
        frame_make_random(&frame, &limits, &random);
        assert_seeded(&random, sl_frame_check(&frame, &limits, FRAME_MAKER_SEQUENCES,
                                              FRAME_MAKER_VOCAB) == SL_OK);
    }
}

/* One wrong number each, and words of the complaint. Every field named here has 32 bits. */
static const struct {
    const char *words;
    void *field;
    int64_t value;
} bad_frames[] = {
    {"too many controls", &frame.n_controls, 4},
    {"too many spans", &frame.n_spans, 5},
    {"too many rows", &frame.n_rows, 17},
    {"too many results", &frame.n_results, 17},
    {"too many ledger rows", &frame.n_ledger, 3},
    {"unknown control kind", &controls[0].kind, 0},
    {"unknown control kind", &controls[0].kind, 5},
    {"control sequence out of range", &controls[0].sequence, SEQUENCES},
    {"control sequence out of range", &controls[2].sequence, UINT32_MAX},
    {"fork of an impossible parent", &controls[1].parent, SEQUENCES},
    {"fork of an impossible parent", &controls[1].parent, 0},
    {"unknown comparison kind", &controls[0].comparison.kind, 3},
    {"top_k is negative", &controls[0].sampling.top_k, -1},
    {"logprobs out of range", &controls[0].sampling.n_logprobs, -2},
    {"logprobs out of range", &controls[1].sampling.n_logprobs, 21},
    {"too many logit biases", &controls[1].sampling.n_bias, SL_LOGIT_BIAS_MAX + 1},
    {"biased token out of range", &controls[1].sampling.bias[0].token, VOCAB},
    {"biased token out of range", &controls[1].sampling.bias[0].token, -1},
    {"unknown span kind", &spans[0].kind, 0},
    {"unknown span kind", &spans[0].kind, 3},
    {"span sequence out of range", &spans[0].sequence, SEQUENCES},
    {"does not start where the last one ends", &spans[0].first_row, 1},
    {"does not start where the last one ends", &spans[2].first_row, 3},
    {"span tokens out of range", &spans[0].n_tokens, 0},
    {"span tokens out of range", &spans[2].n_tokens, 5},
    {"span tokens out of range", &spans[2].n_tokens, UINT32_MAX},
    {"decode span of several tokens", &spans[0].kind, SL_SPAN_DECODE},
    {"generated token behind a prompt", &spans[1].kind, SL_SPAN_DECODE},
    {"span position out of range", &spans[0].position, INT32_MAX - 2},
    {"score_from beyond the span", &spans[0].score_from, 4},
    {"next token out of range or not scored", &spans[2].next_token, VOCAB},
    {"next token out of range or not scored", &spans[2].next_token, -2},
    {"next token out of range or not scored", &spans[0].next_token, 5},
    {"spans do not cover the rows", &frame.n_rows, 9},
    {"spans do not cover the rows", &frame.n_spans, 2},
    {"spans do not cover the rows", &frame.n_spans, 0},
    {"token out of range", &tokens[7], VOCAB},
    {"token out of range", &tokens[0], -1},
    {"unknown result kind", &results[0].kind, 0},
    {"unknown result kind", &results[0].kind, 3},
    {"result sequence out of range", &results[0].sequence, SEQUENCES},
    {"result token out of range", &results[0].token, VOCAB},
    {"result token out of range", &results[0].token, -1},
    {"too many top tokens", &results[0].n_top, 21},
    {"top token out of range", &results[0].top[19].token, VOCAB},
    {"top token out of range", &results[0].top[0].token, -1},
    {"ledger of an unknown rank", &ledger[1].rank, 2},
};

static void assert_refused(const char *words)
{
    capture quiet;
    capture_begin(&quiet);
    sl_status status = sl_frame_check(&frame, &limits, SEQUENCES, VOCAB);
    capture_end(&quiet, talk, sizeof talk);
    if (status != SL_ERR_FORMAT || !strstr(talk, words) || !strstr(talk, "frame 42: "))
        fail_msg("for \"%s\": status %d, said: %s", words, status, talk);
}

static void test_bad_frames(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_frames / sizeof *bad_frames; i++) {
        make_legal();
        uint32_t value = (uint32_t)bad_frames[i].value;
        memcpy(bad_frames[i].field, &value, sizeof value);
        assert_refused(bad_frames[i].words);
    }
}

static void test_comparison_without_a_step(void **state)
{
    (void)state;
    make_legal();
    controls[0].comparison = (sl_comparison){.kind = SL_COMPARISON_STORE, .from = 8, .step = 1};
    assert_int_equal(sl_frame_check(&frame, &limits, SEQUENCES, VOCAB), SL_OK);
    controls[0].comparison.step = 0;
    assert_refused("without a step");
}

static void test_spans_out_of_step(void **state)
{
    (void)state;
    make_legal();
    spans[0].n_tokens = spans[0].score_from = 2; /* a row between two spans */
    assert_refused("does not start where the last one ends");
}

/* The last stage has room for as many results as rows: 16 rows scored and a draw are too many. */
static void test_too_many_results_wanted(void **state)
{
    (void)state;
    make_legal();
    frame.n_rows = 16;
    frame.n_spans = 1;
    spans[0] = (sl_span){.kind = SL_SPAN_PROMPT,
                         .sequence = 7,
                         .position = 0,
                         .first_row = 0,
                         .n_tokens = 16,
                         .sample = false,
                         .score_from = 0,
                         .next_token = 5};
    assert_int_equal(sl_frame_check(&frame, &limits, SEQUENCES, VOCAB), SL_OK);
    spans[0].sample = true;
    assert_refused("spans ask for too many results");
    spans[0].next_token = -1; /* the last row is not scored then */
    assert_int_equal(sl_frame_check(&frame, &limits, SEQUENCES, VOCAB), SL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_measures_what_it_takes),
        cmocka_unit_test(test_reset_and_stops),
        cmocka_unit_test(test_legal),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_comparison_without_a_step),
        cmocka_unit_test(test_spans_out_of_step),
        cmocka_unit_test(test_too_many_results_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
