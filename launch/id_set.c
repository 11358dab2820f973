/* launch/id_set.c - linear probing, at most three quarters full. */
#include "launch/id_set.h"

#include <stdlib.h>
#include <string.h>

static XXH128_hash_t hash_of(const char *id)
{
    XXH128_hash_t hash = XXH3_128bits(id, strlen(id));
    if (hash.low64 == 0 && hash.high64 == 0) hash.low64 = 1;
    return hash;
}

static bool is_free(XXH128_hash_t hash) { return hash.low64 == 0 && hash.high64 == 0; }

/* Where the hash is, or would go. */
static XXH128_hash_t *place(const sl_id_set *set, XXH128_hash_t hash)
{
    size_t i = hash.low64 & (set->capacity - 1);
    while (!is_free(set->slots[i]) && !XXH128_isEqual(set->slots[i], hash))
        i = (i + 1) & (set->capacity - 1);
    return &set->slots[i];
}

static sl_status grow(sl_id_set *set)
{
    sl_id_set larger = {.capacity = set->capacity ? 2 * set->capacity : 1024, .count = set->count};
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (!larger.slots) return SL_ERR_MEMORY;
    for (size_t i = 0; i < set->capacity; i++)
        if (!is_free(set->slots[i])) *place(&larger, set->slots[i]) = set->slots[i];
    free(set->slots);
    *set = larger;
    return SL_OK;
}

void sl_id_set_free(sl_id_set *set)
{
    free(set->slots);
    *set = (sl_id_set){0};
}

bool sl_id_set_has(const sl_id_set *set, const char *id)
{
    return set->count > 0 && !is_free(*place(set, hash_of(id)));
}

sl_status sl_id_set_add(sl_id_set *set, const char *id, bool *was_there_out)
{
    if (4 * (set->count + 1) > 3 * set->capacity) {
        sl_status status = grow(set);
        if (status != SL_OK) return status;
    }
    XXH128_hash_t hash = hash_of(id), *slot = place(set, hash);
    *was_there_out = !is_free(*slot);
    if (!*was_there_out) set->count++;
    *slot = hash;
    return SL_OK;
}
