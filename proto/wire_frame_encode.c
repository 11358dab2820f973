/* proto/wire_frame_encode.c - a frame's header, packed straight into the caller's room.
 * Allocates nothing: the message structs are the sl_wire's own. */
#include <string.h>
#include <xxhash.h>

#include "proto/wire_frame.h"
#include "proto/wire_seal.h"
#include "runtime/base/log.h"

/* The rooms are of one control. */
static void put_sampling(const sl_sampling *sampling, int32_t *bias_tokens, float *bias_values,
                         int32_t *ends, Sluice__Sampling *out)
{
    if (sampling->n_ends > 0) memcpy(ends, sampling->ends, sampling->n_ends * sizeof *ends);
    for (uint32_t i = 0; i < sampling->n_bias; i++) {
        bias_tokens[i] = sampling->bias[i].token;
        bias_values[i] = sampling->bias[i].value;
    }
    sluice__sampling__init(out);
    out->temperature = sampling->temperature;
    out->top_k = sampling->top_k;
    out->top_p = sampling->top_p;
    out->min_p = sampling->min_p;
    out->repetition_penalty = sampling->repetition_penalty;
    out->presence_penalty = sampling->presence_penalty;
    out->frequency_penalty = sampling->frequency_penalty;
    out->seed = sampling->seed;
    out->n_logprobs = sampling->n_logprobs;
    out->n_bias_tokens = out->n_bias_values = sampling->n_bias;
    out->bias_tokens = bias_tokens;
    out->bias_values = bias_values;
    out->min_tokens = sampling->min_tokens;
    out->n_ends = sampling->n_ends;
    out->ends = ends;
}

static void put_controls(sl_wire *wire, const sl_frame *frame, Sluice__Frame *message)
{
    for (uint32_t i = 0; i < frame->n_controls; i++) {
        const sl_control *control = &frame->controls[i];
        Sluice__Control *out = &wire->controls[i];
        sluice__control__init(out);
        out->kind = control->kind;
        out->sequence = control->sequence;
        out->parent = control->parent;
        if (control->kind != SL_CONTROL_OPEN && control->kind != SL_CONTROL_FORK) continue;
        out->sampling = &wire->samplings[i];
        size_t first = (size_t)i * SL_LOGIT_BIAS_MAX;
        out->id_seed = control->id_seed;
        out->n_prompt = control->n_prompt;
        out->keeps_all = control->keeps_all;
        out->comparison = control->comparison.kind;
        out->compare_from = control->comparison.from;
        out->compare_step = control->comparison.step;
        put_sampling(&control->sampling, wire->bias_tokens + first, wire->bias_values + first,
                     wire->ends + (size_t)i * SL_ENDS_MAX, out->sampling);
    }
    message->n_controls = frame->n_controls;
    message->controls = wire->control_list;
}

static void put_spans(sl_wire *wire, const sl_frame *frame, Sluice__Frame *message)
{
    for (uint32_t i = 0; i < frame->n_spans; i++) {
        const sl_span *span = &frame->spans[i];
        Sluice__Span *out = &wire->spans[i];
        sluice__span__init(out);
        out->kind = span->kind;
        out->sequence = span->sequence;
        out->position = span->position;
        out->first_row = span->first_row;
        out->n_tokens = span->n_tokens;
        out->sample = span->sample;
        out->score_from = span->score_from;
        out->next_token = span->next_token;
        out->seen = span->seen;
        out->kept = span->kept;
        out->cache_bytes = span->cache_bytes;
    }
    message->n_spans = frame->n_spans;
    message->spans = wire->span_list;
    message->n_tokens = frame->n_rows;
    message->tokens = frame->tokens;
}

