/* runtime/gguf/gguf.c - see gguf.h. One pass over the header with a cursor that cannot leave the
 * bytes; what it finds is kept as views into them and two sorted indexes of names. Nobody knows how
 * long a header is before its end, so a file's first bytes are read, and when they do not reach, twice
 * as many, and parsing begins anew. */
#include "runtime/gguf/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/base/arena.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"

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

enum { KEYS_MAX = 1 << 16, TENSORS_MAX = 1 << 20, TEXTS_MAX = 1 << 24 };
enum { HEADER_BYTES_MAX = 1 << 28, HEADER_BYTES_FIRST = 1 << 20, ALIGNMENT_DEFAULT = 32 };

typedef struct {
    sl_text key;
    uint32_t kind; /* of the value, or of an array's items */
    bool array;
    const uint8_t *data; /* the value, or an array's first item */
    uint64_t n;          /* items of an array, else 1 */
    sl_text *texts;      /* KIND_TEXT: [n] views, owned */
} entry;

struct sl_gguf {
    char *path;
    int file;             /* -1: the bytes are the caller's */
    sl_file_stamp opened; /* the file as it was opened */
    const uint8_t *bytes; /* the first ones of the file, or all the caller's */
    size_t n_held;        /* of them are in memory */
    size_t n_bytes;       /* of the file */
    void *header;         /* where a file's are */
    void *tensor_bytes;   /* sl_gguf_load's */
    size_t n_tensor_bytes;
    uint32_t version;
    uint64_t header_hash;
    entry *entries;
    size_t n_entries;
    size_t n_texts; /* of all entries */
    sl_gguf_tensor *tensors;
    size_t n_tensors;
    const entry **by_key;           /* sorted */
    const sl_gguf_tensor **by_name; /* sorted */
};

/* ---- a cursor ---- */

typedef struct {
    const sl_gguf *gguf;
    size_t at;
} cursor;

static sl_status bad(const cursor *c, const char *what)
{
    sl_error("%s: at byte %zu: %s", c->gguf->path, c->at, what);
    return SL_ERR_FORMAT;
}

static size_t left(const cursor *c) { return c->gguf->n_bytes - c->at; }

static sl_status take(cursor *c, size_t n, const uint8_t **out)
{
    if (n > left(c)) return bad(c, "the file ends too early");
    if (n > HEADER_BYTES_MAX - c->at) return bad(c, "this ends a header of more than 256 MB");
    if (n > c->gguf->n_held - c->at) return SL_AGAIN; /* more of the header must be read */
    *out = c->gguf->bytes + c->at;
    c->at += n;
    return SL_OK;
}

static sl_status take_u32(cursor *c, uint32_t *out)
{
    const uint8_t *p;
    sl_status status = take(c, sizeof *out, &p);
    if (status == SL_OK) memcpy(out, p, sizeof *out);
    return status;
}

static sl_status take_u64(cursor *c, uint64_t *out)
{
    const uint8_t *p;
    sl_status status = take(c, sizeof *out, &p);
    if (status == SL_OK) memcpy(out, p, sizeof *out);
    return status;
}

static sl_status take_text(cursor *c, sl_text *out)
{
    uint64_t n;
    const uint8_t *p;
    sl_status status = take_u64(c, &n);
    if (status == SL_OK && n > left(c)) return bad(c, "a string is longer than the file");
    if (status == SL_OK) status = take(c, (size_t)n, &p);
    if (status == SL_OK) *out = (sl_text){(const char *)p, (size_t)n};
    return status;
}

/* ---- keys ---- */

/* A view is twice as large as an empty string, so a file of these is bounded by their number. */
static sl_status take_texts(cursor *c, sl_gguf *g, entry *e)
{
    if (e->n > left(c) / sizeof(uint64_t)) return bad(c, "more strings than the file has room for");
    if (e->n > TEXTS_MAX - g->n_texts) return bad(c, "more strings than any vocabulary");
    g->n_texts += (size_t)e->n;
    e->texts = calloc(e->n ? e->n : 1, sizeof *e->texts);
    if (!e->texts) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (uint64_t i = 0; i < e->n && status == SL_OK; i++) status = take_text(c, &e->texts[i]);
    return status;
}

