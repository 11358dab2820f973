/* proto/proto_arena.c - a bump pointer behind protobuf-c's allocator. */
#include "proto/proto_arena.h"

static void *take(void *data, size_t bytes)
{
    sl_proto_arena *arena = data;
    if (bytes > arena->total_bytes - arena->used_bytes) return NULL;
    void *at = arena->block + arena->used_bytes;
    size_t rounded = SL_PROTO_ROUND(bytes);
    size_t left = arena->total_bytes - arena->used_bytes;
    arena->used_bytes += rounded < left ? rounded : left;
    return at;
}

static void drop(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

void sl_proto_arena_init(sl_proto_arena *arena, void *block, size_t total_bytes)
{
    *arena = (sl_proto_arena){
        .allocator = {.alloc = take, .free = drop, .allocator_data = arena},
        .block = block,
        .total_bytes = total_bytes,
    };
}
