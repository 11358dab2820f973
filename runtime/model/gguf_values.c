/* runtime/model/gguf_values.c - what a parsed GGUF says: values by key, converted when they fit,
 * tensors by name, types. Owns nothing; trusts what gguf.c checked. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/model/gguf.h"
#include "runtime/model/gguf_file.h"

const char *sl_gguf_path(const sl_gguf *gguf) { return gguf->name; }

size_t sl_gguf_bytes(const sl_gguf *gguf) { return gguf->n_bytes; }

uint32_t sl_gguf_version(const sl_gguf *gguf) { return gguf->version; }

uint64_t sl_gguf_header_hash(const sl_gguf *gguf) { return gguf->header_hash; }

/* ---- numbers ---- */

#define LOAD(type, from)                        \
    __extension__({                             \
        type value_;                            \
        memcpy(&value_, (from), sizeof value_); \
        value_;                                 \
    })

/* The i-th value as an integer; false when it is none or does not fit. */
static bool load_integer(const gguf_entry *e, uint64_t i, int64_t *out)
{
    const uint8_t *from = e->values + i * sl_gguf_kind_bytes(e->kind);
    switch (e->kind) {
    case KIND_U8: *out = *from; return true;
    case KIND_I8: *out = LOAD(int8_t, from); return true;
    case KIND_U16: *out = LOAD(uint16_t, from); return true;
    case KIND_I16: *out = LOAD(int16_t, from); return true;
    case KIND_U32: *out = LOAD(uint32_t, from); return true;
    case KIND_I32: *out = LOAD(int32_t, from); return true;
    case KIND_I64:
    case KIND_U64: *out = LOAD(int64_t, from); return e->kind == KIND_I64 || *out >= 0;
    default: return false;
    }
}

static bool load_float(const gguf_entry *e, uint64_t i, float *out)
{
    const uint8_t *from = e->values + i * sl_gguf_kind_bytes(e->kind);
    if (e->kind == KIND_F32)
        *out = LOAD(float, from);
    else if (e->kind == KIND_F64)
        *out = (float)LOAD(double, from);
    else
        return false;
    return true;
}

typedef enum { SCALAR, ARRAY } form;

static const gguf_entry *find(const sl_gguf *gguf, const char *key, form wanted)
{
    const gguf_entry *e = (const void *)sl_gguf_index_find(&gguf->entries_by_key, key);
    return e && e->is_array == (wanted == ARRAY) ? e : NULL;
}

static bool scalar_between(const sl_gguf *gguf, const char *key, int64_t low, int64_t high,
                           int64_t *out)
{
    const gguf_entry *e = find(gguf, key, SCALAR);
    return e && load_integer(e, 0, out) && *out >= low && *out <= high;
}

bool sl_gguf_has(const sl_gguf *gguf, const char *key)
{
    return sl_gguf_index_find(&gguf->entries_by_key, key) != NULL;
}

bool sl_gguf_u32(const sl_gguf *gguf, const char *key, uint32_t *out)
{
    int64_t value;
    if (!scalar_between(gguf, key, 0, UINT32_MAX, &value)) return false;
    *out = (uint32_t)value;
    return true;
}

bool sl_gguf_i32(const sl_gguf *gguf, const char *key, int32_t *out)
{
    int64_t value;
    if (!scalar_between(gguf, key, INT32_MIN, INT32_MAX, &value)) return false;
    *out = (int32_t)value;
    return true;
}

bool sl_gguf_f32(const sl_gguf *gguf, const char *key, float *out)
{
    const gguf_entry *e = find(gguf, key, SCALAR);
    return e && load_float(e, 0, out);
}

bool sl_gguf_bool(const sl_gguf *gguf, const char *key, bool *out)
{
    const gguf_entry *e = find(gguf, key, SCALAR);
    if (!e || e->kind != KIND_BOOL) return false;
    *out = e->values[0] != 0;
    return true;
}

bool sl_gguf_text(const sl_gguf *gguf, const char *key, sl_text *out)
{
    const gguf_entry *e = find(gguf, key, SCALAR);
    if (!e || e->kind != KIND_STRING) return false;
    *out = e->texts[0];
    return true;
}

/* ---- arrays ---- */

bool sl_gguf_text_array(const sl_gguf *gguf, const char *key, const sl_text **items_out,
                        size_t *n_out)
{
    const gguf_entry *e = find(gguf, key, ARRAY);
    if (!e || e->kind != KIND_STRING) return false;
    *items_out = e->texts;
    *n_out = e->n;
    return true;
}

