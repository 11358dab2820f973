/* runtime/gguf/gguf_file.c - opens all parts of a model, reads the bytes of its tensors, and
 * notices changes of its files. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/base/arena.h"
#include "runtime/base/log.h"
#include "runtime/gguf/gguf_header.h"

enum { FIRST_READ_BYTES = 1 << 20 };

static const sl_gguf_limits LIMITS = {.bytes = SL_GGUF_HEADER_BYTES_MAX,
                                      .keys = SL_GGUF_KEYS_MAX,
                                      .texts = SL_GGUF_TEXTS_MAX,
                                      .tensors = SL_GGUF_TENSORS_MAX};

/* ---- opening ---- */

/* Room for the first part. */
static sl_gguf *new_file(void)
{
    sl_gguf *g = calloc(1, sizeof *g);
    sl_gguf_part *parts = calloc(1, sizeof *parts);
    if (g && parts) {
        g->parts = parts;
        return g;
    }
    free(parts);
    free(g);
    return NULL;
}

/* The first part was opened, or not. */
static sl_status finish(sl_gguf *g, sl_status status, sl_gguf **gguf_out)
{
    if (status == SL_OK) {
        g->n_parts = 1;
        status = sl_gguf_add_tensors(g);
    }
    if (status == SL_OK) status = sl_gguf_open_others(g);
    if (status == SL_OK) status = sl_gguf_index_tensors(g);
    if (status == SL_OK)
        *gguf_out = g;
    else
        sl_gguf_close(g);
    return status;
}

sl_status sl_gguf_open_memory(const void *bytes, size_t n_bytes, const char *name,
                              sl_gguf **gguf_out)
{
    sl_gguf *g = new_file();
    if (!g) return SL_ERR_MEMORY;
    return finish(g, sl_gguf_part_open_memory(bytes, n_bytes, name, &LIMITS, g->parts), gguf_out);
}

sl_status sl_gguf_open(const char *path, sl_gguf **gguf_out)
{
    sl_gguf *g = new_file();
    if (!g) return SL_ERR_MEMORY;
    return finish(g, sl_gguf_part_open(path, &LIMITS, FIRST_READ_BYTES, g->parts), gguf_out);
}

void sl_gguf_close(sl_gguf *gguf)
{
    if (!gguf) return;
    for (size_t i = 0; i < gguf->n_parts; i++) sl_gguf_part_close(&gguf->parts[i]);
    sl_storage_release(gguf->tensor_bytes, gguf->n_tensor_bytes);
    free(gguf->by_name);
    free(gguf->tensors);
    free(gguf->parts);
    free(gguf);
}

/* ---- tensor bytes ---- */

static const sl_gguf_part *part_of(const sl_gguf *g, const sl_gguf_tensor *t)
{
    SL_ASSERT(t->part < g->n_parts);
    return &g->parts[t->part];
}

static sl_status cannot_read(const sl_gguf *g, const sl_gguf_tensor *t, int error)
{
    sl_error("cannot read tensor %.*s of %s: %s", (int)(t->name.bytes < 80 ? t->name.bytes : 80),
             t->name.data, part_of(g, t)->path,
             error ? strerror(error) : "the file was cut meanwhile");
    return SL_ERR_FILE;
}

sl_status sl_gguf_read(const sl_gguf *gguf, const sl_gguf_tensor *tensor, size_t begin,
                       size_t n_bytes, void *out)
{
    int error;
    SL_ASSERT(n_bytes <= tensor->data_bytes && begin <= tensor->data_bytes - n_bytes);
    if (tensor->data)
        memcpy(out, (const uint8_t *)tensor->data + begin, n_bytes);
    else if (!sl_gguf_part_read(part_of(gguf, tensor), tensor->offset + begin, n_bytes, out,
                                &error))
        return cannot_read(gguf, tensor, error);
    return SL_OK;
}

/* A read that does not wait tells what was in memory before. */
sl_status sl_gguf_read_once(const sl_gguf *gguf, const sl_gguf_tensor *tensor, size_t begin,
                            size_t n_bytes, void *out)
{
    int file = part_of(gguf, tensor)->file;
    off_t offset = (off_t)(tensor->offset + begin);
    struct iovec place = {.iov_base = out, .iov_len = n_bytes};
    if (tensor->data || preadv2(file, &place, 1, offset, RWF_NOWAIT) != (ssize_t)n_bytes) {
        sl_status status = sl_gguf_read(gguf, tensor, begin, n_bytes, out);
        if (!tensor->data) posix_fadvise(file, offset, (off_t)n_bytes, POSIX_FADV_DONTNEED);
        return status;
    }
    return SL_OK;
}

sl_status sl_gguf_load(sl_gguf *gguf)
{
    uint8_t *place;
    if (gguf->parts[0].file < 0 || gguf->tensor_bytes) return SL_OK;
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
    int file = part_of(gguf, tensor)->file;
    if (file < 0 || tensor->data_bytes == 0) return false;
    off_t hole = lseek(file, (off_t)tensor->offset, SEEK_HOLE);
    return hole >= 0 && (uint64_t)hole < tensor->offset + tensor->data_bytes;
}

sl_file_change sl_gguf_change(const sl_gguf *gguf, const char **path_out)
{
    sl_file_change change = SL_FILE_SAME;
    for (size_t i = 0; i < gguf->n_parts && change == SL_FILE_SAME; i++) {
        const sl_gguf_part *p = &gguf->parts[i];
        *path_out = p->path;
        if (p->file >= 0) change = sl_file_stamp_compare(p->path, &p->opened);
    }
    return change;
}

/* ---- what they are together ---- */

size_t sl_gguf_n_parts(const sl_gguf *gguf) { return gguf->n_parts; }

const char *sl_gguf_part_path(const sl_gguf *gguf, size_t part)
{
    SL_ASSERT(part < gguf->n_parts);
    return gguf->parts[part].path;
}

size_t sl_gguf_part_bytes(const sl_gguf *gguf, size_t part)
{
    SL_ASSERT(part < gguf->n_parts);
    return gguf->parts[part].n_bytes;
}

const char *sl_gguf_path(const sl_gguf *gguf) { return gguf->parts[0].path; }

size_t sl_gguf_bytes(const sl_gguf *gguf)
{
    size_t bytes = 0;
    for (size_t i = 0; i < gguf->n_parts; i++) bytes += gguf->parts[i].n_bytes;
    return bytes;
}

uint32_t sl_gguf_version(const sl_gguf *gguf) { return gguf->parts[0].version; }

uint64_t sl_gguf_header_hash(const sl_gguf *gguf)
{
    uint64_t hash = gguf->parts[0].header_hash;
    for (size_t i = 1; i < gguf->n_parts; i++)
        hash = XXH3_64bits_withSeed(&gguf->parts[i].header_hash, sizeof hash, hash);
    return hash;
}
