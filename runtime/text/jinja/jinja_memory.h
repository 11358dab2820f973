/* runtime/text/jinja/jinja_memory.h - memory that only grows, up to a bound, and is given back all
 * at once: of a compiled template, of a document of values, of one run. Nothing in it is freed
 * alone, so values may point at one another without an owner each. */
#ifndef SL_JINJA_MEMORY_H
#define SL_JINJA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    struct sl_jinja_block *blocks; /* the one in use first */
    size_t left_bytes;             /* that may still be taken */
    bool refused;                  /* a take failed: at the bound, or the system refused */
} sl_jinja_memory;

void sl_jinja_memory_init(sl_jinja_memory *memory, size_t bytes_max);
void sl_jinja_memory_fini(sl_jinja_memory *memory);

/* Zeroed, aligned to 16; NULL when it would pass the bound. */
void *sl_jinja_take(sl_jinja_memory *memory, size_t bytes);
/* A copy of old[old_bytes] with room for new_bytes, in place where nothing was taken since. */
void *sl_jinja_grow(sl_jinja_memory *memory, void *old, size_t old_bytes, size_t new_bytes);

#define sl_jinja_new(memory, type) ((type *)sl_jinja_take((memory), sizeof(type)))

#endif
