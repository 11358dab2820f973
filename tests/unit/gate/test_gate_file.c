/* tests/unit/gate/test_gate_file.c - what is written is read again, of every shape; what is wrong
 * is refused and named; bytes cut or changed anywhere never harm. */
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

#include "runtime/gate/gate_file.h"
#include "tests/support/capture.h"
#include "tests/support/gguf_patch.h"
#include "tests/support/made_gate.h"

enum { LAYERS = 6, KV = 2, WIDTH = 32 };

static const sl_gate_shape SHAPES[LAYERS] = {
    {.span = SL_GATE_WINDOW, .back = 96, .ahead = 32, .heads = 4, .width = 16},
    {.span = SL_GATE_CAUSAL, .heads = 2, .width = 32, .kv = SL_GATE_OWN_KV, .hidden = 7},
    {.span = SL_GATE_ABSENT},
    {.span = SL_GATE_PROMPT, .heads = 1, .width = 48, .hidden = 24},
    {.span = SL_GATE_WINDOW, .back = 0, .ahead = 0},
    {.span = SL_GATE_CAUSAL, .hidden = 3},
};
static const float RETENTION[2 * LAYERS * KV] = {0.5F, 1, 0, 0.25F};
static const sl_gate_calibration ROWS[] = {
    {.keep = 0.5F, .threshold = -2.5F, .window = 128, .retention = RETENTION},
    {.keep = 0.125F, .threshold = 7, .window = 16, .retention = RETENTION + LAYERS * KV}};

static char path[] = "/tmp/sluice-test-gate-XXXXXX", talk[1 << 14];

static void make(made_gate *m)
{
    seeded random = seeded_from(1);
    made_gate_open(m, &SHAPES[0], LAYERS, KV, WIDTH, &random);
    for (int i = 0; i < LAYERS; i++) {
        m->layers[i] = (sl_gate_layer){.shape = SHAPES[i]};
        made_gate_layer(m, &m->layers[i], KV, WIDTH, &random);
    }
    sl_gate *g = &m->gate;
    snprintf(g->model_name, sizeof g->model_name, "a model");
    g->model_hash = 0xfedcba9876543210U;
    g->sinks = 3, g->window = 77, g->threshold = -0.5F, g->keep = 0.75F;
    g->calibration = (sl_gate_calibration *)ROWS;
    g->n_calibration = 2;
}

/* The file's bytes, the caller's. */
static uint8_t *save(const made_gate *m, size_t *n_out)
{
    assert_int_equal(sl_gate_file_write(path, &m->gate), SL_OK);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *bytes = aligned_alloc(64, 1 << 18);
    *n_out = fread(bytes, 1, 1 << 18, file);
    assert_true(*n_out > 0 && *n_out < 1 << 18);
    fclose(file);
    return bytes;
}

static void same_matrix(const sl_matrix *a, const sl_matrix *b)
{
    assert_int_equal(a->data != NULL, b->data != NULL);
    if (!a->data) return;
    assert_true(a->n_in == b->n_in && a->n_out == b->n_out && a->type == b->type &&
                a->row_bytes == b->row_bytes);
    assert_memory_equal(a->data, b->data, a->n_out * a->row_bytes);
}

static void test_round_trip(void **state)
{
    (void)state;
    made_gate m;
    sl_gate_file *file;
    make(&m);
    assert_int_equal(sl_gate_file_write(path, &m.gate), SL_OK);
    assert_int_equal(sl_gate_file_open(path, &file), SL_OK);
    const sl_gate *a = &m.gate, *b = sl_gate_file_gate(file);
    assert_true(a->n_layers == b->n_layers && a->n_kv_heads == b->n_kv_heads &&
                a->model_width == b->model_width && a->model_hash == b->model_hash &&
                a->sinks == b->sinks && a->window == b->window && a->threshold == b->threshold &&
                a->keep == b->keep);
    assert_string_equal(a->model_name, b->model_name);
    assert_true(b->adapter_hash == 0);
    for (int i = 0; i < LAYERS; i++) {
        const sl_gate_layer *x = &a->layers[i], *y = &b->layers[i];
        assert_memory_equal(&x->shape, &y->shape, sizeof x->shape);
        if (x->shape.span == SL_GATE_ABSENT) {
            assert_null(y->x.data);
            continue;
        }
        same_matrix(&x->q, &y->q), same_matrix(&x->k, &y->k), same_matrix(&x->v, &y->v);
        same_matrix(&x->x, &y->x), same_matrix(&x->a, &y->a), same_matrix(&x->out, &y->out);
        assert_memory_equal(x->x_bias, y->x_bias, x->x.n_out * sizeof(float));
        if (x->out_bias) assert_memory_equal(x->out_bias, y->out_bias, KV * sizeof(float));
    }
    assert_int_equal(b->n_calibration, 2);
    for (int i = 0; i < 2; i++) {
        const sl_gate_calibration *x = &ROWS[i], *y = &b->calibration[i];
        assert_true(x->keep == y->keep && x->threshold == y->threshold && x->window == y->window);
        assert_memory_equal(x->retention, y->retention, LAYERS * KV * sizeof(float));
    }
    uint64_t hash = sl_gate_file_hash(file);
    sl_gate_file_close(file);
    m.weights[0][0] += 1; /* a matrix that was not written: layers[0] has its own by now */
    ((float *)m.layers[0].x.data)[5] += 1;
    assert_int_equal(sl_gate_file_write(path, &m.gate), SL_OK);
    assert_int_equal(sl_gate_file_open(path, &file), SL_OK);
    assert_true(sl_gate_file_hash(file) != hash);
    sl_gate_file_close(file);
    made_gate_close(&m);
}

