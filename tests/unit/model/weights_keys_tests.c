/* tests/unit/model/weights_keys_tests.c - the shape and the rope that a model's keys describe, and
 * the keys for which a model is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/weights_models.h"

static void test_shape(void **state)
{
    (void)state;
    for (int tie = SYNTH_TIED; tie <= SYNTH_UNTIED; tie++) {
        model m = model_make((synth_tie)tie, NULL, NULL);
        sl_model_shape s = model_open(&m);
        assert_true(s.n_layers == LAYERS && s.width == WIDTH && s.ffn_width == FFN);
        assert_true(s.n_heads == HEADS && s.n_kv_heads == KV_HEADS && s.head_dim == HEAD_DIM);
        assert_true(s.kinds[0].rope.dim == HEAD_DIM && s.context == 2048 && s.vocab == VOCAB);
        assert_true(s.kinds[0].rope.base == 10000 && s.rms_eps == 1e-5F &&
                    s.tied == (tie == SYNTH_TIED));
        model_close(&m);
    }
}

/* KV heads, head size and rope have defaults. */
static void test_shape_defaults(void **state)
{
    (void)state;
    synth_shape shape = synth_shape_default();
    shape.kv_heads = shape.heads;
    model m = model_make_of(&shape);
    static const char *const keys[] = {"llama.attention.head_count_kv",
                                       "llama.attention.key_length", "llama.rope.dimension_count",
                                       "llama.rope.freq_base"};
    for (int i = 0; i < 4; i++) *gguf_name(m.bytes, m.n_bytes, keys[i]) = 'x';
    sl_model_shape s = model_open(&m);
    assert_true(s.n_kv_heads == HEADS && s.head_dim == HEAD_DIM && s.kinds[0].rope.dim == HEAD_DIM);
    assert_true(s.kinds[0].rope.base == 10000);
    model_close(&m);
}

/* More keys for a model. */
static void add_text_scaling(sl_gguf_writer *w, const char *what)
{
    sl_gguf_put_string(w, "llama.rope.scaling.type", what);
}

static void add_u32(sl_gguf_writer *w, const char *key) { sl_gguf_put_u32(w, key, 8); }
static void add_zero(sl_gguf_writer *w, const char *key) { sl_gguf_put_u32(w, key, 0); }
static void add_real(sl_gguf_writer *w, const char *key) { sl_gguf_put_f32(w, key, 0.5F); }
static void add_nan(sl_gguf_writer *w, const char *key) { sl_gguf_put_f32(w, key, NAN); }
static void add_negative(sl_gguf_writer *w, const char *key) { sl_gguf_put_f32(w, key, -2); }
static void add_text(sl_gguf_writer *w, const char *key) { sl_gguf_put_string(w, key, "8"); }
static void add_list(sl_gguf_writer *w, const char *key)
{
    sl_gguf_put_i32s(w, key, (const int32_t[]){8, 8, 4, 8}, 4);
}
static void add_false(sl_gguf_writer *w, const char *key) { sl_gguf_put_bool(w, key, false); }

/* A key that would change the arithmetic is refused by its name; one that would not is fine. */
static void test_unsupported_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"llama.expert_count",
                                       "llama.attention.sliding_window",
                                       "llama.attention.clamp_kqv",
                                       "llama.attention.max_alibi_bias",
                                       "llama.attention.scale",
                                       "llama.attn_logit_softcapping",
                                       "llama.final_logit_softcapping",
                                       "llama.logit_scale",
                                       "llama.residual_scale",
                                       "llama.embedding_scale",
                                       "llama.rope.scaling.alpha",
                                       "llama.rope.scaling.yarn_log_multiplier",
                                       "llama.rope.scaling.yarn_attn_factor"};
    static const struct {
        add_more add;
        sl_status status;
    } values[] = {{add_u32, SL_ERR_UNSUPPORTED},
                  {add_real, SL_ERR_UNSUPPORTED},
                  {add_nan, SL_ERR_UNSUPPORTED},
                  {add_list, SL_ERR_UNSUPPORTED},
                  {add_text, SL_ERR_FORMAT}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            model m = model_make(SYNTH_TIED, values[k].add, keys[i]);
            check_refused(&m, values[k].status, keys[i]);
        }
        if (strstr(keys[i], "yarn_attn_factor")) continue;
        model m = model_make(SYNTH_TIED, add_zero, keys[i]);
        model_open(&m);
        model_close(&m);
    }
    model m = model_make(SYNTH_TIED, add_false, "llama.attention.causal");
    check_refused(&m, SL_ERR_UNSUPPORTED, "llama.attention.causal");
    m = model_make(SYNTH_TIED, NULL, NULL);
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "llama.attention.value_length") + 4, 32);
    check_refused(&m, SL_ERR_UNSUPPORTED, "llama.attention.value_length");
    m = model_make(SYNTH_TIED, NULL, NULL);
    memcpy(gguf_after(m.bytes, m.n_bytes, "general.architecture") + 12, "bloom", 5);
    check_refused(&m, SL_ERR_UNSUPPORTED,
                  "'bloom' is not supported, there are: llama, gemma3, qwen2, qwen3, smollm3");
}

