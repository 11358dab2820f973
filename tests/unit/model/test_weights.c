/* tests/unit/model/test_weights.c - which tensor is what, over synthetic models: read, bound and
 * hashed for every split; anything missing, misshapen, unknown or unsupported is refused by
 * name. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

typedef void (*add_more)(sl_gguf_writer *w, const char *what);

static model make(synth_tie tie, add_more add, const char *what)
{
    synth_shape shape = synth_shape_default();
    shape.tie = tie;
    sl_gguf_writer w = {0};
    synth_gguf_put(&shape, &w);
    if (add) add(&w, what);
    model m = {0};
    m.bytes = sl_gguf_writer_encode(&w, &m.n_bytes);
    sl_gguf_writer_fini(&w);
    return m;
}

/* With every optional tensor, and an own head. */
static model make_full(void)
{
    synth_shape shape = synth_shape_default();
    shape.tie = SYNTH_UNTIED;
    shape.bias = SYNTH_BIASED;
    shape.rope.freqs = true;
    sl_gguf_writer w = {0};
    synth_gguf_put(&shape, &w);
    model m = {0};
    m.bytes = sl_gguf_writer_encode(&w, &m.n_bytes);
    sl_gguf_writer_fini(&w);
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

/* Every tensor name of the full model, from the file itself. */
static size_t tensor_names(char (**names_out)[64])
{
    model m = make_full();
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
        assert_true(s.rope.dim == HEAD_DIM && s.context == 2048 && s.vocab == VOCAB);
        assert_true(s.rope.base == 10000 && s.rms_eps == 1e-5F && s.tied == (tie == SYNTH_TIED));
        model_close(&m);
    }
}

/* KV heads, head size and rope have defaults. */
static void test_shape_defaults(void **state)
{
    (void)state;
    synth_shape shape = synth_shape_default();
    shape.kv_heads = shape.heads;
    sl_gguf_writer w = {0};
    synth_gguf_put(&shape, &w);
    model m = {0};
    m.bytes = sl_gguf_writer_encode(&w, &m.n_bytes);
    sl_gguf_writer_fini(&w);
    static const char *const keys[] = {"llama.attention.head_count_kv",
                                       "llama.attention.key_length", "llama.rope.dimension_count",
                                       "llama.rope.freq_base"};
    for (int i = 0; i < 4; i++) *gguf_name(m.bytes, m.n_bytes, keys[i]) = 'x';
    sl_model_shape s = open_good(&m);
    assert_true(s.n_kv_heads == HEADS && s.head_dim == HEAD_DIM && s.rope.dim == HEAD_DIM);
    assert_true(s.rope.base == 10000);
    model_close(&m);
}

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

static void check_vector(const sl_gguf *gguf, const float *found, const char *name)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    assert_true(t && found && (const void *)found != t->data);
    assert_memory_equal(found, t->data, t->data_bytes);
}

/* Bound and loaded; `sums` are told what there was. Nothing points into the file. */
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
        model m = make((synth_tie)tie, NULL, NULL);
        sl_model_shape s = open_good(&m);
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

static const void *data_of(const sl_gguf *gguf, const char *name)
{
    const sl_gguf_tensor *t = sl_gguf_find(gguf, name);
    assert_non_null(t);
    return t->data;
}

/* What may be there is loaded on every stage that needs it, or NULL. */
static void test_load_optional(void **state)
{
    (void)state;
    model m = make_full();
    sl_model_shape s = open_good(&m);
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

    m = make(SYNTH_TIED, NULL, NULL);
    s = open_good(&m);
    sl_weights w = load_quietly(m.gguf, &s, 0, LAYERS);
    const sl_layer_weights *l = w.layers;
    assert_null(w.rope_freqs);
    assert_true(!l->q_bias && !l->k_bias && !l->v_bias && !l->o_bias);
    assert_true(!l->gate_bias && !l->up_bias && !l->down_bias);
    model_close(&m);
}