static sl_status take_value(cursor *c, sl_gguf *g, entry *e)
{
    e->n = 1;
    sl_status status = take_u32(c, &e->kind);
    if (status == SL_OK && e->kind == KIND_ARRAY) {
        e->array = true;
        status = take_u32(c, &e->kind);
        if (status == SL_OK) status = take_u64(c, &e->n);
        if (status == SL_OK && e->kind == KIND_ARRAY)
            return bad(c, "arrays of arrays are not supported");
    }
    if (status != SL_OK) return status;
    if (e->kind >= N_KINDS) return bad(c, "unknown kind of value");
    if (e->kind == KIND_TEXT) return take_texts(c, g, e);
    if (e->n > left(c) / KIND_BYTES[e->kind]) return bad(c, "an array is longer than the file");
    return take(c, (size_t)e->n * KIND_BYTES[e->kind], &e->data);
}

static sl_status take_entries(cursor *c, sl_gguf *g, uint64_t n)
{
    /* key length, kind and one byte at least */
    if (n > KEYS_MAX || n > left(c) / 13) return bad(c, "more keys than the file has room for");
    g->entries = calloc(n ? n : 1, sizeof *g->entries);
    if (!g->entries) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (uint64_t i = 0; i < n && status == SL_OK; i++) {
        status = take_text(c, &g->entries[i].key);
        if (status == SL_OK) g->n_entries++;
        if (status == SL_OK) status = take_value(c, g, &g->entries[i]);
    }
    return status;
}

/* ---- tensors ---- */

typedef struct {
    uint32_t type;
    const char *name;
    uint32_t elements, bytes; /* of a block */
} type_info;

static const type_info TYPES[] = {
    {SL_TYPE_F32, "f32", 1, 4},     {SL_TYPE_F16, "f16", 1, 2},     {SL_TYPE_Q4_0, "q4_0", 32, 18},
    {SL_TYPE_Q4_1, "q4_1", 32, 20}, {SL_TYPE_Q8_0, "q8_0", 32, 34}, {SL_TYPE_BF16, "bf16", 1, 2},
};

bool sl_type_block(uint32_t type, size_t *elements_out, size_t *bytes_out)
{
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        if (TYPES[i].type != type) continue;
        *elements_out = TYPES[i].elements;
        *bytes_out = TYPES[i].bytes;
        return true;
    }
    return false;
}

const char *sl_type_name(uint32_t type)
{
    /* ggml's names by number, so a file we cannot run is still described */
    static const char *const NAMES[] = {
        "f32",     "f16",    "q4_0",    "q4_1",  "type 4", "type 5", "q5_0",  "q5_1",
        "q8_0",    "q8_1",   "q2_k",    "q3_k",  "q4_k",   "q5_k",   "q6_k",  "q8_k",
        "iq2_xxs", "iq2_xs", "iq3_xxs", "iq1_s", "iq4_nl", "iq3_s",  "iq2_s", "iq4_xs",
        "i8",      "i16",    "i32",     "i64",   "f64",    "iq1_m",  "bf16"};
    return type < sizeof NAMES / sizeof *NAMES ? NAMES[type] : "an unknown type";
}

/* Elements of a tensor; false when they do not fit 63 bits or a dimension is zero. */
static bool count_elements(const sl_gguf_tensor *t, uint64_t *out)
{
    uint64_t n = 1;
    for (int d = 0; d < SL_TENSOR_DIMS_MAX; d++) {
        if (t->dims[d] == 0 || t->dims[d] > INT64_MAX / n) return false;
        n *= t->dims[d];
    }
    *out = n;
    return true;
}

static sl_status take_tensor(cursor *c, sl_gguf_tensor *t, uint64_t *offset)
{
    sl_status status = take_text(c, &t->name);
    if (status == SL_OK) status = take_u32(c, &t->n_dims);
    if (status != SL_OK) return status;
    if (t->n_dims < 1 || t->n_dims > SL_TENSOR_DIMS_MAX)
        return bad(c, "a tensor has 1 to 4 dimensions");
    for (uint32_t d = 0; d < SL_TENSOR_DIMS_MAX; d++) {
        t->dims[d] = 1;
        if (d < t->n_dims && (status = take_u64(c, &t->dims[d])) != SL_OK) return status;
    }
    status = take_u32(c, &t->type);
    return status == SL_OK ? take_u64(c, offset) : status;
}

