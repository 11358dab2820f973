/* tests/unit/model/test_lora.c - LoRA adapters: what is written is read again, of every type; one
 * or several give W x + B A x as plain loops in double do, with every kernel set; what is wrong is
 * refused and named; bytes cut or changed anywhere never harm. */
#include <math.h>
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

#include "runtime/base/team.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"
#include "tests/support/capture.h"
#include "tests/support/gguf_patch.h"
#include "tests/support/made_lora.h"
#include "tests/support/synth_model.h"

enum { FILE_MAX = 1 << 20, ROWS = 11, LAYERS = 3 };

static synth_model model;
static sl_model_shape shape;
static made_lora made[2];
static char path[] = "/tmp/sluice-test-lora-XXXXXX", talk[1 << 14];
static const made_lora_options MIXED = {
    .seed = 1, .rank = 32, .type = MADE_LORA_MIXED, .maps = MADE_LORA_ALL, .strength = 1};
static const made_lora_options SMALL = {
    .seed = 2, .rank = 3, .type = SL_TYPE_F32, .maps = MADE_LORA_ATTENTION, .strength = 1};

static int open_model(void **state)
{
    (void)state;
    synth_shape s = synth_shape_default();
    s.layers = LAYERS;
    synth_model_open(&model, &s);
    int file = mkstemp(path);
    return file < 0 || close(file) != 0 || sl_model_shape_read(model.gguf, &shape) != SL_OK;
}

static int close_model(void **state)
{
    (void)state;
    synth_model_close(&model);
    return unlink(path);
}

/* The file's bytes, the caller's. */
static uint8_t *save(const made_lora_options *o, float alpha, size_t *n_out)
{
    made_lora_open(&made[0], o, &shape);
    assert_int_equal(sl_lora_file_write(path, "llama", alpha, made[0].updates, made[0].n), SL_OK);
    made_lora_close(&made[0]);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *bytes = aligned_alloc(64, FILE_MAX);
    *n_out = fread(bytes, 1, FILE_MAX, file);
    assert_true(*n_out > 0 && *n_out < FILE_MAX);
    fclose(file);
    return bytes;
}

/* ---- reading, loading ---- */

/* Layers [1, 3) in memory of their own. */
static void *load(const sl_lora *lora, sl_lora_weights *weights)
{
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_lora_bind(lora, &shape, 1, LAYERS, &arena, weights);
    size_t bytes = arena.used_bytes, counted = sizeof(sl_lora_layer) * (LAYERS - 1);
    for (uint32_t i = 1; i < LAYERS; i++) counted += sl_lora_layer_bytes(lora, &shape, i);
    assert_in_range(bytes, counted, counted + 64);
    void *storage = aligned_alloc(64, bytes);
    sl_arena_init(&arena, storage, bytes);
    sl_lora_bind(lora, &shape, 1, LAYERS, &arena, weights);
    assert_int_equal(arena.used_bytes, bytes);
    assert_int_equal(sl_lora_load(lora, weights), SL_OK);
    return storage;
}

static void add(sl_lora *lora, made_lora *m, const made_lora_options *o, float alpha, float scale)
{
    made_lora_open(m, o, &shape);
    assert_int_equal(sl_lora_file_write(path, "llama", alpha, m->updates, m->n), SL_OK);
    assert_int_equal(sl_lora_add(lora, path, scale, model.gguf, &shape), SL_OK);
}