/* Each layer has the biases the file gives it, and no other's. */
static void add_one_bias(sl_gguf_writer *w, const char *name)
{
    static const float zeros[WIDTH];
    sl_gguf_put_tensor(w, name, SL_TYPE_F32, (const uint64_t[]){WIDTH}, 1, zeros, sizeof zeros);
}

static void test_one_bias(void **state)
{
    (void)state;
    model m = make(SYNTH_TIED, add_one_bias, "blk.2.ffn_down.bias");
    sl_model_shape s = open_good(&m);
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

/* Every stage uses rope_freqs; one of them hashes it. */
static void test_splits_full(void **state)
{
    (void)state;
    model m = make_full();
    sl_model_shape shape = open_good(&m);
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
    model m = make_full();
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
    size_t n = tensor_names(&names);
    assert_int_equal(n, LAYERS * 16 + 4);
    for (size_t i = 0; i < n; i++) {
        model m = make_full();
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
            model m = make_full();
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
        model m = make_full();
        uint8_t *after = gguf_after(m.bytes, m.n_bytes, names[i]);
        uint32_t n_dims = after[0];
        gguf_set_u32(after + 4 + n_dims * 8, n_dims == 1 ? SL_TYPE_F16 : 12); /* q4_k */
        check_refused(&m, SL_ERR_UNSUPPORTED, names[i]);
    }
    free(names);
}

static void add_tensor(sl_gguf_writer *w, const char *name)
{
    static const float zeros[WIDTH];
    sl_gguf_put_tensor(w, name, SL_TYPE_F32, (const uint64_t[]){WIDTH}, 1, zeros, sizeof zeros);
}

/* Every type of matrix there are kernels for, wherever a matrix may be; the message lists them. */
static void test_matrix_types(void **state)
{
    (void)state;
    static const uint32_t types[] = {SYNTH_F32,  SYNTH_F16,  SYNTH_BF16,
                                     SYNTH_Q8_0, SYNTH_Q4_1, SYNTH_Q4_0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        synth_shape shape = synth_shape_default();
        shape.attention_type = shape.ffn_type = shape.head_type = types[i];
        shape.tie = SYNTH_UNTIED;
        sl_gguf_writer w = {0};
        synth_gguf_put(&shape, &w);
        model m = {0};
        m.bytes = sl_gguf_writer_encode(&w, &m.n_bytes);
        sl_gguf_writer_fini(&w);
        open_good(&m);
        assert_int_equal(sl_gguf_find(m.gguf, "output.weight")->type, types[i]);
        model_close(&m);
    }
    model m = make(SYNTH_UNTIED, NULL, NULL);
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "blk.1.ffn_up.weight") + 20, 12);
    check_refused(
        &m, SL_ERR_UNSUPPORTED,
        "blk.1.ffn_up.weight is of type q4_k, supported here: f32, f16, bf16, q8_0, q4_1, "
        "q4_0");
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
            model m = make((synth_tie)tie, add_tensor, names[i]);
            check_refused(&m, SL_ERR_UNSUPPORTED, names[i]);
        }
    }
}

/* ---- keys ---- */

/* A model whose keys say more; each text is a llama.rope.scaling.type. */
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
static void add_false(sl_gguf_writer *w, const char *key) { sl_gguf_put_bool(w, key, false); }

