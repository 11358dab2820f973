/* tests/unit/model/test_weights.c - which tensor is what, over synthetic models: read, bound and
 * hashed for every split; anything missing, misshapen, unknown or unsupported is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "runtime/model/weights.h"
#include "tests/support/capture.h"
#include "tests/support/gguf_patch.h"
#include "tests/support/synth_gguf.h"

enum { LAYERS = 4, WIDTH = 96, HEADS = 6, KV_HEADS = 2, HEAD_DIM = 16, FFN = 160, VOCAB = 512 };

/* A synthetic model's bytes, to be changed, and the file they make. */
typedef struct {
    uint8_t *bytes;
    size_t n_bytes;
    sl_gguf *gguf;
} model;

typedef void (*add_more)(gguf_writer *w, const char *what);

static model make(synth_tie tie, add_more add, const char *what)
{
    synth_shape shape = synth_shape_default();
    shape.tie = tie;
    gguf_writer w = {0};
    synth_gguf_put(&shape, &w);
    if (add) add(&w, what);
    model m = {0};
    m.bytes = gguf_writer_encode(&w, &m.n_bytes);
    gguf_writer_fini(&w);
    return m;
}

static void model_close(model *m)
{
    sl_gguf_close(m->gguf);
    free(m->bytes);
}

static sl_model_shape open_good(model *m)
{
    sl_model_shape shape = {0};
    assert_int_equal(sl_gguf_open_memory(m->bytes, m->n_bytes, "synth", &m->gguf), SL_OK);
    assert_int_equal(sl_model_shape_read(m->gguf, &shape), SL_OK);
    return shape;
}

/* The model is refused with this status, in one line that says `named`; then it is closed. */
static void check_refused(model *m, sl_status expected, const char *named)
{
    char said[2048];
    capture talk;
    sl_model_shape shape = {.vocab = 12345};
    assert_int_equal(sl_gguf_open_memory(m->bytes, m->n_bytes, "synth", &m->gguf), SL_OK);
    int errors = sl_log_errors();
    capture_begin(&talk);
    sl_status status = sl_model_shape_read(m->gguf, &shape);
    capture_end(&talk, said, sizeof said);
    if (status != expected || !strstr(said, named) || sl_log_errors() != errors + 1)
        fail_msg("status %d for %s, saying: %s", status, named, said);
    assert_int_equal(shape.vocab, 12345); /* untouched */
    model_close(m);
}

/* Every tensor name, from the file itself. */
static size_t tensor_names(synth_tie tie, char (**names_out)[64])
{
    model m = make(tie, NULL, NULL);
    open_good(&m);
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

/* ---- good models ---- */

static void test_shape(void **state)
{
    (void)state;
    for (int tie = SYNTH_TIED; tie <= SYNTH_UNTIED; tie++) {
        model m = make((synth_tie)tie, NULL, NULL);
        sl_model_shape s = open_good(&m);
        assert_true(s.n_layers == LAYERS && s.width == WIDTH && s.ffn_width == FFN);
        assert_true(s.n_heads == HEADS && s.n_kv_heads == KV_HEADS && s.head_dim == HEAD_DIM);
        assert_true(s.rope_dim == HEAD_DIM && s.context == 2048 && s.vocab == VOCAB);
        assert_true(s.rope_base == 10000 && s.rms_eps == 1e-5F && s.tied == (tie == SYNTH_TIED));
        model_close(&m);
    }
}

/* KV heads, head size and rope have defaults. */
static void test_shape_defaults(void **state)
{
    (void)state;
    synth_shape shape = synth_shape_default();
    shape.kv_heads = shape.heads;
    gguf_writer w = {0};
    synth_gguf_put(&shape, &w);
    model m = {0};
    m.bytes = gguf_writer_encode(&w, &m.n_bytes);
    gguf_writer_fini(&w);
    static const char *const keys[] = {"llama.attention.head_count_kv",
                                       "llama.attention.key_length", "llama.rope.dimension_count",
                                       "llama.rope.freq_base"};
    for (int i = 0; i < 4; i++) *gguf_name(m.bytes, m.n_bytes, keys[i]) = 'x';
    sl_model_shape s = open_good(&m);
    assert_true(s.n_kv_heads == HEADS && s.head_dim == HEAD_DIM && s.rope_dim == HEAD_DIM);
    assert_true(s.rope_base == 10000);
    model_close(&m);
}

static void check_matrix(const sl_gguf *gguf, const sl_matrix *w, const char *name, size_t n_out,
                         size_t n_in)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    assert_non_null(t);
    assert_ptr_equal(w->data, t->data);
    assert_true(w->type == t->type && w->n_out == n_out && w->n_in == n_in);
    assert_int_equal(w->row_bytes * n_out, t->data_bytes);
}