static void test_adapter(void **state)
{
    (void)state;
    made_gate m;
    sl_gate_file *file;
    make(&m);
    m.gate.adapter_hash = 0x123456789abcdef0U;
    assert_int_equal(sl_gate_file_write(path, &m.gate), SL_OK);
    assert_int_equal(sl_gate_file_open(path, &file), SL_OK);
    assert_true(sl_gate_file_gate(file)->adapter_hash == 0x123456789abcdef0U);
    sl_gate_file_close(file);
    made_gate_close(&m);
}

static sl_status read_bytes(const uint8_t *bytes, size_t n)
{
    sl_gguf *gguf;
    sl_gate_file *file;
    capture quiet;
    capture_begin(&quiet);
    sl_status status = sl_gguf_open_memory(bytes, n, "bytes", &gguf);
    if (status == SL_OK) {
        status = sl_gate_file_read(gguf, &file);
        if (status == SL_OK) sl_gate_file_close(file);
        sl_gguf_close(gguf);
    }
    capture_end(&quiet, talk, sizeof talk);
    return status;
}

static void expect(const uint8_t *bytes, size_t n, sl_status status, const char *said)
{
    if (read_bytes(bytes, n) != status || !strstr(talk, said)) fail_msg("%s: %s", said, talk);
}

/* Wrong values, as a careless writer would leave them. */
static void test_wrong_values(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t value; /* the bits that replace the first one */
        const char *said;
    } rows[] = {
        {"sluice.gate.version", 2, "gate version 2, this build knows 1"},
        {"sluice.gate.version", 0, "gate version 0, this build knows 1"},
        {"sluice.gate.block_count", 7, "an array of a word a layer"},
        {"sluice.gate.block_count", 0, "a whole number from 1 to 1024"},
        {"sluice.gate.embedding_length", 64,
         "blk.0.gate_q.weight is [64][32] of f32, expected [64][64] of q8_0"},
        {"sluice.gate.head_count_kv", 3, "expected [3][32]"},
        {"sluice.gate.window", 0, "sluice.gate.window is missing or not a whole number from 1"},
        {"sluice.gate.threshold", 0x7fc00000, "sluice.gate.threshold is missing or not a number"},
        {"sluice.gate.keep", 0x40000000, "sluice.gate.keep is missing or not a number from 0 to 1"},
    };
    static const struct {
        const char *key;
        uint32_t value;
        const char *said;
    } arrays[] = {
        {"sluice.gate.heads", 65, "sluice.gate.heads of layer 0 is 65, expected 0 to 64"},
        {"sluice.gate.heads", 0, "width without heads"},
        {"sluice.gate.heads", UINT32_MAX, "is -1, expected 0 to 64"},
        {"sluice.gate.width", 24, "width not a multiple of 16"},
        {"sluice.gate.width", 32, "blk.0.gate_q.weight is [64][32] of f32, expected [128][32]"},
        {"sluice.gate.hidden", 9, "blk.0.gate_x.weight is [2][32] of f32, expected [9][32]"},
        {"sluice.gate.span.back", 1U << 21, "expected 0 to 1048576"},
        {"sluice.gate.calibration.keep", 0xbf800000, "numbers from 0 to 1"},
        {"sluice.gate.calibration.window", 0, "1 or more"},
        {"sluice.gate.calibration.threshold", 0x7fc00000, "thresholds that are numbers"},
        {"sluice.gate.calibration.retention", 0x40000000, "numbers from 0 to 1"},
    };
    made_gate m;
    size_t n;
    make(&m);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t *bytes = save(&m, &n);
        gguf_set_u32(gguf_after(bytes, n, rows[i].key) + 4, rows[i].value);
        sl_status status = strstr(rows[i].said, "this build") ? SL_ERR_UNSUPPORTED : SL_ERR_FORMAT;
        expect(bytes, n, status, rows[i].said);
        free(bytes);
    }
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        uint8_t *bytes = save(&m, &n);
        gguf_set_u32(gguf_after(bytes, n, arrays[i].key) + 16, arrays[i].value);
        expect(bytes, n, SL_ERR_FORMAT, arrays[i].said);
        free(bytes);
    }
    made_gate_close(&m);
}

