/* tests/unit/stage/stage_allocation_tests.c - nothing is allocated once a stage runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/count_malloc.h"
#include "tests/support/made_lora.h"
#include "tests/support/stage_rig.h"
#include "tests/unit/stage/stage_tests.h"

#if COUNTS_MALLOC
/* Opens, forks and closes, prompts and rows, every way of drawing. */
static void busy_frame(stage_rig *r, uint64_t number)
{
    static int32_t tokens[40];
    sl_sampling s = {.temperature = 1,
                     .top_p = 0.99F,
                     .n_logprobs = SL_TOP_LOGPROBS_MAX,
                     .presence_penalty = 0.1F,
                     .frequency_penalty = 0.1F,
                     .repetition_penalty = 1.1F};
    sl_frame_reset(&r->frame, number);
    if (number > 0)
        for (uint32_t i = 0; i < 4; i++) stage_rig_control(r, SL_CONTROL_CLOSE, i, 0, NULL);
    for (uint32_t i = 0; i < 2; i++) stage_rig_control(r, SL_CONTROL_OPEN, i, 0, &s);
    s.top_p = 1, s.top_k = 300;
    stage_rig_control(r, SL_CONTROL_FORK, 2, 0, &s);
    s.top_k = 0, s.min_p = 0.001F;
    stage_rig_control(r, SL_CONTROL_FORK, 3, 1, &s);
    for (uint32_t i = 0; i < 4; i++) {
        sl_span *span = stage_rig_span(r, SL_SPAN_PROMPT, i, 0, tokens, 40);
        span->sample = true, span->score_from = 30;
    }
    assert_int_equal(stage_rig_compute(r), SL_OK);
    for (uint32_t step = 0; step < 4; step++) {
        sl_frame_reset(&r->frame, number);
        for (uint32_t i = 0; i < 4; i++)
            stage_rig_span(r, SL_SPAN_DECODE, i, 40 + step, tokens, 1)->sample = true;
        assert_int_equal(stage_rig_compute(r), SL_OK);
    }
}

/* An adapter of every map. */
static void open_lora(const sl_gguf *gguf, sl_lora *lora)
{
    static made_lora made;
    char path[] = "/tmp/sluice-test-stage-lora-XXXXXX";
    sl_model_shape shape;
    made_lora_options o = {.rank = 5, .type = SL_TYPE_F16, .maps = MADE_LORA_ALL, .strength = 1};
    int file = mkstemp(path);
    assert_true(file >= 0 && close(file) == 0);
    assert_int_equal(sl_model_shape_read(gguf, &shape), SL_OK);
    made_lora_open(&made, &o, &shape);
    assert_int_equal(sl_lora_file_write(path, "llama", 5, made.updates, made.n), SL_OK);
    assert_int_equal(sl_lora_add(lora, path, 1, gguf, &shape), SL_OK);
    made_lora_close(&made);
    unlink(path);
}

static void test_no_allocation(void **state)
{
    (void)state;
    synth_model model;
    sl_lora lora = {.n = 0};
    synth_shape shape = synth_shape_default();
    synth_model_open(&model, &shape);
    const sl_kernels *kernels;
    assert_int_equal(sl_kernels_choose(&kernels), SL_OK);
    open_lora(model.gguf, &lora);
    for (int run = 0; run < 4; run++) {
        stage_rig r;
        stage_rig_options o = {.n_stages = 2,
                               .threads = 1 + run % 2,
                               .lora = run < 2 ? NULL : &lora,
                               .rows_max = 160,
                               .spans_max = 4,
                               .controls_max = 8,
                               .sequences_max = 4,
                               .context = 60,
                               .policy = {.sinks = 2, .window = 8}};
        stage_rig_open(&r, &o, model.gguf, kernels);
        size_t before = malloc_count.calls;
        void *(*volatile take)(size_t) = malloc; /* volatile: or it is optimized away */
        free(take(1));
        assert_int_equal(malloc_count.calls, before + 1);
        busy_frame(&r, 0); /* the team's threads begin here */
        before = malloc_count.calls;
        for (uint64_t number = 1; number < 10; number++) busy_frame(&r, number);
        assert_int_equal(malloc_count.calls, before);
        stage_rig_close(&r);
    }
    sl_lora_close(&lora);
    synth_model_close(&model);
}
#else
static void test_no_allocation(void **state)
{
    (void)state;
    skip(); /* sanitizers own malloc */
}
#endif

int stage_allocation_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_allocation),
    };
    return cmocka_run_group_tests_name("stage allocation", tests, NULL, NULL);
}