static sl_weights bind(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t begin,
                       uint32_t end, uint8_t *storage, size_t bytes)
{
    sl_arena counting, arena;
    sl_weights weights;
    sl_arena_init(&counting, NULL, 0);
    sl_weights_bind(gguf, shape, begin, end, &counting, &weights);
    assert_true(counting.used_bytes <= bytes);
    sl_arena_init(&arena, storage, bytes);
    sl_weights_bind(gguf, shape, begin, end, &arena, &weights);
    assert_int_equal(arena.used_bytes, counting.used_bytes);
    return weights;
}

static void test_bind(void **state)
{
    (void)state;
    static _Alignas(64) uint8_t storage[8192];
    for (int tie = SYNTH_TIED; tie <= SYNTH_UNTIED; tie++) {
        model m = make((synth_tie)tie, NULL, NULL);
        sl_model_shape s = open_good(&m);
        sl_weights all = bind(m.gguf, &s, 0, LAYERS, storage, sizeof storage);
        const char *head = tie == SYNTH_TIED ? "token_embd.weight" : "output.weight";
        check_matrix(m.gguf, &all.embedding, "token_embd.weight", VOCAB, WIDTH);
        check_matrix(m.gguf, &all.head, head, VOCAB, WIDTH);
        assert_ptr_equal(all.output_norm, sl_gguf_find(m.gguf, "output_norm.weight")->data);

        sl_weights middle = bind(m.gguf, &s, 1, 3, storage, sizeof storage);
        assert_true(!middle.embedding.data && !middle.head.data && !middle.output_norm);
        assert_true(middle.layer_begin == 1 && middle.layer_end == 3);
        const sl_layer_weights *second = &middle.layers[1];
        check_matrix(m.gguf, &second->q, "blk.2.attn_q.weight", HEADS * HEAD_DIM, WIDTH);
        check_matrix(m.gguf, &second->k, "blk.2.attn_k.weight", KV_HEADS * HEAD_DIM, WIDTH);
        check_matrix(m.gguf, &second->v, "blk.2.attn_v.weight", KV_HEADS * HEAD_DIM, WIDTH);
        check_matrix(m.gguf, &second->o, "blk.2.attn_output.weight", WIDTH, HEADS * HEAD_DIM);
        check_matrix(m.gguf, &second->gate, "blk.2.ffn_gate.weight", FFN, WIDTH);
        check_matrix(m.gguf, &second->up, "blk.2.ffn_up.weight", FFN, WIDTH);
        check_matrix(m.gguf, &second->down, "blk.2.ffn_down.weight", WIDTH, FFN);
        assert_ptr_equal(second->attn_norm, sl_gguf_find(m.gguf, "blk.2.attn_norm.weight")->data);
        assert_ptr_equal(second->ffn_norm, sl_gguf_find(m.gguf, "blk.2.ffn_norm.weight")->data);
        model_close(&m);
    }
}

/* Bit i of `cuts`: a stage ends after layer i. */
static uint64_t split_hash(const model *m, const sl_model_shape *shape, uint32_t cuts,
                           uint64_t *bytes_out)
{
    static _Alignas(64) uint8_t storage[8192];
    uint64_t sum = 0;
    *bytes_out = 0;
    for (uint32_t begin = 0, end = 1; end <= LAYERS; end++) {
        if (end < LAYERS && !(cuts >> (end - 1) & 1)) continue;
        sl_weights weights = bind(m->gguf, shape, begin, end, storage, sizeof storage);
        sum += sl_weights_hash_share(m->gguf, &weights);
        *bytes_out += sl_weights_bytes(m->gguf, shape, begin, end);
        begin = end;
    }
    return sum;
}

static void test_splits(void **state)
{
    (void)state;
    for (int tie = SYNTH_TIED; tie <= SYNTH_UNTIED; tie++) {
        model m = make((synth_tie)tie, NULL, NULL);
        sl_model_shape shape = open_good(&m);
        uint64_t in_file = 0, bytes;
        for (size_t i = 0; i < sl_gguf_n_tensors(m.gguf); i++)
            in_file += sl_gguf_tensor_at(m.gguf, i)->data_bytes;
        uint64_t whole = split_hash(&m, &shape, 0, &bytes);
        assert_int_equal(bytes, in_file);
        for (uint32_t cuts = 1; cuts < 1u << (LAYERS - 1); cuts++) {
            assert_int_equal(split_hash(&m, &shape, cuts, &bytes), whole);
            /* a tied embedding is used at both ends */
            uint64_t twice = tie == SYNTH_TIED ? sl_weights_embedding_bytes(m.gguf) : 0;
            assert_int_equal(bytes, in_file + twice);
        }
        model_close(&m);
    }
}

