/* runtime/text/text_table.h - finds the id of a text: a hash table over texts that the caller
 * keeps. */
#ifndef SL_TEXT_TABLE_H
#define SL_TEXT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/gguf/gguf.h"

/* Start from {0}, end with sl_text_table_fini. */
typedef struct {
    const sl_text *texts; /* lent: texts[id] */
    struct sl_text_slot *slots;
    size_t capacity; /* a power of two */
} sl_text_table;

/* Room for n_max of the texts, none added yet. SL_ERR_MEMORY. */
sl_status sl_text_table_init(sl_text_table *table, const sl_text *texts, size_t n_max);
void sl_text_table_fini(sl_text_table *table);

/* Of equal texts the first one added stays. */
void sl_text_table_add(sl_text_table *table, int32_t id);
/* -1: not there. */
int32_t sl_text_table_find(const sl_text_table *table, const char *data, size_t bytes);

#endif
