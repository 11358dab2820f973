/* launch/output/npy.c - see npy.h. */
#include "launch/output/npy.h"

#include <string.h>

#include "runtime/base/append.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"

enum { HEADER_BYTES = 192 }; /* with magic and padding: a multiple of 64 */

static void put_header(const char *type, const size_t *dims, size_t n_dims, char *out)
{
    static const char magic[8] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0};
    char *text = out + 10;
    const size_t text_bytes = HEADER_BYTES - 10;
    size_t n = 0;
    SL_ASSERT(n_dims <= 4); /* so that nothing is cut */
    sl_append(text, text_bytes, &n, "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
    for (size_t i = 0; i < n_dims; i++) sl_append(text, text_bytes, &n, "%zu,", dims[i]);
    sl_append(text, text_bytes, &n, ")}");
    memset(text + n, ' ', text_bytes - n);
    memcpy(out, magic, sizeof magic);
    out[8] = (char)(text_bytes & 0xff);
    out[9] = (char)(text_bytes >> 8);
    out[HEADER_BYTES - 1] = '\n';
}

static sl_status write_array(const char *path, const char *type, size_t item_bytes,
                             const size_t *dims, size_t n_dims, const void *values)
{
    char header[HEADER_BYTES];
    size_t n = 1;
    put_header(type, dims, n_dims, header);
    for (size_t i = 0; i < n_dims; i++) n *= dims[i];
    sl_file_fresh fresh;
    sl_status status = sl_file_fresh_begin(path, &fresh);
    if (status != SL_OK) return status;
    status = sl_file_write(fresh.file, path, header, sizeof header);
    if (status == SL_OK) status = sl_file_write(fresh.file, path, values, n * item_bytes);
    return sl_file_fresh_end(&fresh, status);
}

sl_status sl_npy_write_u8(const char *path, const size_t *dims, size_t n_dims,
                          const uint8_t *values)
{
    return write_array(path, "|u1", sizeof *values, dims, n_dims, values);
}

sl_status sl_npy_write_f32(const char *path, const size_t *dims, size_t n_dims, const float *values)
{
    return write_array(path, "<f4", sizeof *values, dims, n_dims, values);
}
