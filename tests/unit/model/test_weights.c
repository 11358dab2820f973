/* tests/unit/model/test_weights.c - the weights of synthetic models, bound, loaded and hashed for
 * every split into stages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/weights_models.h"

/* The file's matrix, in its rows, and one that was loaded give the same numbers. */
static void check_matrix(const sl_gguf *gguf, const sl_matrix *w, const char *name, size_t n_out,
                         size_t n_in)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    assert_non_null(t);
    assert_true(w->type == t->type && w->n_out == n_out && w->n_in == n_in);
    assert_int_equal(w->row_bytes * n_out, t->data_bytes);
    sl_matrix of_file = *w;
    of_file.data = t->data;
    of_file.packed = false;
    float wanted[FFN], found[FFN];
    for (size_t row = 0; row < n_out; row++) {
        sl_matrix_row(&of_file, row, wanted);
        sl_matrix_row(w, row, found);
        assert_memory_equal(found, wanted, n_in * sizeof *found);
    }
}

/* It is f32 once loaded, whatever it is in the file. */
static void check_vector(const sl_gguf *gguf, const float *found, const char *name)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    if (!t || !found || (const void *)found == t->data) {
        fail_msg("%s: not loaded", name);
        return;
    }
    for (size_t i = 0; i < t->dims[0]; i++) {
        float wanted;
        if (t->type == SL_TYPE_F32)
            memcpy(&wanted, (const uint8_t *)t->data + i * sizeof wanted, sizeof wanted);
        else {
            uint16_t half;
            memcpy(&half, (const uint8_t *)t->data + i * sizeof half, sizeof half);
            wanted = t->type == SL_TYPE_F16 ? sl_f16_to_f32(half) : sl_bf16_to_f32(half);
        }
        assert_true(found[i] == wanted);
    }
}

/* The weights of layers [begin, end), bound and loaded; they last until the next load. `sums` takes
 * the sums of what was read. */
static sl_weights load(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t begin,
                       uint32_t end, sl_sums *sums)
{
    static _Alignas(64) uint8_t storage[1 << 20];
    sl_arena counting, arena;
    sl_weights weights, counted;
    sl_arena_init(&counting, NULL, 0);
    sl_weights_bind(gguf, shape, begin, end, &counting, &counted);
    assert_true(counting.used_bytes <= sizeof storage);
    size_t list = ((end - begin) * sizeof *weights.layers + 63) / 64 * 64;
    assert_int_equal(sl_weights_held_bytes(gguf, shape, begin, end), counting.used_bytes - list);
    sl_arena_init(&arena, storage, sizeof storage);
    sl_weights_bind(gguf, shape, begin, end, &arena, &weights);
    assert_int_equal(arena.used_bytes, counting.used_bytes);
    assert_true(!weights.embedding.data == !counted.embedding.data &&
                !weights.head.data == !counted.head.data);
    sl_team *team;
    assert_int_equal(sl_team_open(&(sl_team_options){.threads = 1}, &team), SL_OK);
    assert_int_equal(sl_weights_load(gguf, &weights, team, sums), SL_OK);
    sl_team_close(team);
    return weights;
}

static sl_weights load_quietly(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t begin,
                               uint32_t end)
{
    sl_sums sums;
    assert_int_equal(sl_sums_init(gguf, shape->n_layers, &sums), SL_OK);
    sl_weights weights = load(gguf, shape, begin, end, &sums);
    sl_sums_fini(&sums);
    return weights;
}

static void test_load(void **state)
{
    (void)state;
    for (int tie = SYNTH_TIED; tie <= SYNTH_UNTIED; tie++) {
        model m = model_make((synth_tie)tie, NULL, NULL);
        sl_model_shape s = model_open(&m);
        sl_weights all = load_quietly(m.gguf, &s, 0, LAYERS);
        const char *head = tie == SYNTH_TIED ? "token_embd.weight" : "output.weight";
        check_matrix(m.gguf, &all.embedding, "token_embd.weight", VOCAB, WIDTH);
        check_matrix(m.gguf, &all.head, head, VOCAB, WIDTH);
        check_vector(m.gguf, all.output_norm, "output_norm.weight");
        assert_int_equal(all.embedding.data == all.head.data, tie == SYNTH_TIED);

        sl_weights middle = load_quietly(m.gguf, &s, 1, 3);
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
        check_vector(m.gguf, second->attn_norm, "blk.2.attn_norm.weight");
        check_vector(m.gguf, second->ffn_norm, "blk.2.ffn_norm.weight");
        sl_weights first = load_quietly(m.gguf, &s, 0, 1); /* its embedding is in rows */
        check_matrix(m.gguf, &first.embedding, "token_embd.weight", VOCAB, WIDTH);
        assert_true(!first.embedding.packed && !first.head.data);
        model_close(&m);
    }
}