/* With a name changed, the log says which one is missing or unknown. */
static void test_wrong_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *said;
        sl_status status;
    } rows[] = {
        {"sluice.gate.sinks", "sluice.gate.sinkX, which this build does not know",
         SL_ERR_UNSUPPORTED},
        {"general.architecture", "is no gate file: its general.architecture is ''", SL_ERR_FORMAT},
        {"blk.1.gate_out.weight", "blk.1.gate_out.weight is missing, expected [2][7]",
         SL_ERR_FORMAT},
        {"blk.3.gate_x.bias", "blk.3.gate_x.bias is missing", SL_ERR_FORMAT},
        {"sluice.gate.calibration.keep", "sluice.gate.calibration.keeX", SL_ERR_UNSUPPORTED},
        {"general.name", "", SL_OK}, /* for people */
    };
    made_gate m;
    size_t n;
    make(&m);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t *bytes = save(&m, &n);
        gguf_after(bytes, n, rows[i].name)[-1] = 'X';
        expect(bytes, n, rows[i].status, rows[i].said);
        free(bytes);
    }
    uint8_t *bytes = save(&m, &n);
    uint8_t *word = gguf_after(bytes, n, "sluice.gate.span") + 16 + 8; /* "window" of layer 0 */
    word[0] = 'W';
    expect(bytes, n, SL_ERR_UNSUPPORTED, "sluice.gate.span of layer 0 is 'Window'");
    free(bytes);
    m.layers[2].shape = m.layers[4].shape; /* the gate that is not there gets weights */
    seeded random = seeded_from(2);
    made_gate_layer(&m, &m.layers[2], KV, WIDTH, &random);
    bytes = save(&m, &n);
    word = gguf_after(bytes, n, "sluice.gate.span") + 16;
    word += 2 * (8 + 6); /* over layers 0 and 1, "window" and "causal" */
    memcpy(word + 8, "absent", 6);
    expect(bytes, n, SL_ERR_FORMAT, "of which the gates it describes use");
    free(bytes);
    made_gate_close(&m);
}

static void test_any_bytes(void **state)
{
    (void)state;
    made_gate m;
    size_t n;
    make(&m);
    uint8_t *whole = save(&m, &n), *bytes = aligned_alloc(64, 1 << 18);
    uint32_t last = (uint32_t)(gguf_after(whole, n, "blk.5.gate_out.bias") - whole) + 31;
    for (size_t cut = 0; cut < n; cut += cut <= last ? 7 : 997) {
        uint8_t *exact = malloc(cut + 1); /* so that a sanitizer guards its end */
        memcpy(exact, whole, cut);
        assert_int_not_equal(read_bytes(exact, cut), SL_OK);
        free(exact);
    }
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        seeded random = seeded_from(seed);
        memcpy(bytes, whole, n);
        for (uint32_t i = 1 + seeded_below(&random, 3); i > 0; i--)
            bytes[seeded_below(&random, last + 1)] = (uint8_t)seeded_bits(&random);
        read_bytes(bytes, n); /* whatever it says */
    }
    free(whole), free(bytes);
    made_gate_close(&m);
}

static void test_whom_it_is_for(void **state)
{
    (void)state;
    made_gate m;
    capture quiet;
    make(&m);
    assert_int_equal(sl_gate_fits(&m.gate, "g", LAYERS, KV, WIDTH), SL_OK);
    assert_int_equal(sl_gate_fits_hash(&m.gate, "g", 0xfedcba9876543210U, "m"), SL_OK);
    capture_begin(&quiet);
    sl_status shape = sl_gate_fits(&m.gate, "g.gguf", 30, 3, 576);
    sl_status hash = sl_gate_fits_hash(&m.gate, "g.gguf", 1, "m.gguf");
    capture_end(&quiet, talk, sizeof talk);
    assert_true(shape == SL_ERR_OPTION && hash == SL_ERR_OPTION);
    assert_non_null(strstr(talk,
                           "g.gguf is a gate for 'a model', of 6 layers, 2 KV heads and width "
                           "32; this model has 30, 3 and 576"));
    assert_non_null(strstr(talk, "fedcba9876543210"));
    assert_non_null(strstr(talk, "those of m.gguf have 0000000000000001"));
    made_gate_close(&m);
}

int main(void)
{
    int file = mkstemp(path);
    if (file < 0) return 1;
    close(file);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_adapter),
        cmocka_unit_test(test_wrong_values), cmocka_unit_test(test_wrong_names),
        cmocka_unit_test(test_any_bytes),    cmocka_unit_test(test_whom_it_is_for),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(path);
    return failed;
}
