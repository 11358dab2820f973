/* proto/wire_frame_decode.c - a frame's header from bytes of a peer. Order: seal, version,
 * unpacking into the fixed block, payload, counts before a single array is written, and then
 * everything sl_frame_check knows. */
#include <string.h>
#include <xxhash.h>

#include "proto/wire_frame.h"
#include "proto/wire_seal.h"
#include "runtime/base/log.h"

static sl_status refuse(const Sluice__Frame *message, const char *what, size_t index)
{
    sl_error("frame %llu on the wire: %s (item %zu)", (unsigned long long)message->number, what,
             index);
    return SL_ERR_FORMAT;
}

static sl_status check_version(const uint8_t *body, size_t body_bytes)
{
    uint32_t version = sl_seal_version(body, body_bytes);
    if (version == SL_WIRE_VERSION) return SL_OK;
    sl_error("this rank speaks frame version %d, its peer %u", SL_WIRE_VERSION, version);
    return SL_ERR_FORMAT;
}

/* The payload is exactly the bytes after the header. */
static sl_status check_payload(const Sluice__Frame *message, const uint8_t *bytes, size_t n_bytes)
{
    if (message->payload_bytes != n_bytes)
        return refuse(message, "payload is cut short or too long", 0);
    if ((message->codec == 0) != (n_bytes == 0))
        return refuse(message, "payload and codec disagree", 0);
    if (XXH3_64bits(bytes, n_bytes) != message->payload_checksum)
        return refuse(message, "payload is corrupt: its checksum does not match", 0);
    return SL_OK;
}

static sl_status check_counts(const sl_frame_limits *limits, const Sluice__Frame *message)
{
    if (message->n_controls > limits->controls_max)
        return refuse(message, "too many controls", message->n_controls);
    if (message->n_spans > limits->spans_max)
        return refuse(message, "too many spans", message->n_spans);
    if (message->n_tokens > limits->rows_max)
        return refuse(message, "too many rows", message->n_tokens);
    if (message->n_results > limits->rows_max)
        return refuse(message, "too many results", message->n_results);
    if (message->n_ledger > limits->ranks)
        return refuse(message, "too many ledger rows", message->n_ledger);
    return SL_OK;
}

static void get_sampling(const Sluice__Sampling *in, sl_sampling *out)
{
    out->temperature = in->temperature;
    out->top_k = in->top_k;
    out->top_p = in->top_p;
    out->min_p = in->min_p;
    out->repetition_penalty = in->repetition_penalty;
    out->presence_penalty = in->presence_penalty;
    out->frequency_penalty = in->frequency_penalty;
    out->seed = in->seed;
    out->n_logprobs = in->n_logprobs;
    out->n_bias = (uint32_t)in->n_bias_tokens;
    for (uint32_t i = 0; i < out->n_bias; i++)
        out->bias[i] = (sl_logit_bias){in->bias_tokens[i], in->bias_values[i]};
    out->min_tokens = in->min_tokens;
    out->n_ends = (uint32_t)in->n_ends;
    if (out->n_ends > 0) memcpy(out->ends, in->ends, out->n_ends * sizeof *out->ends);
}

static sl_status get_controls(const Sluice__Frame *message, sl_frame *frame)
{
    for (size_t i = 0; i < message->n_controls; i++) {
        const Sluice__Control *in = message->controls[i];
        sl_control *out = &frame->controls[i];
        *out = (sl_control){
            .kind = (sl_control_kind)in->kind, .sequence = in->sequence, .parent = in->parent};
        bool starts = in->kind == SL_CONTROL_OPEN || in->kind == SL_CONTROL_FORK;
        if (starts != (in->sampling != NULL))
            return refuse(message, "sampling is missing, or not expected", i);
        if (!starts) continue;
        if (in->sampling->n_bias_tokens > SL_LOGIT_BIAS_MAX ||
            in->sampling->n_bias_values != in->sampling->n_bias_tokens)
            return refuse(message, "logit biases too many or unpaired", i);
        if (in->sampling->n_ends > SL_ENDS_MAX) return refuse(message, "too many end tokens", i);
        out->id_seed = in->id_seed;
        out->n_prompt = in->n_prompt;
        out->keeps_all = in->keeps_all != 0;
        out->comparison = (sl_comparison){.kind = (sl_comparison_kind)in->comparison,
                                          .from = in->compare_from,
                                          .step = in->compare_step};
        get_sampling(in->sampling, &out->sampling);
    }
    frame->n_controls = (uint32_t)message->n_controls;
    return SL_OK;
}

static void get_spans(const Sluice__Frame *message, sl_frame *frame)
{
    for (size_t i = 0; i < message->n_spans; i++) {
        const Sluice__Span *in = message->spans[i];
        frame->spans[i] = (sl_span){.kind = (sl_span_kind)in->kind,
                                    .sequence = in->sequence,
                                    .position = in->position,
                                    .first_row = in->first_row,
                                    .n_tokens = in->n_tokens,
                                    .sample = in->sample != 0,
                                    .score_from = in->score_from,
                                    .next_token = in->next_token,
                                    .seen = in->seen,
                                    .kept = in->kept,
                                    .cache_bytes = in->cache_bytes};
    }
    for (size_t i = 0; i < message->n_tokens; i++) frame->tokens[i] = message->tokens[i];
    frame->n_spans = (uint32_t)message->n_spans;
    frame->n_rows = (uint32_t)message->n_tokens;
}

