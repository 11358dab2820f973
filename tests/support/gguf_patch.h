/* tests/support/gguf_patch.h - find and change places in an encoded GGUF, to make hostile ones.
 * A name must be in the file once; what is not found ends the test program. */
#ifndef SL_TEST_GGUF_PATCH_H
#define SL_TEST_GGUF_PATCH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "runtime/base/log.h"

/* The header's counts. */
enum { GGUF_AT_VERSION = 4, GGUF_AT_TENSORS = 8, GGUF_AT_KEYS = 16 };

/* Where the text of a key or tensor name begins; a length stands before it. */
static inline uint8_t *gguf_name(uint8_t *bytes, size_t n_bytes, const char *name)
{
    uint64_t length = strlen(name);
    for (size_t at = 24; at + 8 + length <= n_bytes; at++)
        if (memcmp(bytes + at, &length, 8) == 0 && memcmp(bytes + at + 8, name, length) == 0)
            return bytes + at + 8;
    SL_ASSERT(!"the file has this name");
    return NULL;
}

/* What follows it: of a key, its kind (u32), then its value, or an array's kind (u32) and count
 * (u64); of a tensor, n_dims (u32), dims (u64 each), type (u32), offset (u64). */
static inline uint8_t *gguf_after(uint8_t *bytes, size_t n_bytes, const char *name)
{
    return gguf_name(bytes, n_bytes, name) + strlen(name);
}

static inline void gguf_set_u32(uint8_t *at, uint32_t value) { memcpy(at, &value, sizeof value); }
static inline void gguf_set_u64(uint8_t *at, uint64_t value) { memcpy(at, &value, sizeof value); }

#endif
