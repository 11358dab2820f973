/* runtime/model/gguf.c - maps a GGUF file and finds what is where in it. Owns the mapping and
 * tables whose sizes are bounded by the file's, until sl_gguf_close. Knows no key but
 * general.alignment; what values mean is for gguf_values.c and its callers. */
#include "runtime/model/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/base/log.h"
#include "runtime/model/gguf_file.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF is read as it lies");

/* The least a thing can take in a file: a count is checked against the bytes left before any
 * memory is taken for it. */
enum {
    ENTRY_BYTES_MIN = 8 + 4 + 1,
    TENSOR_BYTES_MIN = 8 + 4 + 8 + 4 + 8,
    STRING_BYTES_MIN = 8,
};
enum { ALIGNMENT_DEFAULT = 32, ALIGNMENT_MIN = 8, ALIGNMENT_MAX = 1 << 24 };
enum { SHOWN_BYTES_MAX = 80 };

typedef struct {
    const sl_gguf *gguf;
    size_t at;
} reader;

static __attribute__((format(printf, 2, 3))) void log_malformed(const reader *r, const char *format,
                                                                ...)
{
    char what[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    sl_error("%s: at byte %zu of %zu: %s", r->gguf->name, r->at, r->gguf->n_bytes, what);
}

/* A macro, so that compilers see it is never SL_OK. */
#define malformed(r, ...) (log_malformed((r), __VA_ARGS__), SL_ERR_FORMAT)

static sl_status out_of_memory(const sl_gguf *gguf, uint64_t n, const char *what)
{
    sl_error("%s: no memory for the table of %" PRIu64 " %s", gguf->name, n, what);
    return SL_ERR_MEMORY;
}

/* For "%.*s" of a text that may be long. */
static int shown(sl_text text)
{
    return text.bytes < SHOWN_BYTES_MAX ? (int)text.bytes : SHOWN_BYTES_MAX;
}

/* ---- reading what has a size ---- */

static size_t bytes_left(const reader *r) { return r->gguf->n_bytes - r->at; }

static sl_status take(reader *r, uint64_t n, const char *what, const uint8_t **out)
{
    if (n > bytes_left(r))
        return malformed(r, "%s takes %" PRIu64 " bytes, but %zu are left", what, n, bytes_left(r));
    *out = r->gguf->bytes + r->at;
    r->at += n;
    return SL_OK;
}

static sl_status take_u32(reader *r, const char *what, uint32_t *out)
{
    const uint8_t *from;
    sl_status status = take(r, sizeof *out, what, &from);
    if (status == SL_OK) memcpy(out, from, sizeof *out);
    return status;
}

static sl_status take_u64(reader *r, const char *what, uint64_t *out)
{
    const uint8_t *from;
    sl_status status = take(r, sizeof *out, what, &from);
    if (status == SL_OK) memcpy(out, from, sizeof *out);
    return status;
}

static sl_status take_text(reader *r, const char *what, sl_text *out)
{
    uint64_t n;
    const uint8_t *from;
    sl_status status = take_u64(r, what, &n);
    if (status == SL_OK) status = take(r, n, what, &from);
    if (status == SL_OK) *out = (sl_text){(const char *)from, n};
    return status;
}

/* A count of things that take at least bytes_min each. */
static sl_status take_count(reader *r, const char *what, size_t bytes_min, uint64_t *out)
{
    sl_status status = take_u64(r, what, out);
    if (status == SL_OK && *out > bytes_left(r) / bytes_min)
        return malformed(r, "the %s is %" PRIu64 ", but at most %zu fit in the bytes left", what,
                         *out, bytes_left(r) / bytes_min);
    return status;
}

/* ---- keys and values ---- */

size_t sl_gguf_kind_bytes(uint32_t kind)
{
    static const uint8_t bytes[N_KINDS] = {
        [KIND_U8] = 1,  [KIND_I8] = 1,  [KIND_U16] = 2, [KIND_I16] = 2,
        [KIND_U32] = 4, [KIND_I32] = 4, [KIND_F32] = 4, [KIND_BOOL] = 1,
        [KIND_U64] = 8, [KIND_I64] = 8, [KIND_F64] = 8,
    };
    return kind < N_KINDS ? bytes[kind] : 0;
}

static sl_status parse_texts(reader *r, gguf_entry *e)
{
    e->texts = calloc(e->n + 1, sizeof *e->texts);
    if (!e->texts) return out_of_memory(r->gguf, e->n, "strings");
    sl_status status = SL_OK;
    for (uint64_t i = 0; status == SL_OK && i < e->n; i++)
        status = take_text(r, "a string", &e->texts[i]);
    return status;
}

static sl_status parse_numbers(reader *r, gguf_entry *e)
{
    size_t bytes = sl_gguf_kind_bytes(e->kind);
    if (e->n > bytes_left(r) / bytes)
        return malformed(r, "%.*s has %" PRIu64 " values of %zu bytes, but %zu bytes are left",
                         shown(e->key), e->key.data, e->n, bytes, bytes_left(r));
    sl_status status = take(r, e->n * bytes, "a value", &e->values);
    for (uint64_t i = 0; status == SL_OK && e->kind == KIND_BOOL && i < e->n; i++) {
        if (e->values[i] > 1)
            return malformed(r, "%.*s is %u, expected 0 or 1", shown(e->key), e->key.data,
                             e->values[i]);
    }
    return status;
}

static sl_status parse_entry(reader *r, gguf_entry *e)
{
    sl_status status;
    e->n = 1;
    if ((status = take_text(r, "a key", &e->key)) != SL_OK ||
        (status = take_u32(r, "the kind of a value", &e->kind)) != SL_OK)
        return status;
    if (e->kind == KIND_ARRAY) {
        e->is_array = true;
        if ((status = take_u32(r, "the kind of items", &e->kind)) != SL_OK) return status;
    }
    if (e->kind >= N_KINDS || e->kind == KIND_ARRAY)
        return malformed(r, "%.*s has %s of kind %u, expected a known kind that is no array",
                         shown(e->key), e->key.data, e->is_array ? "items" : "a value", e->kind);
    size_t bytes_min = e->kind == KIND_STRING ? STRING_BYTES_MIN : sl_gguf_kind_bytes(e->kind);
    if (e->is_array && (status = take_count(r, "number of items", bytes_min, &e->n)) != SL_OK)
        return status;
    return e->kind == KIND_STRING ? parse_texts(r, e) : parse_numbers(r, e);
}

static sl_status read_alignment(const reader *r, uint64_t *out)
{
    uint32_t alignment = ALIGNMENT_DEFAULT;
    if (sl_gguf_has(r->gguf, "general.alignment") &&
        !sl_gguf_u32(r->gguf, "general.alignment", &alignment))
        return malformed(r, "general.alignment is not an integer of 32 bits");
    if (alignment < ALIGNMENT_MIN || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)))
        return malformed(r, "general.alignment is %u, expected a power of two from %d to %d",
                         alignment, ALIGNMENT_MIN, ALIGNMENT_MAX);
    *out = alignment;
    return SL_OK;
}