bool sl_gguf_i32_array(const sl_gguf *gguf, const char *key, int32_t *items, size_t n_max,
                       size_t *n_out)
{
    const gguf_entry *e = find(gguf, key, ARRAY);
    if (!e || e->n > n_max) return false;
    for (uint64_t i = 0; i < e->n; i++) {
        int64_t value;
        if (!load_integer(e, i, &value) || value < INT32_MIN || value > INT32_MAX) return false;
        items[i] = (int32_t)value;
    }
    *n_out = e->n;
    return true;
}

bool sl_gguf_f32_array(const sl_gguf *gguf, const char *key, float *items, size_t n_max,
                       size_t *n_out)
{
    const gguf_entry *e = find(gguf, key, ARRAY);
    if (!e || e->n > n_max) return false;
    for (uint64_t i = 0; i < e->n; i++)
        if (!load_float(e, i, &items[i])) return false;
    *n_out = e->n;
    return true;
}

/* ---- for people ---- */

enum { ITEMS_SHOWN_MAX = 8 };

/* snprintf, piece by piece. */
typedef struct {
    char *out;
    size_t out_bytes, n;
} line;

static __attribute__((format(printf, 2, 3))) void append(line *l, const char *format, ...)
{
    size_t at = l->n < l->out_bytes ? l->n : l->out_bytes;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(l->out ? l->out + at : NULL, l->out_bytes - at, format, arguments);
    va_end(arguments);
    if (n > 0) l->n += (size_t)n;
}

/* On one line, and nothing a terminal would obey. */
static void append_text(line *l, sl_text text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == '\n')
            append(l, "\\n");
        else if (c < 32 || c == 127)
            append(l, "\\x%02x", c);
        else
            append(l, "%c", c);
    }
}

static void append_value(line *l, const gguf_entry *e, uint64_t i)
{
    int64_t integer;
    float number;
    if (e->kind == KIND_STRING)
        append_text(l, e->texts[i]);
    else if (e->kind == KIND_BOOL)
        append(l, e->values[i] ? "true" : "false");
    else if (load_float(e, i, &number))
        append(l, "%g", (double)number);
    else if (load_integer(e, i, &integer))
        append(l, "%" PRId64, integer);
    else
        append(l, "%" PRIu64, LOAD(uint64_t, e->values + i * sizeof(uint64_t)));
}

size_t sl_gguf_n_keys(const sl_gguf *gguf) { return gguf->n_entries; }

int sl_gguf_describe_key(const sl_gguf *gguf, size_t index, char *out, size_t out_bytes)
{
    SL_ASSERT(index < gguf->n_entries);
    const gguf_entry *e = &gguf->entries[index];
    line l = {.out = out, .out_bytes = out_bytes};
    append_text(&l, e->key);
    append(&l, " = ");
    if (e->is_array) append(&l, "%" PRIu64 " [", e->n);
    for (uint64_t i = 0; i < e->n && i < ITEMS_SHOWN_MAX; i++) {
        if (i > 0) append(&l, ", ");
        append_value(&l, e, i);
    }
    if (e->is_array) append(&l, e->n > ITEMS_SHOWN_MAX ? ", ...]" : "]");
    return l.n < INT32_MAX ? (int)l.n : INT32_MAX;
}

/* ---- tensors and types ---- */

size_t sl_gguf_n_tensors(const sl_gguf *gguf) { return gguf->n_tensors; }

const sl_gguf_tensor *sl_gguf_tensor_at(const sl_gguf *gguf, size_t index)
{
    SL_ASSERT(index < gguf->n_tensors);
    return &gguf->tensors[index];
}

const sl_gguf_tensor *sl_gguf_find(const sl_gguf *gguf, const char *name)
{
    return (const void *)sl_gguf_index_find(&gguf->tensors_by_name, name);
}

static const struct {
    uint32_t type;
    const char *name;
    size_t block, block_bytes;
} TYPES[] = {
    {SL_TYPE_F32, "f32", 1, 4},
    {SL_TYPE_F16, "f16", 1, 2},
    {SL_TYPE_Q4_1, "q4_1", 32, 2 + 2 + 16},
    {SL_TYPE_Q8_0, "q8_0", 32, 2 + 32},
};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

const char *sl_type_name(uint32_t type)
{
    static _Thread_local char unknown[24];
    for (size_t i = 0; i < N_TYPES; i++)
        if (TYPES[i].type == type) return TYPES[i].name;
    snprintf(unknown, sizeof unknown, "type %" PRIu32, type);
    return unknown;
}

bool sl_type_block(uint32_t type, size_t *elements_out, size_t *bytes_out)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        if (TYPES[i].type != type) continue;
        *elements_out = TYPES[i].block;
        *bytes_out = TYPES[i].block_bytes;
        return true;
    }
    return false;
}
