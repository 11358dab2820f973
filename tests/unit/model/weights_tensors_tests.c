/* tests/unit/model/weights_tensors_tests.c - models that are refused because a tensor is missing,
 * misshapen, of another type or unknown: the log says its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/matrix_types.h"
#include "tests/unit/model/weights_models.h"

/* Every tensor name of the full model, from the file itself. */
static size_t tensor_names(char (**names_out)[64])
{
    model m = model_make_full();
    model_open(&m);
    size_t n = sl_gguf_n_tensors(m.gguf);
    char(*names)[64] = calloc(n, sizeof *names);
    assert_non_null(names);
    for (size_t i = 0; i < n; i++) {
        sl_text name = sl_gguf_tensor_at(m.gguf, i)->name;
        memcpy(names[i], name.data, name.bytes);
    }
    model_close(&m);
    *names_out = names;
    return n;
}

static void test_missing(void **state)
{
    (void)state;
    char(*names)[64];
    size_t n = tensor_names(&names);
    assert_int_equal(n, LAYERS * 16 + 4);
    for (size_t i = 0; i < n; i++) {
        model m = model_make_full();
        size_t last = strlen(names[i]) - 1;
        gguf_name(m.bytes, m.n_bytes, names[i])[last] = 'x';
        /* without what may be missing it is another model, with a tensor too many */
        bool optional = strstr(names[i], ".bias") || strcmp(names[i], "output.weight") == 0 ||
                        strcmp(names[i], "rope_freqs.weight") == 0;
        if (optional) names[i][last] = 'x';
        check_refused(&m, optional ? SL_ERR_UNSUPPORTED : SL_ERR_FORMAT, names[i]);
    }
    free(names);
}

static void test_misshapen(void **state)
{
    (void)state;
    char(*names)[64];
    size_t n = tensor_names(&names);
    for (size_t i = 0; i < n; i++) {
        bool embedding = strcmp(names[i], "token_embd.weight") == 0;
        for (uint32_t dim = 0; dim < 2; dim++) {
            model m = model_make_full();
            uint8_t *after = gguf_after(m.bytes, m.n_bytes, names[i]);
            if (dim == 1 && (after[0] == 1 || embedding)) { /* a vector; any vocabulary will do */
                model_close(&m);
                continue;
            }
            uint64_t is;
            memcpy(&is, after + 4 + dim * 8, 8);
            gguf_set_u64(after + 4 + dim * 8, is > 32 ? 32 : is / 2); /* less: in the file */
            check_refused(&m, SL_ERR_FORMAT, names[i]);
        }
    }
    free(names);
}

static void test_types(void **state)
{
    (void)state;
    char(*names)[64];
    size_t n = tensor_names(&names);
    for (size_t i = 0; i < n; i++) {
        model m = model_make_full();
        uint8_t *after = gguf_after(m.bytes, m.n_bytes, names[i]);
        uint32_t n_dims = after[0];
        gguf_set_u32(after + 4 + n_dims * 8, 16); /* iq2_xxs */
        check_refused(&m, SL_ERR_UNSUPPORTED, names[i]);
    }
    free(names);
    model m = model_make_full();
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "blk.0.attn_norm.weight") + 12, SL_TYPE_Q8_0);
    check_refused(&m, SL_ERR_UNSUPPORTED, "is of type q8_0, supported here: f32, f16, bf16.");
}

/* Every type of matrix there are kernels for, wherever a matrix may be; the message lists them. */
static void test_matrix_types(void **state)
{
    (void)state;
    uint32_t types[MATRIX_TYPES_MAX];
    size_t n = matrix_types(types);
    for (size_t i = 0; i < n; i++) {
        synth_shape shape = synth_shape_default();
        shape.attention_type = shape.ffn_type = shape.head_type = types[i];
        shape.width = shape.ffn = 256; /* whole blocks of any type */
        shape.heads = 8, shape.head_dim = 32;
        shape.tie = SYNTH_UNTIED;
        model m = model_make_of(&shape);
        model_open(&m);
        assert_int_equal(sl_gguf_find(m.gguf, "output.weight")->type, types[i]);
        model_close(&m);
    }
    model m = model_make(SYNTH_UNTIED, NULL, NULL);
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "blk.1.ffn_up.weight") + 20, 16);
    check_refused(
        &m, SL_ERR_UNSUPPORTED,
        "blk.1.ffn_up.weight is of type iq2_xxs, supported here: f32, f16, bf16, q8_0, q5_1, "
        "q5_0, q4_1, q4_0, q6_k, q5_k, q4_k, q3_k, q2_k, iq4_xs, iq4_nl, mxfp4");
}

/* Other models' tensors, layers beyond the last, and names that only look like known ones. */
static void test_unknown(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.attn_norm.bias",
                                        "rope_freqs.bias",
                                        "output.bias",
                                        "blk.0.attn_qkv.bias",
                                        "blk.4.attn_q.bias",
                                        "blk.0.rope_freqs.weight",
                                        "blk.0.ffn_gate_exps.weight",
                                        "rope_factors_long.weight",
                                        "blk.4.attn_q.weight",
                                        "blk.00.attn_q.weight",
                                        "blk.+1.attn_q.weight",
                                        "blk. 1.ffn_up.weight",
                                        "blk.0.attn_q.weight x",
                                        "blk.0.attn_q.weightx",
                                        "output_norm.weight2",
                                        "token_embd",
                                        "blk.0.attn_q.weight.x",
                                        "",
                                        "blk.4294967296.attn_q.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int tie = SYNTH_TIED; tie <= SYNTH_UNTIED; tie++) {
            model m = model_make((synth_tie)tie, add_vector, names[i]);
            check_refused(&m, SL_ERR_UNSUPPORTED, names[i]);
        }
    }
}

int weights_tensors_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing), cmocka_unit_test(test_misshapen),
        cmocka_unit_test(test_types),   cmocka_unit_test(test_matrix_types),
        cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests_name("weights tensors", tests, NULL, NULL);
}
