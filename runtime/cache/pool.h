/* runtime/cache/pool.h - a rank's pages: taken, shared by reference count, given back.
 * Knows nothing of what a page holds. The driver's credit makes sure it never runs dry. */
#ifndef SL_POOL_H
#define SL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/arena.h"

typedef struct {
    uint8_t *storage; /* [n_pages][page_bytes], finite floats whoever used it before */
    size_t page_bytes;
    uint32_t n_pages, n_used, high_water;
    uint32_t *references; /* [n_pages] */
    uint32_t *free_pages; /* [n_pages], the first n_pages - n_used are free */
} sl_pool;

/* Memory comes zeroed from the arena. */
void sl_pool_init(sl_pool *pool, uint32_t n_pages, size_t page_bytes, sl_arena *arena);
/* A page with one reference. Asserts there is one. */
uint32_t sl_pool_take(sl_pool *pool);
void sl_pool_share(sl_pool *pool, uint32_t page);
/* Returns whether that was the last reference, and the page is free. */
bool sl_pool_release(sl_pool *pool, uint32_t page);
void *sl_pool_page(const sl_pool *pool, uint32_t page);

#endif
