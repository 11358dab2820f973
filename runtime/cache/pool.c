/* runtime/cache/pool.c - a stack of free pages. Lowest pages go first, so a pool planned larger
 * than needed never touches, and never commits, its upper part. */
#include "runtime/cache/pool.h"

#include "runtime/base/log.h"

void sl_pool_init(sl_pool *pool, uint32_t n_pages, size_t page_bytes, sl_arena *arena)
{
    *pool = (sl_pool){.page_bytes = page_bytes, .n_pages = n_pages};
    pool->references = sl_arena_array(arena, uint32_t, n_pages);
    pool->free_pages = sl_arena_array(arena, uint32_t, n_pages);
    pool->storage = sl_arena_take(arena, (size_t)n_pages * page_bytes);
    for (uint32_t i = 0; pool->free_pages && i < n_pages; i++)
        pool->free_pages[i] = n_pages - 1 - i;
}

uint32_t sl_pool_take(sl_pool *pool)
{
    SL_ASSERT(pool->n_used < pool->n_pages);
    pool->n_used++;
    if (pool->n_used > pool->high_water) pool->high_water = pool->n_used;
    uint32_t page = pool->free_pages[pool->n_pages - pool->n_used];
    SL_ASSERT(pool->references[page] == 0);
    pool->references[page] = 1;
    return page;
}

void sl_pool_share(sl_pool *pool, uint32_t page)
{
    SL_ASSERT(page < pool->n_pages && pool->references[page] > 0);
    pool->references[page]++;
}

bool sl_pool_release(sl_pool *pool, uint32_t page)
{
    SL_ASSERT(page < pool->n_pages && pool->references[page] > 0);
    if (--pool->references[page] > 0) return false;
    pool->free_pages[pool->n_pages - pool->n_used] = page;
    pool->n_used--;
    return true;
}

void *sl_pool_page(const sl_pool *pool, uint32_t page)
{
    SL_DEBUG_ASSERT(page < pool->n_pages && pool->references[page] > 0);
    return pool->storage + (size_t)page * pool->page_bytes;
}