/* What may be there is loaded on every stage that needs it, or NULL. */
static void test_load_optional(void **state)
{
    (void)state;
    model m = model_make_full();
    sl_model_shape s = model_open(&m);
    for (uint32_t begin = 0; begin < LAYERS; begin++) {
        sl_weights w = load_quietly(m.gguf, &s, begin, LAYERS);
        const sl_layer_weights *last = &w.layers[LAYERS - 1 - begin];
        check_vector(m.gguf, w.rope_freqs, "rope_freqs.weight");
        check_vector(m.gguf, last->q_bias, "blk.3.attn_q.bias");
        check_vector(m.gguf, last->k_bias, "blk.3.attn_k.bias");
        check_vector(m.gguf, last->v_bias, "blk.3.attn_v.bias");
        check_vector(m.gguf, last->o_bias, "blk.3.attn_output.bias");
        check_vector(m.gguf, last->gate_bias, "blk.3.ffn_gate.bias");
        check_vector(m.gguf, last->up_bias, "blk.3.ffn_up.bias");
        check_vector(m.gguf, last->down_bias, "blk.3.ffn_down.bias");
    }
    model_close(&m);

    m = model_make(SYNTH_TIED, NULL, NULL);
    s = model_open(&m);
    sl_weights w = load_quietly(m.gguf, &s, 0, LAYERS);
    const sl_layer_weights *l = w.layers;
    assert_null(w.rope_freqs);
    assert_true(!l->q_bias && !l->k_bias && !l->v_bias && !l->o_bias);
    assert_true(!l->gate_bias && !l->up_bias && !l->down_bias);
    assert_true(!l->q_norm && !l->k_norm && !l->attn_post_norm && !l->ffn_post_norm);
    model_close(&m);
}

/* Norms are loaded where the architecture has them. */
static void test_load_norms(void **state)
{
    (void)state;
    synth_shape shape = synth_shape_default();
    shape.architecture = "gemma3";
    model m = model_make_of(&shape);
    sl_model_shape s = model_open(&m);
    sl_weights w = load_quietly(m.gguf, &s, 1, LAYERS);
    check_vector(m.gguf, w.layers[2].q_norm, "blk.3.attn_q_norm.weight");
    check_vector(m.gguf, w.layers[2].k_norm, "blk.3.attn_k_norm.weight");
    check_vector(m.gguf, w.layers[2].attn_post_norm, "blk.3.post_attention_norm.weight");
    check_vector(m.gguf, w.layers[2].ffn_post_norm, "blk.3.post_ffw_norm.weight");
    model_close(&m);
}

/* Every norm and bias, and the divisors of rope, in 16 bits. */
static void test_load_vector_types(void **state)
{
    (void)state;
    static const char *const architectures[] = {"llama", "gemma3"};
    static const uint32_t types[] = {SL_TYPE_F16, SL_TYPE_BF16};
    size_t n_checked = 0;
    for (int i = 0; i < 4; i++) {
        synth_shape shape = synth_shape_default();
        shape.architecture = architectures[i / 2];
        shape.vector_type = types[i % 2];
        if (i / 2 == 0) shape.bias = SYNTH_BIASED, shape.rope.freqs = true;
        model m = model_make_of(&shape);
        sl_model_shape s = model_open(&m);
        sl_weights w = load_quietly(m.gguf, &s, 0, LAYERS);
        check_vector(m.gguf, w.output_norm, "output_norm.weight");
        if (shape.rope.freqs) check_vector(m.gguf, w.rope_freqs, "rope_freqs.weight");
        assert_int_equal(sl_gguf_find(m.gguf, "output_norm.weight")->type, types[i % 2]);
        for (size_t k = 0; k < SL_LAYER_TENSORS; k++) {
            const sl_layer_tensor *tensor = &sl_layer_tensors[k];
            char name[64];
            snprintf(name, sizeof name, "blk.3.%s", tensor->suffix);
            if (tensor->out != SL_DIM_NONE || !sl_gguf_find(m.gguf, name)) continue;
            const char *place = (const char *)&w.layers[3] + tensor->offset;
            check_vector(m.gguf, *(const float *const *)(const void *)place, name);
            n_checked++;
        }
        model_close(&m);
    }
    assert_int_equal(n_checked, 2 * (9 + 6));
}

/* In 16 bits, too, each divisor is looked at. */
static void test_wrong_divisors(void **state)
{
    (void)state;
    synth_shape shape = synth_shape_default();
    shape.rope.freqs = true;
    shape.vector_type = SL_TYPE_F16;
    model m = model_make_of(&shape);
    model_open(&m);
    uint8_t *last = (uint8_t *)(uintptr_t)sl_gguf_find(m.gguf, "rope_freqs.weight")->data +
                    (HEAD_DIM / 2 - 1) * sizeof(uint16_t);
    sl_gguf_close(m.gguf);
    memset(last, 0, sizeof(uint16_t));
    check_refused(&m, SL_ERR_FORMAT, "divides frequency 7 by 0");
}

