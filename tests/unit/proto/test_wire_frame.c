/* tests/unit/proto/test_wire_frame.c - frames across the wire: what arrives is what left, and
 * nothing else arrives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/wire.h"
#include "proto/wire_seal.h"
#include "runtime/base/log.h"
#include "tests/support/capture.h"
#include "tests/support/count_malloc.h"
#include "tests/support/frame_maker.h"
#include "tests/support/guarded.h"

static const sl_frame_limits small = {.rows_max = 12,
                                      .spans_max = 5,
                                      .controls_max = 4,
                                      .ranks = 3,
                                      .width = 8,
                                      .n_layers = 3,
                                      .n_kv_heads = 2,
                                      .flags = true};
static const sl_frame_limits large = {.rows_max = 1000,
                                      .spans_max = 100,
                                      .controls_max = 100,
                                      .ranks = 8,
                                      .width = 8,
                                      .n_layers = 20,
                                      .n_kv_heads = 3};

/* A wire, a frame to send and one to receive into. */
typedef struct {
    sl_frame_limits limits;
    sl_wire *wire;
    sl_frame sent, received;
    uint8_t *room;
    guarded guard;
    const uint8_t *message;
    size_t n_bytes;
} bench;

enum { PAYLOAD_MAX = 4096, GUARDED_MAX = 11 << 20 };

/* Arrays of exactly the size promised, so that a sanitizer guards their ends. */
static void make_frame(sl_frame *frame, const sl_frame_limits *limits)
{
    *frame = (sl_frame){
        .controls = calloc(limits->controls_max, sizeof *frame->controls),
        .spans = calloc(limits->spans_max, sizeof *frame->spans),
        .tokens = calloc(limits->rows_max, sizeof *frame->tokens),
        .results = calloc(limits->rows_max, sizeof *frame->results),
        .ledger = calloc(limits->ranks, sizeof *frame->ledger),
        .heads = calloc((size_t)limits->n_layers * limits->n_kv_heads + !limits->n_layers,
                        sizeof *frame->heads),
        .n_kv_heads = limits->n_kv_heads,
        .rows_max = limits->rows_max};
    size_t n_flags = (size_t)limits->n_layers * limits->n_kv_heads * limits->rows_max;
    if (limits->flags && n_flags > 0) frame->flags = calloc(n_flags, 1);
}

static void drop_frame(sl_frame *frame)
{
    free(frame->controls);
    free(frame->spans);
    free(frame->tokens);
    free(frame->results);
    free(frame->ledger);
    free(frame->heads);
    free(frame->flags);
}

static void bench_open(bench *b, const sl_frame_limits *limits)
{
    *b = (bench){.limits = *limits};
    make_frame(&b->sent, limits);
    make_frame(&b->received, limits);
    assert_int_equal(sl_wire_open(limits, &b->wire), SL_OK);
    b->room = malloc(sl_wire_header_bytes_max(limits) + PAYLOAD_MAX);
    assert_non_null(b->room);
    guarded_open(&b->guard, GUARDED_MAX);
}

static void bench_close(bench *b)
{
    guarded_close(&b->guard);
    free(b->room);
    sl_wire_close(b->wire);
    drop_frame(&b->received);
    drop_frame(&b->sent);
}

/* Encode b->sent with a payload of n random bytes. */
static sl_status send_frame(bench *b, size_t n, seeded *random)
{
    uint8_t *payload = b->room + sl_wire_header_bytes_max(&b->limits);
    for (size_t i = 0; i < n; i++) payload[i] = (uint8_t)seeded_bits(random);
    sl_wire_payload said = {.codec = n ? 2 : 0, .n_bytes = n};
    return sl_wire_encode_frame(b->wire, &b->sent, &said, b->room, &b->message, &b->n_bytes);
}

/* Opened, with one random frame that was sent, its payload of n bytes. */
static void bench_open_sent(bench *b, size_t n, seeded *random)
{
    bench_open(b, &small);
    frame_make_random(&b->sent, &small, random);
    assert_int_equal(send_frame(b, n, random), SL_OK);
}