/* ---- tensors ---- */

/* `offset` is only known to be one once all headers are read: kept in data_bytes until then. */
static sl_status parse_tensor(reader *r, sl_gguf_tensor *t)
{
    uint64_t offset;
    sl_status status;
    if ((status = take_text(r, "the name of a tensor", &t->name)) != SL_OK ||
        (status = take_u32(r, "a number of dimensions", &t->n_dims)) != SL_OK)
        return status;
    if (t->n_dims < 1 || t->n_dims > SL_TENSOR_DIMS_MAX)
        return malformed(r, "tensor %.*s has %u dimensions, expected 1 to %d", shown(t->name),
                         t->name.data, t->n_dims, SL_TENSOR_DIMS_MAX);
    for (uint32_t i = 0; i < SL_TENSOR_DIMS_MAX; i++) t->dims[i] = 1;
    for (uint32_t i = 0; i < t->n_dims; i++)
        if ((status = take_u64(r, "a dimension", &t->dims[i])) != SL_OK) return status;
    if ((status = take_u32(r, "the type of a tensor", &t->type)) != SL_OK) return status;
    if ((status = take_u64(r, "the offset of a tensor", &offset)) != SL_OK) return status;
    t->data_bytes = offset;
    return SL_OK;
}

/* Bytes of a tensor by its shape; 0 for a type unknown to us. */
static sl_status measure_tensor(const reader *r, const sl_gguf_tensor *t, uint64_t *bytes_out)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] == 0 || __builtin_mul_overflow(n, t->dims[i], &n))
            return malformed(r,
                             "tensor %.*s: dimension %u is %" PRIu64 ", expected at least 1 and "
                             "a product below 2^64",
                             shown(t->name), t->name.data, i, t->dims[i]);
    }
    size_t block, block_bytes;
    *bytes_out = 0;
    if (!sl_type_block(t->type, &block, &block_bytes)) return SL_OK;
    if (t->dims[0] % block != 0 || __builtin_mul_overflow(n / block, block_bytes, bytes_out))
        return malformed(r, "tensor %.*s: %" PRIu64 " rows of %" PRIu64 " elements cannot be %s",
                         shown(t->name), t->name.data, n / t->dims[0], t->dims[0],
                         sl_type_name(t->type));
    return SL_OK;
}

