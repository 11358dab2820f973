/* runtime/base/hash_map.h - a growing map from 128-bit hashes, of ids or records, to 64-bit values:
 * 24 bytes a place, so a job of millions of lines stays small. Two things sharing a hash do not
 * happen (2^-64 at billions). */
#ifndef SL_HASH_MAP_H
#define SL_HASH_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include "runtime/base/status.h"

typedef struct {
    XXH128_hash_t key;
    uint64_t value;
} sl_hash_slot;

typedef struct {
    sl_hash_slot *slots; /* open addressing; an all-zero key is free */
    size_t capacity, count;
} sl_hash_map; /* start from {0} */

/* An id takes so much of a map at most, a smaller one included from which it is growing. */
enum { SL_HASH_MAP_BYTES_EACH = 96 };

XXH128_hash_t sl_hash_id(const char *id);
void sl_hash_map_free(sl_hash_map *map);
/* The key's value, lent until the next put; NULL: it is not in. */
const uint64_t *sl_hash_map_find(const sl_hash_map *map, XXH128_hash_t key);
/* Give the key a value. *was_there_out: it had one, which is replaced. SL_ERR_MEMORY. */
sl_status sl_hash_map_put(sl_hash_map *map, XXH128_hash_t key, uint64_t value, bool *was_there_out);

#endif
