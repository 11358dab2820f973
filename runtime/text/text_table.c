/* runtime/text/text_table.c - see text_table.h. Open addressing, half full at most. */
#include "runtime/text/text_table.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

sl_status sl_text_table_init(sl_text_table *table, const sl_text *texts, size_t n_max)
{
    size_t capacity = 16;
    while (capacity < 2 * n_max) capacity *= 2;
    int32_t *slots = malloc(capacity * sizeof *slots);
    if (!slots) return SL_ERR_MEMORY;
    memset(slots, 0xFF, capacity * sizeof *slots);
    *table = (sl_text_table){.texts = texts, .slots = slots, .capacity = capacity};
    return SL_OK;
}

void sl_text_table_fini(sl_text_table *table) { free(table->slots); }

/* Where the text is, or would be. */
static int32_t *place(const sl_text_table *table, const char *data, size_t bytes)
{
    size_t i = XXH3_64bits(data, bytes) & (table->capacity - 1);
    for (; table->slots[i] >= 0; i = (i + 1) & (table->capacity - 1)) {
        sl_text text = table->texts[table->slots[i]];
        if (text.bytes == bytes && memcmp(text.data, data, bytes) == 0) break;
    }
    return &table->slots[i];
}

void sl_text_table_add(sl_text_table *table, int32_t id)
{
    int32_t *slot = place(table, table->texts[id].data, table->texts[id].bytes);
    if (*slot < 0) *slot = id;
}

int32_t sl_text_table_find(const sl_text_table *table, const char *data, size_t bytes)
{
    return *place(table, data, bytes);
}