static void put_results(sl_wire *wire, const sl_frame *frame, Sluice__Frame *message)
{
    for (uint32_t i = 0; i < frame->n_results; i++) {
        const sl_token_result *result = &frame->results[i];
        int32_t *tokens = wire->result_tokens + (size_t)i * SL_WIRE_RESULT_TOKENS;
        float *logprobs = wire->result_logprobs + (size_t)i * SL_WIRE_RESULT_TOKENS;
        tokens[0] = result->token;
        logprobs[0] = result->logprob;
        for (uint32_t j = 0; j < result->n_top; j++) {
            tokens[1 + j] = result->top[j].token;
            logprobs[1 + j] = result->top[j].logprob;
        }
        Sluice__Result *out = &wire->results[i];
        sluice__result__init(out);
        out->kind = result->kind;
        out->sequence = result->sequence;
        out->position = result->position;
        out->n_tokens = out->n_logprobs = 1 + result->n_top;
        out->tokens = tokens;
        out->logprobs = logprobs;
        out->compared = result->compared;
        out->agrees = result->agrees;
        out->kl = result->kl;
    }
    message->n_results = frame->n_results;
    message->results = wire->result_list;
}

static void put_ledger(sl_wire *wire, const sl_frame *frame, Sluice__Frame *message)
{
    for (uint32_t i = 0; i < frame->n_ledger; i++) {
        const sl_ledger_row *row = &frame->ledger[i];
        Sluice__LedgerRow *out = &wire->ledger[i];
        sluice__ledger_row__init(out);
        out->rank = row->rank;
        out->pages_used = row->pages_used;
        out->compute_ns = row->compute_ns;
        out->wait_ns = row->wait_ns;
        out->wire_ns = row->wire_ns;
        out->codec_ns = row->codec_ns;
        out->bytes_sent = row->bytes_sent;
        out->planned_bytes = row->planned_bytes;
        out->peak_bytes = row->peak_bytes;
        out->pages_peak = row->pages_peak;
        out->seen = row->seen;
        out->gate_ns = row->gate_ns;
    }
    message->n_ledger = frame->n_ledger;
    message->ledger = wire->ledger_list;
}

static void put_heads(sl_wire *wire, const sl_frame *frame, Sluice__Frame *message)
{
    for (uint32_t i = 0; i < frame->n_heads; i++) {
        wire->heads_kept[i] = frame->heads[i].kept;
        wire->heads_pages[i] = frame->heads[i].pages;
    }
    message->n_heads_kept = message->n_heads_pages = frame->n_heads;
    message->heads_kept = wire->heads_kept;
    message->heads_pages = wire->heads_pages;
    if (!frame->flags) return;
    for (uint32_t i = 0; i < frame->n_heads; i++)
        memcpy(wire->flags + (size_t)i * frame->n_rows, frame->flags + (size_t)i * frame->rows_max,
               frame->n_rows);
    message->flags.len = (size_t)frame->n_heads * frame->n_rows;
    message->flags.data = wire->flags;
}

sl_status sl_wire_encode_frame(sl_wire *wire, const sl_frame *frame, const sl_wire_payload *payload,
                               uint8_t *room, const uint8_t **message_out, size_t *n_bytes_out)
{
    SL_ASSERT((payload->codec == 0) == (payload->n_bytes == 0));
    sl_status status = sl_frame_check(frame, &wire->limits, UINT32_MAX, INT32_MAX);
    if (status != SL_OK) return status;

    const uint8_t *payload_bytes = room + wire->header_bytes_max;
    Sluice__Frame message = SLUICE__FRAME__INIT;
    message.version = SL_WIRE_VERSION;
    message.number = frame->number;
    message.codec = payload->codec;
    message.payload_bytes = payload->n_bytes;
    message.payload_checksum = XXH3_64bits(payload_bytes, payload->n_bytes);
    put_controls(wire, frame, &message);
    put_spans(wire, frame, &message);
    put_results(wire, frame, &message);
    put_ledger(wire, frame, &message);
    put_heads(wire, frame, &message);

    size_t body_bytes = sluice__frame__get_packed_size(&message);
    size_t header_bytes = SL_SEAL_BYTES + body_bytes;
    SL_ASSERT(header_bytes <= wire->header_bytes_max);
    uint8_t *header = room + wire->header_bytes_max - header_bytes;
    sluice__frame__pack(&message, header + SL_SEAL_BYTES);
    sl_seal_write(header, body_bytes);
    *message_out = header;
    *n_bytes_out = header_bytes + payload->n_bytes;
    return SL_OK;
}
