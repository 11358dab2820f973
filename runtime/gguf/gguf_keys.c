/* runtime/gguf/gguf_keys.c - the keys of a header and their values: reading, finding, converting
 * and describing them. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/gguf/gguf_header.h"

enum {
    KIND_U8,
    KIND_I8,
    KIND_U16,
    KIND_I16,
    KIND_U32,
    KIND_I32,
    KIND_F32,
    KIND_BOOL,
    KIND_TEXT,
    KIND_ARRAY,
    KIND_U64,
    KIND_I64,
    KIND_F64,
    N_KINDS
};
static const uint8_t KIND_BYTES[N_KINDS] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* ---- reading ---- */

/* A view is twice as large as an empty string, so a file of these is bounded by their number. */
static sl_status take_texts(sl_gguf_cursor *c, sl_gguf_part *p, sl_gguf_entry *e)
{
    if (e->n > sl_gguf_left(c) / sizeof(uint64_t))
        return sl_gguf_bad(c, "more strings than the file has room for");
    if (e->n > p->limits.texts - p->n_texts)
        return sl_gguf_bad(c, "more strings than any vocabulary");
    p->n_texts += (size_t)e->n;
    e->texts = calloc(e->n ? e->n : 1, sizeof *e->texts);
    if (!e->texts) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (uint64_t i = 0; i < e->n && status == SL_OK; i++)
        status = sl_gguf_take_text(c, &e->texts[i]);
    return status;
}

static sl_status take_value(sl_gguf_cursor *c, sl_gguf_part *p, sl_gguf_entry *e)
{
    e->n = 1;
    sl_status status = sl_gguf_take_u32(c, &e->kind);
    if (status == SL_OK && e->kind == KIND_ARRAY) {
        e->array = true;
        status = sl_gguf_take_u32(c, &e->kind);
        if (status == SL_OK) status = sl_gguf_take_u64(c, &e->n);
        if (status == SL_OK && e->kind == KIND_ARRAY)
            return sl_gguf_bad(c, "arrays of arrays are not supported");
    }
    if (status != SL_OK) return status;
    if (e->kind >= N_KINDS) return sl_gguf_bad(c, "unknown kind of value");
    if (e->kind == KIND_TEXT) return take_texts(c, p, e);
    if (e->n > sl_gguf_left(c) / KIND_BYTES[e->kind])
        return sl_gguf_bad(c, "an array is longer than the file");
    return sl_gguf_take(c, (size_t)e->n * KIND_BYTES[e->kind], &e->data);
}

static sl_status take_keys(sl_gguf_cursor *c, sl_gguf_part *p, uint64_t n)
{
    /* key length, kind and one byte at least */
    if (n > p->limits.keys || n > sl_gguf_left(c) / 13)
        return sl_gguf_bad(c, "more keys than the file has room for");
    p->entries = calloc(n ? n : 1, sizeof *p->entries);
    if (!p->entries) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (uint64_t i = 0; i < n && status == SL_OK; i++) {
        status = sl_gguf_take_text(c, &p->entries[i].key);
        if (status == SL_OK) p->n_entries++;
        if (status == SL_OK) status = take_value(c, p, &p->entries[i]);
    }
    return status;
}

static int compare_entries(const void *a, const void *b)
{
    return sl_text_compare((*(const sl_gguf_entry *const *)a)->key,
                           (*(const sl_gguf_entry *const *)b)->key);
}

static sl_status index_keys(sl_gguf_part *p)
{
    p->by_key = calloc(p->n_entries + 1, sizeof *p->by_key);
    if (!p->by_key) return SL_ERR_MEMORY;
    for (size_t i = 0; i < p->n_entries; i++) p->by_key[i] = &p->entries[i];
    qsort(p->by_key, p->n_entries, sizeof *p->by_key, compare_entries);
    for (size_t i = 1; i < p->n_entries; i++) {
        sl_text key = p->by_key[i]->key;
        if (sl_text_compare(p->by_key[i - 1]->key, key) != 0) continue;
        sl_error("%s: key %.*s is there twice", p->path,
                 (int)sl_plain_prefix(key.data, key.bytes, 80), key.data);
        return SL_ERR_FORMAT;
    }
    return SL_OK;
}

sl_status sl_gguf_parse_keys(sl_gguf_cursor *c, sl_gguf_part *p, uint64_t n)
{
    sl_status status = take_keys(c, p, n);
    return status == SL_OK ? index_keys(p) : status;
}

/* ---- values ---- */

static const sl_gguf_entry *find_text(const sl_gguf_part *p, sl_text key)
{
    sl_gguf_entry wanted = {.key = key};
    const sl_gguf_entry *pointer = &wanted;
    const sl_gguf_entry **found = bsearch(&pointer, p->by_key, p->n_entries, sizeof *p->by_key,
                                          compare_entries);
    return found ? *found : NULL;
}

