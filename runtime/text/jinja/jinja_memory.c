/* runtime/text/jinja/jinja_memory.c - see jinja_memory.h. */
#include "runtime/text/jinja/jinja_memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct sl_jinja_block {
    struct sl_jinja_block *next;
    size_t used, bytes;
    max_align_t storage[];
} sl_jinja_block;

enum { BLOCK_BYTES = 32 * 1024, LARGE_BYTES = BLOCK_BYTES / 4 };

void sl_jinja_memory_init(sl_jinja_memory *memory, size_t bytes_max)
{
    *memory = (sl_jinja_memory){.left_bytes = bytes_max};
}

void sl_jinja_memory_fini(sl_jinja_memory *memory)
{
    for (sl_jinja_block *block = memory->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    *memory = (sl_jinja_memory){0};
}

static void *refuse(sl_jinja_memory *memory)
{
    memory->refused = true;
    return NULL;
}

/* In front of those at *next. NULL: no memory. */
static sl_jinja_block *add_block(sl_jinja_block **next, size_t room)
{
    sl_jinja_block *block = calloc(1, sizeof *block + room);
    if (!block) return NULL;
    block->bytes = room;
    block->next = *next;
    *next = block;
    return block;
}

void *sl_jinja_take(sl_jinja_memory *memory, size_t bytes)
{
    if (bytes > SIZE_MAX - 32) return refuse(memory);
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > memory->left_bytes) return refuse(memory);
    sl_jinja_block *block = memory->blocks;
    if (block && bytes > LARGE_BYTES && bytes > block->bytes - block->used) {
        block = add_block(&block->next, bytes); /* the first one stays in use */
    } else if (!block || bytes > block->bytes - block->used) {
        /* the rest of the first one is not given out any more: it counts as taken */
        const size_t rest = block ? block->bytes - block->used : 0;
        if (rest > memory->left_bytes - bytes) return refuse(memory);
        memory->left_bytes -= rest;
        block = add_block(&memory->blocks, bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES);
    }
    if (!block) return refuse(memory);
    void *taken = (char *)block->storage + block->used;
    block->used += bytes;
    memory->left_bytes -= bytes;
    return taken;
}

void *sl_jinja_grow(sl_jinja_memory *memory, void *old, size_t old_bytes, size_t new_bytes)
{
    const size_t held = (old_bytes + 15) & ~(size_t)15;
    sl_jinja_block *block = memory->blocks;
    const bool last = old && block && (char *)old + held == (char *)block->storage + block->used;
    if (last && new_bytes >= held && new_bytes - held <= block->bytes - block->used)
        return sl_jinja_take(memory, new_bytes - held) ? old : NULL;
    void *grown = sl_jinja_take(memory, new_bytes);
    if (grown && old && old_bytes > 0) memcpy(grown, old, old_bytes);
    return grown;
}
