/* tests/unit/model/weights_architectures_tests.c - what the architectures beside `llama` make of a
 * file: the plan of their layers, their own keys, and the tensors that they must, may and may not
 * have. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/weights_models.h"

static const char *const NAMES[] = {"qwen2", "qwen3", "smollm3", "gemma3"};
enum { N_NAMES = sizeof NAMES / sizeof *NAMES };

static synth_shape shape_of(const char *architecture)
{
    synth_shape shape = synth_shape_default();
    shape.architecture = architecture;
    return shape;
}

static model make_of(const char *architecture)
{
    synth_shape shape = shape_of(architecture);
    return model_make_of(&shape);
}

/* Every layer turns halves of all its heads. */
static void test_qwen(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        synth_shape shape = shape_of(NAMES[i]);
        shape.head_dim = 32; /* heads together are wider than the model */
        shape.rope = (synth_rope){.type = "yarn", .factor = 4, .context = 512};
        model m = model_make_of(&shape);
        sl_model_shape s = model_open(&m);
        assert_true(s.width == WIDTH && s.n_heads == HEADS && s.head_dim == 32);
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            const sl_rope *rope = &sl_layer_kind_of(&s, layer)->rope;
            assert_true(rope->dim == 32 && rope->pairing == SL_ROPE_HALVES);
            assert_true(rope->scaling == SL_ROPE_YARN && rope->context == 512);
        }
        model_close(&m);
    }
}

static void test_smollm3(void **state)
{
    (void)state;
    synth_shape shape = shape_of("smollm3");
    shape.layers = 9;
    model m = model_make_of(&shape);
    sl_model_shape s = model_open(&m);
    for (uint32_t layer = 0; layer < 9; layer++) {
        const sl_rope *rope = &sl_layer_kind_of(&s, layer)->rope;
        assert_int_equal(rope->dim, layer == 3 || layer == 7 ? 0 : HEAD_DIM);
        assert_true(rope->dim == 0 || rope->pairing == SL_ROPE_ADJACENT);
    }
    model_close(&m);
}

/* Scales and activation; a Llama's are plain. */
static void test_gemma3(void **state)
{
    (void)state;
    synth_shape shape = shape_of("gemma3");
    model m = model_make_of(&shape);
    sl_model_shape s = model_open(&m);
    assert_true(s.embedding_scale == sqrtf(WIDTH) && s.activation == SL_GEGLU);
    assert_true(s.attention_scale == 0.25F); /* of heads of 16 */
    assert_int_equal(s.kinds[0].rope.pairing, SL_ROPE_HALVES);
    model_close(&m);

    shape.layers = 62; /* 27B's, whose heads are wider than their share of the width */
    shape.width = 192, shape.heads = 3, shape.kv_heads = 1, shape.head_dim = 32;
    m = model_make_of(&shape);
    assert_true(model_open(&m).attention_scale == 0.125F);
    model_close(&m);
    m = model_make_of(&shape);
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "gemma3.attention.head_count") + 4, 193);
    check_refused(&m, SL_ERR_FORMAT, "gemma3.attention.head_count is 193");

    m = make_of("llama");
    s = model_open(&m);
    assert_true(s.embedding_scale == 1 && s.activation == SL_SWIGLU && s.attention_scale == 0.25F);
    model_close(&m);
}

/* Five sliding layers, then one that attends to all tokens, whose rope alone is scaled. */
static void test_gemma3_windows(void **state)
{
    (void)state;
    synth_shape shape = shape_of("gemma3");
    shape.layers = 13, shape.window = 100, shape.rope_base = 1000000;
    shape.rope = (synth_rope){.type = "linear", .factor = 8};
    for (uint32_t pattern = 0; pattern <= 3; pattern += 3) { /* no key, and another one */
        shape.window_pattern = pattern;
        model m = model_make_of(&shape);
        sl_model_shape s = model_open(&m);
        for (uint32_t layer = 0; layer < 13; layer++) {
            const sl_layer_kind *kind = &s.kinds[s.kind_of[layer]];
            bool full = (layer + 1) % (pattern ? pattern : 6) == 0;
            assert_int_equal(kind->window, full ? 0 : 100);
            assert_true(kind->rope.base == (full ? 1000000 : 10000));
            assert_true(kind->rope.factor == (full ? 8 : 1));
            assert_true(kind->rope.dim == HEAD_DIM && kind->rope.pairing == SL_ROPE_HALVES);
        }
        assert_int_equal(sl_full_heads(&s, 0, 13), (pattern ? 4 : 2) * s.n_kv_heads);
        model_close(&m);
    }
    shape.rope = (synth_rope){.type = "yarn", .factor = 8, .context = 512};
    model m = model_make_of(&shape);
    check_refused(&m, SL_ERR_UNSUPPORTED, "rope.scaling.type");
}

/* The pattern as a list of so many layers, and a base of the sliding ones. */
static void add_pattern(sl_gguf_writer *writer, const char *n_layers)
{
    static const bool slides[4] = {true, false, false, true};
    sl_gguf_put_bools(writer, "gemma3.attention.sliding_window_pattern", slides,
                      (size_t)(*n_layers - '0'));
    sl_gguf_put_f32(writer, "gemma3.rope.freq_base_swa", 500);
}