static const sl_gguf_entry *find_in(const sl_gguf_part *p, const char *key)
{
    return find_text(p, (sl_text){key, strlen(key)});
}

static const sl_gguf_entry *find_key(const sl_gguf *g, const char *key)
{
    return find_in(&g->parts[0], key);
}

/* One number of any integer kind; false for other kinds and for u64 beyond i64. */
static bool integer_at(const sl_gguf_entry *e, uint64_t index, int64_t *out)
{
    if (e->kind == KIND_TEXT) return false;
    const uint8_t *p = e->data + index * KIND_BYTES[e->kind];
    uint64_t bits = 0;
    switch (e->kind) {
    case KIND_U8: *out = *p; return true;
    case KIND_I8: *out = *p < 128 ? *p : *p - 256; return true;
    case KIND_U16: {
        uint16_t v;
        memcpy(&v, p, 2);
        *out = v;
        return true;
    }
    case KIND_I16: {
        int16_t v;
        memcpy(&v, p, 2);
        *out = v;
        return true;
    }
    case KIND_U32: {
        uint32_t v;
        memcpy(&v, p, 4);
        *out = v;
        return true;
    }
    case KIND_I32: {
        int32_t v;
        memcpy(&v, p, 4);
        *out = v;
        return true;
    }
    case KIND_U64:
        memcpy(&bits, p, 8);
        *out = (int64_t)bits;
        return bits <= INT64_MAX;
    case KIND_I64: memcpy(out, p, 8); return true;
    default: return false;
    }
}

static bool real_at(const sl_gguf_entry *e, uint64_t index, float *out)
{
    if (e->kind == KIND_TEXT) return false;
    const uint8_t *p = e->data + index * KIND_BYTES[e->kind];
    if (e->kind == KIND_F32) {
        memcpy(out, p, 4);
        return true;
    }
    if (e->kind != KIND_F64) return false;
    double value;
    memcpy(&value, p, 8);
    *out = (float)value;
    return true;
}

static const sl_gguf_entry *find_scalar(const sl_gguf *g, const char *key)
{
    const sl_gguf_entry *e = find_key(g, key);
    return e && !e->array ? e : NULL;
}

bool sl_gguf_part_has(const sl_gguf_part *part, const char *key)
{
    return find_in(part, key) != NULL;
}