/* One byte of any tensor, or of the header, is another model; so are two tensors swapped. */
static void test_hash_sees_all(void **state)
{
    (void)state;
    model m = make(SYNTH_UNTIED, NULL, NULL);
    sl_model_shape shape = open_good(&m);
    uint64_t bytes, whole = split_hash(&m, &shape, 0, &bytes);
    for (size_t i = 0; i < sl_gguf_n_tensors(m.gguf); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(m.gguf, i);
        uint8_t *byte = m.bytes + ((const uint8_t *)t->data - m.bytes) + t->data_bytes - 1;
        *byte ^= 1;
        assert_true(split_hash(&m, &shape, 5, &bytes) != whole);
        *byte ^= 1;
    }
    const sl_gguf_tensor *a = sl_gguf_find(m.gguf, "blk.0.ffn_up.weight");
    const sl_gguf_tensor *b = sl_gguf_find(m.gguf, "blk.1.ffn_up.weight");
    uint8_t *pa = m.bytes + ((const uint8_t *)a->data - m.bytes);
    uint8_t *pb = m.bytes + ((const uint8_t *)b->data - m.bytes);
    for (size_t i = 0; i < a->data_bytes; i++) {
        uint8_t swap = pa[i];
        pa[i] = pb[i], pb[i] = swap;
    }
    assert_true(split_hash(&m, &shape, 0, &bytes) != whole);
    model_close(&m);

    m = make(SYNTH_UNTIED, NULL, NULL);
    gguf_after(m.bytes, m.n_bytes, "llama.context_length")[4] ^= 1;
    shape = open_good(&m);
    assert_true(split_hash(&m, &shape, 0, &bytes) != whole);
    model_close(&m);
}

/* ---- tensors that are not as they should be ---- */

static void test_missing(void **state)
{
    (void)state;
    char(*names)[64];
    size_t n = tensor_names(SYNTH_UNTIED, &names);
    assert_int_equal(n, LAYERS * 9 + 3);
    for (size_t i = 0; i < n; i++) {
        model m = make(SYNTH_UNTIED, NULL, NULL);
        gguf_name(m.bytes, m.n_bytes, names[i])[strlen(names[i]) - 1] = 'x';
        /* without its head it is a tied model with a tensor too many */
        bool head = strcmp(names[i], "output.weight") == 0;
        check_refused(&m, head ? SL_ERR_UNSUPPORTED : SL_ERR_FORMAT,
                      head ? "output.weighx" : names[i]);
    }
    free(names);
}

static void test_misshapen(void **state)
{
    (void)state;
    char(*names)[64];
    size_t n = tensor_names(SYNTH_UNTIED, &names);
    for (size_t i = 0; i < n; i++) {
        bool embedding = strcmp(names[i], "token_embd.weight") == 0;
        for (uint32_t dim = 0; dim < 2; dim++) {
            model m = make(SYNTH_UNTIED, NULL, NULL);
            uint8_t *after = gguf_after(m.bytes, m.n_bytes, names[i]);
            if (dim == 1 && (after[0] == 1 || embedding)) { /* a vector; any vocabulary will do */
                model_close(&m);
                continue;
            }
            gguf_set_u64(after + 4 + dim * 8, dim ? 16 : 32); /* less than it is: in the file */
            check_refused(&m, SL_ERR_FORMAT, names[i]);
        }
    }
    free(names);
}

static void test_types(void **state)
{
    (void)state;
    char(*names)[64];
    size_t n = tensor_names(SYNTH_UNTIED, &names);
    for (size_t i = 0; i < n; i++) {
        model m = make(SYNTH_UNTIED, NULL, NULL);
        uint8_t *after = gguf_after(m.bytes, m.n_bytes, names[i]);
        uint32_t n_dims = after[0];
        gguf_set_u32(after + 4 + n_dims * 8, n_dims == 1 ? SL_TYPE_F16 : 12); /* q4_k */
        check_refused(&m, SL_ERR_UNSUPPORTED, names[i]);
    }
    free(names);
}