static sl_status get_results(const Sluice__Frame *message, sl_frame *frame)
{
    for (size_t i = 0; i < message->n_results; i++) {
        const Sluice__Result *in = message->results[i];
        if (in->n_tokens < 1 || in->n_tokens > SL_WIRE_RESULT_TOKENS ||
            in->n_logprobs != in->n_tokens)
            return refuse(message, "result tokens none, too many or unpaired", i);
        sl_token_result *out = &frame->results[i];
        *out = (sl_token_result){.kind = (sl_result_kind)in->kind,
                                 .sequence = in->sequence,
                                 .position = in->position,
                                 .token = in->tokens[0],
                                 .logprob = in->logprobs[0],
                                 .compared = in->compared != 0,
                                 .agrees = in->agrees != 0,
                                 .kl = in->kl,
                                 .n_top = (uint32_t)in->n_tokens - 1};
        for (uint32_t j = 0; j < out->n_top; j++)
            out->top[j] = (sl_token_logprob){in->tokens[1 + j], in->logprobs[1 + j]};
    }
    frame->n_results = (uint32_t)message->n_results;
    return SL_OK;
}

static void get_ledger(const Sluice__Frame *message, sl_frame *frame)
{
    for (size_t i = 0; i < message->n_ledger; i++) {
        const Sluice__LedgerRow *in = message->ledger[i];
        frame->ledger[i] = (sl_ledger_row){.rank = in->rank,
                                           .pages_used = in->pages_used,
                                           .compute_ns = in->compute_ns,
                                           .wait_ns = in->wait_ns,
                                           .wire_ns = in->wire_ns,
                                           .codec_ns = in->codec_ns,
                                           .bytes_sent = in->bytes_sent,
                                           .planned_bytes = in->planned_bytes,
                                           .peak_bytes = in->peak_bytes,
                                           .pages_peak = in->pages_peak,
                                           .seen = in->seen,
                                           .gate_ns = in->gate_ns};
    }
    frame->n_ledger = (uint32_t)message->n_ledger;
}

static sl_status get_heads(const sl_frame_limits *limits, const Sluice__Frame *message,
                           sl_frame *frame)
{
    size_t n = message->n_heads_kept;
    if (n > (size_t)limits->n_layers * limits->n_kv_heads || message->n_heads_pages != n)
        return refuse(message, "heads too many or unpaired", n);
    if (message->flags.len != (limits->flags ? n * message->n_tokens : 0))
        return refuse(message, "flags are cut short, too many or not expected", message->flags.len);
    for (size_t i = 0; i < n; i++)
        frame->heads[i] = (sl_head_account){message->heads_kept[i], message->heads_pages[i]};
    for (size_t i = 0; message->flags.len > 0 && i < n; i++)
        memcpy(frame->flags + i * frame->rows_max, message->flags.data + i * message->n_tokens,
               message->n_tokens);
    frame->n_heads = (uint32_t)n;
    return SL_OK;
}

static sl_status get_frame(const sl_frame_limits *limits, const Sluice__Frame *message,
                           sl_frame *frame)
{
    sl_status status = check_counts(limits, message);
    if (status != SL_OK) return status;
    frame->number = message->number;
    status = get_controls(message, frame);
    if (status != SL_OK) return status;
    get_spans(message, frame);
    status = get_results(message, frame);
    if (status != SL_OK) return status;
    get_ledger(message, frame);
    status = get_heads(limits, message, frame);
    if (status != SL_OK) return status;
    return sl_frame_check(frame, limits, UINT32_MAX, INT32_MAX);
}

sl_status sl_wire_decode_frame(sl_wire *wire, const uint8_t *bytes, size_t n_bytes, sl_frame *frame,
                               sl_wire_payload *payload_out, const uint8_t **payload_bytes_out)
{
    sl_frame_reset(frame, 0);
    const uint8_t *body;
    size_t body_bytes;
    sl_status status = sl_seal_check("frame", bytes, n_bytes, &body, &body_bytes);
    if (status == SL_OK) status = check_version(body, body_bytes);
    if (status != SL_OK) return status;

    sl_proto_arena arena;
    sl_proto_arena_init(&arena, wire->unpack_block, wire->unpack_bytes);
    const Sluice__Frame *message = sluice__frame__unpack(&arena.allocator, body_bytes, body);
    if (!message) {
        sl_error("frame header of %zu bytes is malformed, or larger than this job's", body_bytes);
        return SL_ERR_FORMAT;
    }
    const uint8_t *payload = body + body_bytes;
    size_t payload_bytes = n_bytes - SL_SEAL_BYTES - body_bytes;
    status = check_payload(message, payload, payload_bytes);
    if (status == SL_OK) status = get_frame(&wire->limits, message, frame);
    if (status != SL_OK) {
        sl_frame_reset(frame, 0);
        return status;
    }
    *payload_out = (sl_wire_payload){.codec = message->codec, .n_bytes = payload_bytes};
    *payload_bytes_out = payload;
    return SL_OK;
}