/* Every number is where it belongs, times its factor. */
static void test_round_trip(void **state)
{
    (void)state;
    const float alphas[] = {16, 0}, factors[] = {0.5F * 16 / 32, 0.5F}; /* 0: no alpha / rank */
    for (int k = 0; k < 2; k++) {
        sl_lora lora = {.n = 0};
        sl_lora_weights w;
        add(&lora, &made[0], &MIXED, alphas[k], 0.5F);
        void *storage = load(&lora, &w);
        assert_int_equal(w.reduced_max, 3 * 32);
        for (size_t i = SL_LAYER_MAPS; i < made[0].n; i++) {
            const sl_lora_update *u = &made[0].updates[i];
            const sl_low_rank *low = &w.layers[u->layer - 1].maps[u->map];
            const float *a = low->a.data, *b = low->b.data;
            for (size_t n = 0; n < 32 * low->a.n_in; n++)
                assert_true(a[n] == made[0].values[2 * i][n]);
            for (size_t n = 0; n < low->b.n_out * 32; n++)
                assert_true(b[n] == made[0].values[2 * i + 1][n] * factors[k]);
        }
        free(storage);
        made_lora_close(&made[0]);
        sl_lora_close(&lora);
    }
}

static void test_hash(void **state)
{
    (void)state;
    static const struct {
        float alpha, scale;
        uint64_t seed;
    } rows[] = {{8, 1, 1}, {8, 2, 1}, {9, 1, 1}, {8, 1, 7}};
    uint64_t hashes[4];
    for (int i = 0; i < 4; i++) {
        sl_lora lora = {.n = 0};
        made_lora_options o = SMALL;
        o.seed = rows[i].seed;
        add(&lora, &made[0], &o, rows[i].alpha, rows[i].scale);
        made_lora_close(&made[0]);
        hashes[i] = sl_lora_hash(&lora);
        for (int k = 0; k < i; k++) assert_true(hashes[i] != hashes[k]);
        sl_lora_close(&lora);
    }
    assert_int_equal(sl_lora_hash(&(sl_lora){.n = 0}), 0);
}

/* ---- applying ---- */

typedef struct {
    const sl_kernels *kernels;
    const sl_activations *in;
    const sl_linear *map;
} application;

static void apply(void *context, sl_member me)
{
    const application *a = context;
    sl_linear_reduce(a->kernels, me, a->in, a->map, 1);
    sl_team_barrier(me);
    sl_linear_run(a->kernels, me, a->in, a->map, 1);
}

/* What an adapter adds to element j of one row. */
static double added(const made_lora *m, size_t update, size_t rank, size_t n_in, size_t j,
                    const float *x)
{
    double sum = 0;
    for (size_t r = 0; r < rank; r++) {
        double reduced = 0;
        for (size_t i = 0; i < n_in; i++)
            reduced += (double)m->values[2 * update][r * n_in + i] * (double)x[i];
        sum += reduced * (double)m->values[2 * update + 1][j * rank + r];
    }
    return sum;
}

/* The q map of layer 1 with both adapters, its own weights 0; rows as one frame, and alone. */
static void compare(const char *name, int threads, const sl_lora_weights *w, sl_team *team)
{
    enum { WIDTH_MAX = 128 };
    static uint8_t room[ROWS * WIDTH_MAX * 16] __attribute__((aligned(64)));
    static float zeros[WIDTH_MAX * WIDTH_MAX], out[ROWS * WIDTH_MAX], alone[WIDTH_MAX],
        reduced[ROWS * WIDTH_MAX];
    const sl_kernels *kernels = sl_kernels_named(name);
    const sl_low_rank *low = &w->layers[0].maps[SL_MAP_Q];
    size_t n_in = low->a.n_in, n_out = low->b.n_out;
    assert_true(n_in <= WIDTH_MAX && n_out <= WIDTH_MAX && low->a.n_out == 35);
    if (!kernels) return;
    seeded random = seeded_from(5);
    sl_arena arena;
    sl_arena_init(&arena, room, sizeof room);
    sl_activations in = sl_activations_take(&arena, ROWS, n_in), one = in;
    const float *x = in.x;
    for (size_t i = 0; i < ROWS * n_in; i++) in.x[i] = seeded_real(&random);
    sl_matrix plain = {.data = zeros,
                       .type = SL_TYPE_F32,
                       .n_in = n_in,
                       .n_out = n_out,
                       .row_bytes = n_in * sizeof *zeros};
    in.n_rows = ROWS;
    one.n_rows = 1;
    sl_linear map = {.matrix = &plain, .out = out, .low_rank = low, .reduced = reduced};
    sl_team_run(team, apply, &(application){kernels, &in, &map});
    for (size_t t = 0; t < ROWS; t++) {
        const float *row = x + t * n_in;
        for (size_t j = 0; j < n_out; j++) {
            double right = 0.5 * 24 / 32 * added(&made[0], SL_LAYER_MAPS, 32, n_in, j, row) -
                           2 * added(&made[1], 4, 3, n_in, j, row);
            if (fabs((double)out[t * n_out + j] - right) > 1e-5 * (1 + fabs(right)))
                fail_msg("%s, %d threads: row %zu, %zu: %.9g, expected %.9g", name, threads, t, j,
                         (double)out[t * n_out + j], right);
        }
        one.x = in.x + t * n_in;
        map.out = alone;
        sl_team_run(team, apply, &(application){kernels, &one, &map});
        assert_memory_equal(alone, out + t * n_out, n_out * sizeof *out); /* contract 1 */
    }
}

