/* tests/unit/comm/test_codec.c - payloads: round trips of every kind, and hostile bytes. What is
 * decoded, and what it becomes, ends at pages the process may not touch: one byte too many is a
 * crash. What rounding does to a value is test_codec_round.c's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/codec/codec.h"
#include "runtime/base/float_bits.h"
#include "runtime/base/log.h"
#include "tests/support/capture.h"
#include "tests/support/guarded.h"
#include "tests/support/seeded.h"

enum { VALUES_MAX = 40000, WIDTH = 576 };

typedef struct {
    sl_codec *codecs[SL_CODEC_KINDS + 1];
    float values[VALUES_MAX];
    uint8_t payload[VALUES_MAX * 4 + 64];
    guarded room, bytes, floats; /* where the room for a payload, it, and what it decodes to end */
} bench;

static seeded random_state;

static uint64_t random_next(void) { return seeded_bits(&random_state) >> 33; }

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
    guarded_open(&b->room, sizeof b->payload);
    guarded_open(&b->bytes, sizeof b->payload);
    guarded_open(&b->floats, sizeof b->values);
    for (int kind = 1; kind <= SL_CODEC_KINDS; kind++)
        assert_int_equal(sl_codec_open((sl_codec_kind)kind, VALUES_MAX, &b->codecs[kind]), SL_OK);
    random_state = seeded_from(42);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench *b = *state;
    for (int kind = 1; kind <= SL_CODEC_KINDS; kind++) sl_codec_close(b->codecs[kind]);
    guarded_close(&b->room);
    guarded_close(&b->bytes);
    guarded_close(&b->floats);
    free(b);
    return 0;
}

/* Where n floats end at the forbidden page. */
static float *floats_of(bench *b, size_t n)
{
    return (float *)(void *)(b->floats.end - n * sizeof(float));
}

/* Of n values to b->payload, by way of as much room as is promised to be enough. */
static size_t encode(bench *b, sl_codec_kind with, size_t n, sl_codec_kind *kind_out)
{
    size_t n_bytes, bytes_max = sl_codec_bytes_max(n);
    assert_int_equal(bytes_max, n * sizeof(float));
    uint8_t *room = b->room.end - bytes_max;
    assert_int_equal(
        sl_codec_encode(b->codecs[with], b->values, n, room, bytes_max, kind_out, &n_bytes), SL_OK);
    assert_true(n_bytes <= bytes_max);
    memcpy(b->payload, room, n_bytes);
    return n_bytes;
}

/* By a codec of a kind of its own: any decodes all. */
static sl_status decode(bench *b, sl_codec_kind kind, const uint8_t *bytes, size_t n_bytes,
                        size_t n)
{
    const uint8_t *exact = guarded_copy(&b->bytes, bytes, n_bytes);
    return sl_codec_decode(b->codecs[SL_CODEC_F32], kind, exact, n_bytes, floats_of(b, n), n);
}

static void round_trip(bench *b, size_t n, sl_codec_kind with, sl_codec_kind expected)
{
    sl_codec_kind kind;
    size_t n_bytes = encode(b, with, n, &kind);
    assert_int_equal(kind, expected);
    memset(floats_of(b, n), 0xcd, n * sizeof(float));
    assert_int_equal(decode(b, kind, b->payload, n_bytes, n), SL_OK);
}

static void lossless_round_trip(bench *b, size_t n, sl_codec_kind expected)
{
    round_trip(b, n, SL_CODEC_F32_ZSTD, expected);
    assert_int_equal(memcmp(floats_of(b, n), b->values, n * sizeof(float)), 0);
}

/* The kind that a kind's payload is when zstd is left out. */
static sl_codec_kind plain_of(int kind) { return (sl_codec_kind)(kind % 2 ? kind : kind - 1); }

static void names_and_kinds_agree(void **state)
{
    (void)state;
    char listed[128] = "";
    for (int i = 1; i <= SL_CODEC_KINDS; i++) {
        sl_codec_kind kind = (sl_codec_kind)i, found;
        const char *name = sl_codec_kind_name(kind);
        assert_int_equal(sl_codec_kind_named(name, &found), SL_OK);
        assert_int_equal(found, kind);
        assert_int_equal(sl_codec_kind_lossless(kind), strncmp(name, "f32", 3) == 0);
        if (i > 1) strcat(listed, ", ");
        strcat(listed, name);
    }
    assert_string_equal(listed, SL_CODEC_NAMES);
    assert_string_equal(sl_codec_kind_name((sl_codec_kind)0), "unknown");
    assert_string_equal(sl_codec_kind_name((sl_codec_kind)(SL_CODEC_KINDS + 1)), "unknown");
    assert_false(sl_codec_kind_lossless((sl_codec_kind)0));

    sl_codec_kind kind;
    capture c;
    char text[256];
    capture_begin(&c);
    sl_status status = sl_codec_kind_named("F32", &kind);
    capture_end(&c, text, sizeof text);
    assert_int_equal(status, SL_ERR_OPTION);
    assert_non_null(strstr(text, "'F32': there are " SL_CODEC_NAMES));
}

