/* launch/id_set.h - a growing set of ids by their 128-bit hash: 16 to 32 bytes each, so a job of
 * millions of lines stays small. Two ids sharing a hash do not happen (2^-64 at billions). */
#ifndef SL_ID_SET_H
#define SL_ID_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <xxhash.h>

#include "runtime/base/status.h"

typedef struct {
    XXH128_hash_t *slots; /* open addressing; all-zero is free */
    size_t capacity, count;
} sl_id_set; /* start from {0} */

void sl_id_set_free(sl_id_set *set);
bool sl_id_set_has(const sl_id_set *set, const char *id);
/* *was_there_out: it was in already. SL_ERR_MEMORY. */
sl_status sl_id_set_add(sl_id_set *set, const char *id, bool *was_there_out);

#endif