static void add_tensor(gguf_writer *w, const char *name)
{
    static const float zeros[WIDTH];
    gguf_put_tensor(w, name, SL_TYPE_F32, (const uint64_t[]){WIDTH}, 1, zeros, sizeof zeros);
}

/* Biases, rope tables, layers beyond the last, and names that only look like known ones. */
static void test_unknown(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.attn_q.bias",           "rope_freqs.weight",
                                        "blk.4.attn_q.weight",         "blk.00.attn_q.weight",
                                        "blk.+1.attn_q.weight",        "blk. 1.ffn_up.weight",
                                        "blk.0.attn_q.weight x",       "blk.0.attn_q.weightx",
                                        "output_norm.weight2",         "token_embd",
                                        "blk.0.attn_q.weight.x",       "",
                                        "blk.4294967296.attn_q.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int tie = SYNTH_TIED; tie <= SYNTH_UNTIED; tie++) {
            model m = make((synth_tie)tie, add_tensor, names[i]);
            check_refused(&m, SL_ERR_UNSUPPORTED, names[i]);
        }
    }
}

/* ---- keys ---- */

static void add_text_scaling(gguf_writer *w, const char *what)
{
    gguf_put_string(w, "llama.rope.scaling.type", what);
}

static void add_u32(gguf_writer *w, const char *key) { gguf_put_u32(w, key, 8); }

static void test_unsupported_keys(void **state)
{
    (void)state;
    model m = make(SYNTH_TIED, add_text_scaling, "yarn");
    check_refused(&m, SL_ERR_UNSUPPORTED, "'yarn'");
    m = make(SYNTH_TIED, add_text_scaling, "");
    check_refused(&m, SL_ERR_UNSUPPORTED, "rope scaling");
    m = make(SYNTH_TIED, add_text_scaling, "none");
    open_good(&m);
    model_close(&m);
    m = make(SYNTH_TIED, add_u32, "llama.expert_count");
    check_refused(&m, SL_ERR_UNSUPPORTED, "llama.expert_count");
    m = make(SYNTH_TIED, add_u32, "llama.attention.sliding_window");
    check_refused(&m, SL_ERR_UNSUPPORTED, "llama.attention.sliding_window");
    m = make(SYNTH_TIED, NULL, NULL);
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "llama.attention.value_length") + 4, 32);
    check_refused(&m, SL_ERR_UNSUPPORTED, "llama.attention.value_length");
    m = make(SYNTH_TIED, NULL, NULL);
    memcpy(gguf_after(m.bytes, m.n_bytes, "general.architecture") + 12, "bloom", 5);
    check_refused(&m, SL_ERR_UNSUPPORTED, "'bloom'");
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
        model m = make(SYNTH_TIED, NULL, NULL);
        *gguf_name(m.bytes, m.n_bytes, keys[i]) = 'x';
        check_refused(&m, SL_ERR_FORMAT, keys[i]);
    }
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
        {"llama.rope.dimension_count", 3, SL_ERR_UNSUPPORTED, "rope 3"},
        {"llama.rope.dimension_count", 18, SL_ERR_FORMAT, "llama.rope.dimension_count"},
        {"llama.rope.freq_base", 0xbf800000, SL_ERR_FORMAT, "rope base -1"},
        {"llama.rope.freq_base", 0x7fc00000, SL_ERR_FORMAT, "rope base nan"},
        {"llama.rope.freq_base", 0x7f800000, SL_ERR_FORMAT, "rope base inf"},
        {"llama.attention.layer_norm_rms_epsilon", 0xbf800000, SL_ERR_FORMAT, "epsilon -1"},
        {"llama.attention.layer_norm_rms_epsilon", 0x7f800000, SL_ERR_FORMAT, "epsilon inf"},
    };
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        model m = make(SYNTH_TIED, NULL, NULL);
        gguf_set_u32(gguf_after(m.bytes, m.n_bytes, wild[i].key) + 4, wild[i].value);
        check_refused(&m, wild[i].status, wild[i].named);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),         cmocka_unit_test(test_shape_defaults),
        cmocka_unit_test(test_bind),          cmocka_unit_test(test_splits),
        cmocka_unit_test(test_hash_sees_all), cmocka_unit_test(test_missing),
        cmocka_unit_test(test_misshapen),     cmocka_unit_test(test_types),
        cmocka_unit_test(test_unknown),       cmocka_unit_test(test_unsupported_keys),
        cmocka_unit_test(test_missing_keys),  cmocka_unit_test(test_wild_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