static sl_status bad_tensor(const sl_gguf *g, const sl_gguf_tensor *t, const char *what)
{
    sl_error("%s: tensor %.*s: %s", g->path, (int)sl_plain_prefix(t->name.data, t->name.bytes, 80),
             t->name.data, what);
    return SL_ERR_FORMAT;
}

/* Place a tensor's bytes; unknown types have none. */
static sl_status place_tensor(const sl_gguf *g, sl_gguf_tensor *t, size_t data_start,
                              uint64_t offset, uint64_t alignment)
{
    uint64_t n;
    size_t elements, bytes;
    if (!count_elements(t, &n)) return bad_tensor(g, t, "its dimensions are zero or overflow");
    if (offset % alignment != 0) return bad_tensor(g, t, "its offset is not aligned");
    if (offset > g->n_bytes - data_start)
        return bad_tensor(g, t, "it begins beyond the end of the file");
    t->offset = data_start + offset;
    if (g->file < 0) t->data = g->bytes + t->offset;
    if (!sl_type_block(t->type, &elements, &bytes)) return SL_OK;
    if (t->dims[0] % elements != 0) return bad_tensor(g, t, "its rows are not whole blocks");
    uint64_t blocks = n / elements;
    if (blocks > (g->n_bytes - data_start - offset) / bytes)
        return bad_tensor(g, t, "it ends beyond the end of the file");
    t->data_bytes = (size_t)blocks * bytes;
    return SL_OK;
}

/* *out is changed to what the file says only when that can be used. */
static sl_status read_alignment(const cursor *c, uint32_t *out)
{
    uint32_t given;
    if (!sl_gguf_has(c->gguf, "general.alignment")) return SL_OK;
    if (!sl_gguf_u32(c->gguf, "general.alignment", &given) || given < 8 || given > 1 << 20 ||
        (given & (given - 1)) != 0)
        return bad(c, "general.alignment is not a power of two from 8");
    *out = given;
    return SL_OK;
}

static sl_status take_tensors(cursor *c, sl_gguf *g, uint64_t n)
{
    /* name length, dimensions, one size, type, offset at least */
    if (n > TENSORS_MAX || n > left(c) / 32)
        return bad(c, "more tensors than the file has room for");
    g->tensors = calloc(n ? n : 1, sizeof *g->tensors);
    uint64_t *offsets = calloc(n ? n : 1, sizeof *offsets);
    sl_status status = g->tensors && offsets ? SL_OK : SL_ERR_MEMORY;
    for (uint64_t i = 0; i < n && status == SL_OK; i++)
        status = take_tensor(c, &g->tensors[i], &offsets[i]);

    uint32_t alignment = ALIGNMENT_DEFAULT;
    if (status == SL_OK) status = read_alignment(c, &alignment);
    size_t padding = (alignment - c->at % alignment) % alignment;
    if (status == SL_OK && n > 0 && padding > left(c))
        status = bad(c, "the file ends before its tensors");
    for (uint64_t i = 0; i < n && status == SL_OK; i++)
        status = place_tensor(g, &g->tensors[i], c->at + padding, offsets[i], alignment);
    if (status == SL_OK) g->n_tensors = (size_t)n;
    free(offsets);
    return status;
}

/* ---- indexes ---- */