static sl_status place_tensor(const reader *r, sl_gguf_tensor *t, uint64_t alignment)
{
    uint64_t offset = t->data_bytes, bytes;
    sl_status status = measure_tensor(r, t, &bytes);
    if (status != SL_OK) return status;
    uint64_t at_least = bytes > 0 ? bytes : 1;
    if (offset % alignment != 0 || offset > bytes_left(r) || at_least > bytes_left(r) - offset)
        return malformed(r,
                         "tensor %.*s: offset %" PRIu64 ", %" PRIu64 " bytes: expected a multiple "
                         "of %" PRIu64 " and to fit in the %zu bytes of tensor data",
                         shown(t->name), t->name.data, offset, bytes, alignment, bytes_left(r));
    t->data = r->gguf->bytes + r->at + offset;
    t->data_bytes = bytes;
    return SL_OK;
}

static int compare_places(const void *a, const void *b)
{
    const sl_gguf_tensor *x = *(sl_gguf_tensor *const *)a, *y = *(sl_gguf_tensor *const *)b;
    return ((const uint8_t *)x->data > (const uint8_t *)y->data) -
           ((const uint8_t *)x->data < (const uint8_t *)y->data);
}

static sl_status check_overlap(const reader *r)
{
    const sl_gguf *g = r->gguf;
    const sl_gguf_tensor **order = calloc(g->n_tensors + 1, sizeof *order);
    if (!order) return out_of_memory(g, g->n_tensors, "tensors");
    for (size_t i = 0; i < g->n_tensors; i++) order[i] = &g->tensors[i];
    qsort(order, g->n_tensors, sizeof *order, compare_places);

    sl_status status = SL_OK;
    for (size_t i = 1; status == SL_OK && i < g->n_tensors; i++) {
        const sl_gguf_tensor *a = order[i - 1], *b = order[i];
        size_t apart = (size_t)((const uint8_t *)b->data - (const uint8_t *)a->data);
        if (apart < a->data_bytes || apart == 0)
            status = malformed(r, "tensors %.*s and %.*s overlap", shown(a->name), a->name.data,
                               shown(b->name), b->name.data);
    }
    free(order);
    return status;
}

/* ---- names ---- */

