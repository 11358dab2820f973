/* runtime/text/text_table.c - see text_table.h. Open addressing, half full at most. A slot has a
 * part of its text's hash, so that a look-up touches no text but its own. */
#include "runtime/text/text_table.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct sl_text_slot {
    uint32_t hash; /* its upper half */
    int32_t id;    /* -1: free */
};

sl_status sl_text_table_init(sl_text_table *table, const sl_text *texts, size_t n_max)
{
    size_t capacity = 16;
    while (capacity < 2 * n_max) capacity *= 2;
    struct sl_text_slot *slots = malloc(capacity * sizeof *slots);
    if (!slots) return SL_ERR_MEMORY;
    memset(slots, 0xFF, capacity * sizeof *slots);
    *table = (sl_text_table){.texts = texts, .slots = slots, .capacity = capacity};
    return SL_OK;
}

void sl_text_table_fini(sl_text_table *table) { free(table->slots); }

/* Where the text is, or would be. */
static struct sl_text_slot *place(const sl_text_table *table, const char *data, size_t bytes,
                                  uint64_t hash)
{
    size_t i = hash & (table->capacity - 1);
    for (; table->slots[i].id >= 0; i = (i + 1) & (table->capacity - 1)) {
        if (table->slots[i].hash != hash >> 32) continue;
        sl_text text = table->texts[table->slots[i].id];
        if (text.bytes == bytes && memcmp(text.data, data, bytes) == 0) break;
    }
    return &table->slots[i];
}

void sl_text_table_add(sl_text_table *table, int32_t id)
{
    sl_text text = table->texts[id];
    uint64_t hash = XXH3_64bits(text.data, text.bytes);
    struct sl_text_slot *slot = place(table, text.data, text.bytes, hash);
    if (slot->id < 0) *slot = (struct sl_text_slot){.hash = (uint32_t)(hash >> 32), .id = id};
}

int32_t sl_text_table_find(const sl_text_table *table, const char *data, size_t bytes)
{
    return place(table, data, bytes, XXH3_64bits(data, bytes))->id;
}
