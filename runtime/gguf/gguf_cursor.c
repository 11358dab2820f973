/* runtime/gguf/gguf_cursor.c - takes numbers and texts out of a header's bytes: see
 * gguf_header.h. */
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/gguf/gguf_header.h"

sl_status sl_gguf_bad(const sl_gguf_cursor *c, const char *what)
{
    sl_error("%s: at byte %zu: %s", c->part->path, c->at, what);
    return SL_ERR_FORMAT;
}

size_t sl_gguf_left(const sl_gguf_cursor *c) { return c->part->n_bytes - c->at; }

sl_status sl_gguf_take(sl_gguf_cursor *c, size_t n, const uint8_t **out)
{
    if (n > sl_gguf_left(c)) return sl_gguf_bad(c, "the file ends too early");
    if (n > c->part->limits.bytes - c->at)
        return sl_gguf_bad(c, "this ends a header, or those of all parts, of more than 256 MB");
    if (n > c->part->n_held - c->at) return SL_AGAIN; /* more of the header must be read */
    *out = c->part->bytes + c->at;
    c->at += n;
    return SL_OK;
}

sl_status sl_gguf_take_u32(sl_gguf_cursor *c, uint32_t *out)
{
    const uint8_t *p;
    sl_status status = sl_gguf_take(c, sizeof *out, &p);
    if (status == SL_OK) memcpy(out, p, sizeof *out);
    return status;
}

sl_status sl_gguf_take_u64(sl_gguf_cursor *c, uint64_t *out)
{
    const uint8_t *p;
    sl_status status = sl_gguf_take(c, sizeof *out, &p);
    if (status == SL_OK) memcpy(out, p, sizeof *out);
    return status;
}

sl_status sl_gguf_take_text(sl_gguf_cursor *c, sl_text *out)
{
    uint64_t n;
    const uint8_t *p;
    sl_status status = sl_gguf_take_u64(c, &n);
    if (status == SL_OK && n > sl_gguf_left(c))
        return sl_gguf_bad(c, "a string is longer than the file");
    if (status == SL_OK) status = sl_gguf_take(c, (size_t)n, &p);
    if (status == SL_OK) *out = (sl_text){(const char *)p, (size_t)n};
    return status;
}

int sl_text_compare(sl_text a, sl_text b)
{
    size_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

bool sl_text_is(sl_text text, const char *word)
{
    return sl_text_compare(text, (sl_text){word, strlen(word)}) == 0;
}