static sl_status receive(bench *b, const uint8_t *bytes, size_t n_bytes)
{
    sl_wire_payload payload;
    const uint8_t *payload_bytes;
    return sl_wire_decode_frame(b->wire, bytes, n_bytes, &b->received, &payload, &payload_bytes);
}

static bool received_is_empty(const bench *b)
{
    const sl_frame *f = &b->received;
    return f->n_controls + f->n_spans + f->n_rows + f->n_results + f->n_ledger == 0;
}

static void test_round_trip(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &small);
    for (uint64_t seed = 0; seed < 500; seed++) {
        seeded random = seeded_from(seed);
        frame_make_random(&b.sent, &small, &random);
        size_t n = seeded_below(&random, 3) ? seeded_below(&random, PAYLOAD_MAX) : 0;
        assert_seeded(&random, send_frame(&b, n, &random) == SL_OK);
        assert_seeded(&random, b.message >= b.room);

        sl_wire_payload payload;
        const uint8_t *bytes;
        sl_status status = sl_wire_decode_frame(b.wire, b.message, b.n_bytes, &b.received, &payload,
                                                &bytes);
        assert_seeded(&random, status == SL_OK);
        assert_seeded(&random, frame_equal(&b.sent, &b.received));
        assert_seeded(&random, payload.codec == (n ? 2 : 0) && payload.n_bytes == n);
        assert_seeded(&random, bytes == b.room + sl_wire_header_bytes_max(&small));
        assert_seeded(&random, bytes + n == b.message + b.n_bytes);
    }
    bench_close(&b);
}

static void test_special_floats(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &small);
    const uint32_t bits[] = {0x80000000, 0x00000000, 0x7fc00001, 0xffc12345,
                             0x7fa00000, 0xff800000, 0x00000001, 0x7f7fffff};
    sl_frame_reset(&b.sent, 1);
    for (uint32_t i = 0; i < 8; i++) {
        b.sent.results[i] = (sl_token_result){.kind = SL_RESULT_SAMPLED, .n_top = 1};
        memcpy(&b.sent.results[i].logprob, &bits[i], 4);
        memcpy(&b.sent.results[i].top[0].logprob, &bits[7 - i], 4);
    }
    b.sent.n_results = 8;
    seeded random = seeded_from(1);
    assert_int_equal(send_frame(&b, 0, &random), SL_OK);
    assert_int_equal(receive(&b, b.message, b.n_bytes), SL_OK);
    for (uint32_t i = 0; i < 8; i++)
        assert_memory_equal(&b.received.results[i].logprob, &bits[i], 4);
    assert_true(frame_equal(&b.sent, &b.received));
    bench_close(&b);
}

/* The bound holds for the largest frame and is not silly; the unpack block is large enough. */
static void test_largest(void **state)
{
    (void)state;
    const sl_frame_limits shapes[] = {
        large,
        small,
        {.rows_max = 1, .spans_max = 1, .controls_max = 1, .ranks = 1},
        {.rows_max = 1, .spans_max = 1, .controls_max = 300, .ranks = 1},
        {.rows_max = 4100, .spans_max = 1, .controls_max = 1, .ranks = 1},
        {.rows_max = 600, .spans_max = 600, .controls_max = 1, .ranks = 1},
        {.rows_max = 1, .spans_max = 1, .controls_max = 1, .ranks = 1000},
        {.rows_max = 1,
         .spans_max = 1,
         .controls_max = 1,
         .ranks = 1,
         .n_layers = 200,
         .n_kv_heads = 100},
        {.rows_max = 100,
         .spans_max = 1,
         .controls_max = 1,
         .ranks = 1,
         .n_layers = 9,
         .n_kv_heads = 5,
         .flags = true},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        bench b;
        bench_open(&b, &shapes[i]);
        frame_make_largest(&b.sent, &shapes[i]);
        seeded random = seeded_from(i);
        assert_int_equal(send_frame(&b, 100, &random), SL_OK);
        size_t bound = sl_wire_header_bytes_max(&shapes[i]);
        assert_true(b.n_bytes - 100 <= bound);
        assert_true(bound <= 2 * (b.n_bytes - 100));
        assert_int_equal(receive(&b, b.message, b.n_bytes), SL_OK);
        assert_true(frame_equal(&b.sent, &b.received));
        bench_close(&b);
    }
}

