/* tests/support/matrix_types.h - the types that a model's matrices may have, from the runtime's
 * table: a test of all of them meets a new type without a list of its own. */
#ifndef SL_TEST_MATRIX_TYPES_H
#define SL_TEST_MATRIX_TYPES_H

#include "runtime/base/log.h"
#include "runtime/gguf/tensor_type.h"

enum { MATRIX_TYPES_MAX = 32 };

/* How many there are; they come by their numbers. */
static inline size_t matrix_types(uint32_t types_out[MATRIX_TYPES_MAX])
{
    enum { NUMBERS_END = 256 }; /* ggml's are far below */
    size_t n = 0;
    for (uint32_t type = 0; type < NUMBERS_END; type++) {
        if (!sl_type_has_use(type, SL_TYPE_OF_MATRICES)) continue;
        SL_ASSERT(n < MATRIX_TYPES_MAX);
        types_out[n++] = type;
    }
    return n;
}

#endif
