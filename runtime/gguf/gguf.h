/* runtime/gguf/gguf.h - a GGUF file (v2, v3): its keys, its tensors and their bytes.
 * A model may be split into several files, its parts, as llama.cpp's gguf-split writes them:
 * NAME-00001-of-00003.gguf, which has the keys, and others beside it that have more tensors. Who
 * opens the first sees one file; all headers are read, but bytes of a part only for its tensors.
 * Format: ggml docs/gguf.md. Every count, offset, size and shape is checked before use; nothing
 * here trusts a byte of the file. The front door of
 * runtime/gguf, which knows no model: what keys and tensors mean is for others to say.
 * The header is read into memory and parsed once; the bytes of a tensor are read when the caller
 * asks for them, into the caller's memory. Nothing is mapped: a file that is cut or written over
 * meanwhile gives an error, or the bytes read before, never a signal.
 * Immutable after open (but for sl_gguf_load), so threads may share it. */
#ifndef SL_GGUF_H
#define SL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/gguf/tensor_type.h"

typedef struct sl_gguf sl_gguf;

/* Bytes lent by the file: not zero-terminated, valid until sl_gguf_close. */
typedef struct {
    const char *data;
    size_t bytes;
} sl_text;

/* Whether the text is exactly this word. */
bool sl_text_is(sl_text text, const char *word);

enum { SL_TENSOR_DIMS_MAX = 4 };

typedef struct {
    sl_text name;
    uint32_t part; /* the file that has its bytes */
    uint32_t type; /* ggml's number, known to us or not */
    uint32_t n_dims;
    uint64_t dims[SL_TENSOR_DIMS_MAX]; /* fastest first, as in the file; unused ones are 1 */
    uint64_t offset;                   /* of its bytes in that file */
    size_t data_bytes;                 /* 0 for a type unknown to us */
    const void *data;                  /* lent, where the file is in memory as a whole; else NULL */
} sl_gguf_tensor;

/* Open and parse `path`, and the other parts if it is the first of a split model. On SL_OK the
 * caller ends *gguf_out with sl_gguf_close. SL_ERR_FILE: it, or another part, cannot be read.
 * SL_ERR_FORMAT: the bytes are wrong, a part is of another model, or `path` is not the first part.
 * SL_ERR_UNSUPPORTED, SL_ERR_MEMORY. Logged, with the file and the place in it. */
sl_status sl_gguf_open(const char *path, sl_gguf **gguf_out);
/* The same over bytes the caller keeps (tests, fuzzing); a part alone is SL_ERR_UNSUPPORTED. */
sl_status sl_gguf_open_memory(const void *bytes, size_t n_bytes, const char *name,
                              sl_gguf **gguf_out);
void sl_gguf_close(sl_gguf *gguf); /* NULL is fine */

/* ---- tensor bytes ---- */

/* Copy n_bytes of a tensor, from its byte `begin` on. SL_ERR_FILE, logged with file and tensor:
 * they cannot be read, or are no longer there. */
sl_status sl_gguf_read(const sl_gguf *gguf, const sl_gguf_tensor *tensor, size_t begin,
                       size_t n_bytes, void *out);
/* The same for who reads a large file once, beside others: what was not in the page cache before
 * does not stay there. */
sl_status sl_gguf_read_once(const sl_gguf *gguf, const sl_gguf_tensor *tensor, size_t begin,
                            size_t n_bytes, void *out);
/* Read all tensors into memory, so that `data` is there (small files: gates). SL_ERR_FILE,
 * SL_ERR_MEMORY: logged. */
sl_status sl_gguf_load(sl_gguf *gguf);
/* Whether some of a tensor's bytes were never written, as far as the file system tells. */
bool sl_gguf_has_hole(const sl_gguf *gguf, const sl_gguf_tensor *tensor);
/* What has become of the names since they were opened: of the first part that is not the same,
 * *path_out (lent) says which. SL_FILE_SAME for a file in memory. */
sl_file_change sl_gguf_change(const sl_gguf *gguf, const char **path_out);

/* ---- what it says ---- */

const char *sl_gguf_path(const sl_gguf *gguf); /* of the first part */
size_t sl_gguf_bytes(const sl_gguf *gguf);     /* of all parts */
uint32_t sl_gguf_version(const sl_gguf *gguf);
/* XXH3 of everything before the tensor data, of all parts. */
uint64_t sl_gguf_header_hash(const sl_gguf *gguf);

size_t sl_gguf_n_parts(const sl_gguf *gguf); /* 1: the model is not split */
const char *sl_gguf_part_path(const sl_gguf *gguf, size_t part);
size_t sl_gguf_part_bytes(const sl_gguf *gguf, size_t part);

/* Values by key. false: absent, or of another kind; *out is then untouched. Integers of any
 * width and sign convert when they fit; floats from f32 and f64. */
bool sl_gguf_has(const sl_gguf *gguf, const char *key);
bool sl_gguf_has_array(const sl_gguf *gguf, const char *key);
bool sl_gguf_u32(const sl_gguf *gguf, const char *key, uint32_t *out);
bool sl_gguf_u64(const sl_gguf *gguf, const char *key, uint64_t *out);
bool sl_gguf_i32(const sl_gguf *gguf, const char *key, int32_t *out);
bool sl_gguf_f32(const sl_gguf *gguf, const char *key, float *out);
bool sl_gguf_bool(const sl_gguf *gguf, const char *key, bool *out);
bool sl_gguf_text(const sl_gguf *gguf, const char *key, sl_text *out);

/* Arrays by key. */
bool sl_gguf_text_array(const sl_gguf *gguf, const char *key, const sl_text **items_out,
                        size_t *n_out);
/* Any integer kind, converted; the file lends nothing, so it copies into items[n_max].
 * false also when one does not fit an i32 or there are more than n_max. */
bool sl_gguf_i32_array(const sl_gguf *gguf, const char *key, int32_t *items, size_t n_max,
                       size_t *n_out);
bool sl_gguf_bool_array(const sl_gguf *gguf, const char *key, bool *items, size_t n_max,
                        size_t *n_out);
bool sl_gguf_f32_array(const sl_gguf *gguf, const char *key, float *items, size_t n_max,
                       size_t *n_out);

size_t sl_gguf_n_keys(const sl_gguf *gguf);
sl_text sl_gguf_key_at(const sl_gguf *gguf, size_t index); /* its name, lent */
/* "key = value" of the i-th key for people, as plain.h has it; what is long is shortened.
 * snprintf's result. */
int sl_gguf_describe_key(const sl_gguf *gguf, size_t index, char *out, size_t out_bytes);

size_t sl_gguf_n_tensors(const sl_gguf *gguf);
const sl_gguf_tensor *sl_gguf_tensor_at(const sl_gguf *gguf, size_t index);
const sl_gguf_tensor *sl_gguf_find(const sl_gguf *gguf, const char *name); /* NULL: absent */

#endif