bool sl_gguf_part_u32(const sl_gguf_part *part, const char *key, uint32_t *out)
{
    const sl_gguf_entry *e = find_in(part, key);
    int64_t value;
    if (!e || e->array || !integer_at(e, 0, &value) || value < 0 || value > UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

static bool equal(const sl_gguf_entry *a, const sl_gguf_entry *b)
{
    if (a->kind != b->kind || a->array != b->array || a->n != b->n) return false;
    if (a->kind != KIND_TEXT) return memcmp(a->data, b->data, a->n * KIND_BYTES[a->kind]) == 0;
    for (uint64_t i = 0; i < a->n; i++)
        if (sl_text_compare(a->texts[i], b->texts[i]) != 0) return false;
    return true;
}

const sl_gguf_entry *sl_gguf_part_differs(const sl_gguf_part *part, const sl_gguf_part *other)
{
    static const char split[] = "split.";
    for (size_t i = 0; i < other->n_entries; i++) {
        const sl_gguf_entry *e = &other->entries[i];
        bool is_split = e->key.bytes > strlen(split) && !memcmp(e->key.data, split, strlen(split));
        if (is_split || sl_text_is(e->key, "general.alignment")) continue;
        const sl_gguf_entry *same = find_text(part, e->key);
        if (!same || !equal(same, e)) return e;
    }
    return NULL;
}

bool sl_gguf_has(const sl_gguf *gguf, const char *key)
{
    return sl_gguf_part_has(&gguf->parts[0], key);
}

bool sl_gguf_has_array(const sl_gguf *gguf, const char *key)
{
    const sl_gguf_entry *e = find_key(gguf, key);
    return e && e->array;
}

bool sl_gguf_u32(const sl_gguf *gguf, const char *key, uint32_t *out)
{
    return sl_gguf_part_u32(&gguf->parts[0], key, out);
}

bool sl_gguf_u64(const sl_gguf *gguf, const char *key, uint64_t *out)
{
    const sl_gguf_entry *e = find_scalar(gguf, key);
    int64_t value;
    if (e && e->kind == KIND_U64) { /* all of it, also beyond an i64 */
        memcpy(out, e->data, sizeof *out);
        return true;
    }
    if (!e || !integer_at(e, 0, &value) || value < 0) return false;
    *out = (uint64_t)value;
    return true;
}

bool sl_gguf_i32(const sl_gguf *gguf, const char *key, int32_t *out)
{
    const sl_gguf_entry *e = find_scalar(gguf, key);
    int64_t value;
    if (!e || !integer_at(e, 0, &value) || value < INT32_MIN || value > INT32_MAX) return false;
    *out = (int32_t)value;
    return true;
}

bool sl_gguf_f32(const sl_gguf *gguf, const char *key, float *out)
{
    const sl_gguf_entry *e = find_scalar(gguf, key);
    return e && real_at(e, 0, out);
}

bool sl_gguf_bool(const sl_gguf *gguf, const char *key, bool *out)
{
    const sl_gguf_entry *e = find_scalar(gguf, key);
    if (!e || e->kind != KIND_BOOL) return false;
    *out = *e->data != 0;
    return true;
}

bool sl_gguf_text(const sl_gguf *gguf, const char *key, sl_text *out)
{
    const sl_gguf_entry *e = find_scalar(gguf, key);
    if (!e || e->kind != KIND_TEXT) return false;
    *out = e->texts[0];
    return true;
}

bool sl_gguf_text_array(const sl_gguf *gguf, const char *key, const sl_text **items_out,
                        size_t *n_out)
{
    const sl_gguf_entry *e = find_key(gguf, key);
    if (!e || !e->array || e->kind != KIND_TEXT) return false;
    *items_out = e->texts;
    *n_out = (size_t)e->n;
    return true;
}

bool sl_gguf_i32_array(const sl_gguf *gguf, const char *key, int32_t *items, size_t n_max,
                       size_t *n_out)
{
    const sl_gguf_entry *e = find_key(gguf, key);
    if (!e || !e->array || e->n > n_max) return false;
    for (uint64_t i = 0; i < e->n; i++) {
        int64_t value;
        if (!integer_at(e, i, &value) || value < INT32_MIN || value > INT32_MAX) return false;
        items[i] = (int32_t)value;
    }
    *n_out = (size_t)e->n;
    return true;
}

bool sl_gguf_bool_array(const sl_gguf *gguf, const char *key, bool *items, size_t n_max,
                        size_t *n_out)
{
    const sl_gguf_entry *e = find_key(gguf, key);
    if (!e || !e->array || e->kind != KIND_BOOL || e->n > n_max) return false;
    for (uint64_t i = 0; i < e->n; i++) items[i] = e->data[i] != 0;
    *n_out = (size_t)e->n;
    return true;
}

bool sl_gguf_f32_array(const sl_gguf *gguf, const char *key, float *items, size_t n_max,
                       size_t *n_out)
{
    const sl_gguf_entry *e = find_key(gguf, key);
    if (!e || !e->array || e->n > n_max) return false;
    for (uint64_t i = 0; i < e->n; i++)
        if (!real_at(e, i, &items[i])) return false;
    *n_out = (size_t)e->n;
    return true;
}

sl_text sl_gguf_key_at(const sl_gguf *gguf, size_t index)
{
    return gguf->parts[0].entries[index].key;
}

size_t sl_gguf_n_keys(const sl_gguf *gguf) { return gguf->parts[0].n_entries; }

enum { KEY_SHOWN = 80, TEXT_SHOWN = 60 }; /* bytes that are described of longer ones */

static void describe_value(const sl_gguf_entry *e, char *out, size_t out_bytes)
{
    int64_t integer;
    uint64_t natural;
    float real;
    if (e->array) {
        snprintf(out, out_bytes, "[%" PRIu64 " items]", e->n);
    } else if (e->kind == KIND_TEXT) {
        char text[4 * TEXT_SHOWN + 8];
        size_t bytes = sl_plain_prefix(e->texts[0].data, e->texts[0].bytes, TEXT_SHOWN);
        sl_plain(e->texts[0].data, bytes, text, sizeof text);
        snprintf(out, out_bytes, "\"%s\"%s", text, bytes < e->texts[0].bytes ? "..." : "");
    } else if (e->kind == KIND_BOOL) {
        snprintf(out, out_bytes, "%s", *e->data ? "true" : "false");
    } else if (e->kind == KIND_U64) { /* hashes do not fit an i64 */
        memcpy(&natural, e->data, sizeof natural);
        snprintf(out, out_bytes, "%" PRIu64, natural);
    } else if (integer_at(e, 0, &integer)) {
        snprintf(out, out_bytes, "%" PRId64, integer);
    } else {
        if (!real_at(e, 0, &real)) real = NAN;
        snprintf(out, out_bytes, "%g", (double)real);
    }
}

/* One line, and no escape sequence reaches a terminal. */
int sl_gguf_describe_key(const sl_gguf *gguf, size_t index, char *out, size_t out_bytes)
{
    const sl_gguf_entry *e = &gguf->parts[0].entries[index];
    char key[4 * KEY_SHOWN + 8], value[4 * TEXT_SHOWN + 16];
    sl_plain(e->key.data, sl_plain_prefix(e->key.data, e->key.bytes, KEY_SHOWN), key, sizeof key);
    describe_value(e, value, sizeof value);
    return snprintf(out, out_bytes, "%s = %s", key, value);
}
