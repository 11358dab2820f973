/* tests/unit/launch/eval/test_eval_ruler_scores.c - means, errors and shares of scores whose
 * values are known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "launch/eval/eval_ruler_scores.h"

enum { TRIALS = 16 };
static const uint32_t LENGTHS[] = {1024};
enum { SOLVED, UNSOLVED, LIKELIHOOD, COUNTS };

/* Trial t is of phase t / 2. The full cache solves 3 of 4, the policy those of them that are not of
 * phase 5, and 1 of 4 more than it. */
static sl_ruler_scores make_scores(void)
{
    sl_ruler_scores s = {.n_tasks = 3, .n_lengths = 1, .n_trials = TRIALS, .n_runs = 2};
    s.lengths = LENGTHS;
    s.tasks[SOLVED] = s.tasks[UNSOLVED] = &sl_ruler_tasks[0];
    s.tasks[LIKELIHOOD] = sl_ruler_task_named("likelihood", 10);
    assert_int_equal(sl_ruler_scores_init(&s), SL_OK);
    for (int t = 0; t < TRIALS; t++) {
        sl_ruler_result *full[COUNTS], *pruned[COUNTS];
        for (int c = 0; c < COUNTS; c++) {
            full[c] = &s.runs[0].cells[c].trials[t];
            pruned[c] = &s.runs[1].cells[c].trials[t];
            full[c]->phase = pruned[c]->phase = (int8_t)(c == LIKELIHOOD ? SL_RULER_ALL : t / 2);
            full[c]->depth = pruned[c]->depth = (int8_t)(t % 8);
        }
        full[SOLVED]->score = t % 4 < 3;
        pruned[SOLVED]->score = t % 4 < 3 && t / 2 != 5;
        full[UNSOLVED]->score = t % 4 < 1;
        full[LIKELIHOOD]->score = 2 + 0.5 * (t % 2);
        pruned[LIKELIHOOD]->score = full[LIKELIHOOD]->score + (t < 8 ? 0.1 : 0.3);
    }
    for (int c = 0; c < COUNTS; c++)
        s.runs[1].cells[c].seen = 1000, s.runs[1].cells[c].kept = 200 + 100 * (uint64_t)c;
    return s;
}

static void test_means(void **state)
{
    (void)state;
    sl_ruler_scores s = make_scores();
    sl_ruler_estimate e = sl_ruler_mean(&s, 0, SOLVED, SL_RULER_ALL, SL_RULER_ALL);
    assert_float_equal(e.mean, 0.75, 1e-12);
    assert_float_equal(e.error, sqrt(0.75 * 0.25 / (TRIALS - 1)), 1e-12);
    assert_float_equal(sl_ruler_mean(&s, 0, SOLVED, SL_RULER_ALL, 3).mean, 0, 1e-12);
    assert_float_equal(sl_ruler_mean(&s, 1, SOLVED, 5, SL_RULER_ALL).mean, 0, 1e-12);
    assert_float_equal(sl_ruler_mean(&s, 1, SOLVED, 4, SL_RULER_ALL).mean, 1, 1e-12);
    assert_true(isnan(sl_ruler_mean(&s, 0, LIKELIHOOD, 1, SL_RULER_ALL).mean));
    assert_true(isnan(sl_ruler_mean(&s, 0, SOLVED, 1, 2).error)); /* one trial */
    sl_ruler_scores_fini(&s);
}