/* Numbers are on the wire. */
static void numbers_stay(void **state)
{
    (void)state;
    static const char *const names[] = {"f32",       "f32-zstd", "bf16",
                                        "bf16-zstd", "int8",     "int8-zstd"};
    for (int i = 0; i < SL_CODEC_KINDS; i++)
        assert_string_equal(sl_codec_kind_name((sl_codec_kind)(i + 1)), names[i]);
}

static void activations_shrink_and_return(void **state)
{
    bench *b = *state;
    for (size_t n = VALUES_MAX - 40; n <= VALUES_MAX; n++) { /* every tail of a vector */
        fill_activations(b->values, n);
        lossless_round_trip(b, n, SL_CODEC_F32_ZSTD);
    }
    static const double ratios_max[] = {0, 1, 0.85, 0.5, 0.35, 0.266, 0.24};
    for (int with = 1; with <= SL_CODEC_KINDS; with++) {
        sl_codec_kind kind;
        double n_bytes = (double)encode(b, (sl_codec_kind)with, VALUES_MAX, &kind);
        assert_int_equal(kind, with);
        assert_true(n_bytes / (VALUES_MAX * sizeof(float)) <= ratios_max[with]);
    }
}

/* The order-0 entropy of the values' exponents, a value. */
static double exponent_bits(const float *values, size_t n)
{
    double counts[256] = {0}, bits = 0;
    for (size_t i = 0; i < n; i++) counts[sl_float_bits(values[i]) >> 23 & 0xff]++;
    for (int e = 0; e < 256; e++)
        if (counts[e] > 0) bits += counts[e] * log2((double)n / counts[e]);
    return bits / (double)n;
}

/* Nothing but exponents can be made smaller; of them 1% is left to gain at most. */
static void activations_are_near_their_entropy(void **state)
{
    bench *b = *state;
    fill_activations(b->values, VALUES_MAX);
    sl_codec_kind kind;
    double bits = exponent_bits(b->values, VALUES_MAX), n = VALUES_MAX;
    double f32_bytes = (double)encode(b, SL_CODEC_F32_ZSTD, VALUES_MAX, &kind);
    assert_true(f32_bytes <= (24 + bits) / 8 * n * 1.01 && f32_bytes >= (24 + bits) / 8 * n);
    round_trip(b, VALUES_MAX, SL_CODEC_BF16_ZSTD, SL_CODEC_BF16_ZSTD);
    bits = exponent_bits(floats_of(b, VALUES_MAX), VALUES_MAX);
    double bf16_bytes = (double)encode(b, SL_CODEC_BF16_ZSTD, VALUES_MAX, &kind);
    assert_true(bf16_bytes <= (8 + bits) / 8 * n * 1.01 && bf16_bytes >= (8 + bits) / 8 * n);
}

/* Sizes below a block, around it, and beyond what stays small. */
static void every_size_returns(void **state)
{
    bench *b = *state;
    fill_activations(b->values, VALUES_MAX);
    for (int with = 1; with <= SL_CODEC_KINDS; with++)
        for (size_t n = 0; n < 32000; n += n < 100 ? 1 : 3989) {
            sl_codec_kind kind;
            size_t n_bytes = encode(b, (sl_codec_kind)with, n, &kind);
            assert_int_equal(decode(b, kind, b->payload, n_bytes, n), SL_OK);
            const float *out = floats_of(b, n);
            for (size_t i = 0; i < n; i++) { /* the bounds of codec.h, an int8 block's coarsely */
                float error = fabsf(out[i] - b->values[i]), bound = 0;
                if (kind >= SL_CODEC_BF16) bound = fabsf(b->values[i]) / 256;
                if (kind >= SL_CODEC_INT8) {
                    bound = 0;
                    for (size_t j = i / 32 * 32; j < n && j < i / 32 * 32 + 32; j++)
                        bound = fmaxf(bound, fabsf(b->values[j]) / 252);
                }
                assert_true(error <= bound);
            }
        }
}

