/* launch/output/npy.h - arrays as NumPy's .npy files, version 1.0, little-endian, C order. */
#ifndef SL_NPY_H
#define SL_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

/* values: [dims[0]] .. [dims[n_dims - 1]], at most 4 dimensions. The file is there whole
 * or not at all. SL_ERR_FILE, logged. */
sl_status sl_npy_write_u8(const char *path, const size_t *dims, size_t n_dims,
                          const uint8_t *values);
sl_status sl_npy_write_f32(const char *path, const size_t *dims, size_t n_dims,
                           const float *values);

#endif
