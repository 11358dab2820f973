/* runtime/gguf/gguf_writer.h - writes GGUF v3 files: gates, and the models of tests.
 * Format: ggml docs/gguf.md. Keys and tensors stand in the order of the calls. Names and types are
 * not checked, so that tests can write malformed files, too. When memory runs out, encode and save
 * say so. */
#ifndef SL_GGUF_WRITER_H
#define SL_GGUF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef struct {
    uint8_t *bytes;
    size_t n, capacity;
    bool failed; /* no memory */
} gguf_bytes;

/* Start from {0}, end with sl_gguf_writer_fini. */
typedef struct {
    gguf_bytes keys, infos, data; /* of the file's three parts */
    uint64_t n_keys, n_tensors;
} sl_gguf_writer;

void sl_gguf_writer_fini(sl_gguf_writer *w);

void sl_gguf_put_u16(sl_gguf_writer *w, const char *key, uint16_t value);
void sl_gguf_put_u32(sl_gguf_writer *w, const char *key, uint32_t value);
void sl_gguf_put_i32(sl_gguf_writer *w, const char *key, int32_t value);
void sl_gguf_put_u64(sl_gguf_writer *w, const char *key, uint64_t value);
void sl_gguf_put_f32(sl_gguf_writer *w, const char *key, float value);
void sl_gguf_put_bool(sl_gguf_writer *w, const char *key, bool value);
void sl_gguf_put_string(sl_gguf_writer *w, const char *key, const char *value);
void sl_gguf_put_strings(sl_gguf_writer *w, const char *key, const char *const *values, size_t n);
void sl_gguf_put_bools(sl_gguf_writer *w, const char *key, const bool *values, size_t n);
void sl_gguf_put_i32s(sl_gguf_writer *w, const char *key, const int32_t *values, size_t n);
void sl_gguf_put_f32s(sl_gguf_writer *w, const char *key, const float *values, size_t n);

/* A tensor of ggml type `type`, dimensions fastest first; the data is copied. */
void sl_gguf_put_tensor(sl_gguf_writer *w, const char *name, uint32_t type, const uint64_t *dims,
                        uint32_t n_dims, const void *data, size_t data_bytes);

/* The whole file; the caller frees the bytes. NULL: no memory, logged. */
uint8_t *sl_gguf_writer_encode(const sl_gguf_writer *w, size_t *n_bytes_out);
/* The file appears whole and durable, or not at all. SL_ERR_MEMORY, SL_ERR_FILE, logged. */
sl_status sl_gguf_writer_save(const sl_gguf_writer *w, const char *path);

#endif
