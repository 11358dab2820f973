/* runtime/gguf/gguf_writer.c - three growing buffers, joined at the end. */
#include "runtime/gguf/gguf_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/base/log.h"

enum { VERSION = 3, ALIGNMENT = 32 };
enum { U16 = 2, U32 = 4, I32 = 5, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9, U64 = 10 };

static void put(gguf_bytes *to, const void *bytes, size_t n)
{
    if (to->failed) return;
    if (to->n + n > to->capacity) {
        size_t capacity = 2 * to->capacity + n;
        uint8_t *larger = realloc(to->bytes, capacity);
        to->failed = !larger;
        if (!larger) return;
        to->bytes = larger;
        to->capacity = capacity;
    }
    if (n > 0) memcpy(to->bytes + to->n, bytes, n);
    to->n += n;
}

static void put_u32(gguf_bytes *to, uint32_t value) { put(to, &value, sizeof value); }

static void put_u64(gguf_bytes *to, uint64_t value) { put(to, &value, sizeof value); }

static void put_text(gguf_bytes *to, const char *text)
{
    put_u64(to, strlen(text));
    put(to, text, strlen(text));
}

static void pad(gguf_bytes *to)
{
    static const uint8_t zeros[ALIGNMENT];
    put(to, zeros, (ALIGNMENT - to->n % ALIGNMENT) % ALIGNMENT);
}

static void put_key(sl_gguf_writer *w, const char *key, uint32_t type)
{
    put_text(&w->keys, key);
    put_u32(&w->keys, type);
    w->n_keys++;
}

static void put_value(sl_gguf_writer *w, const char *key, uint32_t type, const void *value,
                      size_t n)
{
    put_key(w, key, type);
    put(&w->keys, value, n);
}

static void put_array(sl_gguf_writer *w, const char *key, uint32_t item_type, size_t n)
{
    put_key(w, key, ARRAY);
    put_u32(&w->keys, item_type);
    put_u64(&w->keys, n);
}

void sl_gguf_writer_fini(sl_gguf_writer *w)
{
    free(w->keys.bytes);
    free(w->infos.bytes);
    free(w->data.bytes);
    *w = (sl_gguf_writer){0};
}

void sl_gguf_put_u16(sl_gguf_writer *w, const char *key, uint16_t value)
{
    put_value(w, key, U16, &value, sizeof value);
}

void sl_gguf_put_u32(sl_gguf_writer *w, const char *key, uint32_t value)
{
    put_value(w, key, U32, &value, sizeof value);
}

void sl_gguf_put_i32(sl_gguf_writer *w, const char *key, int32_t value)
{
    put_value(w, key, I32, &value, sizeof value);
}

void sl_gguf_put_u64(sl_gguf_writer *w, const char *key, uint64_t value)
{
    put_value(w, key, U64, &value, sizeof value);
}

void sl_gguf_put_f32(sl_gguf_writer *w, const char *key, float value)
{
    put_value(w, key, F32, &value, sizeof value);
}

void sl_gguf_put_bool(sl_gguf_writer *w, const char *key, bool value)
{
    put_value(w, key, BOOL, &(uint8_t){value}, 1);
}

void sl_gguf_put_string(sl_gguf_writer *w, const char *key, const char *value)
{
    put_key(w, key, STRING);
    put_text(&w->keys, value);
}

void sl_gguf_put_strings(sl_gguf_writer *w, const char *key, const char *const *values, size_t n)
{
    put_array(w, key, STRING, n);
    for (size_t i = 0; i < n; i++) put_text(&w->keys, values[i]);
}

void sl_gguf_put_bools(sl_gguf_writer *w, const char *key, const bool *values, size_t n)
{
    put_array(w, key, BOOL, n);
    put(&w->keys, values, n * sizeof *values); /* a byte each */
}

void sl_gguf_put_i32s(sl_gguf_writer *w, const char *key, const int32_t *values, size_t n)
{
    put_array(w, key, I32, n);
    put(&w->keys, values, n * sizeof *values);
}

void sl_gguf_put_f32s(sl_gguf_writer *w, const char *key, const float *values, size_t n)
{
    put_array(w, key, F32, n);
    put(&w->keys, values, n * sizeof *values);
}

void sl_gguf_put_tensor(sl_gguf_writer *w, const char *name, uint32_t type, const uint64_t *dims,
                        uint32_t n_dims, const void *data, size_t data_bytes)
{
    put_text(&w->infos, name);
    put_u32(&w->infos, n_dims);
    put(&w->infos, dims, n_dims * sizeof *dims);
    put_u32(&w->infos, type);
    put_u64(&w->infos, w->data.n);
    put(&w->data, data, data_bytes);
    pad(&w->data);
    w->n_tensors++;
}

uint8_t *sl_gguf_writer_encode(const sl_gguf_writer *w, size_t *n_bytes_out)
{
    gguf_bytes file = {.failed = w->keys.failed || w->infos.failed || w->data.failed};
    put(&file, "GGUF", 4);
    put_u32(&file, VERSION);
    put_u64(&file, w->n_tensors);
    put_u64(&file, w->n_keys);
    put(&file, w->keys.bytes, w->keys.n);
    put(&file, w->infos.bytes, w->infos.n);
    pad(&file);
    put(&file, w->data.bytes, w->data.n);
    if (file.failed) {
        sl_error("no memory for a GGUF file of %zu bytes", w->keys.n + w->infos.n + w->data.n);
        free(file.bytes);
        return NULL;
    }
    *n_bytes_out = file.n;
    return file.bytes;
}

sl_status sl_gguf_writer_save(const sl_gguf_writer *w, const char *path)
{
    size_t n;
    uint8_t *bytes = sl_gguf_writer_encode(w, &n);
    if (!bytes) return SL_ERR_MEMORY;
    sl_status status = sl_file_replace(path, bytes, n);
    free(bytes);
    return status;
}