static void test_no_malloc(void **state)
{
    (void)state;
#if COUNTS_MALLOC
    bench b;
    bench_open(&b, &large);
    seeded random = seeded_from(7);
    size_t before = malloc_count.calls;
    void *(*volatile take)(size_t) = malloc; /* volatile: or it is optimized away */
    free(take(1));
    assert_int_equal(malloc_count.calls, before + 1);

    before = malloc_count.calls;
    for (int i = 0; i < 20; i++) {
        if (i == 0)
            frame_make_largest(&b.sent, &large);
        else
            frame_make_random(&b.sent, &large, &random);
        sl_status sent = send_frame(&b, 1000, &random);
        sl_status received = receive(&b, b.message, b.n_bytes);
        assert_true(sent == SL_OK && received == SL_OK);
    }
    assert_int_equal(malloc_count.calls, before);
    bench_close(&b);
#else
    skip();
#endif
}

static char talk[1 << 16];

static void test_truncated(void **state)
{
    (void)state;
    bench b;
    seeded random = seeded_from(3);
    bench_open_sent(&b, 50, &random);
    capture quiet;
    capture_begin(&quiet);
    size_t accepted = 0, loud = 0;
    for (size_t n = 0; n < b.n_bytes; n++) {
        const uint8_t *cut = guarded_copy(&b.guard, b.message, n);
        int errors = sl_log_errors();
        accepted += receive(&b, cut, n) != SL_ERR_FORMAT || !received_is_empty(&b);
        loud += sl_log_errors() != errors + 1;
        accepted += receive(&b, b.message, n) != SL_ERR_FORMAT; /* the rest lies behind it */
    }
    capture_end(&quiet, talk, sizeof talk);
    assert_int_equal(accepted, 0);
    assert_int_equal(loud, 0); /* each says so, once */
    assert_true(b.n_bytes > 500);
    bench_close(&b);
}

static void test_longer(void **state)
{
    (void)state;
    bench b;
    seeded random = seeded_from(4);
    bench_open_sent(&b, 50, &random);
    capture quiet;
    capture_begin(&quiet);
    sl_status status = receive(&b, b.message, b.n_bytes + 1);
    capture_end(&quiet, talk, sizeof talk);
    assert_int_equal(status, SL_ERR_FORMAT);
    bench_close(&b);
}

