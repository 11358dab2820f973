/* runtime/base/hash_map.c - linear probing, at most three quarters full. */
#include "runtime/base/hash_map.h"

#include <stdlib.h>
#include <string.h>

XXH128_hash_t sl_hash_id(const char *id) { return XXH3_128bits(id, strlen(id)); }

static bool is_free(XXH128_hash_t key) { return key.low64 == 0 && key.high64 == 0; }

/* Zero marks a free place. */
static XXH128_hash_t usable(XXH128_hash_t key)
{
    if (is_free(key)) key.low64 = 1;
    return key;
}

/* Where the key is, or would go. */
static sl_hash_slot *place(const sl_hash_map *map, XXH128_hash_t key)
{
    size_t i = key.low64 & (map->capacity - 1);
    while (!is_free(map->slots[i].key) && !XXH128_isEqual(map->slots[i].key, key))
        i = (i + 1) & (map->capacity - 1);
    return &map->slots[i];
}

static sl_status grow(sl_hash_map *map)
{
    sl_hash_map larger = {.capacity = map->capacity ? 2 * map->capacity : 1024,
                          .count = map->count};
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (!larger.slots) return SL_ERR_MEMORY;
    for (size_t i = 0; i < map->capacity; i++)
        if (!is_free(map->slots[i].key)) *place(&larger, map->slots[i].key) = map->slots[i];
    free(map->slots);
    *map = larger;
    return SL_OK;
}

void sl_hash_map_free(sl_hash_map *map)
{
    free(map->slots);
    *map = (sl_hash_map){0};
}

const uint64_t *sl_hash_map_find(const sl_hash_map *map, XXH128_hash_t key)
{
    if (map->count == 0) return NULL;
    const sl_hash_slot *slot = place(map, usable(key));
    return is_free(slot->key) ? NULL : &slot->value;
}

sl_status sl_hash_map_put(sl_hash_map *map, XXH128_hash_t key, uint64_t value, bool *was_there_out)
{
    if (4 * (map->count + 1) > 3 * map->capacity) {
        sl_status status = grow(map);
        if (status != SL_OK) return status;
    }
    key = usable(key);
    sl_hash_slot *slot = place(map, key);
    *was_there_out = !is_free(slot->key);
    if (!*was_there_out) map->count++;
    *slot = (sl_hash_slot){key, value};
    return SL_OK;
}
