/* tests/support/gguf_writer.h - writes GGUF v3 files for tests.
 * Format: ggml docs/gguf.md. Values and tensors in the order of the calls; names and types are
 * the caller's, checked by nobody, so hostile files can be made too. Memory running out, or a
 * file that cannot be written, ends the test program. */
#ifndef SL_TEST_GGUF_WRITER_H
#define SL_TEST_GGUF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *bytes;
    size_t n, capacity;
} gguf_bytes;

/* Start from {0}, end with gguf_writer_fini. */
typedef struct {
    gguf_bytes keys, infos, data; /* of the file's three parts */
    uint64_t n_keys, n_tensors;
} gguf_writer;

void gguf_writer_fini(gguf_writer *w);

void gguf_put_u32(gguf_writer *w, const char *key, uint32_t value);
void gguf_put_i32(gguf_writer *w, const char *key, int32_t value);
void gguf_put_u64(gguf_writer *w, const char *key, uint64_t value);
void gguf_put_f32(gguf_writer *w, const char *key, float value);
void gguf_put_bool(gguf_writer *w, const char *key, bool value);
void gguf_put_string(gguf_writer *w, const char *key, const char *value);
void gguf_put_strings(gguf_writer *w, const char *key, const char *const *values, size_t n);
void gguf_put_i32s(gguf_writer *w, const char *key, const int32_t *values, size_t n);
void gguf_put_f32s(gguf_writer *w, const char *key, const float *values, size_t n);

/* A tensor of ggml type `type`, dimensions fastest first; the data is copied. */
void gguf_put_tensor(gguf_writer *w, const char *name, uint32_t type, const uint64_t *dims,
                     uint32_t n_dims, const void *data, size_t data_bytes);

/* The whole file; the caller frees the bytes. */
uint8_t *gguf_writer_encode(const gguf_writer *w, size_t *n_bytes_out);
void gguf_writer_save(const gguf_writer *w, const char *path);

#endif