/* zstd changes how a payload looks, never what it says: also of what is no number. */
static void zstd_loses_nothing(void **state)
{
    bench *b = *state;
    fill_activations(b->values, VALUES_MAX);
    static float plain[VALUES_MAX];
    for (int with = 2; with <= SL_CODEC_KINDS; with += 2)
        for (size_t n = VALUES_MAX - 35; n <= VALUES_MAX; n++) {
            static const float others[] = {NAN, -INFINITY, -0.0F, 0x1p-140F};
            b->values[n / 2] = others[n % 4];
            round_trip(b, n, plain_of(with), plain_of(with));
            memcpy(plain, floats_of(b, n), n * sizeof(float));
            round_trip(b, n, (sl_codec_kind)with, (sl_codec_kind)with);
            assert_memory_equal(floats_of(b, n), plain, n * sizeof(float));
        }
}

/* Rows of whole blocks: alone, few or many together, they decode to the same bits. */
static void rows_do_not_depend_on_their_neighbours(void **state)
{
    bench *b = *state;
    enum { ROWS = 60 };
    static float rows[ROWS * WIDTH], together[ROWS * WIDTH];
    fill_activations(rows, ROWS * WIDTH);
    rows[3 * WIDTH + 40] = NAN;
    rows[9 * WIDTH] = -INFINITY;
    for (int with = 1; with <= SL_CODEC_KINDS; with++) {
        memcpy(b->values, rows, sizeof rows);
        round_trip(b, ROWS * WIDTH, (sl_codec_kind)with, (sl_codec_kind)with);
        memcpy(together, floats_of(b, ROWS * WIDTH), sizeof together);
        static const size_t counts[] = {1, 2, 7, 33};
        for (size_t c = 0; c < 4; c++)
            for (size_t row = 0; row < ROWS; row += counts[c]) {
                size_t n = (row + counts[c] < ROWS ? counts[c] : ROWS - row) * WIDTH;
                memcpy(b->values, rows + row * WIDTH, n * sizeof(float));
                sl_codec_kind kind;
                size_t n_bytes = encode(b, (sl_codec_kind)with, n, &kind);
                assert_int_equal(decode(b, kind, b->payload, n_bytes, n), SL_OK);
                assert_memory_equal(floats_of(b, n), together + row * WIDTH, n * sizeof(float));
            }
    }
}

/* Each exponent alone, with both signs and any mantissa: subnormals, numbers, NaN with payloads. */
static void every_exponent_returns(void **state)
{
    bench *b = *state;
    enum { N = 5001 };
    for (uint32_t exponent = 0; exponent < 256; exponent++) {
        for (size_t i = 0; i < N; i++)
            b->values[i] = sl_bits_float(((uint32_t)random_next() << 2 & 0x807fffff) | exponent
                                                                                           << 23);
        lossless_round_trip(b, N, SL_CODEC_F32_ZSTD);
        for (size_t i = 1; i < N; i++) b->values[i] = b->values[0];
        lossless_round_trip(b, N, SL_CODEC_F32_ZSTD);
    }
}

static void any_bits_return(void **state)
{
    bench *b = *state;
    static const uint32_t rare[] = {0x7fc00000, 0x7f800001, 0xffc12345, 0x7f800000, 0xff800000,
                                    0x00000001, 0x807fffff, 0x80000000, 0x00000000, 0x7f7fffff};
    uint32_t bits[VALUES_MAX];
    for (size_t i = 0; i < VALUES_MAX; i++) bits[i] = rare[random_next() % 10];
    memcpy(b->values, bits, sizeof bits);
    lossless_round_trip(b, VALUES_MAX, SL_CODEC_F32_ZSTD);
    for (size_t i = 0; i < VALUES_MAX; i++) bits[i] = rare[i % 10] ^ (uint32_t)(i << 8);
    memcpy(b->values, bits, sizeof bits);
    lossless_round_trip(b, VALUES_MAX, SL_CODEC_F32_ZSTD);
    memset(b->values, 0, sizeof b->values);
    lossless_round_trip(b, VALUES_MAX, SL_CODEC_F32_ZSTD);
    sl_codec_kind kind;
    size_t rest_bytes = VALUES_MAX * 3;
    assert_true(encode(b, SL_CODEC_F32_ZSTD, VALUES_MAX, &kind) < rest_bytes + 100);
    for (size_t i = 0; i < VALUES_MAX; i++) /* nothing to gain */
        bits[i] = (uint32_t)(random_next() ^ random_next() << 16);
    memcpy(b->values, bits, sizeof bits);
    lossless_round_trip(b, VALUES_MAX, SL_CODEC_F32);
}