static void test_shares(void **state)
{
    (void)state;
    sl_ruler_scores s = make_scores();
    /* 12 of 16 and 11 of 16: trials differ in one, the rest of ratio 11 / 12 off by 1 / 12. */
    sl_ruler_estimate e = sl_ruler_of_full(&s, 1, SOLVED, SL_RULER_ALL);
    assert_float_equal(e.mean, 11.0 / 12, 1e-12);
    double squares = 11 * (1.0 / 12) * (1.0 / 12) + (11.0 / 12) * (11.0 / 12);
    assert_float_equal(e.error, sqrt(squares / (TRIALS * (TRIALS - 1))) / 0.75, 1e-12);
    assert_float_equal(sl_ruler_of_full(&s, 0, SOLVED, SL_RULER_ALL).mean, 1, 1e-12);
    assert_float_equal(sl_ruler_of_full(&s, 0, SOLVED, SL_RULER_ALL).error, 0, 1e-12);
    e = sl_ruler_of_full(&s, 1, LIKELIHOOD, SL_RULER_ALL);
    assert_float_equal(e.mean, exp(-0.2), 1e-12);
    assert_float_equal(e.error, exp(-0.2) * 0.1 / sqrt(TRIALS - 1), 1e-12);
    sl_ruler_scores_fini(&s);
}

static void test_what_counts(void **state)
{
    (void)state;
    sl_ruler_scores s = make_scores();
    assert_true(sl_ruler_cell_runs(&s, SOLVED) && sl_ruler_cell_counts(&s, SOLVED));
    assert_true(!sl_ruler_cell_runs(&s, UNSOLVED) && !sl_ruler_cell_counts(&s, UNSOLVED));
    assert_true(sl_ruler_cell_runs(&s, LIKELIHOOD) && !sl_ruler_cell_counts(&s, LIKELIHOOD));
    uint32_t n;
    sl_ruler_estimate e = sl_ruler_mean_of_full(&s, 1, SL_RULER_ALL, &n);
    assert_int_equal(n, 1);
    assert_float_equal(e.mean, 11.0 / 12, 1e-12);
    for (int t = 0; t < TRIALS; t++) { /* now it is solved, and all is lost of it */
        s.runs[0].cells[UNSOLVED].trials[t].score = 1;
        s.runs[1].cells[UNSOLVED].trials[t].score = 0;
    }
    double error = e.error;
    e = sl_ruler_mean_of_full(&s, 1, SL_RULER_ALL, &n);
    assert_int_equal(n, 2);
    assert_float_equal(e.mean, 11.0 / 24, 1e-12);
    assert_float_equal(e.error, error / 2, 1e-12);
    sl_ruler_scores_fini(&s);
}

static void test_worst_phase(void **state)
{
    (void)state;
    sl_ruler_scores s = make_scores();
    sl_ruler_estimate e;
    assert_int_equal(sl_ruler_worst_phase(&s, 1, SOLVED, &e), 5);
    assert_float_equal(e.mean, 0, 1e-12);
    assert_int_equal(sl_ruler_worst_phase(&s, 1, COUNTS, &e), 5);
    assert_float_equal(e.mean, 0, 1e-12);
    assert_int_equal(sl_ruler_worst_phase(&s, 1, LIKELIHOOD, &e), SL_RULER_ALL);
    assert_int_equal(sl_ruler_bucket(255, SL_RULER_PHASE), SL_RULER_BUCKETS - 1);
    assert_int_equal(sl_ruler_bucket(32, SL_RULER_PHASE), 1);
    sl_ruler_scores_fini(&s);
}

static void test_retention(void **state)
{
    (void)state;
    sl_ruler_scores s = make_scores();
    assert_float_equal(sl_ruler_retention(&s, 1, SOLVED), 0.2, 1e-12);
    assert_float_equal(sl_ruler_retention(&s, 1, UNSOLVED), 0.3, 1e-12);
    assert_float_equal(sl_ruler_retention(&s, 1, COUNTS), 0.2, 1e-12); /* SOLVED alone */
    assert_float_equal(sl_ruler_retention(&s, 0, SOLVED), 1, 1e-12);   /* none was eligible */
    sl_ruler_scores_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_means),       cmocka_unit_test(test_shares),
        cmocka_unit_test(test_what_counts), cmocka_unit_test(test_worst_phase),
        cmocka_unit_test(test_retention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
