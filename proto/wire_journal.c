/* proto/wire_journal.c - the journal beside a result file: four bytes of magic, then sealed
 * protobuf bodies, one after the other. The first says which job it is, each other tells of one
 * line of OUT. */
#include <string.h>

#include "proto/proto_arena.h"
#include "proto/sluice.pb-c.h"
#include "proto/wire.h"
#include "proto/wire_seal.h"
#include "runtime/base/log.h"

enum {
    JOB_VERSION = 2, /* of the journal: files outlive versions of the wire */
    MAGIC_BYTES = 4
};
static const char magic[MAGIC_BYTES] = {'S', 'L', 'J', 'B'};

sl_status sl_wire_encode_job(const sl_job_identity *job, uint8_t *out, size_t out_bytes_max,
                             size_t *n_bytes_out)
{
    SL_ASSERT(job->n_options <= SL_JOB_OPTIONS_MAX);
    Sluice__JobOption options[SL_JOB_OPTIONS_MAX], *list[SL_JOB_OPTIONS_MAX];
    for (uint32_t i = 0; i < job->n_options; i++) {
        const sl_job_option *option = &job->options[i];
        sluice__job_option__init(&options[i]);
        options[i].name = sl_text_lend(option->name, sizeof option->name);
        options[i].value = sl_text_lend(option->value, sizeof option->value);
        list[i] = &options[i];
    }
    Sluice__Job message = SLUICE__JOB__INIT;
    message.version = JOB_VERSION;
    message.model_hash = job->model_hash;
    message.gate_hash = job->gate_hash;
    message.numerics = sl_text_lend(job->numerics, sizeof job->numerics);
    message.n_options = job->n_options;
    message.options = list;

    size_t body_bytes = sluice__job__get_packed_size(&message);
    size_t n_bytes = MAGIC_BYTES + SL_SEAL_BYTES + body_bytes;
    if (n_bytes > out_bytes_max) {
        sl_error("a journal's beginning of %zu bytes does not fit in %zu", n_bytes, out_bytes_max);
        return SL_ERR_MEMORY;
    }
    memcpy(out, magic, MAGIC_BYTES);
    sluice__job__pack(&message, out + MAGIC_BYTES + SL_SEAL_BYTES);
    sl_seal_write(out + MAGIC_BYTES, body_bytes);
    *n_bytes_out = n_bytes;
    return SL_OK;
}

static sl_status get_job(const Sluice__Job *message, sl_job_identity *out)
{
    if (message->n_options > SL_JOB_OPTIONS_MAX) {
        sl_error("journal with %zu options, at most %d are known", message->n_options,
                 SL_JOB_OPTIONS_MAX);
        return SL_ERR_FORMAT;
    }
    *out = (sl_job_identity){.model_hash = message->model_hash,
                             .gate_hash = message->gate_hash,
                             .n_options = (uint32_t)message->n_options};
    if (!sl_text_copy(out->numerics, sizeof out->numerics, message->numerics)) {
        sl_error("journal: its numerics are too long");
        return SL_ERR_FORMAT;
    }
    for (uint32_t i = 0; i < out->n_options; i++) {
        sl_job_option *option = &out->options[i];
        if (sl_text_copy(option->name, sizeof option->name, message->options[i]->name) &&
            sl_text_copy(option->value, sizeof option->value, message->options[i]->value))
            continue;
        sl_error("journal: option %u is too long", i);
        return SL_ERR_FORMAT;
    }
    return SL_OK;
}

sl_status sl_wire_decode_job(const uint8_t *bytes, size_t n_bytes, sl_job_identity *job_out,
                             size_t *n_used_out)
{
    if (n_bytes < MAGIC_BYTES || memcmp(bytes, magic, MAGIC_BYTES) != 0) {
        sl_error("not the journal of a job: it does not start with %.4s", magic);
        return SL_ERR_FORMAT;
    }
    const uint8_t *body;
    size_t body_bytes;
    sl_status status = sl_seal_check("journal", bytes + MAGIC_BYTES, n_bytes - MAGIC_BYTES, &body,
                                     &body_bytes);
    if (status != SL_OK) return status;
    uint32_t version = sl_seal_version(body, body_bytes);
    if (version != JOB_VERSION) {
        sl_error("journal of version %u; this program reads version %d", version, JOB_VERSION);
        return SL_ERR_FORMAT;
    }

    _Alignas(SL_PROTO_ALIGN) uint8_t block[16384]; /* twice what 32 full options take */
    sl_proto_arena arena;
    sl_proto_arena_init(&arena, block, sizeof block);
    const Sluice__Job *message = sluice__job__unpack(&arena.allocator, body_bytes, body);
    if (!message) {
        sl_error("the beginning of a journal, of %zu bytes, is malformed", body_bytes);
        return SL_ERR_FORMAT;
    }
    sl_job_identity job;
    status = get_job(message, &job);
    if (status != SL_OK) return status;
    *job_out = job;
    *n_used_out = (size_t)(body + body_bytes - bytes);
    return SL_OK;
}

/* ---- entries ---- */

size_t sl_wire_encode_job_entry(const sl_job_entry *entry, uint8_t *out)
{
    Sluice__JobEntry message = SLUICE__JOB_ENTRY__INIT;
    message.version = JOB_VERSION;
    message.offset = entry->offset;
    message.n_bytes = entry->n_bytes;
    message.body_hash = entry->body_hash;
    message.record_hash_low = entry->record_hash_low;
    message.record_hash_high = entry->record_hash_high;
    size_t body_bytes = sluice__job_entry__get_packed_size(&message);
    SL_ASSERT(SL_SEAL_BYTES + body_bytes <= SL_JOB_ENTRY_BYTES_MAX);
    sluice__job_entry__pack(&message, out + SL_SEAL_BYTES);
    sl_seal_write(out, body_bytes);
    return SL_SEAL_BYTES + body_bytes;
}

sl_status sl_wire_decode_job_entry(const uint8_t *bytes, size_t n_bytes, sl_job_entry *entry_out,
                                   size_t *n_used_out)
{
    const uint8_t *body;
    size_t body_bytes;
    if (n_bytes > SL_JOB_ENTRY_BYTES_MAX) n_bytes = SL_JOB_ENTRY_BYTES_MAX; /* none is longer */
    if (!sl_seal_whole(bytes, n_bytes, &body, &body_bytes) ||
        sl_seal_version(body, body_bytes) != JOB_VERSION)
        return SL_ERR_FORMAT;
    _Alignas(SL_PROTO_ALIGN) uint8_t block[256];
    sl_proto_arena arena;
    sl_proto_arena_init(&arena, block, sizeof block);
    const Sluice__JobEntry *m = sluice__job_entry__unpack(&arena.allocator, body_bytes, body);
    if (!m) return SL_ERR_FORMAT;
    *entry_out = (sl_job_entry){.offset = m->offset,
                                .n_bytes = m->n_bytes,
                                .body_hash = m->body_hash,
                                .record_hash_low = m->record_hash_low,
                                .record_hash_high = m->record_hash_high};
    *n_used_out = SL_SEAL_BYTES + body_bytes;
    return SL_OK;
}