static void test_missing_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"general.architecture",
                                       "llama.block_count",
                                       "llama.context_length",
                                       "llama.embedding_length",
                                       "llama.feed_forward_length",
                                       "llama.attention.head_count",
                                       "llama.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        model m = model_make(SYNTH_TIED, NULL, NULL);
        *gguf_name(m.bytes, m.n_bytes, keys[i]) = 'x';
        check_refused(&m, SL_ERR_FORMAT, keys[i]);
    }
}

/* Some models have one for each layer. They are not called missing. */
static void test_lists(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "feed_forward_length",  "attention.head_count", "attention.head_count_kv",
        "attention.key_length", "rope.freq_base",       "attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char key[64], list[64];
        snprintf(key, sizeof key, "llama.%s", keys[i]);
        snprintf(list, sizeof list, "xlama.%s", keys[i]);
        model m = model_make(SYNTH_TIED, add_list, list);
        *gguf_name(m.bytes, m.n_bytes, key) = 'y';
        *gguf_name(m.bytes, m.n_bytes, list) = 'l';
        snprintf(list, sizeof list, "key llama.%s is a list", keys[i]);
        check_refused(&m, SL_ERR_UNSUPPORTED, list);
    }
}

/* Keys that the reader does not know, keys of another scaling, and keys of another kind than they
 * should be. */
static void test_unread_keys(void **state)
{
    (void)state;
    static const struct {
        add_more add;
        const char *key;
        sl_status status;
    } rows[] = {
        {add_false, "llama.use_parallel_residual", SL_ERR_UNSUPPORTED},
        {add_real, "llama.attention.temperature_scale", SL_ERR_UNSUPPORTED},
        {add_text, "llama.tensor_data_layout", SL_ERR_UNSUPPORTED},
        {add_u32, "llama.rope.scaling.low_freq_factor", SL_ERR_UNSUPPORTED},
        {add_real, "llama.rope.scaling.yarn_ext_factor", SL_ERR_UNSUPPORTED},
        {add_zero, "llama.attention.causal", SL_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        model m = model_make(SYNTH_TIED, rows[i].add, rows[i].key);
        check_refused(&m, rows[i].status, rows[i].key);
    }
    model m = model_make(SYNTH_TIED, add_u32, "llama.expert_used_count"); /* of no experts */
    model_open(&m);
    model_close(&m);
    m = model_make(SYNTH_TIED, add_u32, "mistral.attention.temperature_scale"); /* another's */
    model_open(&m);
    model_close(&m);

    m = model_make(SYNTH_TIED, NULL, NULL);
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "llama.attention.value_length"), 6); /* a float */
    check_refused(&m, SL_ERR_FORMAT, "llama.attention.value_length");

    m = model_make(SYNTH_TIED, NULL, NULL); /* a base written as an integer */
    uint8_t *base = gguf_after(m.bytes, m.n_bytes, "llama.rope.freq_base");
    gguf_set_u32(base, 4);
    gguf_set_u32(base + 4, 1000000);
    assert_true(model_open(&m).kinds[0].rope.base == 1e6F);
    model_close(&m);
}