static void test_apply(void **state)
{
    (void)state;
    static const char *const SETS[] = {"ref", "avx2", "avx512", "amx", "amx-emulated"};
    sl_lora lora = {.n = 0};
    sl_lora_weights w;
    add(&lora, &made[0], &MIXED, 24, 0.5F);
    add(&lora, &made[1], &SMALL, 3, -2);
    void *storage = load(&lora, &w);
    assert_non_null(w.layers[0].maps[SL_MAP_UP].b.data);
    assert_int_equal(w.layers[0].maps[SL_MAP_UP].a.n_out, 32);
    for (int threads = 1; threads <= 3; threads++) {
        sl_team *team;
        assert_int_equal(sl_team_open(&(sl_team_options){.threads = threads}, &team), SL_OK);
        for (size_t k = 0; k < sizeof SETS / sizeof *SETS; k++) compare(SETS[k], threads, &w, team);
        sl_team_close(team);
    }
    free(storage);
    made_lora_close(&made[0]);
    made_lora_close(&made[1]);
    sl_lora_close(&lora);
}

/* ---- refusing ---- */

static sl_status read_bytes(const uint8_t *bytes, size_t n)
{
    sl_gguf *gguf;
    sl_lora_file *file;
    capture quiet;
    capture_begin(&quiet);
    sl_status status = sl_gguf_open_memory(bytes, n, "bytes", &gguf);
    if (status == SL_OK) {
        status = sl_lora_file_read(gguf, model.gguf, &shape, &file);
        if (status == SL_OK) sl_lora_file_close(file);
        sl_gguf_close(gguf);
    }
    capture_end(&quiet, talk, sizeof talk);
    return status;
}

static void expect(const uint8_t *bytes, size_t n, sl_status status, const char *said)
{
    sl_status found = read_bytes(bytes, n);
    if (found != status || !strstr(talk, said)) fail_msg("%s: %d, %s", said, (int)found, talk);
}

