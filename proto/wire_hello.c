/* proto/wire_hello.c - the greeting in its fixed 1024 bytes. */
#include <string.h>

#include "proto/proto_arena.h"
#include "proto/sluice.pb-c.h"
#include "proto/wire.h"
#include "proto/wire_seal.h"
#include "runtime/base/log.h"

void sl_wire_encode_hello(const sl_hello *hello, uint8_t *out)
{
    Sluice__Hello message = SLUICE__HELLO__INIT;
    message.version = hello->version;
    message.build = sl_text_lend(hello->build, sizeof hello->build);
    message.kernels = sl_text_lend(hello->kernels, sizeof hello->kernels);
    message.host = sl_text_lend(hello->host, sizeof hello->host);
    message.status = hello->status;
    message.threads = hello->threads;
    message.options_hash = hello->options_hash;
    message.header_hash = hello->header_hash;
    message.model_hash = hello->model_hash;
    message.pages_total = hello->pages_total;
    message.planned_bytes = hello->planned_bytes;
    message.memory_limit = hello->memory_limit;

    size_t body_bytes = sluice__hello__get_packed_size(&message);
    SL_ASSERT(SL_SEAL_BYTES + body_bytes <= SL_HELLO_BYTES);
    memset(out, 0, SL_HELLO_BYTES);
    sluice__hello__pack(&message, out + SL_SEAL_BYTES);
    sl_seal_write(out, body_bytes);
}

static sl_status get_hello(const Sluice__Hello *message, sl_hello *out)
{
    *out = (sl_hello){
        .version = message->version,
        .status = message->status,
        .threads = message->threads,
        .options_hash = message->options_hash,
        .header_hash = message->header_hash,
        .model_hash = message->model_hash,
        .pages_total = message->pages_total,
        .planned_bytes = message->planned_bytes,
        .memory_limit = message->memory_limit,
    };
    if (sl_text_copy(out->build, sizeof out->build, message->build) &&
        sl_text_copy(out->kernels, sizeof out->kernels, message->kernels) &&
        sl_text_copy(out->host, sizeof out->host, message->host))
        return SL_OK;
    sl_error("hello with a text longer than %d bytes", SL_HELLO_TEXT_MAX - 1);
    return SL_ERR_FORMAT;
}

sl_status sl_wire_decode_hello(const uint8_t *bytes, sl_hello *hello_out)
{
    const uint8_t *body;
    size_t body_bytes;
    sl_status status = sl_seal_check("hello", bytes, SL_HELLO_BYTES, &body, &body_bytes);
    if (status != SL_OK) return status;

    _Alignas(SL_PROTO_ALIGN) uint8_t block[2048];
    sl_proto_arena arena;
    sl_proto_arena_init(&arena, block, sizeof block);
    uint32_t version = sl_seal_version(body, body_bytes);
    const Sluice__Hello *message = sluice__hello__unpack(&arena.allocator, body_bytes, body);
    if (version != SL_WIRE_VERSION) { /* its build, if it can still be read */
        sl_error("this rank speaks version %d, a peer %u (build %.63s)", SL_WIRE_VERSION, version,
                 message ? message->build : "unknown");
        return SL_ERR_FORMAT;
    }
    if (!message || message->version != version) {
        sl_error("hello of %zu bytes is malformed", body_bytes);
        return SL_ERR_FORMAT;
    }
    sl_hello hello;
    status = get_hello(message, &hello);
    if (status == SL_OK) *hello_out = hello;
    return status;
}