static int compare_text(sl_text a, sl_text b)
{
    size_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

bool sl_text_is(sl_text text, const char *word)
{
    return compare_text(text, (sl_text){word, strlen(word)}) == 0;
}

static int compare_entries(const void *a, const void *b)
{
    return compare_text((*(const entry *const *)a)->key, (*(const entry *const *)b)->key);
}

static int compare_tensors(const void *a, const void *b)
{
    return compare_text((*(const sl_gguf_tensor *const *)a)->name,
                        (*(const sl_gguf_tensor *const *)b)->name);
}

static sl_status index_keys(sl_gguf *g)
{
    g->by_key = calloc(g->n_entries + 1, sizeof *g->by_key);
    if (!g->by_key) return SL_ERR_MEMORY;
    for (size_t i = 0; i < g->n_entries; i++) g->by_key[i] = &g->entries[i];
    qsort(g->by_key, g->n_entries, sizeof *g->by_key, compare_entries);
    for (size_t i = 1; i < g->n_entries; i++) {
        sl_text key = g->by_key[i]->key;
        if (compare_text(g->by_key[i - 1]->key, key) != 0) continue;
        sl_error("%s: key %.*s is there twice", g->path,
                 (int)sl_plain_prefix(key.data, key.bytes, 80), key.data);
        return SL_ERR_FORMAT;
    }
    return SL_OK;
}

static sl_status index_tensors(sl_gguf *g)
{
    g->by_name = calloc(g->n_tensors + 1, sizeof *g->by_name);
    if (!g->by_name) return SL_ERR_MEMORY;
    for (size_t i = 0; i < g->n_tensors; i++) g->by_name[i] = &g->tensors[i];
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_tensors);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (compare_text(g->by_name[i - 1]->name, g->by_name[i]->name) == 0)
            return bad_tensor(g, g->by_name[i], "it is there twice");
    return SL_OK;
}

static int compare_places(const void *a, const void *b)
{
    uint64_t x = (*(const sl_gguf_tensor *const *)a)->offset;
    uint64_t y = (*(const sl_gguf_tensor *const *)b)->offset;
    return (x > y) - (x < y);
}

/* No two tensors share bytes; one of a type unknown to us has at least its first. */
static sl_status check_overlap(const sl_gguf *g)
{
    const sl_gguf_tensor **order = calloc(g->n_tensors + 1, sizeof *order);
    if (!order) return SL_ERR_MEMORY;
    for (size_t i = 0; i < g->n_tensors; i++) order[i] = &g->tensors[i];
    qsort(order, g->n_tensors, sizeof *order, compare_places);
    sl_status status = SL_OK;
    for (size_t i = 1; i < g->n_tensors && status == SL_OK; i++) {
        uint64_t apart = order[i]->offset - order[i - 1]->offset;
        if (apart == 0 || apart < order[i - 1]->data_bytes)
            status = bad_tensor(g, order[i], "it overlaps another");
    }
    free(order);
    return status;
}

/* ---- opening ---- */

static sl_status parse(sl_gguf *g)
{
    cursor c = {.gguf = g};
    const uint8_t *magic;
    uint64_t n_tensors, n_keys;
    sl_status status = take(&c, 4, &magic);
    if (status == SL_OK && memcmp(magic, "GGUF", 4) != 0) {
        c.at = 0;
        return bad(&c, "this is no GGUF file");
    }
    if (status == SL_OK) status = take_u32(&c, &g->version);
    if (status == SL_OK && (g->version < 2 || g->version > 3)) {
        bool swapped = g->version != 0 && (g->version & 0xffff) == 0;
        sl_error("%s: GGUF version %u%s, supported are 2 and 3, little-endian", g->path,
                 swapped ? __builtin_bswap32(g->version) : g->version,
                 swapped ? " of a big-endian machine" : "");
        return SL_ERR_UNSUPPORTED;
    }
    if (status == SL_OK) status = take_u64(&c, &n_tensors);
    if (status == SL_OK) status = take_u64(&c, &n_keys);
    if (status == SL_OK) status = take_entries(&c, g, n_keys);
    if (status == SL_OK) status = index_keys(g);
    if (status == SL_OK) status = take_tensors(&c, g, n_tensors);
    if (status == SL_OK) status = index_tensors(g);
    if (status == SL_OK) status = check_overlap(g);
    if (status == SL_OK) g->header_hash = XXH3_64bits(g->bytes, c.at);
    return status;
}

/* What parsing made, before it begins anew or for good. */
static void forget_parsed(sl_gguf *g)
{
    for (size_t i = 0; g->entries && i < g->n_entries; i++) free(g->entries[i].texts);
    free(g->entries);
    free(g->tensors);
    free(g->by_key);
    free(g->by_name);
    g->entries = NULL;
    g->tensors = NULL;
    g->by_key = NULL;
    g->by_name = NULL;
    g->n_entries = g->n_texts = g->n_tensors = 0;
}