/* A text of the file becomes another of the same length, and then itself again. */
static void test_wrong_words(void **state)
{
    (void)state;
    static const struct {
        const char *word, *other, *said;
        sl_status status;
    } rows[] = {
        {"adapter", "another", "its general.type is 'another', not 'adapter'", SL_ERR_FORMAT},
        {"lora", "ia3_", "adapter.type is 'ia3_', supported is 'lora'", SL_ERR_UNSUPPORTED},
        {"llama", "qwen3", "for the architecture 'qwen3', the model synth has 'llama'",
         SL_ERR_FORMAT},
        {"adapter.lora.alpha", "adapter.lora.alphX", "key adapter.lora.alphX is not supported",
         SL_ERR_UNSUPPORTED},
        {"blk.1.attn_k.weight.lora_a", "blk.1.attn_z.weight.lora_a",
         "tensor blk.1.attn_z.weight.lora_a is not supported: an adapter changes blk.N.MAP.weight",
         SL_ERR_UNSUPPORTED},
        {"blk.1.attn_k.weight.lora_a", "blk.1.attn_norm.wei.lora_a", "attn_q, attn_k, attn_v",
         SL_ERR_UNSUPPORTED},
        {"blk.1.attn_k.weight.lora_a", "blk.3.attn_k.weight.lora_a", "N below 3",
         SL_ERR_UNSUPPORTED},
        {"blk.1.attn_k.weight.lora_a", "token_embd.weight.x.lora_a", "is not supported",
         SL_ERR_UNSUPPORTED},
        {"blk.1.attn_k.weight.lora_a", "blk.1.attn_k.weight.lora_c", "is not supported",
         SL_ERR_UNSUPPORTED},
        {"blk.1.attn_k.weight.lora_a", "blk.1.attn_q.weight.lora_a", "it is there twice",
         SL_ERR_FORMAT},
    };
    size_t n;
    uint8_t *bytes = save(&SMALL, 8, &n);
    expect(bytes, n, SL_OK, "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t *at = gguf_name(bytes, n, rows[i].word);
        assert_int_equal(strlen(rows[i].word), strlen(rows[i].other));
        memcpy(at, rows[i].other, strlen(rows[i].other));
        expect(bytes, n, rows[i].status, rows[i].said);
        memcpy(at, rows[i].word, strlen(rows[i].word));
    }
    free(bytes);
}

static void test_wrong_numbers(void **state)
{
    (void)state;
    size_t n;
    uint8_t *bytes = save(&SMALL, 8, &n);
    uint8_t *alpha = gguf_after(bytes, n, "adapter.lora.alpha") + 4;
    const uint32_t infinite[] = {0x7f800000, 0x7fc00000};
    for (int i = 0; i < 2; i++) {
        gguf_set_u32(alpha, infinite[i]);
        expect(bytes, n, SL_ERR_FORMAT, "adapter.lora.alpha is not a finite number");
    }
    gguf_set_u32(alpha, 0x41000000);
    uint8_t *a = gguf_after(bytes, n, "blk.2.attn_v.weight.lora_a") + 4,
            *b = gguf_after(bytes, n, "blk.2.attn_v.weight.lora_b") + 4;
    gguf_set_u64(a, 64);
    expect(bytes, n, SL_ERR_FORMAT, "lora_a is [1][3][64], expected [rank][96]");
    gguf_set_u64(a, 96);
    gguf_set_u64(b + 8, 31);
    expect(bytes, n, SL_ERR_FORMAT, "lora_b is [1][31][3], expected [32][rank]");
    gguf_set_u64(b + 8, 32);
    gguf_set_u64(b, 2);
    expect(bytes, n, SL_ERR_FORMAT,
           "blk.2.attn_v.weight.lora_a is of rank 3, blk.2.attn_v.weight.lora_b of rank 2");
    gguf_set_u64(b, 0);
    expect(bytes, n, SL_ERR_FORMAT, "blk.2.attn_v.weight.lora_b: its dimensions are zero");
    gguf_set_u64(b, 3);
    gguf_set_u32(b + 16, SL_TYPE_Q5_1);
    expect(bytes, n, SL_ERR_FORMAT, "its rows are not whole blocks");
    gguf_set_u32(a + 16, SL_TYPE_Q5_1);
    gguf_set_u32(b + 16, SL_TYPE_F32);
    expect(bytes, n, SL_ERR_UNSUPPORTED, "is of type q5_1, supported are f32, f16, bf16 and q8_0");
    gguf_set_u32(a + 16, SL_TYPE_F32);
    expect(bytes, n, SL_OK, "");
    free(bytes);
}

