/* tests/unit/comm/test_codec.c - payloads: bit-exact round trips, and hostile bytes. Decoded
 * floats end at a page the process may not touch, so one byte too many is a crash. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "comm/codec.h"
#include "runtime/base/log.h"

enum { VALUES_MAX = 20000, WIDTH = 576 };

typedef struct {
    sl_codec *codec;
    float values[VALUES_MAX];
    uint8_t payload[VALUES_MAX * 4 + 64];
    uint8_t *guarded; /* VALUES_MAX floats before a forbidden page */
    size_t guarded_bytes, page_bytes;
} bench;

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 33;
}

static float random_normal(void)
{
    double u = ((double)random_next() + 1) / 2147483649.0, v = (double)random_next() / 2147483648.0;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* Rows like a transformer's: normal, each channel on its own scale. */
static void fill_activations(float *values, size_t n)
{
    float scales[WIDTH];
    for (int i = 0; i < WIDTH; i++) scales[i] = expf(random_normal());
    for (size_t i = 0; i < n; i++) values[i] = random_normal() * scales[i % WIDTH];
}

static int setup(void **state)
{
    bench *b = calloc(1, sizeof *b);
    b->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    b->guarded_bytes = (VALUES_MAX * 4 / b->page_bytes + 1) * b->page_bytes;
    b->guarded = mmap(NULL, b->guarded_bytes + b->page_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(b->guarded != MAP_FAILED);
    assert_int_equal(mprotect(b->guarded + b->guarded_bytes, b->page_bytes, PROT_NONE), 0);
    assert_int_equal(sl_codec_open(SL_CODEC_F32_ZSTD, VALUES_MAX, &b->codec), SL_OK);
    random_state = 42;
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    sl_codec_close(b->codec);
    munmap(b->guarded, b->guarded_bytes + b->page_bytes);
    free(b);
    return 0;
}

/* Where n floats end at the forbidden page. */
static float *guarded(bench *b, size_t n)
{
    return (float *)(void *)(b->guarded + b->guarded_bytes - n * sizeof(float));
}

static size_t encode(bench *b, size_t n, sl_codec_kind *kind_out)
{
    size_t n_bytes;
    assert_int_equal(sl_codec_encode(b->codec, b->values, n, b->payload, sl_codec_bytes_max(n),
                                     kind_out, &n_bytes),
                     SL_OK);
    assert_true(n_bytes <= sl_codec_bytes_max(n));
    return n_bytes;
}

static void round_trip(bench *b, size_t n, sl_codec_kind expected)
{
    sl_codec_kind kind;
    size_t n_bytes = encode(b, n, &kind);
    assert_int_equal(kind, expected);
    float *out = guarded(b, n);
    memset(out, 0xcd, n * sizeof(float));
    assert_int_equal(sl_codec_decode(b->codec, kind, b->payload, n_bytes, out, n), SL_OK);
    assert_int_equal(memcmp(out, b->values, n * sizeof(float)), 0);
}

/* Error lines of thousands of corrupt payloads are expected: not on the screen. */
static int stderr_hide(void)
{
    int saved = dup(STDERR_FILENO);
    assert_non_null(freopen("/dev/null", "w", stderr));
    return saved;
}

static void stderr_show(int saved)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static void names_and_kinds_agree(void **state)
{
    (void)state;
    sl_codec_kind kind;
    assert_int_equal(sl_codec_kind_named("f32", &kind), SL_OK);
    assert_int_equal(kind, SL_CODEC_F32);
    assert_int_equal(sl_codec_kind_named("f32-zstd", &kind), SL_OK);
    assert_int_equal(kind, SL_CODEC_F32_ZSTD);
    assert_string_equal(sl_codec_kind_name(SL_CODEC_F32), "f32");
    assert_string_equal(sl_codec_kind_name(SL_CODEC_F32_ZSTD), "f32-zstd");
    assert_true(sl_codec_kind_lossless(SL_CODEC_F32));
    assert_true(sl_codec_kind_lossless(SL_CODEC_F32_ZSTD));
    int errors = sl_log_errors();
    assert_int_equal(sl_codec_kind_named("F32", &kind), SL_ERR_OPTION);
    assert_int_equal(sl_log_errors(), errors + 1);
}

static void activations_shrink_and_return(void **state)
{
    bench *b = *state;
    for (size_t n = VALUES_MAX - 40; n <= VALUES_MAX; n++) { /* every tail of a vector */
        fill_activations(b->values, n);
        round_trip(b, n, SL_CODEC_F32_ZSTD);
    }
    sl_codec_kind kind;
    double ratio = (double)encode(b, VALUES_MAX, &kind) / (VALUES_MAX * sizeof(float));
    assert_true(ratio < 0.88);
}

static void any_bits_return(void **state)
{
    bench *b = *state;
    static const uint32_t rare[] = {0x7fc00000, 0x7f800001, 0xffc12345, 0x7f800000, 0xff800000,
                                    0x00000001, 0x807fffff, 0x80000000, 0x00000000, 0x7f7fffff};
    uint32_t bits[VALUES_MAX];
    for (size_t i = 0; i < VALUES_MAX; i++) bits[i] = rare[random_next() % 10];
    memcpy(b->values, bits, sizeof bits);
    round_trip(b, VALUES_MAX, SL_CODEC_F32_ZSTD);
    for (size_t i = 0; i < VALUES_MAX; i++) bits[i] = rare[i % 10] ^ (uint32_t)(i << 8);
    memcpy(b->values, bits, sizeof bits);
    round_trip(b, VALUES_MAX, SL_CODEC_F32_ZSTD);
    memset(b->values, 0, sizeof b->values);
    round_trip(b, VALUES_MAX, SL_CODEC_F32_ZSTD);
    sl_codec_kind kind;
    assert_true(encode(b, VALUES_MAX, &kind) < 400);
    for (size_t i = 0; i < VALUES_MAX; i++) /* nothing to gain */
        bits[i] = (uint32_t)(random_next() ^ random_next() << 16);
    memcpy(b->values, bits, sizeof bits);
    round_trip(b, VALUES_MAX, SL_CODEC_F32);
}

static void small_payloads_stay_plain(void **state)
{
    bench *b = *state;
    memset(b->values, 0, sizeof b->values);
    for (size_t n = 0; n < 70; n++) round_trip(b, n, SL_CODEC_F32);
    round_trip(b, 4095, SL_CODEC_F32);
    round_trip(b, 4096, SL_CODEC_F32_ZSTD);
}

static void a_plain_codec_reads_both_kinds(void **state)
{
    bench *b = *state;
    fill_activations(b->values, VALUES_MAX);
    sl_codec_kind kind;
    size_t n_bytes = encode(b, VALUES_MAX, &kind);
    sl_codec *plain;
    assert_int_equal(sl_codec_open(SL_CODEC_F32, VALUES_MAX, &plain), SL_OK);
    float *out = guarded(b, VALUES_MAX);
    assert_int_equal(sl_codec_decode(plain, kind, b->payload, n_bytes, out, VALUES_MAX), SL_OK);
    assert_memory_equal(out, b->values, sizeof b->values);
    assert_int_equal(sl_codec_encode(plain, b->values, VALUES_MAX, b->payload,
                                     sl_codec_bytes_max(VALUES_MAX), &kind, &n_bytes),
                     SL_OK);
    assert_int_equal(kind, SL_CODEC_F32);
    assert_memory_equal(b->payload, b->values, sizeof b->values);
    sl_codec_close(plain);
    sl_codec_close(NULL);
}

static void every_truncation_and_excess_is_malformed(void **state)
{
    bench *b = *state;
    enum { N = 4096 };
    fill_activations(b->values, N);
    for (int packed = 0; packed < 2; packed++) { /* raw planes, then four packed ones */
        if (packed) memset(b->values, 0, sizeof b->values);
        sl_codec_kind kind;
        size_t n_bytes = encode(b, N, &kind);
        assert_int_equal(kind, SL_CODEC_F32_ZSTD);
        int saved = stderr_hide(), errors = sl_log_errors(), n_refused = 0;
        for (size_t cut = 0; cut < n_bytes; cut++) {
            uint8_t *exact = malloc(cut + 1); /* for the sanitizer */
            memcpy(exact, b->payload, cut);
            n_refused += sl_codec_decode(b->codec, kind, exact, cut, guarded(b, N), N) ==
                         SL_ERR_FORMAT;
            free(exact);
        }
        b->payload[n_bytes] = 0;
        sl_status excess = sl_codec_decode(b->codec, kind, b->payload, n_bytes + 1, guarded(b, N),
                                           N);
        stderr_show(saved);
        assert_int_equal(n_refused, n_bytes);
        assert_int_equal(excess, SL_ERR_FORMAT);
        assert_int_equal(sl_log_errors() - errors, n_refused + 1);
    }
}

static void wrong_counts_and_kinds_are_malformed(void **state)
{
    bench *b = *state;
    memset(b->values, 0, sizeof b->values);
    sl_codec_kind kind;
    size_t n_bytes = encode(b, 5000, &kind);
    float *out = guarded(b, 6000);
    const uint8_t *payload = b->payload;
    int saved = stderr_hide();
    sl_status fewer = sl_codec_decode(b->codec, kind, payload, n_bytes, guarded(b, 4999), 4999);
    sl_status more = sl_codec_decode(b->codec, kind, payload, n_bytes, out, 5001);
    sl_status none = sl_codec_decode(b->codec, kind, payload, n_bytes, guarded(b, 0), 0);
    sl_status excess = sl_codec_decode(b->codec, kind, payload, n_bytes, out, VALUES_MAX + 1);
    sl_status huge = sl_codec_decode(b->codec, SL_CODEC_F32, payload, 4, out, SIZE_MAX / 4 + 2);
    sl_status unknown = sl_codec_decode(b->codec, (sl_codec_kind)9, payload, n_bytes, out, 5000);
    sl_status plain = sl_codec_decode(b->codec, SL_CODEC_F32, payload, 4 * 99 + 1, out, 99);
    stderr_show(saved);
    assert_int_equal(fewer, SL_ERR_FORMAT);
    assert_int_equal(more, SL_ERR_FORMAT);
    assert_int_equal(none, SL_ERR_FORMAT);
    assert_int_equal(excess, SL_ERR_FORMAT);
    assert_int_equal(huge, SL_ERR_FORMAT);
    assert_int_equal(unknown, SL_ERR_FORMAT);
    assert_int_equal(plain, SL_ERR_FORMAT);
}

/* The zeros of 20000 floats, claimed to be 1 and 4096: some 300 bytes that want to be 80000. */
static void a_bomb_has_nowhere_to_go(void **state)
{
    bench *b = *state;
    memset(b->values, 0, sizeof b->values);
    sl_codec_kind kind;
    size_t n_bytes = encode(b, VALUES_MAX, &kind);
    assert_true(n_bytes < 400);
    int saved = stderr_hide();
    sl_status one = sl_codec_decode(b->codec, kind, b->payload, n_bytes, guarded(b, 1), 1);
    sl_status some = sl_codec_decode(b->codec, kind, b->payload, n_bytes, guarded(b, 4096), 4096);
    stderr_show(saved);
    assert_int_equal(one, SL_ERR_FORMAT);
    assert_int_equal(some, SL_ERR_FORMAT);
}

/* Flip some bytes, lie about the length: any verdict will do, if nothing else is touched. */
static void corruption_never_escapes(void **state)
{
    bench *b = *state;
    enum { N = 4500, ROUNDS = 20000 };
    int saved = stderr_hide();
    for (int kind_of_values = 0; kind_of_values < 2; kind_of_values++) {
        fill_activations(b->values, N);
        if (kind_of_values) /* all planes packed, with matches and literals */
            for (size_t i = 0; i < N; i++) b->values[i] = (float)(random_next() % 7);
        sl_codec_kind kind;
        size_t n_bytes = encode(b, N, &kind);
        uint8_t *good = malloc(n_bytes);
        memcpy(good, b->payload, n_bytes);
        for (int round = 0; round < ROUNDS; round++) {
            size_t kept = random_next() % 4 ? n_bytes : random_next() % (n_bytes + 1);
            uint8_t *bad = malloc(kept + 1);
            memcpy(bad, good, kept);
            size_t area = random_next() % 2 && kept > 64 ? 64 : kept; /* headers more often */
            for (uint64_t flips = random_next() % 8; flips > 0 && kept > 0; flips--)
                bad[random_next() % area] = (uint8_t)random_next();
            (void)sl_codec_decode(b->codec, kind, bad, kept, guarded(b, N), N);
            free(bad);
        }
        assert_int_equal(sl_codec_decode(b->codec, kind, good, n_bytes, guarded(b, N), N), SL_OK);
        assert_memory_equal(guarded(b, N), b->values, N * sizeof(float));
        free(good);
    }
    stderr_show(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_kinds_agree),
        cmocka_unit_test_setup_teardown(activations_shrink_and_return, setup, teardown),
        cmocka_unit_test_setup_teardown(any_bits_return, setup, teardown),
        cmocka_unit_test_setup_teardown(small_payloads_stay_plain, setup, teardown),
        cmocka_unit_test_setup_teardown(a_plain_codec_reads_both_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(every_truncation_and_excess_is_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_counts_and_kinds_are_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bomb_has_nowhere_to_go, setup, teardown),
        cmocka_unit_test_setup_teardown(corruption_never_escapes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
