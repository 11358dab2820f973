/* proto/proto_arena.h - what protobuf-c unpacks into: a fixed block, bumped through and dropped
 * as a whole. A message that wants more than the block holds fails to unpack, whoever sent it. */
#ifndef SL_PROTO_ARENA_H
#define SL_PROTO_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* One allocation's bytes as the arena counts them; for planning a block. */
enum { SL_PROTO_ALIGN = 16 };
#define SL_PROTO_ROUND(bytes) \
    (((size_t)(bytes) + SL_PROTO_ALIGN - 1) / SL_PROTO_ALIGN * SL_PROTO_ALIGN)

typedef struct {
    ProtobufCAllocator allocator; /* pass its address to ..._unpack */
    uint8_t *block;
    size_t total_bytes, used_bytes;
} sl_proto_arena;

/* Empty, over the caller's block[total_bytes] aligned to SL_PROTO_ALIGN. The allocator points
 * back at *arena, so it stays where it is. What was unpacked before is gone; nothing is freed. */
void sl_proto_arena_init(sl_proto_arena *arena, void *block, size_t total_bytes);

#endif