/* Files of other kinds, of half a pair, of nothing; scales that fit no float; too many. */
static void test_wrong_files(void **state)
{
    (void)state;
    sl_gguf_writer w = {0};
    size_t n;
    sl_gguf_put_string(&w, "general.architecture", "sluice.gate");
    uint8_t *gate = sl_gguf_writer_encode(&w, &n);
    expect(gate, n, SL_ERR_FORMAT, "is a gate file, no LoRA adapter: give it with -g");
    free(gate);
    sl_gguf_writer_fini(&w);

    made_lora_open(&made[0], &SMALL, &shape);
    assert_int_equal(sl_lora_file_write(path, "llama", 1e30F, made[0].updates, made[0].n), SL_OK);
    sl_lora lora = {.n = 0};
    capture quiet;
    capture_begin(&quiet);
    sl_status huge = sl_lora_add(&lora, path, 1e30F, model.gguf, &shape);
    sl_status none = sl_lora_file_write(path, "llama", 1, made[0].updates, 0);
    if (none == SL_OK) none = sl_lora_add(&lora, path, 1, model.gguf, &shape);
    sl_status gone = sl_lora_add(&lora, "/nowhere/lora.gguf", 1, model.gguf, &shape);
    sl_status many = sl_lora_file_write(path, "llama", 1, made[0].updates, made[0].n);
    for (int i = 0; many == SL_OK && i < SL_LORA_FILES_MAX; i++)
        many = sl_lora_add(&lora, path, 1, model.gguf, &shape);
    capture_end(&quiet, talk, sizeof talk);
    assert_int_equal(huge, SL_ERR_OPTION);
    assert_int_equal(none, SL_ERR_FORMAT);
    assert_int_equal(gone, SL_ERR_FILE);
    assert_int_equal(many, SL_ERR_OPTION);
    assert_non_null(strstr(talk, "beyond what a float holds"));
    assert_non_null(strstr(talk, "has no tensors"));
    assert_non_null(strstr(talk, "more than 16 LoRA adapters"));
    sl_lora_close(&lora);
    made_lora_close(&made[0]);
}

static void test_missing_partner(void **state)
{
    (void)state;
    const float numbers[96] = {0};
    sl_gguf_writer w = {0};
    size_t n;
    sl_gguf_put_string(&w, "general.architecture", "llama");
    sl_gguf_put_string(&w, "general.type", "adapter");
    sl_gguf_put_string(&w, "adapter.type", "lora");
    sl_gguf_put_tensor(&w, "blk.0.attn_q.weight.lora_a", SL_TYPE_F32, (uint64_t[]){96, 1}, 2,
                       numbers, sizeof numbers);
    uint8_t *bytes = sl_gguf_writer_encode(&w, &n);
    expect(bytes, n, SL_ERR_FORMAT, "tensor blk.0.attn_q.weight.lora_b is missing");
    free(bytes);
    sl_gguf_writer_fini(&w);
}

/* Cut anywhere it is refused; changed anywhere it is refused or read, and harms nothing. */
static void test_hostile(void **state)
{
    (void)state;
    size_t n;
    uint8_t *bytes = save(&SMALL, 8, &n);
    for (size_t cut = 0; cut < n; cut += cut < 2048 ? 7 : 997)
        assert_true(read_bytes(bytes, cut) != SL_OK);
    seeded random = seeded_from(3);
    for (int i = 0; i < 400; i++) {
        size_t at = seeded_below(&random, 2048);
        uint8_t was = bytes[at];
        bytes[at] = (uint8_t)seeded_bits(&random);
        (void)read_bytes(bytes, n);
        bytes[at] = was;
    }
    assert_int_equal(read_bytes(bytes, n), SL_OK);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_hash),
        cmocka_unit_test(test_apply),           cmocka_unit_test(test_wrong_words),
        cmocka_unit_test(test_wrong_numbers),   cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_missing_partner), cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