/* What would change the arithmetic is refused by its key; what would not, is not. */
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
    static const add_more values[] = {add_u32, add_real, add_nan, add_text};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            model m = make(SYNTH_TIED, values[k], keys[i]);
            check_refused(&m, SL_ERR_UNSUPPORTED, keys[i]);
        }
        if (strstr(keys[i], "yarn_attn_factor")) continue;
        model m = make(SYNTH_TIED, add_zero, keys[i]);
        open_good(&m);
        model_close(&m);
    }
    model m = make(SYNTH_TIED, add_u32, "split.count");
    check_refused(&m, SL_ERR_UNSUPPORTED, "one of the 8 files of a split model");
    m = make(SYNTH_TIED, add_false, "llama.attention.causal");
    check_refused(&m, SL_ERR_UNSUPPORTED, "llama.attention.causal");
    m = make(SYNTH_TIED, NULL, NULL);
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "llama.attention.value_length") + 4, 32);
    check_refused(&m, SL_ERR_UNSUPPORTED, "llama.attention.value_length");
    m = make(SYNTH_TIED, NULL, NULL);
    memcpy(gguf_after(m.bytes, m.n_bytes, "general.architecture") + 12, "bloom", 5);
    check_refused(&m, SL_ERR_UNSUPPORTED, "'bloom'");
}

/* ---- rope ---- */

static model make_rope(const synth_rope *rope)
{
    synth_shape shape = synth_shape_default();
    shape.rope = *rope;
    sl_gguf_writer w = {0};
    synth_gguf_put(&shape, &w);
    model m = {0};
    m.bytes = sl_gguf_writer_encode(&w, &m.n_bytes);
    sl_gguf_writer_fini(&w);
    return m;
}

static sl_rope rope_of(model m)
{
    sl_rope rope = open_good(&m).rope;
    model_close(&m);
    return rope;
}

/* As llama.cpp reads them: a factor alone is linear, 0 is none, YaRN's old context is the trained
 * one unless said. */
static void test_rope_keys(void **state)
{
    (void)state;
    sl_rope r = rope_of(make(SYNTH_TIED, NULL, NULL));
    assert_true(r.scaling == SL_ROPE_LINEAR && r.factor == 1 && r.magnitude == 1);
    r = rope_of(make_rope(&(synth_rope){.factor = 4}));
    assert_true(r.scaling == SL_ROPE_LINEAR && r.factor == 4);
    r = rope_of(make(SYNTH_TIED, add_u32, "llama.rope.scale_linear"));
    assert_true(r.scaling == SL_ROPE_LINEAR && r.factor == 8);
    r = rope_of(make(SYNTH_TIED, add_zero, "llama.rope.scaling.factor"));
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
    r = rope_of(make(SYNTH_TIED, add_real, "llama.rope.scaling.attn_factor"));
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
        rope_of(make(SYNTH_TIED, add_yarn_with, "llama.rope.scaling.yarn_beta_fast")).fast == 0.5F);
    assert_true(
        rope_of(make(SYNTH_TIED, add_yarn_with, "llama.rope.scaling.yarn_beta_slow")).slow == 0.5F);
    assert_true(rope_of(make(SYNTH_TIED, add_yarn_with, "llama.rope.scaling.yarn_ext_factor"))
                    .extrapolated == 0.5F);
    static const char *const keys[] = {"llama.rope.scaling.yarn_beta_fast",
                                       "llama.rope.scaling.yarn_beta_slow",
                                       "llama.rope.scaling.yarn_ext_factor"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        model m = make(SYNTH_TIED, add_bad_yarn, keys[i]);
        check_refused(&m, SL_ERR_FORMAT, keys[i]);
    }
}

static void test_rope_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"longrope", "dynamic", "YARN", "yarn ", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        model m = make(SYNTH_TIED, add_text_scaling, names[i]);
        char named[64];
        snprintf(named, sizeof named, "rope scaling '%s' is not supported", names[i]);
        check_refused(&m, SL_ERR_UNSUPPORTED, named);
    }
    model m = make(SYNTH_TIED, add_u32, "llama.rope.scaling.type");
    check_refused(&m, SL_ERR_FORMAT, "llama.rope.scaling.type");

    static const char *const numbers[] = {"llama.rope.scaling.factor", "llama.rope.scale_linear",
                                          "llama.rope.scaling.attn_factor"};
    static const add_more values[] = {add_negative, add_nan, add_text};
    for (size_t i = 0; i < 9; i++) {
        m = make(SYNTH_TIED, values[i % 3], numbers[i / 3]);
        check_refused(&m, SL_ERR_FORMAT, numbers[i / 3]);
    }
    m = make(SYNTH_TIED, add_zero, "llama.rope.scaling.original_context_length");
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

