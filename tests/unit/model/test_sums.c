/* tests/unit/model/test_sums.c - sums of a model's tensors: their text and back; a text that is
 * damaged, or of another model, is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "runtime/model/sums.h"
#include "tests/support/synth_model.h"

enum { LAYERS = 4 };

static synth_model open_model(synth_tie tie)
{
    synth_model model;
    synth_shape shape = synth_shape_default();
    shape.tie = tie;
    synth_model_open(&model, &shape);
    return model;
}

static sl_status parse(const sl_gguf *gguf, const char *text, size_t bytes, sl_sums *sums_out)
{
    assert_int_equal(sl_sums_init(gguf, LAYERS, sums_out), SL_OK);
    return sl_sums_parse("the sums", text, bytes, sums_out);
}

static void test_groups(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint32_t group;
    } good[] = {
        {"token_embd.weight", SL_SUM_TOKEN_EMBD}, {"output_norm.weight", SL_SUM_OUTPUT_NORM},
        {"output.weight", SL_SUM_OUTPUT},         {"rope_freqs.weight", SL_SUM_ROPE_FREQS},
        {"blk.0.attn_q.weight", SL_SUM_LAYERS},   {"blk.3.ffn_up.bias", SL_SUM_LAYERS + 3}};
    static const char *const bad[] = {"blk.4.attn_q.weight",
                                      "blk.03.attn_q.weight",
                                      "blk.",
                                      "blk.x.attn_q.weight",
                                      "blk.99999999999999999.a",
                                      "output",
                                      "outputs.weight",
                                      ""};
    uint32_t group;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        sl_text name = {good[i].name, strlen(good[i].name)};
        assert_true(sl_sum_group(name, SL_SUM_LAYERS + LAYERS, &group));
        assert_int_equal(group, good[i].group);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(
            sl_sum_group((sl_text){bad[i], strlen(bad[i])}, SL_SUM_LAYERS + LAYERS, &group));
}

static void test_text(void **state)
{
    (void)state;
    for (int tie = SYNTH_TIED; tie <= SYNTH_UNTIED; tie++) {
        synth_model model = open_model((synth_tie)tie);
        sl_sums sums, back;
        size_t bytes;
        assert_int_equal(sl_sums_whole(model.gguf, LAYERS, &sums), SL_OK);
        char *text = sl_sums_text(model.gguf, &sums, &bytes);
        assert_non_null(text);
        assert_int_equal(parse(model.gguf, text, bytes, &back), SL_OK);
        assert_memory_equal(back.sums, sums.sums, sums.n * sizeof *sums.sums);
        for (uint32_t i = 0; i < back.n; i++) assert_true(back.known[i]);
        assert_true(sl_sums_model(&back) == sl_sums_model(&sums));
        sl_sums_fini(&back);
        free(text);
        sl_sums_fini(&sums);
        synth_model_close(&model);
    }
}

/* Any byte that changes, or is missing, is seen. */
static void test_damage(void **state)
{
    (void)state;
    synth_model model = open_model(SYNTH_UNTIED), other = open_model(SYNTH_TIED);
    sl_sums sums, back;
    size_t bytes;
    sl_log_set_level(SL_LOG_NONE);
    assert_int_equal(sl_sums_whole(model.gguf, LAYERS, &sums), SL_OK);
    char *text = sl_sums_text(model.gguf, &sums, &bytes);
    assert_non_null(text);
    for (size_t i = 0; i < bytes; i++) {
        text[i] ^= 1;
        assert_int_equal(parse(model.gguf, text, bytes, &back), SL_ERR_FORMAT);
        text[i] ^= 1;
        sl_sums_fini(&back);
        assert_int_equal(parse(model.gguf, text, i, &back), SL_ERR_FORMAT);
        sl_sums_fini(&back);
    }
    assert_int_equal(parse(other.gguf, text, bytes, &back), SL_ERR_FORMAT);
    sl_sums_fini(&back);
    free(text);
    sl_sums_fini(&sums);
    synth_model_close(&model);
    synth_model_close(&other);
    sl_log_set_level(SL_LOG_INFO);
}

/* A stop ends it with nothing known. */
static void test_stop(void **state)
{
    (void)state;
    synth_model model = open_model(SYNTH_UNTIED);
    sl_sums sums;
    atomic_bool stop = true;
    assert_int_equal(sl_sums_init(model.gguf, LAYERS, &sums), SL_OK);
    assert_int_equal(sl_sums_read(model.gguf, &stop, &sums), SL_OK);
    for (uint32_t i = 0; i < sums.n; i++) assert_false(sums.known[i]);
    sl_sums_fini(&sums);
    synth_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
