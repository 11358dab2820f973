/* tests/fuzz/fuzz_journal.c - the input is a journal. Its first byte says whether it is one as it
 * is, or bodies to be sealed here, each behind two bytes with its length: no mutation gets past a
 * checksum. What is read must be read again, from its whole part alone and with half an entry
 * behind that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/job/journal.h"
#include "proto/wire_seal.h"
#include "runtime/base/log.h"
#include "tests/fuzz/fuzz.h"

enum { MAGIC_BYTES = 4, LENGTH_BYTES = 2 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

/* malloc'd: the magic, then each body with its seal; the last one as far as it goes. */
static uint8_t *seal_all(const uint8_t *data, size_t size, size_t *n_bytes_out)
{
    uint8_t *out = malloc(MAGIC_BYTES + size * (1 + SL_SEAL_BYTES)); /* a body may be empty */
    SL_ASSERT(out);
    memcpy(out, "SLJB", MAGIC_BYTES);
    size_t n = MAGIC_BYTES;
    while (size >= LENGTH_BYTES) {
        size_t body = data[0] | (size_t)data[1] << 8;
        data += LENGTH_BYTES;
        size -= LENGTH_BYTES;
        if (body > size) body = size;
        memcpy(out + n + SL_SEAL_BYTES, data, body);
        sl_seal_write(out + n, body);
        n += SL_SEAL_BYTES + body;
        data += body;
        size -= body;
    }
    *n_bytes_out = n;
    return out;
}

static sl_status parse(uint8_t *bytes, size_t n, sl_journal_content *content)
{
    if (n == 0) return SL_END; /* fmemopen refuses it */
    FILE *file = fmemopen(bytes, n, "r");
    SL_ASSERT(file);
    sl_status status = sl_journal_parse(file, "journal", content);
    fclose(file);
    return status;
}

static void check_same(uint8_t *bytes, size_t n, const sl_journal_content *expected)
{
    sl_journal_content again;
    SL_ASSERT(parse(bytes, n, &again) == SL_OK);
    SL_ASSERT(again.whole_bytes == expected->whole_bytes && again.bytes == n);
    SL_ASSERT(again.n_entries == expected->n_entries);
    SL_ASSERT(again.requests.count == expected->requests.count);
    SL_ASSERT(again.identity.n_options == expected->identity.n_options);
    sl_journal_content_fini(&again);
}

static void check(uint8_t *bytes, size_t n)
{
    sl_journal_content content;
    if (parse(bytes, n, &content) != SL_OK) return;
    SL_ASSERT(content.whole_bytes <= n && content.bytes == n);
    SL_ASSERT(content.requests.count <= content.n_entries);
    check_same(bytes, content.whole_bytes, &content);
    sl_job_entry entry = {.offset = 1, .n_bytes = 2};
    uint8_t half[SL_JOB_ENTRY_BYTES_MAX];
    size_t half_bytes = sl_wire_encode_job_entry(&entry, half) / 2;
    uint8_t *longer = malloc(content.whole_bytes + half_bytes);
    SL_ASSERT(longer);
    memcpy(longer, bytes, content.whole_bytes);
    memcpy(longer + content.whole_bytes, half, half_bytes);
    check_same(longer, content.whole_bytes + half_bytes, &content);
    free(longer);
    sl_journal_content_fini(&content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    size_t n = size - 1;
    uint8_t *bytes;
    if (data[0] % 2 == 1) {
        bytes = seal_all(data + 1, size - 1, &n);
    } else {
        bytes = malloc(size);
        SL_ASSERT(bytes);
        memcpy(bytes, data + 1, n);
    }
    check(bytes, n);
    free(bytes);
    return 0;
}