static void test_gemma3_pattern_list(void **state)
{
    (void)state;
    synth_shape shape = shape_of("gemma3");
    shape.layers = 4, shape.window = 100;
    model m = model_make_with(&shape, add_pattern, "4");
    sl_model_shape s = model_open(&m);
    for (uint32_t layer = 0; layer < 4; layer++) {
        bool slides = layer == 0 || layer == 3;
        assert_int_equal(sl_sliding_window(&s, layer), slides ? 100 : 0);
        assert_true(s.kinds[s.kind_of[layer]].rope.base == (slides ? 500 : shape.rope_base));
    }
    model_close(&m);
    m = model_make_with(&shape, add_pattern, "3");
    check_refused(&m, SL_ERR_FORMAT, "sliding_window_pattern");
}

static void test_post_norms(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.1.post_attention_norm.weight",
                                        "blk.2.post_ffw_norm.weight"};
    for (size_t i = 0; i < 2; i++) {
        model m = make_of("gemma3");
        gguf_name(m.bytes, m.n_bytes, names[i])[0] = 'x';
        check_refused(&m, SL_ERR_FORMAT, names[i]);
    }
}

/* Both norms of every layer must be there, with a gain for each element of a head. */
static void test_qk_norms(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.attn_q_norm.weight", "blk.3.attn_k_norm.weight"};
    for (size_t i = 0; i < 2; i++) {
        model m = make_of("qwen3");
        gguf_name(m.bytes, m.n_bytes, names[i])[0] = 'x';
        check_refused(&m, SL_ERR_FORMAT, names[i]);
        m = make_of("qwen3");
        gguf_set_u64(gguf_after(m.bytes, m.n_bytes, names[i]) + 4, HEAD_DIM / 2);
        check_refused(&m, SL_ERR_FORMAT, names[i]);
    }
}

/* qwen2 may leave out any of its biases. */
static void test_biases(void **state)
{
    (void)state;
    model m = make_of("qwen2");
    sl_model_shape s = model_open(&m);
    assert_int_equal(sl_gguf_n_tensors(m.gguf), s.n_layers * 12 + 2);
    model_close(&m);
    m = make_of("smollm3");
    s = model_open(&m);
    assert_int_equal(sl_gguf_n_tensors(m.gguf), s.n_layers * 9 + 2);
    model_close(&m);
}

typedef struct {
    const char *architecture, *tensor;
} foreign;

/* Tensors of other architectures would be ignored. */
static void test_foreign_tensors(void **state)
{
    (void)state;
    static const foreign rows[] = {
        {"llama", "blk.0.attn_q_norm.weight"},   {"qwen2", "blk.1.attn_k_norm.weight"},
        {"qwen2", "blk.0.attn_output.bias"},     {"qwen2", "rope_freqs.weight"},
        {"qwen3", "blk.0.post_ffw_norm.weight"}, {"gemma3", "blk.0.attn_q.bias"},
        {"qwen3", "blk.2.ffn_down.bias"},        {"qwen3", "rope_freqs.weight"},
        {"smollm3", "blk.0.attn_q_norm.weight"}, {"smollm3", "rope_freqs.weight"},
        {"qwen3", "blk.4.attn_q_norm.weight"},   {"qwen3", "blk.0.attn_q_norm.bias"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        synth_shape shape = shape_of(rows[i].architecture);
        model m = model_make_with(&shape, add_vector, rows[i].tensor);
        check_refused(&m, SL_ERR_UNSUPPORTED, rows[i].tensor);
    }
}

static void add_number(sl_gguf_writer *w, const char *key) { sl_gguf_put_u32(w, key, 8); }

/* Keys begin with the architecture's name: one that is not known is refused, another's is not
 * read. */
static void test_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_NAMES; i++) {
        static const char *const wrong[] = {"attention.clamp_kqv", "expert_count",
                                            "no_rope_layer_interval", "rope.scaling.alpha"};
        synth_shape shape = shape_of(NAMES[i]);
        char key[96];
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            snprintf(key, sizeof key, "%s.%s", NAMES[i], wrong[k]);
            model m = model_make_with(&shape, add_number, key);
            check_refused(&m, SL_ERR_UNSUPPORTED, key);
        }
        model m = model_make_with(&shape, add_number, "llama.attention.sliding_window");
        model_open(&m);
        model_close(&m);
        snprintf(key, sizeof key, "%s.rope.dimension_count", NAMES[i]);
        m = model_make_of(&shape);
        gguf_set_u32(gguf_after(m.bytes, m.n_bytes, key) + 4, HEAD_DIM / 2);
        check_refused(&m, SL_ERR_UNSUPPORTED, key);
        snprintf(key, sizeof key, "%s.attention.head_count", NAMES[i]);
        m = model_make_of(&shape);
        *gguf_name(m.bytes, m.n_bytes, key) = 'x';
        check_refused(&m, SL_ERR_FORMAT, key);
    }
}

int weights_architectures_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemma3),
        cmocka_unit_test(test_gemma3_windows),
        cmocka_unit_test(test_gemma3_pattern_list),
        cmocka_unit_test(test_post_norms),
        cmocka_unit_test(test_qwen),
        cmocka_unit_test(test_smollm3),
        cmocka_unit_test(test_qk_norms),
        cmocka_unit_test(test_biases),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_foreign_tensors),
    };
    return cmocka_run_group_tests_name("weights architectures", tests, NULL, NULL);
}