/* They are divided by. */
static void test_rope_freqs_values(void **state)
{
    (void)state;
    static const float bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        model m = make_full();
        open_good(&m);
        size_t at = (size_t)((const uint8_t *)data_of(m.gguf, "rope_freqs.weight") - m.bytes);
        sl_gguf_close(m.gguf);
        memcpy(m.bytes + at + 3 * sizeof(float), &bad[i], sizeof bad[i]);
        check_refused(&m, SL_ERR_FORMAT, "divides frequency 3");
    }
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
/* A key nobody reads, a key of another scaling, and a key of another kind than it should be. */
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
        {add_text, "split.count", SL_ERR_FORMAT},
        {add_zero, "llama.attention.causal", SL_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        model m = make(SYNTH_TIED, rows[i].add, rows[i].key);
        check_refused(&m, rows[i].status, rows[i].key);
    }
    model m = make(SYNTH_TIED, add_u32, "llama.expert_used_count"); /* of no experts */
    open_good(&m);
    model_close(&m);
    m = make(SYNTH_TIED, add_u32, "mistral.attention.temperature_scale"); /* another's */
    open_good(&m);
    model_close(&m);

    m = make(SYNTH_TIED, NULL, NULL);
    gguf_set_u32(gguf_after(m.bytes, m.n_bytes, "llama.attention.value_length"), 6); /* a float */
    check_refused(&m, SL_ERR_FORMAT, "llama.attention.value_length");

    m = make(SYNTH_TIED, NULL, NULL); /* a base written as an integer */
    uint8_t *base = gguf_after(m.bytes, m.n_bytes, "llama.rope.freq_base");
    gguf_set_u32(base, 4);
    gguf_set_u32(base + 4, 1000000);
    assert_true(open_good(&m).rope.base == 1e6F);
    model_close(&m);
}

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
        {"llama.rope.freq_base", 0xbf800000, SL_ERR_FORMAT, "freq_base is -1"},
        {"llama.rope.freq_base", 0x7fc00000, SL_ERR_FORMAT, "freq_base is nan"},
        {"llama.rope.freq_base", 0x7f800000, SL_ERR_FORMAT, "freq_base is inf"},
        {"llama.rope.freq_base", 0, SL_ERR_FORMAT, "rope base 0"},
        {"llama.attention.layer_norm_rms_epsilon", 0xbf800000, SL_ERR_FORMAT, "epsilon is -1"},
        {"llama.attention.layer_norm_rms_epsilon", 0x7f800000, SL_ERR_FORMAT, "epsilon is inf"},
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
        cmocka_unit_test(test_shape),        cmocka_unit_test(test_shape_defaults),
        cmocka_unit_test(test_load),         cmocka_unit_test(test_load_optional),
        cmocka_unit_test(test_one_bias),     cmocka_unit_test(test_splits),
        cmocka_unit_test(test_splits_full),  cmocka_unit_test(test_hash_sees_all),
        cmocka_unit_test(test_missing),      cmocka_unit_test(test_misshapen),
        cmocka_unit_test(test_types),        cmocka_unit_test(test_matrix_types),
        cmocka_unit_test(test_unknown),      cmocka_unit_test(test_unsupported_keys),
        cmocka_unit_test(test_rope_keys),    cmocka_unit_test(test_yarn_keys),
        cmocka_unit_test(test_rope_refused), cmocka_unit_test(test_rope_freqs_values),
        cmocka_unit_test(test_missing_keys), cmocka_unit_test(test_wild_numbers),
        cmocka_unit_test(test_unread_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
