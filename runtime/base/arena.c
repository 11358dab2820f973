/* runtime/base/arena.c - a bump pointer over the caller's block. */
#include "runtime/base/arena.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/base/limits.h"
#include "runtime/base/log.h"

enum { ALIGN = 64 };

void sl_arena_init(sl_arena *arena, void *storage, size_t total_bytes)
{
    *arena = (sl_arena){.storage = storage, .total_bytes = total_bytes};
}

void *sl_arena_take(sl_arena *arena, size_t bytes)
{
    SL_ASSERT(!arena->sealed);
    size_t rounded = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    size_t offset = arena->used_bytes;
    arena->used_bytes += rounded;
    if (!arena->storage) return NULL;
    SL_ASSERT(arena->used_bytes <= arena->total_bytes);
    return arena->storage + offset;
}

void sl_arena_seal(sl_arena *arena) { arena->sealed = true; }

sl_status sl_storage_take(size_t bytes, const char *what, void **storage_out)
{
    void *storage = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (storage == MAP_FAILED) {
        int reason = errno;
        if (sl_limits_check(bytes, what) != SL_OK) return SL_ERR_MEMORY;
        sl_error("cannot take %zu bytes for %s: %s", bytes, what, strerror(reason));
        return SL_ERR_MEMORY;
    }
    /* Weights and cache are read from end to end each token: fewer, larger pages to look up. A
     * hint. */
    madvise(storage, bytes, MADV_HUGEPAGE);
    *storage_out = storage;
    return SL_OK;
}

void sl_storage_release(void *storage, size_t bytes)
{
    if (storage) munmap(storage, bytes ? bytes : 1);
}
