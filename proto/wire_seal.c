/* proto/wire_seal.c - lengths and checksums by hand, little-endian on every host. */
#include "proto/wire_seal.h"

#include <string.h>
#include <xxhash.h>

#include "runtime/base/log.h"

static void put_little(uint8_t *out, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) out[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get_little(const uint8_t *bytes, int n_bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < n_bytes; i++) value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

void sl_seal_write(uint8_t *out, size_t body_bytes)
{
    SL_ASSERT(body_bytes <= UINT32_MAX);
    put_little(out, body_bytes, 4);
    put_little(out + 4, XXH3_64bits(out + SL_SEAL_BYTES, body_bytes), 8);
}

sl_status sl_seal_check(const char *what, const uint8_t *bytes, size_t n_bytes,
                        const uint8_t **body_out, size_t *body_bytes_out)
{
    if (n_bytes < SL_SEAL_BYTES) {
        sl_error("%s of %zu bytes is shorter than its seal", what, n_bytes);
        return SL_ERR_FORMAT;
    }
    size_t body_bytes = (size_t)get_little(bytes, 4);
    if (body_bytes > n_bytes - SL_SEAL_BYTES) {
        sl_error("%s is cut short: a body of %zu bytes in %zu", what, body_bytes, n_bytes);
        return SL_ERR_FORMAT;
    }
    const uint8_t *body = bytes + SL_SEAL_BYTES;
    if (XXH3_64bits(body, body_bytes) != get_little(bytes + 4, 8)) {
        sl_error("%s is corrupt: its checksum does not match", what);
        return SL_ERR_FORMAT;
    }
    *body_out = body;
    *body_bytes_out = body_bytes;
    return SL_OK;
}

bool sl_seal_whole(const uint8_t *bytes, size_t n_bytes, const uint8_t **body_out,
                   size_t *body_bytes_out)
{
    if (n_bytes < SL_SEAL_BYTES) return false;
    size_t body_bytes = (size_t)get_little(bytes, 4);
    *body_out = bytes + SL_SEAL_BYTES;
    *body_bytes_out = body_bytes;
    return body_bytes <= n_bytes - SL_SEAL_BYTES &&
           XXH3_64bits(*body_out, body_bytes) == get_little(bytes + 4, 8);
}

uint32_t sl_seal_version(const uint8_t *body, size_t body_bytes)
{
    enum { FIELD_1_FIXED32 = 1 << 3 | 5 };
    if (body_bytes < 5 || body[0] != FIELD_1_FIXED32) return 0;
    return (uint32_t)get_little(body + 1, 4);
}

char *sl_text_lend(const char *text, size_t bytes_max)
{
    SL_ASSERT(memchr(text, '\0', bytes_max));
    return (char *)text;
}

bool sl_text_copy(char *out, size_t out_bytes_max, const char *text)
{
    size_t length = strnlen(text, out_bytes_max);
    if (length == out_bytes_max) return false;
    memcpy(out, text, length + 1);
    return true;
}