static int compare_texts(sl_text a, sl_text b)
{
    int order = memcmp(a.data, b.data, a.bytes < b.bytes ? a.bytes : b.bytes);
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_names(const void *a, const void *b)
{
    return compare_texts(**(const sl_text *const *)a, **(const sl_text *const *)b);
}

/* Sorted, not hashed: names from outside cannot make it slow. */
static sl_status index_make(const reader *r, const void *things, size_t n, size_t thing_bytes,
                            gguf_index *out)
{
    out->names = calloc(n + 1, sizeof *out->names);
    if (!out->names) return out_of_memory(r->gguf, n, "names");
    out->n = n;
    for (size_t i = 0; i < n; i++)
        out->names[i] = (const sl_text *)(const void *)((const char *)things + i * thing_bytes);
    qsort(out->names, n, sizeof *out->names, compare_names);
    for (size_t i = 1; i < n; i++) {
        if (compare_texts(*out->names[i - 1], *out->names[i]) == 0)
            return malformed(r, "the name %.*s is there twice", shown(*out->names[i]),
                             out->names[i]->data);
    }
    return SL_OK;
}

const sl_text *sl_gguf_index_find(const gguf_index *index, const char *name)
{
    const sl_text wanted = {name, strlen(name)}, *key = &wanted;
    if (index->n == 0) return NULL;
    const sl_text **found = bsearch(&key, index->names, index->n, sizeof *index->names,
                                    compare_names);
    return found ? *found : NULL;
}

/* ---- the file ---- */

static sl_status parse_magic(reader *r, sl_gguf *g)
{
    const uint8_t *magic;
    sl_status status;
    if ((status = take(r, 4, "the magic", &magic)) != SL_OK) return status;
    if (memcmp(magic, "GGUF", 4) != 0) return malformed(r, "not a GGUF file");
    if ((status = take_u32(r, "the version", &g->version)) != SL_OK) return status;
    if (g->version != 2 && g->version != 3)
        return malformed(r, "GGUF version %u%s, expected 2 or 3, little-endian", g->version,
                         g->version >> 24 ? " (big-endian?)" : "");
    return SL_OK;
}

static sl_status parse_entries(reader *r, sl_gguf *g, uint64_t n)
{
    g->entries = calloc(n + 1, sizeof *g->entries);
    if (!g->entries) return out_of_memory(g, n, "keys");
    for (uint64_t i = 0; i < n; i++) {
        g->n_entries = i + 1;
        sl_status status = parse_entry(r, &g->entries[i]);
        if (status != SL_OK) return status;
    }
    return index_make(r, g->entries, n, sizeof *g->entries, &g->entries_by_key);
}

static sl_status parse_tensors(reader *r, sl_gguf *g, uint64_t n)
{
    if (n > bytes_left(r) / TENSOR_BYTES_MIN)
        return malformed(r, "%" PRIu64 " tensors cannot fit in the bytes left", n);
    g->tensors = calloc(n + 1, sizeof *g->tensors);
    if (!g->tensors) return out_of_memory(g, n, "tensors");
    g->n_tensors = n;
    sl_status status = SL_OK;
    for (uint64_t i = 0; status == SL_OK && i < n; i++) status = parse_tensor(r, &g->tensors[i]);
    if (status != SL_OK) return status;
    return index_make(r, g->tensors, n, sizeof *g->tensors, &g->tensors_by_name);
}

/* Tensor data starts at the next multiple of the alignment. */
static sl_status place_tensors(reader *r, sl_gguf *g)
{
    uint64_t alignment;
    sl_status status = read_alignment(r, &alignment);
    if (status != SL_OK) return status;
    uint64_t start = (r->at + alignment - 1) & ~(alignment - 1);
    r->at = start < g->n_bytes ? start : g->n_bytes;
    g->header_hash = XXH3_64bits(g->bytes, r->at);
    for (size_t i = 0; status == SL_OK && i < g->n_tensors; i++)
        status = place_tensor(r, &g->tensors[i], alignment);
    return status == SL_OK ? check_overlap(r) : status;
}

static sl_status parse(sl_gguf *g)
{
    reader r = {.gguf = g};
    uint64_t n_tensors, n_entries;
    sl_status status;
    if ((status = parse_magic(&r, g)) != SL_OK ||
        (status = take_count(&r, "number of tensors", TENSOR_BYTES_MIN, &n_tensors)) != SL_OK ||
        (status = take_count(&r, "number of keys", ENTRY_BYTES_MIN, &n_entries)) != SL_OK ||
        (status = parse_entries(&r, g, n_entries)) != SL_OK ||
        (status = parse_tensors(&r, g, n_tensors)) != SL_OK)
        return status;
    return place_tensors(&r, g);
}

sl_status sl_gguf_open_memory(const void *bytes, size_t n_bytes, const char *name,
                              sl_gguf **gguf_out)
{
    sl_gguf *g = calloc(1, sizeof *g);
    if (g) g->name = strdup(name);
    if (!g || !g->name) {
        free(g);
        sl_error("%s: no memory to open it", name);
        return SL_ERR_MEMORY;
    }
    g->bytes = bytes;
    g->n_bytes = n_bytes;
    sl_status status = parse(g);
    if (status != SL_OK) {
        sl_gguf_close(g);
        return status;
    }
    *gguf_out = g;
    return SL_OK;
}

/* Map all of a regular file that is not empty. */
static sl_status map_file(const char *path, void **mapping_out, size_t *n_bytes_out)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        sl_error("%s: cannot be opened: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return SL_ERR_FILE;
    }
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        sl_error("%s: %s, expected a GGUF file", path,
                 S_ISREG(info.st_mode) ? "empty" : "not a regular file");
        close(fd);
        return S_ISREG(info.st_mode) ? SL_ERR_FORMAT : SL_ERR_FILE;
    }
    void *mapping = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int cause = errno;
    close(fd); /* the mapping stays */
    if (mapping == MAP_FAILED) {
        sl_error("%s: cannot be mapped: %s", path, strerror(cause));
        return SL_ERR_FILE;
    }
    *mapping_out = mapping;
    *n_bytes_out = (size_t)info.st_size;
    return SL_OK;
}

sl_status sl_gguf_open(const char *path, sl_gguf **gguf_out)
{
    void *mapping;
    size_t n_bytes;
    sl_status status = map_file(path, &mapping, &n_bytes);
    if (status != SL_OK) return status;
    status = sl_gguf_open_memory(mapping, n_bytes, path, gguf_out);
    if (status == SL_OK)
        (*gguf_out)->mapping = mapping;
    else
        munmap(mapping, n_bytes);
    return status;
}

void sl_gguf_close(sl_gguf *gguf)
{
    if (!gguf) return;
    if (gguf->mapping) munmap(gguf->mapping, gguf->n_bytes);
    for (size_t i = 0; i < gguf->n_entries; i++) free(gguf->entries[i].texts);
    free(gguf->entries_by_key.names);
    free(gguf->tensors_by_name.names);
    free(gguf->entries);
    free(gguf->tensors);
    free(gguf->name);
    free(gguf);
}