/* Numbers that would divide by zero, overflow or overrun. */
static void test_wild_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t value;
        sl_status status;
        const char *named;
    } wild[] = {
        {"llama.block_count", 0, SL_ERR_FORMAT, "llama.block_count"},
        {"llama.block_count", UINT32_MAX, SL_ERR_FORMAT, "llama.block_count"},
        {"llama.block_count", 5, SL_ERR_FORMAT, "blk.4."},
        {"llama.block_count", 3, SL_ERR_UNSUPPORTED, "blk.3."},
        {"llama.embedding_length", 0, SL_ERR_FORMAT, "llama.embedding_length"},
        {"llama.embedding_length", UINT32_MAX, SL_ERR_FORMAT, "llama.embedding_length"},
        {"llama.embedding_length", 64, SL_ERR_FORMAT, "token_embd.weight"},
        {"llama.feed_forward_length", 0, SL_ERR_FORMAT, "llama.feed_forward_length"},
        {"llama.feed_forward_length", UINT32_MAX, SL_ERR_FORMAT, "llama.feed_forward_length"},
        {"llama.context_length", 0, SL_ERR_FORMAT, "llama.context_length"},
        {"llama.attention.head_count", 0, SL_ERR_FORMAT, "llama.attention.head_count"},
        {"llama.attention.head_count", UINT32_MAX, SL_ERR_FORMAT, "llama.attention.head_count"},
        {"llama.attention.head_count", 12, SL_ERR_FORMAT, "blk.0.attn_q.weight"},
        {"llama.attention.head_count_kv", 0, SL_ERR_FORMAT, "llama.attention.head_count_kv"},
        {"llama.attention.head_count_kv", 7, SL_ERR_FORMAT, "llama.attention.head_count_kv"},
        {"llama.attention.head_count_kv", 4, SL_ERR_UNSUPPORTED, "4 KV heads"},
        {"llama.attention.head_count_kv", 3, SL_ERR_FORMAT, "blk.0.attn_k.weight"},
        {"llama.attention.key_length", 0, SL_ERR_FORMAT, "llama.attention.key_length"},
        {"llama.attention.key_length", 24, SL_ERR_UNSUPPORTED, "24"},
        {"llama.attention.key_length", 272, SL_ERR_FORMAT, "llama.attention.key_length"},
        {"llama.rope.dimension_count", 0, SL_ERR_FORMAT, "llama.rope.dimension_count"},
        {"llama.rope.dimension_count", 8, SL_ERR_UNSUPPORTED, "llama.rope.dimension_count is 8"},
        {"llama.rope.dimension_count", 18, SL_ERR_UNSUPPORTED, "llama.rope.dimension_count"},
        {"llama.rope.freq_base", 0xbf800000, SL_ERR_FORMAT, "freq_base is -1"},
        {"llama.rope.freq_base", 0x7fc00000, SL_ERR_FORMAT, "freq_base is nan"},
        {"llama.rope.freq_base", 0x7f800000, SL_ERR_FORMAT, "freq_base is inf"},
        {"llama.rope.freq_base", 0, SL_ERR_FORMAT, "rope base 0"},
        {"llama.attention.layer_norm_rms_epsilon", 0xbf800000, SL_ERR_FORMAT, "epsilon is -1"},
        {"llama.attention.layer_norm_rms_epsilon", 0x7f800000, SL_ERR_FORMAT, "epsilon is inf"},
    };
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        model m = model_make(SYNTH_TIED, NULL, NULL);
        gguf_set_u32(gguf_after(m.bytes, m.n_bytes, wild[i].key) + 4, wild[i].value);
        check_refused(&m, wild[i].status, wild[i].named);
    }
}

/* ---- rope ---- */

static model make_rope(const synth_rope *rope)
{
    synth_shape shape = synth_shape_default();
    shape.rope = *rope;
    return model_make_of(&shape);
}

static sl_rope rope_of(model m)
{
    sl_rope rope = model_open(&m).kinds[0].rope;
    model_close(&m);
    return rope;
}

/* As llama.cpp reads them: a factor alone is linear, 0 is none, YaRN's old context is the trained
 * one unless said. */
static void test_rope_keys(void **state)
{
    (void)state;
    sl_rope r = rope_of(model_make(SYNTH_TIED, NULL, NULL));
    assert_true(r.scaling == SL_ROPE_LINEAR && r.factor == 1 && r.magnitude == 1);
    r = rope_of(make_rope(&(synth_rope){.factor = 4}));
    assert_true(r.scaling == SL_ROPE_LINEAR && r.factor == 4);
    r = rope_of(model_make(SYNTH_TIED, add_u32, "llama.rope.scale_linear"));
    assert_true(r.scaling == SL_ROPE_LINEAR && r.factor == 8);
    r = rope_of(model_make(SYNTH_TIED, add_zero, "llama.rope.scaling.factor"));
    assert_true(r.factor == 1);
    r = rope_of(make_rope(&(synth_rope){.type = "none", .factor = 4}));
    assert_true(r.scaling == SL_ROPE_PLAIN);
    r = rope_of(make_rope(&(synth_rope){.type = "yarn", .factor = 4}));
    assert_true(r.scaling == SL_ROPE_YARN && r.factor == 4 && r.context == 2048);
    assert_true(r.fast == 32 && r.slow == 1 && r.extrapolated == 1);
    r = rope_of(make_rope(&(synth_rope){.type = "yarn", .factor = 4, .context = 512}));
    assert_true(r.context == 512);
    r = rope_of(make_rope(
        &(synth_rope){.type = "llama3", .factor = 8, .context = 32, .llama3_keys = true}));
    assert_true(r.scaling == SL_ROPE_LLAMA3 && r.factor == 8 && r.context == 32);
    assert_true(r.low == 1 && r.high == 4);
    r = rope_of(model_make(SYNTH_TIED, add_real, "llama.rope.scaling.attn_factor"));
    assert_true(r.magnitude == 0.5F);
}

static void add_yarn_with(sl_gguf_writer *w, const char *key)
{
    sl_gguf_put_string(w, "llama.rope.scaling.type", "yarn");
    sl_gguf_put_f32(w, key, 0.5F);
}

