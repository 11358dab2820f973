/* runtime/gguf/gguf_file.c - a GGUF file as a file: opening it, reading its header and the bytes of
 * its tensors, noticing changes. The length of a header is known only at its end, so the file's
 * first bytes are read; when they do not suffice, twice as many, and parsing begins anew. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/base/arena.h"
#include "runtime/base/log.h"
#include "runtime/gguf/gguf_header.h"

enum { HEADER_BYTES_FIRST = 1 << 20 };

/* ---- opening ---- */

static sl_status parse(sl_gguf *g)
{
    sl_gguf_cursor c = {.gguf = g};
    const uint8_t *magic;
    uint64_t n_tensors, n_keys;
    sl_status status = sl_gguf_take(&c, 4, &magic);
    if (status == SL_OK && memcmp(magic, "GGUF", 4) != 0) {
        c.at = 0;
        return sl_gguf_bad(&c, "this is no GGUF file");
    }
    if (status == SL_OK) status = sl_gguf_take_u32(&c, &g->version);
    if (status == SL_OK && (g->version < 2 || g->version > 3)) {
        bool swapped = g->version != 0 && (g->version & 0xffff) == 0;
        sl_error("%s: GGUF version %u%s, supported are 2 and 3, little-endian", g->path,
                 swapped ? __builtin_bswap32(g->version) : g->version,
                 swapped ? " of a big-endian machine" : "");
        return SL_ERR_UNSUPPORTED;
    }
    if (status == SL_OK) status = sl_gguf_take_u64(&c, &n_tensors);
    if (status == SL_OK) status = sl_gguf_take_u64(&c, &n_keys);
    if (status == SL_OK) status = sl_gguf_parse_keys(&c, g, n_keys);
    if (status == SL_OK) status = sl_gguf_parse_tensors(&c, g, n_tensors);
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
        n *= 2; /* taking stops at SL_GGUF_HEADER_BYTES_MAX, so n does, too */
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