static void test_flipped(void **state)
{
    (void)state;
    bench b;
    seeded random = seeded_from(5);
    bench_open_sent(&b, 50, &random);
    uint8_t *bytes = malloc(b.n_bytes);
    memcpy(bytes, b.message, b.n_bytes);
    capture quiet;
    capture_begin(&quiet);
    size_t accepted = 0;
    for (size_t bit = 0; bit < 8 * b.n_bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        accepted += receive(&b, bytes, b.n_bytes) != SL_ERR_FORMAT;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    capture_end(&quiet, talk, sizeof talk);
    assert_int_equal(accepted, 0);
    assert_int_equal(receive(&b, bytes, b.n_bytes), SL_OK);
    free(bytes);
    bench_close(&b);
}

static size_t header_bytes_of(const bench *b)
{
    const uint8_t *payload = b->room + sl_wire_header_bytes_max(&b->limits);
    return (size_t)(payload - b->message) - SL_SEAL_BYTES;
}

/* Damage with a checksum that matches it: what a peer gone wrong could send. Any answer will
 * do that is an error or a legal frame, which then survives a round trip of its own. */
static void test_damaged_beneath_the_seal(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &small);
    capture quiet;
    capture_begin(&quiet);
    size_t accepted = 0, refused = 0, wrong = 0;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        seeded random = seeded_from(seed);
        frame_make_random(&b.sent, &small, &random);
        wrong += send_frame(&b, 20, &random) != SL_OK;
        uint8_t *bytes = guarded_copy(&b.guard, b.message, b.n_bytes);
        size_t header_bytes = header_bytes_of(&b);
        for (uint32_t flips = 1 + seeded_below(&random, 3); flips > 0; flips--)
            bytes[SL_SEAL_BYTES + seeded_below(&random, (uint32_t)header_bytes)] ^=
                (uint8_t)(1u << seeded_below(&random, 8));
        sl_seal_write(bytes, header_bytes);
        if (receive(&b, bytes, b.n_bytes) == SL_OK) {
            accepted++;
            wrong += sl_frame_check(&b.received, &small, UINT32_MAX, INT32_MAX) != SL_OK;
            sl_frame other = b.sent;
            b.sent = b.received;
            b.received = other;
            wrong += send_frame(&b, 0, &random) != SL_OK;
            wrong += receive(&b, b.message, b.n_bytes) != SL_OK;
        } else {
            refused++;
            wrong += !received_is_empty(&b);
        }
    }
    capture_end(&quiet, talk, sizeof talk);
    assert_int_equal(wrong, 0);
    assert_true(accepted > 1000 && refused > 1000); /* both roads were taken */
    bench_close(&b);
}

/* A header of a right version with `n` times `piece` after it. */
static sl_status receive_pieces(bench *b, const uint8_t *piece, size_t piece_bytes, size_t n)
{
    const uint8_t version[] = {0x0d, SL_WIRE_VERSION, 0, 0, 0};
    size_t body_bytes = sizeof version + n * piece_bytes;
    SL_ASSERT(SL_SEAL_BYTES + body_bytes <= GUARDED_MAX);
    uint8_t *bytes = b->guard.end - SL_SEAL_BYTES - body_bytes;
    memcpy(bytes + SL_SEAL_BYTES, version, sizeof version);
    for (size_t i = 0; i < n; i++)
        memcpy(bytes + SL_SEAL_BYTES + sizeof version + i * piece_bytes, piece, piece_bytes);
    sl_seal_write(bytes, body_bytes);
    capture quiet;
    capture_begin(&quiet);
    sl_status status = receive(b, bytes, SL_SEAL_BYTES + body_bytes);
    capture_end(&quiet, talk, sizeof talk);
    return status;
}

static void test_greedy_headers(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &small);
    const uint8_t control[] = {0x32, 0x00}, span[] = {0x3a, 0x00}, result[] = {0x4a, 0x00};
    const uint8_t unknown[] = {0xa0, 0x06, 0x01};
    const uint8_t repeated_sampling[] = {0x32, 0x08, 0x22, 0x06, 0x52,
                                         0x02, 0x01, 0x01, 0x22, 0x00};
    const uint8_t token_bytes[] = {0x42, 0x04, 1, 2, 3, 4};
    const uint8_t endless[] = {0x42, 0xff, 0xff, 0xff, 0xff, 0x0f};
    const struct {
        const uint8_t *piece;
        size_t piece_bytes;
    } pieces[] = {
        {control, sizeof control},
        {span, sizeof span},
        {result, sizeof result},
        {unknown, sizeof unknown},
        {repeated_sampling, sizeof repeated_sampling},
        {token_bytes, sizeof token_bytes},
        {endless, sizeof endless},
    };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (size_t n = 1; n <= 1000000; n *= 10)
            if (i != 3 || n > 1000) /* a few unknown fields are no sin of this version's */
                assert_int_equal(receive_pieces(&b, pieces[i].piece, pieces[i].piece_bytes, n),
                                 SL_ERR_FORMAT);
    bench_close(&b);
}

