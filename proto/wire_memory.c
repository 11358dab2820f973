/* proto/wire_memory.c - how large frame headers can be, packed and unpacked, and the one block
 * an sl_wire lives in. Bounds come from the schema's own descriptors, so a field added to
 * sluice.proto is counted without a word here. */
#include "proto/wire_frame.h"
#include "proto/wire_seal.h"
#include "runtime/base/log.h"

enum {
    VARINT32_MAX = 5, /* also of a zigzag int32 */
    VARINT64_MAX = 10,
    FIELD_MAX = 1 + 10 /* tag below 16 and the longest varint */
};

/* A packed message without what its lists hold: its own tag and length, then every field. */
static size_t packed_max(const ProtobufCMessageDescriptor *message)
{
    return 1 + VARINT32_MAX + (size_t)message->n_fields * FIELD_MAX;
}

/* n entries of a packed token list and a packed float list. */
static size_t packed_pairs_max(size_t n) { return n * (VARINT32_MAX + sizeof(float)); }

static size_t heads_max(const sl_frame_limits *limits)
{
    return (size_t)limits->n_layers * limits->n_kv_heads;
}

static size_t flags_max(const sl_frame_limits *limits)
{
    return limits->flags ? heads_max(limits) * limits->rows_max : 0;
}

size_t sl_wire_header_bytes_max(const sl_frame_limits *limits)
{
    size_t control = packed_max(&sluice__control__descriptor) +
                     packed_max(&sluice__sampling__descriptor) +
                     packed_pairs_max(SL_LOGIT_BIAS_MAX) + (size_t)SL_ENDS_MAX * VARINT32_MAX;
    size_t result = packed_max(&sluice__result__descriptor) +
                    packed_pairs_max(SL_WIRE_RESULT_TOKENS);
    return SL_SEAL_BYTES + packed_max(&sluice__frame__descriptor) + limits->controls_max * control +
           limits->spans_max * packed_max(&sluice__span__descriptor) +
           (size_t)limits->rows_max * (VARINT32_MAX + result) +
           limits->ranks * packed_max(&sluice__ledger_row__descriptor) +
           heads_max(limits) * (VARINT64_MAX + VARINT32_MAX) + flags_max(limits);
}

/* An unpacked message of a list: the struct and the pointer to it. */
static size_t unpacked(const ProtobufCMessageDescriptor *message)
{
    return SL_PROTO_ROUND(message->sizeof_message) + sizeof(void *);
}

/* What protobuf-c takes while it unpacks the largest legal header. Besides the messages it notes
 * every field it meets in 32 bytes, in blocks that double, which ends below two notes a field;
 * the first 16 of a message are on the stack, so only the frame itself takes any. */
static size_t unpack_bytes_max(const sl_frame_limits *limits)
{
    const size_t note_bytes = 32;
    size_t items = (size_t)limits->controls_max + limits->spans_max + limits->rows_max +
                   limits->ranks + sluice__frame__descriptor.n_fields;
    size_t control = unpacked(&sluice__control__descriptor) +
                     unpacked(&sluice__sampling__descriptor) +
                     2 * SL_PROTO_ROUND(SL_LOGIT_BIAS_MAX * sizeof(float)) +
                     SL_PROTO_ROUND(SL_ENDS_MAX * sizeof(int32_t));
    size_t result = unpacked(&sluice__result__descriptor) +
                    2 * SL_PROTO_ROUND(SL_WIRE_RESULT_TOKENS * sizeof(float));
    return unpacked(&sluice__frame__descriptor) + 2 * items * note_bytes +
           limits->controls_max * control +
           limits->spans_max * unpacked(&sluice__span__descriptor) +
           limits->rows_max * (sizeof(int32_t) + result) +
           limits->ranks * unpacked(&sluice__ledger_row__descriptor) +
           heads_max(limits) * (sizeof(uint64_t) + sizeof(uint32_t)) + flags_max(limits) +
           (size_t)8 * SL_PROTO_ALIGN; /* rounding of the frame's eight lists */
}

/* All the wire works in, from the arena; a counting arena only counts. */
static void bind(const sl_frame_limits *limits, sl_arena *arena, sl_wire *wire)
{
    size_t controls = limits->controls_max, spans = limits->spans_max, rows = limits->rows_max;
    *wire = (sl_wire){
        .limits = *limits,
        .header_bytes_max = sl_wire_header_bytes_max(limits),
        .controls = sl_arena_array(arena, Sluice__Control, controls),
        .control_list = sl_arena_array(arena, Sluice__Control *, controls),
        .samplings = sl_arena_array(arena, Sluice__Sampling, controls),
        .bias_tokens = sl_arena_array(arena, int32_t, controls * SL_LOGIT_BIAS_MAX),
        .bias_values = sl_arena_array(arena, float, controls *SL_LOGIT_BIAS_MAX),
        .ends = sl_arena_array(arena, int32_t, controls * SL_ENDS_MAX),
        .spans = sl_arena_array(arena, Sluice__Span, spans),
        .span_list = sl_arena_array(arena, Sluice__Span *, spans),
        .results = sl_arena_array(arena, Sluice__Result, rows),
        .result_list = sl_arena_array(arena, Sluice__Result *, rows),
        .result_tokens = sl_arena_array(arena, int32_t, rows * SL_WIRE_RESULT_TOKENS),
        .result_logprobs = sl_arena_array(arena, float, rows *SL_WIRE_RESULT_TOKENS),
        .ledger = sl_arena_array(arena, Sluice__LedgerRow, limits->ranks),
        .ledger_list = sl_arena_array(arena, Sluice__LedgerRow *, limits->ranks),
        .heads_kept = sl_arena_array(arena, uint64_t, heads_max(limits)),
        .heads_pages = sl_arena_array(arena, uint32_t, heads_max(limits)),
        .flags = sl_arena_array(arena, uint8_t, flags_max(limits)),
        .unpack_bytes = unpack_bytes_max(limits),
        .unpack_block = sl_arena_take(arena, unpack_bytes_max(limits)),
    };
}

size_t sl_wire_open_bytes(const sl_frame_limits *limits)
{
    sl_wire counted;
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_arena_take(&arena, sizeof counted);
    bind(limits, &arena, &counted);
    return arena.used_bytes;
}

sl_status sl_wire_open(const sl_frame_limits *limits, sl_wire **wire_out)
{
    SL_ASSERT(sl_wire_header_bytes_max(limits) <= UINT32_MAX);
    size_t bytes = sl_wire_open_bytes(limits);
    void *storage;
    sl_status status = sl_storage_take(bytes, "frame headers", &storage);
    if (status != SL_OK) return status;

    sl_arena arena;
    sl_arena_init(&arena, storage, bytes);
    sl_wire *wire = sl_arena_take(&arena, sizeof *wire);
    bind(limits, &arena, wire);
    wire->open_bytes = bytes;
    for (uint32_t i = 0; i < limits->controls_max; i++) wire->control_list[i] = &wire->controls[i];
    for (uint32_t i = 0; i < limits->spans_max; i++) wire->span_list[i] = &wire->spans[i];
    for (uint32_t i = 0; i < limits->rows_max; i++) wire->result_list[i] = &wire->results[i];
    for (uint32_t i = 0; i < limits->ranks; i++) wire->ledger_list[i] = &wire->ledger[i];
    *wire_out = wire;
    return SL_OK;
}

void sl_wire_close(sl_wire *wire)
{
    if (wire) sl_storage_release(wire, wire->open_bytes);
}