static void add_bad_yarn(sl_gguf_writer *w, const char *key)
{
    sl_gguf_put_string(w, "llama.rope.scaling.type", "yarn");
    sl_gguf_put_f32(w, key, -1);
}

static void test_yarn_keys(void **state)
{
    (void)state;
    assert_true(
        rope_of(model_make(SYNTH_TIED, add_yarn_with, "llama.rope.scaling.yarn_beta_fast")).fast ==
        0.5F);
    assert_true(
        rope_of(model_make(SYNTH_TIED, add_yarn_with, "llama.rope.scaling.yarn_beta_slow")).slow ==
        0.5F);
    assert_true(rope_of(model_make(SYNTH_TIED, add_yarn_with, "llama.rope.scaling.yarn_ext_factor"))
                    .extrapolated == 0.5F);
    static const char *const keys[] = {"llama.rope.scaling.yarn_beta_fast",
                                       "llama.rope.scaling.yarn_beta_slow",
                                       "llama.rope.scaling.yarn_ext_factor"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        model m = model_make(SYNTH_TIED, add_bad_yarn, keys[i]);
        check_refused(&m, SL_ERR_FORMAT, keys[i]);
    }
}

static void test_rope_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"longrope", "dynamic", "YARN", "yarn ", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        model m = model_make(SYNTH_TIED, add_text_scaling, names[i]);
        char named[64];
        snprintf(named, sizeof named, "rope scaling '%s' is not supported", names[i]);
        check_refused(&m, SL_ERR_UNSUPPORTED, named);
    }
    model m = model_make(SYNTH_TIED, add_u32, "llama.rope.scaling.type");
    check_refused(&m, SL_ERR_FORMAT, "llama.rope.scaling.type");

    static const char *const numbers[] = {"llama.rope.scaling.factor", "llama.rope.scale_linear",
                                          "llama.rope.scaling.attn_factor"};
    static const add_more values[] = {add_negative, add_nan, add_text};
    for (size_t i = 0; i < 9; i++) {
        m = model_make(SYNTH_TIED, values[i % 3], numbers[i / 3]);
        check_refused(&m, SL_ERR_FORMAT, numbers[i / 3]);
    }
    m = model_make(SYNTH_TIED, add_zero, "llama.rope.scaling.original_context_length");
    check_refused(&m, SL_ERR_FORMAT, "llama.rope.scaling.original_context_length");

    /* a formula without its numbers, numbers out of order, and scaled twice */
    const synth_rope llama3 = {.type = "llama3", .factor = 8, .context = 32, .llama3_keys = true};
    static const char *const needed[] = {
        "llama.rope.scaling.factor", "llama.rope.scaling.low_freq_factor",
        "llama.rope.scaling.high_freq_factor", "llama.rope.scaling.original_context_length"};
    for (size_t i = 0; i < 4; i++) {
        m = make_rope(&llama3);
        *gguf_name(m.bytes, m.n_bytes, needed[i]) = 'x';
        check_refused(&m, SL_ERR_FORMAT, needed[i]);
    }
    m = make_rope(&llama3);
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, needed[2]) + 4, 0x3f800000); /* 1, as the low one */
    check_refused(&m, SL_ERR_FORMAT, needed[2]);
    synth_rope twice = llama3;
    twice.freqs = true;
    m = make_rope(&twice);
    check_refused(&m, SL_ERR_UNSUPPORTED, "either, not both");
    m = make_rope(&(synth_rope){.type = "yarn", .factor = 4});
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "llama.rope.freq_base") + 4, 0x3f800000);
    check_refused(&m, SL_ERR_FORMAT, "rope base 1 ");
}

static const void *data_of(const sl_gguf *gguf, const char *name)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    assert_non_null(t);
    return t->data;
}

/* A divisor of rope_freqs that is zero, negative, not a number or infinite. */
static void test_rope_freqs_values(void **state)
{
    (void)state;
    static const float bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        model m = model_make_full();
        model_open(&m);
        size_t at = (size_t)((const uint8_t *)data_of(m.gguf, "rope_freqs.weight") - m.bytes);
        sl_gguf_close(m.gguf);
        memcpy(m.bytes + at + 3 * sizeof(float), &bad[i], sizeof bad[i]);
        check_refused(&m, SL_ERR_FORMAT, "divides frequency 3");
    }
}

int weights_keys_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_shape_defaults),
        cmocka_unit_test(test_unsupported_keys),
        cmocka_unit_test(test_missing_keys),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_unread_keys),
        cmocka_unit_test(test_wild_numbers),
        cmocka_unit_test(test_rope_keys),
        cmocka_unit_test(test_yarn_keys),
        cmocka_unit_test(test_rope_refused),
        cmocka_unit_test(test_rope_freqs_values),
    };
    return cmocka_run_group_tests_name("weights keys", tests, NULL, NULL);
}