/* Within another job's limits, beyond ours. */
static void test_beyond_limits(void **state)
{
    (void)state;
    bench theirs, ours;
    sl_frame_limits more = small;
    more.rows_max += 4;
    more.spans_max++;
    more.controls_max++;
    more.ranks++;
    more.n_layers++;
    bench_open(&theirs, &more);
    bench_open(&ours, &small);
    seeded random = seeded_from(1);
    const char *const names[] = {"controls",    "spans", "rows", "results",
                                 "ledger rows", "heads", NULL};
    for (int i = 0; names[i]; i++) {
        sl_frame *f = &theirs.sent;
        frame_make_largest(f, &more);
        f->n_controls = i == 0 ? small.controls_max + 1 : 0;
        f->n_results = i == 3 ? small.rows_max + 1 : 0;
        f->n_ledger = i == 4 ? small.ranks + 1 : 0;
        f->n_heads = i == 5 ? small.n_layers * small.n_kv_heads + 1 : 0;
        f->n_spans = i == 1 ? small.spans_max + 1 : i == 2;
        f->n_rows = i == 1 ? small.spans_max + 1 : i == 2 ? small.rows_max + 1 : 0;
        for (uint32_t s = 0; s < f->n_spans; s++) {
            f->spans[s].n_tokens = f->spans[s].score_from = f->n_rows / f->n_spans;
            f->spans[s].position = 0;
        }
        assert_int_equal(send_frame(&theirs, 0, &random), SL_OK);
        assert_int_equal(receive(&theirs, theirs.message, theirs.n_bytes), SL_OK);
        capture quiet;
        capture_begin(&quiet);
        sl_status status = receive(&ours, theirs.message, theirs.n_bytes);
        capture_end(&quiet, talk, sizeof talk);
        assert_int_equal(status, SL_ERR_FORMAT);
        assert_non_null(strstr(talk, names[i]));
    }
    bench_close(&theirs);
    bench_close(&ours);
}

static void test_other_version(void **state)
{
    (void)state;
    bench b;
    seeded random = seeded_from(1);
    bench_open_sent(&b, 0, &random);
    uint8_t *bytes = malloc(b.n_bytes);
    memcpy(bytes, b.message, b.n_bytes);
    assert_int_equal(sl_seal_version(bytes + SL_SEAL_BYTES, b.n_bytes - SL_SEAL_BYTES),
                     SL_WIRE_VERSION);
    bytes[SL_SEAL_BYTES + 1] = 7;
    memset(bytes + SL_SEAL_BYTES + 5, 0xff, 20); /* of an unknown schema */
    sl_seal_write(bytes, header_bytes_of(&b));
    capture quiet;
    capture_begin(&quiet);
    sl_status status = receive(&b, bytes, b.n_bytes);
    capture_end(&quiet, talk, sizeof talk);
    assert_int_equal(status, SL_ERR_FORMAT);
    char said[40];
    snprintf(said, sizeof said, "version %d, its peer 7", SL_WIRE_VERSION);
    assert_non_null(strstr(talk, said));
    free(bytes);
    bench_close(&b);
}

static void test_bad_frame_does_not_leave(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, &small);
    seeded random = seeded_from(1);
    sl_frame_reset(&b.sent, 1);
    b.sent.n_rows = 1; /* of no span */
    capture quiet;
    capture_begin(&quiet);
    sl_status status = send_frame(&b, 0, &random);
    capture_end(&quiet, talk, sizeof talk);
    assert_int_equal(status, SL_ERR_FORMAT);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_special_floats),
        cmocka_unit_test(test_largest),        cmocka_unit_test(test_no_malloc),
        cmocka_unit_test(test_truncated),      cmocka_unit_test(test_longer),
        cmocka_unit_test(test_flipped),        cmocka_unit_test(test_damaged_beneath_the_seal),
        cmocka_unit_test(test_greedy_headers), cmocka_unit_test(test_beyond_limits),
        cmocka_unit_test(test_other_version),  cmocka_unit_test(test_bad_frame_does_not_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
