/* tests/unit/proto/test_wire_journal.c - the journal of a job: its beginning and its entries, each
 * whole or an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/wire.h"
#include "proto/wire_seal.h"
#include "tests/support/capture.h"
#include "tests/support/guarded.h"
#include "tests/support/seeded.h"

enum { MAGIC_BYTES = 4 };
static char talk[1 << 12];

static sl_status decode_quietly(const uint8_t *bytes, size_t n_bytes, sl_job_identity *out)
{
    guarded guard;
    guarded_open(&guard, n_bytes);
    const uint8_t *copy = guarded_copy(&guard, bytes, n_bytes);
    capture quiet;
    capture_begin(&quiet);
    size_t used = 0;
    sl_status status = sl_wire_decode_job(copy, n_bytes, out, &used);
    if (status == SL_OK && used != n_bytes) status = SL_ERR_FORMAT;
    capture_end(&quiet, talk, sizeof talk);
    guarded_close(&guard);
    return status;
}

static void make_text(char *out, size_t bytes_max, seeded *random)
{
    size_t length = seeded_below(random, (uint32_t)bytes_max);
    for (size_t i = 0; i < length; i++) out[i] = (char)(1 + seeded_below(random, 255));
    out[length] = '\0';
}

static void make_job(sl_job_identity *job, seeded *random)
{
    memset(job, 0, sizeof *job);
    job->model_hash = seeded_bits(random);
    job->gate_hash = seeded_below(random, 2) ? seeded_bits(random) : 0;
    job->n_options = seeded_below(random, SL_JOB_OPTIONS_MAX + 1);
    make_text(job->numerics, sizeof job->numerics, random);
    for (uint32_t i = 0; i < job->n_options; i++) {
        make_text(job->options[i].name, sizeof job->options[i].name, random);
        make_text(job->options[i].value, sizeof job->options[i].value, random);
    }
}

static bool equal(const sl_job_identity *a, const sl_job_identity *b)
{
    if (a->model_hash != b->model_hash || a->gate_hash != b->gate_hash) return false;
    if (a->n_options != b->n_options || strcmp(a->numerics, b->numerics) != 0) return false;
    for (uint32_t i = 0; i < a->n_options; i++)
        if (strcmp(a->options[i].name, b->options[i].name) != 0 ||
            strcmp(a->options[i].value, b->options[i].value) != 0)
            return false;
    return true;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        seeded random = seeded_from(seed);
        sl_job_identity job, back;
        make_job(&job, &random);
        uint8_t bytes[SL_JOB_IDENTITY_BYTES_MAX];
        size_t n_bytes;
        assert_seeded(&random, sl_wire_encode_job(&job, bytes, sizeof bytes, &n_bytes) == SL_OK);
        assert_seeded(&random, decode_quietly(bytes, n_bytes, &back) == SL_OK);
        assert_seeded(&random, equal(&job, &back));
    }
}

static void test_largest_and_no_room(void **state)
{
    (void)state;
    sl_job_identity job = {.model_hash = UINT64_MAX, .gate_hash = UINT64_MAX}, back;
    job.n_options = SL_JOB_OPTIONS_MAX;
    memset(job.numerics, 'x', sizeof job.numerics - 1);
    for (uint32_t i = 0; i < job.n_options; i++) {
        memset(job.options[i].name, 'n', sizeof job.options[i].name - 1);
        memset(job.options[i].value, 'v', sizeof job.options[i].value - 1);
    }
    uint8_t bytes[SL_JOB_IDENTITY_BYTES_MAX];
    size_t n_bytes;
    assert_int_equal(sl_wire_encode_job(&job, bytes, sizeof bytes, &n_bytes), SL_OK);
    assert_int_equal(decode_quietly(bytes, n_bytes, &back), SL_OK);
    assert_true(equal(&job, &back));

    uint8_t *tight = malloc(n_bytes);
    size_t tight_bytes = 0;
    assert_int_equal(sl_wire_encode_job(&job, tight, n_bytes, &tight_bytes), SL_OK);
    assert_int_equal(tight_bytes, n_bytes);
    capture quiet;
    capture_begin(&quiet);
    sl_status status = sl_wire_encode_job(&job, tight, n_bytes - 1, &tight_bytes);
    capture_end(&quiet, talk, sizeof talk);
    assert_int_equal(status, SL_ERR_MEMORY);
    free(tight);
}

/* Every prefix, every flipped bit; what follows is not the beginning's. */
static void test_damaged(void **state)
{
    (void)state;
    seeded random = seeded_from(2);
    sl_job_identity job, back = {.n_options = 77};
    do make_job(&job, &random);
    while (job.n_options < 3 || job.n_options > 6);
    uint8_t bytes[SL_JOB_IDENTITY_BYTES_MAX] = {0};
    size_t n_bytes;
    assert_int_equal(sl_wire_encode_job(&job, bytes, sizeof bytes, &n_bytes), SL_OK);
    for (size_t n = 0; n < n_bytes; n++)
        assert_int_equal(decode_quietly(bytes, n, &back), SL_ERR_FORMAT);
    size_t used;
    assert_int_equal(sl_wire_decode_job(bytes, sizeof bytes, &back, &used), SL_OK);
    assert_int_equal(used, n_bytes);
    back.n_options = 77;
    for (size_t bit = 0; bit < 8 * n_bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(decode_quietly(bytes, n_bytes, &back), SL_ERR_FORMAT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(back.n_options, 77);
    assert_int_equal(decode_quietly(bytes, n_bytes, &back), SL_OK);
}

static void test_other_version(void **state)
{
    (void)state;
    sl_job_identity job = {.model_hash = 5}, back;
    uint8_t bytes[SL_JOB_IDENTITY_BYTES_MAX];
    size_t n_bytes;
    assert_int_equal(sl_wire_encode_job(&job, bytes, sizeof bytes, &n_bytes), SL_OK);
    bytes[MAGIC_BYTES + SL_SEAL_BYTES + 1] = 9;
    sl_seal_write(bytes + MAGIC_BYTES, n_bytes - MAGIC_BYTES - SL_SEAL_BYTES);
    assert_int_equal(decode_quietly(bytes, n_bytes, &back), SL_ERR_FORMAT);
    assert_non_null(strstr(talk, "version 9"));
}

/* n empty options by hand: 32 are a job, 33 are not, and millions do not fit. */
static sl_status decode_options(size_t n, sl_job_identity *out)
{
    const uint8_t version[] = {0x0d, 2, 0, 0, 0};
    size_t body_bytes = sizeof version + 2 * n, n_bytes = MAGIC_BYTES + SL_SEAL_BYTES + body_bytes;
    uint8_t *bytes = malloc(n_bytes);
    memcpy(bytes, "SLJB", MAGIC_BYTES);
    uint8_t *body = bytes + MAGIC_BYTES + SL_SEAL_BYTES;
    memcpy(body, version, sizeof version);
    for (size_t i = 0; i < n; i++) {
        body[sizeof version + 2 * i] = 0x22;
        body[sizeof version + 2 * i + 1] = 0;
    }
    sl_seal_write(bytes + MAGIC_BYTES, body_bytes);
    sl_status status = decode_quietly(bytes, n_bytes, out);
    free(bytes);
    return status;
}

static void test_too_many_options(void **state)
{
    (void)state;
    sl_job_identity back;
    assert_int_equal(decode_options(SL_JOB_OPTIONS_MAX, &back), SL_OK);
    assert_int_equal(back.n_options, SL_JOB_OPTIONS_MAX);
    assert_string_equal(back.options[31].value, "");
    assert_int_equal(decode_options(SL_JOB_OPTIONS_MAX + 1, &back), SL_ERR_FORMAT);
    assert_int_equal(decode_options(1000000, &back), SL_ERR_FORMAT);
}

static void test_damaged_beneath_the_seal(void **state)
{
    (void)state;
    int accepted = 0;
    for (uint64_t seed = 0; seed < 5000; seed++) {
        seeded random = seeded_from(seed);
        sl_job_identity job, back;
        make_job(&job, &random);
        uint8_t bytes[SL_JOB_IDENTITY_BYTES_MAX];
        size_t n_bytes;
        assert_seeded(&random, sl_wire_encode_job(&job, bytes, sizeof bytes, &n_bytes) == SL_OK);
        size_t body_bytes = n_bytes - MAGIC_BYTES - SL_SEAL_BYTES;
        for (int flips = 0; flips < 2; flips++)
            bytes[n_bytes - 1 - seeded_below(&random, (uint32_t)body_bytes)] ^=
                (uint8_t)(1u << seeded_below(&random, 8));
        sl_seal_write(bytes + MAGIC_BYTES, body_bytes);
        if (decode_quietly(bytes, n_bytes, &back) != SL_OK) continue;
        accepted++;
        assert_seeded(&random, back.n_options <= SL_JOB_OPTIONS_MAX);
        for (uint32_t i = 0; i < back.n_options; i++) {
            assert_seeded(&random, memchr(back.options[i].name, 0, sizeof back.options[i].name));
            assert_seeded(&random, memchr(back.options[i].value, 0, sizeof back.options[i].value));
        }
        assert_seeded(&random, memchr(back.numerics, 0, sizeof back.numerics));
    }
    assert_true(accepted > 100 && accepted < 4950);
}

/* ---- entries ---- */

static sl_status decode_entry(const uint8_t *bytes, size_t n_bytes, sl_job_entry *out, size_t *used)
{
    guarded guard;
    guarded_open(&guard, n_bytes);
    sl_status status = sl_wire_decode_job_entry(guarded_copy(&guard, bytes, n_bytes), n_bytes, out,
                                                used);
    guarded_close(&guard);
    return status;
}

static sl_job_entry make_entry(seeded *random)
{
    return (sl_job_entry){.offset = seeded_bits(random) >> seeded_below(random, 64),
                          .n_bytes = seeded_bits(random) >> seeded_below(random, 64),
                          .body_hash = seeded_bits(random) * seeded_below(random, 2),
                          .record_hash_low = seeded_bits(random),
                          .record_hash_high = seeded_bits(random)};
}

/* Each is read as it was, alone or with others behind it; every prefix and flipped bit is none. */
static void test_entries(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        seeded random = seeded_from(seed);
        sl_job_entry entry = make_entry(&random), back;
        uint8_t bytes[2 * SL_JOB_ENTRY_BYTES_MAX];
        size_t n = sl_wire_encode_job_entry(&entry, bytes), used;
        memset(bytes + n, (int)seeded_below(&random, 256), SL_JOB_ENTRY_BYTES_MAX);
        for (size_t more = 0; more < SL_JOB_ENTRY_BYTES_MAX; more += 19) {
            assert_int_equal(decode_entry(bytes, n + more, &back, &used), SL_OK);
            assert_int_equal(used, n);
            assert_memory_equal(&back, &entry, sizeof entry);
        }
        for (size_t fewer = 1; fewer <= n; fewer++)
            assert_int_equal(decode_entry(bytes, n - fewer, &back, &used), SL_ERR_FORMAT);
        size_t bit = seeded_below(&random, (uint32_t)(8 * n));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_seeded(&random, decode_entry(bytes, n, &back, &used) == SL_ERR_FORMAT);
    }
    sl_job_entry largest, back;
    memset(&largest, 0xff, sizeof largest);
    uint8_t bytes[SL_JOB_ENTRY_BYTES_MAX];
    size_t n = sl_wire_encode_job_entry(&largest, bytes), used;
    assert_int_equal(decode_entry(bytes, n, &back, &used), SL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),       cmocka_unit_test(test_largest_and_no_room),
        cmocka_unit_test(test_damaged),          cmocka_unit_test(test_other_version),
        cmocka_unit_test(test_too_many_options), cmocka_unit_test(test_damaged_beneath_the_seal),
        cmocka_unit_test(test_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