/* Each layer has the biases the file gives it, and no other's. */
static void test_one_bias(void **state)
{
    (void)state;
    model m = model_make(SYNTH_TIED, add_vector, "blk.2.ffn_down.bias");
    sl_model_shape s = model_open(&m);
    sl_weights w = load_quietly(m.gguf, &s, 0, LAYERS);
    for (uint32_t i = 0; i < LAYERS; i++) assert_true((w.layers[i].down_bias != NULL) == (i == 2));
    assert_int_equal(sl_weights_layer_bytes(m.gguf, 2),
                     sl_weights_layer_bytes(m.gguf, 1) + WIDTH * sizeof(float));
    model_close(&m);
}

/* Bit i of `cuts`: a stage ends after layer i. Each group's sum is what the whole file's is. */
static uint64_t split_hash(const model *m, const sl_model_shape *shape, uint32_t cuts,
                           uint64_t *bytes_out)
{
    uint64_t sum = 0;
    sl_sums whole;
    *bytes_out = 0;
    assert_int_equal(sl_sums_whole(m->gguf, LAYERS, &whole), SL_OK);
    for (uint32_t begin = 0, end = 1; end <= LAYERS; end++) {
        if (end < LAYERS && !(cuts >> (end - 1) & 1)) continue;
        sl_sums sums;
        assert_int_equal(sl_sums_init(m->gguf, LAYERS, &sums), SL_OK);
        sl_weights weights = load(m->gguf, shape, begin, end, &sums);
        for (uint32_t i = 0; i < sums.n; i++)
            assert_int_equal(sums.sums[i], sums.known[i] ? whole.sums[i] : 0);
        for (uint32_t i = 0; i < LAYERS; i++)
            assert_int_equal(sums.known[SL_SUM_LAYERS + i], i >= begin && i < end);
        sum += sl_weights_hash_share(&weights, &sums);
        *bytes_out += sl_weights_bytes(m->gguf, shape, begin, end);
        sl_sums_fini(&sums);
        begin = end;
    }
    assert_int_equal(sum, sl_sums_model(&whole));
    sl_sums_fini(&whole);
    return sum;
}

static void test_splits(void **state)
{
    (void)state;
    for (int tie = SYNTH_TIED; tie <= SYNTH_UNTIED; tie++) {
        model m = model_make((synth_tie)tie, NULL, NULL);
        sl_model_shape shape = model_open(&m);
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

/* Every stage uses rope_freqs; one of them hashes it. */
static void test_splits_full(void **state)
{
    (void)state;
    model m = model_make_full();
    sl_model_shape shape = model_open(&m);
    uint64_t in_file = 0, bytes, freqs = sl_gguf_find(m.gguf, "rope_freqs.weight")->data_bytes;
    for (size_t i = 0; i < sl_gguf_n_tensors(m.gguf); i++)
        in_file += sl_gguf_tensor_at(m.gguf, i)->data_bytes;
    uint64_t whole = split_hash(&m, &shape, 0, &bytes);
    assert_int_equal(bytes, in_file);
    for (uint32_t cuts = 1; cuts < 1u << (LAYERS - 1); cuts++) {
        assert_int_equal(split_hash(&m, &shape, cuts, &bytes), whole);
        assert_int_equal(bytes, in_file + (uint64_t)__builtin_popcount(cuts) * freqs);
    }
    model_close(&m);
}

/* One byte of any tensor, or of the header, is another model; so are two tensors swapped. */
static void test_hash_sees_all(void **state)
{
    (void)state;
    model m = model_make_full();
    sl_model_shape shape = model_open(&m);
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

    m = model_make(SYNTH_UNTIED, NULL, NULL);
    gguf_after(m.bytes, m.n_bytes, "llama.context_length")[4] ^= 1;
    shape = model_open(&m);
    assert_true(split_hash(&m, &shape, 0, &bytes) != whole);
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),           cmocka_unit_test(test_load_optional),
        cmocka_unit_test(test_load_norms),     cmocka_unit_test(test_load_vector_types),
        cmocka_unit_test(test_wrong_divisors), cmocka_unit_test(test_one_bias),
        cmocka_unit_test(test_splits),         cmocka_unit_test(test_splits_full),
        cmocka_unit_test(test_hash_sees_all),
    };
    int failed = cmocka_run_group_tests_name("weights", tests, NULL, NULL);
    failed += weights_tensors_tests();
    failed += weights_keys_tests();
    failed += weights_architectures_tests();
    return failed;
}