sl_status sl_gguf_open_memory(const void *bytes, size_t n_bytes, const char *name,
                              sl_gguf **gguf_out)
{
    sl_gguf *g = calloc(1, sizeof *g);
    char *path = strdup(name);
    if (!g || !path) {
        free(g);
        free(path);
        return SL_ERR_MEMORY;
    }
    *g = (sl_gguf){.path = path, .file = -1, .bytes = bytes, .n_held = n_bytes, .n_bytes = n_bytes};
    sl_status status = parse(g);
    if (status == SL_OK) {
        *gguf_out = g;
        return SL_OK;
    }
    if (status == SL_ERR_MEMORY) sl_error("%s: no memory for its header", g->path);
    sl_gguf_close(g);
    return status;
}

/* pread, whole. false: *error_out is errno, or 0 where the file ends before. */
static bool read_at(int file, void *out, size_t n_bytes, uint64_t offset, int *error_out)
{
    for (size_t done = 0; done < n_bytes;) {
        ssize_t n = pread(file, (uint8_t *)out + done, n_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        *error_out = n < 0 ? errno : 0;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static sl_status cannot_open(const char *path, const char *why)
{
    sl_error("cannot open %s: %s", path, why);
    return SL_ERR_FILE;
}

static sl_status open_file(sl_gguf *g)
{
    struct stat info;
    /* without O_NONBLOCK a pipe would wait for a writer */
    g->file = open(g->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (g->file < 0 || fstat(g->file, &info) != 0) return cannot_open(g->path, strerror(errno));
    if (S_ISDIR(info.st_mode)) return cannot_open(g->path, strerror(EISDIR));
    if (!S_ISREG(info.st_mode)) return cannot_open(g->path, "it is no regular file");
    if (info.st_size == 0) return cannot_open(g->path, "it is empty");
    g->n_bytes = (size_t)info.st_size;
    return sl_file_stamp_take(g->file, g->path, &g->opened);
}

/* The first n bytes of the file, instead of those there were. */
static sl_status hold(sl_gguf *g, size_t n)
{
    int error;
    sl_storage_release(g->header, g->n_held);
    g->header = NULL;
    g->n_held = 0;
    sl_status status = sl_storage_take(n, "the header of a GGUF file", &g->header);
    if (status != SL_OK) return status;
    g->n_held = n;
    g->bytes = g->header;
    if (read_at(g->file, g->header, n, 0, &error)) return SL_OK;
    sl_error("cannot read %s: %s", g->path, error ? strerror(error) : "it was cut meanwhile");
    return SL_ERR_FILE;
}

static sl_status read_header(sl_gguf *g)
{
    size_t n = HEADER_BYTES_FIRST;
    for (;;) {
        if (n > g->n_bytes) n = g->n_bytes;
        sl_status status = hold(g, n);
        if (status == SL_OK) status = parse(g);
        if (status == SL_ERR_MEMORY) sl_error("%s: no memory for its header", g->path);
        if (status != SL_AGAIN) return status;
        forget_parsed(g);
        n *= 2; /* taking stops at HEADER_BYTES_MAX, so n does, too */
    }
}

sl_status sl_gguf_open(const char *path, sl_gguf **gguf_out)
{
    sl_gguf *g = calloc(1, sizeof *g);
    char *name = strdup(path);
    if (!g || !name) {
        free(g);
        free(name);
        return SL_ERR_MEMORY;
    }
    *g = (sl_gguf){.path = name, .file = -1};
    sl_status status = open_file(g);
    if (status == SL_OK) status = read_header(g);
    if (status == SL_OK)
        *gguf_out = g;
    else
        sl_gguf_close(g);
    return status;
}

void sl_gguf_close(sl_gguf *gguf)
{
    if (!gguf) return;
    forget_parsed(gguf);
    sl_storage_release(gguf->header, gguf->n_held);
    sl_storage_release(gguf->tensor_bytes, gguf->n_tensor_bytes);
    if (gguf->file >= 0) close(gguf->file);
    free(gguf->path);
    free(gguf);
}

/* ---- tensor bytes ---- */

static sl_status cannot_read(const sl_gguf *g, const sl_gguf_tensor *t, int error)
{
    sl_error("cannot read tensor %.*s of %s: %s", (int)(t->name.bytes < 80 ? t->name.bytes : 80),
             t->name.data, g->path, error ? strerror(error) : "the file was cut meanwhile");
    return SL_ERR_FILE;
}

sl_status sl_gguf_read(const sl_gguf *gguf, const sl_gguf_tensor *tensor, size_t begin,
                       size_t n_bytes, void *out)
{
    int error;
    SL_ASSERT(n_bytes <= tensor->data_bytes && begin <= tensor->data_bytes - n_bytes);
    if (tensor->data)
        memcpy(out, (const uint8_t *)tensor->data + begin, n_bytes);
    else if (!read_at(gguf->file, out, n_bytes, tensor->offset + begin, &error))
        return cannot_read(gguf, tensor, error);
    return SL_OK;
}

/* A read that does not wait tells what was in memory before. */
sl_status sl_gguf_read_once(const sl_gguf *gguf, const sl_gguf_tensor *tensor, size_t begin,
                            size_t n_bytes, void *out)
{
    off_t offset = (off_t)(tensor->offset + begin);
    struct iovec place = {.iov_base = out, .iov_len = n_bytes};
    if (tensor->data || preadv2(gguf->file, &place, 1, offset, RWF_NOWAIT) != (ssize_t)n_bytes) {
        sl_status status = sl_gguf_read(gguf, tensor, begin, n_bytes, out);
        if (!tensor->data) posix_fadvise(gguf->file, offset, (off_t)n_bytes, POSIX_FADV_DONTNEED);
        return status;
    }
    return SL_OK;
}

sl_status sl_gguf_load(sl_gguf *gguf)
{
    uint8_t *place;
    if (gguf->file < 0 || gguf->tensor_bytes) return SL_OK;
    for (size_t i = 0; i < gguf->n_tensors; i++)
        gguf->n_tensor_bytes += (gguf->tensors[i].data_bytes + 63) / 64 * 64;
    sl_status status = sl_storage_take(gguf->n_tensor_bytes, "the tensors of a GGUF file",
                                       &gguf->tensor_bytes);
    place = gguf->tensor_bytes;
    for (size_t i = 0; i < gguf->n_tensors && status == SL_OK; i++) {
        sl_gguf_tensor *t = &gguf->tensors[i];
        status = sl_gguf_read(gguf, t, 0, t->data_bytes, place);
        t->data = place;
        place += (t->data_bytes + 63) / 64 * 64;
    }
    return status;
}

/* The end of a file counts as a hole. */
bool sl_gguf_has_hole(const sl_gguf *gguf, const sl_gguf_tensor *tensor)
{
    if (gguf->file < 0 || tensor->data_bytes == 0) return false;
    off_t hole = lseek(gguf->file, (off_t)tensor->offset, SEEK_HOLE);
    return hole >= 0 && (uint64_t)hole < tensor->offset + tensor->data_bytes;
}

sl_file_change sl_gguf_change(const sl_gguf *gguf)
{
    return gguf->file < 0 ? SL_FILE_SAME : sl_file_stamp_compare(gguf->path, &gguf->opened);
}

const char *sl_gguf_path(const sl_gguf *gguf) { return gguf->path; }
size_t sl_gguf_bytes(const sl_gguf *gguf) { return gguf->n_bytes; }
uint32_t sl_gguf_version(const sl_gguf *gguf) { return gguf->version; }
uint64_t sl_gguf_header_hash(const sl_gguf *gguf) { return gguf->header_hash; }

/* ---- values ---- */

static const entry *find_key(const sl_gguf *g, const char *key)
{
    entry wanted = {.key = {key, strlen(key)}};
    const entry *pointer = &wanted;
    const entry **found = bsearch(&pointer, g->by_key, g->n_entries, sizeof *g->by_key,
                                  compare_entries);
    return found ? *found : NULL;
}

/* One number of any integer kind; false for other kinds and for u64 beyond i64. */
static bool integer_at(const entry *e, uint64_t index, int64_t *out)
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

static bool real_at(const entry *e, uint64_t index, float *out)
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

static const entry *find_scalar(const sl_gguf *g, const char *key)
{
    const entry *e = find_key(g, key);
    return e && !e->array ? e : NULL;
}

bool sl_gguf_has(const sl_gguf *gguf, const char *key) { return find_key(gguf, key) != NULL; }

bool sl_gguf_u32(const sl_gguf *gguf, const char *key, uint32_t *out)
{
    const entry *e = find_scalar(gguf, key);
    int64_t value;
    if (!e || !integer_at(e, 0, &value) || value < 0 || value > UINT32_MAX) return false;
    *out = (uint32_t)value;
    return true;
}

bool sl_gguf_u64(const sl_gguf *gguf, const char *key, uint64_t *out)
{
    const entry *e = find_scalar(gguf, key);
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
    const entry *e = find_scalar(gguf, key);
    int64_t value;
    if (!e || !integer_at(e, 0, &value) || value < INT32_MIN || value > INT32_MAX) return false;
    *out = (int32_t)value;
    return true;
}

bool sl_gguf_f32(const sl_gguf *gguf, const char *key, float *out)
{
    const entry *e = find_scalar(gguf, key);
    return e && real_at(e, 0, out);
}

bool sl_gguf_bool(const sl_gguf *gguf, const char *key, bool *out)
{
    const entry *e = find_scalar(gguf, key);
    if (!e || e->kind != KIND_BOOL) return false;
    *out = *e->data != 0;
    return true;
}

bool sl_gguf_text(const sl_gguf *gguf, const char *key, sl_text *out)
{
    const entry *e = find_scalar(gguf, key);
    if (!e || e->kind != KIND_TEXT) return false;
    *out = e->texts[0];
    return true;
}

bool sl_gguf_text_array(const sl_gguf *gguf, const char *key, const sl_text **items_out,
                        size_t *n_out)
{
    const entry *e = find_key(gguf, key);
    if (!e || !e->array || e->kind != KIND_TEXT) return false;
    *items_out = e->texts;
    *n_out = (size_t)e->n;
    return true;
}

bool sl_gguf_i32_array(const sl_gguf *gguf, const char *key, int32_t *items, size_t n_max,
                       size_t *n_out)
{
    const entry *e = find_key(gguf, key);
    if (!e || !e->array || e->n > n_max) return false;
    for (uint64_t i = 0; i < e->n; i++) {
        int64_t value;
        if (!integer_at(e, i, &value) || value < INT32_MIN || value > INT32_MAX) return false;
        items[i] = (int32_t)value;
    }
    *n_out = (size_t)e->n;
    return true;
}

bool sl_gguf_f32_array(const sl_gguf *gguf, const char *key, float *items, size_t n_max,
                       size_t *n_out)
{
    const entry *e = find_key(gguf, key);
    if (!e || !e->array || e->n > n_max) return false;
    for (uint64_t i = 0; i < e->n; i++)
        if (!real_at(e, i, &items[i])) return false;
    *n_out = (size_t)e->n;
    return true;
}

sl_text sl_gguf_key_at(const sl_gguf *gguf, size_t index) { return gguf->entries[index].key; }

size_t sl_gguf_n_keys(const sl_gguf *gguf) { return gguf->n_entries; }

enum { KEY_SHOWN = 80, TEXT_SHOWN = 60 }; /* bytes that are described of longer ones */

static void describe_value(const entry *e, char *out, size_t out_bytes)
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
    const entry *e = &gguf->entries[index];
    char key[4 * KEY_SHOWN + 8], value[4 * TEXT_SHOWN + 16];
    sl_plain(e->key.data, sl_plain_prefix(e->key.data, e->key.bytes, KEY_SHOWN), key, sizeof key);
    describe_value(e, value, sizeof value);
    return snprintf(out, out_bytes, "%s = %s", key, value);
}

/* ---- tensors ---- */

size_t sl_gguf_n_tensors(const sl_gguf *gguf) { return gguf->n_tensors; }

const sl_gguf_tensor *sl_gguf_tensor_at(const sl_gguf *gguf, size_t index)
{
    SL_ASSERT(index < gguf->n_tensors);
    return &gguf->tensors[index];
}

const sl_gguf_tensor *sl_gguf_find(const sl_gguf *gguf, const char *name)
{
    sl_gguf_tensor wanted = {.name = {name, strlen(name)}};
    const sl_gguf_tensor *pointer = &wanted;
    const sl_gguf_tensor **found = bsearch(&pointer, gguf->by_name, gguf->n_tensors,
                                           sizeof *gguf->by_name, compare_tensors);
    return found ? *found : NULL;
}