/* Small is meant of the bytes zstd would see; rounding does not ask for the size. */
static void small_payloads_go_without_zstd(void **state)
{
    bench *b = *state;
    memset(b->values, 0, sizeof b->values);
    for (int with = 2; with <= SL_CODEC_KINDS; with += 2) {
        static const size_t least[] = {2048, 4096, 7710}; /* 8 KiB of 4, 2 and 1 + 2/32 bytes */
        sl_codec_kind packed = (sl_codec_kind)with, plain = plain_of(with);
        for (size_t n = 0; n < 70; n++) round_trip(b, n, packed, plain);
        round_trip(b, least[with / 2 - 1] - 1, packed, plain);
        round_trip(b, least[with / 2 - 1], packed, packed);
    }
}

/* What zstd cannot make smaller is not made larger either. */
static void noise_goes_without_zstd(void **state)
{
    bench *b = *state;
    for (size_t i = 0; i < VALUES_MAX; i++) {
        uint32_t bits = (uint32_t)random_next() << 1 ^ (uint32_t)random_next();
        memcpy(&b->values[i], &bits, sizeof bits);
    }
    round_trip(b, VALUES_MAX, SL_CODEC_F32_ZSTD, SL_CODEC_F32);
    round_trip(b, VALUES_MAX, SL_CODEC_BF16_ZSTD, SL_CODEC_BF16);
}

static void truncations_and_excess_are_malformed(void **state)
{
    bench *b = *state;
    enum { N = 15424 };
    fill_activations(b->values, N);
    static char text[1 << 16];
    for (int with = 1; with <= SL_CODEC_KINDS; with++)
        for (int zeros = 0; zeros < 2; zeros++) {
            if (zeros)
                memset(b->values, 0, sizeof b->values);
            else
                fill_activations(b->values, N);
            sl_codec_kind kind;
            size_t n_bytes = encode(b, (sl_codec_kind)with, N, &kind);
            assert_int_equal(kind, with);
            size_t step = 61, n_cuts = 0, n_refused = 0;
            capture c;
            int errors = sl_log_errors();
            capture_begin(&c);
            for (size_t cut = 0; cut < n_bytes; n_cuts++, cut += n_bytes - cut < 300 ? 1 : step)
                n_refused += decode(b, kind, b->payload, cut, N) == SL_ERR_FORMAT;
            b->payload[n_bytes] = 0;
            sl_status excess = decode(b, kind, b->payload, n_bytes + 1, N);
            capture_end(&c, text, sizeof text);
            assert_int_equal(n_refused, n_cuts);
            assert_int_equal(excess, SL_ERR_FORMAT);
            assert_int_equal(sl_log_errors() - errors, n_refused + 1);
        }
}

static void wrong_counts_and_kinds_are_malformed(void **state)
{
    bench *b = *state;
    enum { N = 16000, CASES = 7 };
    memset(b->values, 0, sizeof b->values);
    for (int with = 1; with <= SL_CODEC_KINDS; with++) {
        sl_codec_kind kind;
        size_t n_bytes = encode(b, (sl_codec_kind)with, N, &kind);
        const uint8_t *p = b->payload;
        capture c;
        char text[2000];
        capture_begin(&c);
        sl_status said[CASES] = {
            decode(b, kind, p, n_bytes, N - 1),
            decode(b, kind, p, n_bytes, N + 1),
            decode(b, kind, p, n_bytes, 0),
            decode(b, (sl_codec_kind)0, p, n_bytes, N),
            decode(b, (sl_codec_kind)(SL_CODEC_KINDS + 1), p, n_bytes, N),
            decode(b, (sl_codec_kind)0x80000001u, p, n_bytes, N),
            sl_codec_decode(b->codecs[with], kind, p, n_bytes, b->values, SIZE_MAX / 4 + 2),
        };
        sl_status more = sl_codec_decode(b->codecs[with], kind, p, n_bytes, b->values,
                                         VALUES_MAX + 1);
        capture_end(&c, text, sizeof text);
        for (int i = 0; i < CASES; i++) assert_int_equal(said[i], SL_ERR_FORMAT);
        assert_int_equal(more, SL_ERR_FORMAT);
    }
}

/* The zeros of many floats, claimed to be few: bytes that want to be more than that. */
static void a_bomb_has_nowhere_to_go(void **state)
{
    bench *b = *state;
    memset(b->values, 0, sizeof b->values);
    for (int with = 2; with <= SL_CODEC_KINDS; with += 2) {
        sl_codec_kind kind;
        size_t n_bytes = encode(b, (sl_codec_kind)with, VALUES_MAX, &kind);
        assert_int_equal(kind, with);
        capture c;
        char text[400];
        capture_begin(&c);
        sl_status one = decode(b, kind, b->payload, n_bytes, 1);
        sl_status some = decode(b, kind, b->payload, n_bytes, 4096);
        capture_end(&c, text, sizeof text);
        assert_int_equal(one, SL_ERR_FORMAT);
        assert_int_equal(some, SL_ERR_FORMAT);
    }
}

