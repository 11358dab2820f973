/* runtime/gguf/gguf_part.c - one file: opening it, reading its header and bytes behind that. The
 * length of a header is known only at its end, so the file's first bytes are read; when they do not
 * suffice, twice as many, and parsing begins anew. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/base/arena.h"
#include "runtime/base/log.h"
#include "runtime/gguf/gguf_header.h"

/* ---- parsing ---- */

static sl_status parse(sl_gguf_part *p)
{
    sl_gguf_cursor c = {.part = p};
    const uint8_t *magic;
    uint64_t n_tensors, n_keys;
    sl_status status = sl_gguf_take(&c, 4, &magic);
    if (status == SL_OK && memcmp(magic, "GGUF", 4) != 0) {
        c.at = 0;
        return sl_gguf_bad(&c, "this is no GGUF file");
    }
    if (status == SL_OK) status = sl_gguf_take_u32(&c, &p->version);
    if (status == SL_OK && (p->version < 2 || p->version > 3)) {
        bool swapped = p->version != 0 && (p->version & 0xffff) == 0;
        sl_error("%s: GGUF version %u%s, supported are 2 and 3, little-endian", p->path,
                 swapped ? __builtin_bswap32(p->version) : p->version,
                 swapped ? " of a big-endian machine" : "");
        return SL_ERR_UNSUPPORTED;
    }
    if (status == SL_OK) status = sl_gguf_take_u64(&c, &n_tensors);
    if (status == SL_OK) status = sl_gguf_take_u64(&c, &n_keys);
    if (status == SL_OK) status = sl_gguf_parse_keys(&c, p, n_keys);
    if (status == SL_OK) status = sl_gguf_parse_tensors(&c, p, n_tensors);
    if (status != SL_OK) return status;
    p->header_bytes = c.at;
    p->header_hash = XXH3_64bits(p->bytes, c.at);
    return SL_OK;
}

/* What parsing made, before it begins anew or for good. */
static void forget_parsed(sl_gguf_part *p)
{
    for (size_t i = 0; p->entries && i < p->n_entries; i++) free(p->entries[i].texts);
    free(p->entries);
    free(p->tensors);
    free(p->by_key);
    p->entries = NULL;
    p->tensors = NULL;
    p->by_key = NULL;
    p->n_entries = p->n_texts = p->n_tensors = 0;
}

static sl_status parse_or_say(sl_gguf_part *p)
{
    sl_status status = parse(p);
    if (status == SL_ERR_MEMORY) sl_error("%s: no memory for its header", p->path);
    return status;
}

/* ---- opening ---- */

static sl_status cannot_open(const char *path, const char *why)
{
    sl_error("cannot open %s: %s", path, why);
    return SL_ERR_FILE;
}

static sl_status open_file(sl_gguf_part *p)
{
    struct stat info;
    /* without O_NONBLOCK a pipe would wait for a writer */
    p->file = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (p->file < 0 || fstat(p->file, &info) != 0) return cannot_open(p->path, strerror(errno));
    if (S_ISDIR(info.st_mode)) return cannot_open(p->path, strerror(EISDIR));
    if (!S_ISREG(info.st_mode)) return cannot_open(p->path, "it is no regular file");
    if (info.st_size == 0) return cannot_open(p->path, "it is empty");
    p->n_bytes = (size_t)info.st_size;
    return sl_file_stamp_take(p->file, p->path, &p->opened);
}

/* The first n bytes of the file, instead of those there were. */
static sl_status hold(sl_gguf_part *p, size_t n)
{
    int error;
    sl_storage_release(p->header, p->n_held);
    p->header = NULL;
    p->n_held = 0;
    sl_status status = sl_storage_take(n, "the header of a GGUF file", &p->header);
    if (status != SL_OK) return status;
    p->n_held = n;
    p->bytes = p->header;
    if (sl_gguf_part_read(p, 0, n, p->header, &error)) return SL_OK;
    sl_error("cannot read %s: %s", p->path, error ? strerror(error) : "it was cut meanwhile");
    return SL_ERR_FILE;
}

static sl_status read_header(sl_gguf_part *p, size_t n)
{
    for (;;) {
        if (n > p->n_bytes) n = p->n_bytes;
        sl_status status = hold(p, n);
        if (status == SL_OK) status = parse_or_say(p);
        if (status != SL_AGAIN) return status;
        forget_parsed(p);
        n *= 2; /* taking stops at limits.bytes, so n does, too */
    }
}

sl_status sl_gguf_part_open(const char *path, const sl_gguf_limits *limits, size_t first_read_bytes,
                            sl_gguf_part *out)
{
    *out = (sl_gguf_part){.path = strdup(path), .file = -1, .limits = *limits};
    if (!out->path) return SL_ERR_MEMORY;
    sl_status status = open_file(out);
    if (status == SL_OK) status = read_header(out, first_read_bytes);
    if (status != SL_OK) sl_gguf_part_close(out);
    return status;
}

sl_status sl_gguf_part_open_memory(const void *bytes, size_t n_bytes, const char *name,
                                   const sl_gguf_limits *limits, sl_gguf_part *out)
{
    *out = (sl_gguf_part){.path = strdup(name),
                          .file = -1,
                          .bytes = bytes,
                          .n_held = n_bytes,
                          .n_bytes = n_bytes,
                          .limits = *limits};
    if (!out->path) return SL_ERR_MEMORY;
    sl_status status = parse_or_say(out);
    if (status != SL_OK) sl_gguf_part_close(out);
    return status;
}

void sl_gguf_part_close(sl_gguf_part *part)
{
    forget_parsed(part);
    sl_storage_release(part->header, part->n_held);
    if (part->file >= 0) close(part->file);
    free(part->path);
}

bool sl_gguf_part_read(const sl_gguf_part *part, uint64_t offset, size_t n_bytes, void *out,
                       int *error_out)
{
    for (size_t done = 0; done < n_bytes;) {
        ssize_t n = pread(part->file, (uint8_t *)out + done, n_bytes - done,
                          (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        *error_out = n < 0 ? errno : 0;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}
