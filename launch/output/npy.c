/* launch/output/npy.c - see npy.h. */
#include "launch/output/npy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/append.h"
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
    FILE *file = fopen(path, "wb");
    int ok = file && fwrite(header, sizeof header, 1, file) == 1 &&
             (n == 0 || fwrite(values, item_bytes, n, file) == n);
    if (file && fclose(file) != 0) ok = 0;
    if (ok) return SL_OK;
    sl_error("cannot write %s: %s", path, strerror(errno));
    return SL_ERR_FILE;
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
