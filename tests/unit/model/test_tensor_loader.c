/* test_tensor_loader.c - tensors of several pieces, read by one thread while all pack: the same
 * bytes and hash for any number of threads, and a file that was cut meanwhile ends it, not the
 * team. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "runtime/gguf/gguf_writer.h"
#include "runtime/gguf/tensor_type.h"
#include "runtime/kernels/matmul/pack.h"
#include "runtime/model/sums.h"
#include "runtime/model/tensor_loader.h"
#include "tests/support/capture.h"
#include "tests/support/seeded.h"

/* Three pieces of 1 MB, the last one short, and a last panel that is not full. */
enum { N_IN = 512, N_OUT = 5003, ROW_BYTES = N_IN / 32 * 34, MATRIX_BYTES = N_OUT * ROW_BYTES };
enum { N_VECTOR = 700 };

typedef struct {
    char path[64];
    uint8_t *bytes; /* [MATRIX_BYTES] */
    float vector[N_VECTOR];
    sl_gguf *gguf;
    sl_matrix matrix;
    uint8_t *out; /* [packed_bytes] */
    size_t packed_bytes;
} rig;

static void rig_open(rig *r)
{
    sl_gguf_writer w = {0};
    seeded random = seeded_from(1);
    r->bytes = malloc(MATRIX_BYTES);
    for (size_t i = 0; i < MATRIX_BYTES; i++) r->bytes[i] = (uint8_t)seeded_bits(&random);
    for (size_t i = 0; i < N_VECTOR; i++) r->vector[i] = seeded_real(&random);
    sl_gguf_put_string(&w, "general.architecture", "none");
    sl_gguf_put_tensor(&w, "vector", SL_TYPE_F32, (uint64_t[]){N_VECTOR}, 1, r->vector,
                       sizeof r->vector);
    sl_gguf_put_tensor(&w, "matrix", SL_TYPE_Q8_0, (uint64_t[]){N_IN, N_OUT}, 2, r->bytes,
                       MATRIX_BYTES);
    snprintf(r->path, sizeof r->path, "/tmp/sluice_tensor_loader_%d.gguf", (int)getpid());
    assert_int_equal(sl_gguf_writer_save(&w, r->path), SL_OK);
    sl_gguf_writer_fini(&w);
    assert_int_equal(sl_gguf_open(r->path, &r->gguf), SL_OK);
    r->matrix = (sl_matrix){.data = r->bytes,
                            .type = SL_TYPE_Q8_0,
                            .n_out = N_OUT,
                            .n_in = N_IN,
                            .row_bytes = ROW_BYTES};
    r->packed_bytes = sl_packed_bytes(&r->matrix);
    r->out = malloc(r->packed_bytes);
}

static void rig_close(rig *r)
{
    sl_gguf_close(r->gguf);
    unlink(r->path);
    free(r->bytes);
    free(r->out);
}

static uint64_t hash_of(const char *name, const void *bytes, size_t n)
{
    const sl_text text = {name, strlen(name)};
    return XXH3_64bits_withSeed(bytes, n, sl_sum_seed(text));
}

static void test_threads(void **state)
{
    (void)state;
    static const int threads[] = {1, 2, 3, 7};
    rig r;
    rig_open(&r);
    uint8_t *wanted = malloc(r.packed_bytes);
    sl_pack(&r.matrix, 0, sl_n_panels(&r.matrix), wanted);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        sl_team *team;
        sl_tensor_loader *loader;
        float vector[N_VECTOR];
        uint64_t hash;
        assert_int_equal(sl_team_open(&(sl_team_options){.threads = threads[i]}, &team), SL_OK);
        assert_int_equal(sl_tensor_loader_open(r.gguf, team, &loader), SL_OK);
        /* the vector's room first, which the matrix outgrows */
        assert_int_equal(sl_load_vector(loader, sl_gguf_find(r.gguf, "vector"), vector, &hash),
                         SL_OK);
        assert_memory_equal(vector, r.vector, sizeof vector);
        assert_true(hash == hash_of("vector", r.vector, sizeof r.vector));
        memset(r.out, 0xff, r.packed_bytes);
        assert_int_equal(
            sl_load_packed(loader, sl_gguf_find(r.gguf, "matrix"), &r.matrix, r.out, &hash), SL_OK);
        assert_memory_equal(r.out, wanted, r.packed_bytes);
        assert_true(hash == hash_of("matrix", r.bytes, MATRIX_BYTES));
        assert_int_equal(sl_load_plain(loader, sl_gguf_find(r.gguf, "matrix"), r.out, &hash),
                         SL_OK);
        assert_memory_equal(r.out, r.bytes, MATRIX_BYTES);
        assert_true(hash == hash_of("matrix", r.bytes, MATRIX_BYTES));
        sl_tensor_loader_close(loader);
        sl_team_close(team);
    }
    free(wanted);
    rig_close(&r);
}

static void count(void *context, sl_member me) { ((int *)context)[me.thread]++; }

static void check_cut(int threads, int pieces_left)
{
    rig r;
    sl_team *team;
    sl_tensor_loader *loader;
    capture captured;
    char said[400];
    uint64_t hash;
    int counts[8] = {0};
    rig_open(&r);
    assert_int_equal(sl_team_open(&(sl_team_options){.threads = threads}, &team), SL_OK);
    assert_int_equal(sl_tensor_loader_open(r.gguf, team, &loader), SL_OK);
    assert_int_equal(truncate(r.path, (pieces_left << 20) + (1 << 19)), 0);
    capture_begin(&captured);
    sl_status status = sl_load_packed(loader, sl_gguf_find(r.gguf, "matrix"), &r.matrix, r.out,
                                      &hash);
    capture_end(&captured, said, sizeof said);
    assert_int_equal(status, SL_ERR_FILE);
    assert_true(strstr(said, r.path) && strchr(said, '\n') == said + strlen(said) - 1);
    sl_team_run(team, count, counts); /* all threads came back */
    for (int i = 0; i < threads; i++) assert_int_equal(counts[i], 1);
    sl_tensor_loader_close(loader);
    sl_team_close(team);
    rig_close(&r);
}

static void test_cut_file(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++)
        for (int pieces_left = 0; pieces_left < 3; pieces_left++) check_cut(threads, pieces_left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_cut_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
