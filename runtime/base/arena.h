/* runtime/base/arena.h - plan, bind, run: memory taken once, in order, from one block.
 * Measure with the same calls that take: an arena initialized with storage NULL only
 * counts, so a plan and its binding cannot disagree. After the seal a take is a bug. */
#ifndef SL_ARENA_H
#define SL_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

typedef struct {
    uint8_t *storage; /* NULL: counting only, takes return NULL */
    size_t total_bytes, used_bytes;
    bool sealed;
} sl_arena;

/* `storage` is the caller's, at least `total_bytes`, 64-byte aligned, and outlives the arena. */
void sl_arena_init(sl_arena *arena, void *storage, size_t total_bytes);
/* The next `bytes`, aligned to 64, zeroed only if the storage was. Asserts it fits. */
void *sl_arena_take(sl_arena *arena, size_t bytes);
void sl_arena_seal(sl_arena *arena);

/* n items of a type. */
#define sl_arena_array(arena, type, n) ((type *)sl_arena_take((arena), (size_t)(n) * sizeof(type)))

/* Zeroed anonymous memory in whole pages, 64-byte aligned and committed on first touch; ended with
 * sl_storage_release. SL_ERR_MEMORY: the system refused (logged with the number). */
sl_status sl_storage_take(size_t bytes, const char *what, void **storage_out);
void sl_storage_release(void *storage, size_t bytes); /* NULL is fine */

#endif