/* A payload in order, of more values than the codec has room for. */
static void more_than_agreed_is_malformed(void **state)
{
    bench *b = *state;
    memset(b->values, 0, sizeof b->values);
    sl_codec *small;
    assert_int_equal(sl_codec_open(SL_CODEC_F32, VALUES_MAX - 1, &small), SL_OK);
    for (int with = 1; with <= SL_CODEC_KINDS; with++) {
        sl_codec_kind kind;
        size_t n_bytes = encode(b, (sl_codec_kind)with, VALUES_MAX, &kind);
        capture c;
        char text[200];
        capture_begin(&c);
        sl_status status = sl_codec_decode(small, kind, b->payload, n_bytes, b->values, VALUES_MAX);
        capture_end(&c, text, sizeof text);
        assert_int_equal(status, SL_ERR_FORMAT);
    }
    sl_codec_close(small);
    sl_codec_close(NULL);
}

/* Where n values' bytes of zstd begin; 0: none do. */
static size_t rest_bytes_of(sl_codec_kind kind, size_t n)
{
    switch (kind) {
    case SL_CODEC_F32_ZSTD: return 3 * n;
    case SL_CODEC_BF16_ZSTD: return n;
    case SL_CODEC_INT8_ZSTD: return (n + 31) / 32;
    default: return 0;
    }
}

/* Flip some bytes, lie about the length: any verdict will do, if nothing else is touched. */
static void corruption_never_escapes(void **state)
{
    bench *b = *state;
    enum { N = 16000, ROUNDS = 2500 };
    static uint8_t good[VALUES_MAX * 4 + 64], bad[VALUES_MAX * 4 + 64];
    static float expected[N];
    for (int with = 1; with <= SL_CODEC_KINDS; with++)
        for (int few = 0; few < 2; few++) {
            fill_activations(b->values, N);
            if (few) /* two or three exponents: long runs of short codes */
                for (size_t i = 0; i < N; i++) b->values[i] = (float)(random_next() % 7);
            sl_codec_kind kind;
            size_t n_bytes = encode(b, (sl_codec_kind)with, N, &kind);
            memcpy(good, b->payload, n_bytes);
            assert_int_equal(decode(b, kind, good, n_bytes, N), SL_OK);
            memcpy(expected, floats_of(b, N), sizeof expected);
            capture c;
            char text[2];
            capture_begin(&c);
            for (int round = 0; round < ROUNDS; round++) {
                size_t kept = random_next() % 4 ? n_bytes : random_next() % (n_bytes + 1);
                memcpy(bad, good, kept);
                size_t rest_bytes = rest_bytes_of((sl_codec_kind)with, N), from = 0;
                if (random_next() % 2 && kept > rest_bytes) from = rest_bytes;
                size_t area = from && kept - from > 64 ? 64 : kept - from; /* tables more often */
                for (uint64_t flips = random_next() % 8; flips > 0 && kept > 0; flips--)
                    bad[from + random_next() % area] = (uint8_t)random_next();
                (void)decode(b, kind, bad, kept, N);
            }
            capture_end(&c, text, sizeof text);
            assert_int_equal(decode(b, kind, good, n_bytes, N), SL_OK);
            assert_memory_equal(floats_of(b, N), expected, sizeof expected);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_kinds_agree),
        cmocka_unit_test(numbers_stay),
        cmocka_unit_test_setup_teardown(activations_shrink_and_return, setup, teardown),
        cmocka_unit_test_setup_teardown(activations_are_near_their_entropy, setup, teardown),
        cmocka_unit_test_setup_teardown(every_exponent_returns, setup, teardown),
        cmocka_unit_test_setup_teardown(any_bits_return, setup, teardown),
        cmocka_unit_test_setup_teardown(every_size_returns, setup, teardown),
        cmocka_unit_test_setup_teardown(zstd_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_do_not_depend_on_their_neighbours, setup, teardown),
        cmocka_unit_test_setup_teardown(small_payloads_go_without_zstd, setup, teardown),
        cmocka_unit_test_setup_teardown(noise_goes_without_zstd, setup, teardown),
        cmocka_unit_test_setup_teardown(truncations_and_excess_are_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_counts_and_kinds_are_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bomb_has_nowhere_to_go, setup, teardown),
        cmocka_unit_test_setup_teardown(more_than_agreed_is_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(corruption_never_escapes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
