/* proto/wire_frame.h - what the frame's encoder and decoder work in. Inside the room only. */
#ifndef SL_WIRE_FRAME_H
#define SL_WIRE_FRAME_H

#include "proto/proto_arena.h"
#include "proto/sluice.pb-c.h"
#include "proto/wire.h"

/* A result's own token and its top tokens, as one packed list. */
enum { SL_WIRE_RESULT_TOKENS = 1 + SL_TOP_LOGPROBS_MAX };

/* protobuf-c packs structs that point at each other, so they wait here, linked once at open. */
struct sl_wire {
    sl_frame_limits limits;
    size_t open_bytes, header_bytes_max;

    Sluice__Control *controls, **control_list; /* [controls_max] */
    Sluice__Sampling *samplings;               /* [controls_max] */
    int32_t *bias_tokens;                      /* [controls_max][SL_LOGIT_BIAS_MAX] */
    float *bias_values;
    int32_t *ends;                          /* [controls_max][SL_ENDS_MAX] */
    Sluice__Span *spans, **span_list;       /* [spans_max] */
    Sluice__Result *results, **result_list; /* [rows_max] */
    int32_t *result_tokens;                 /* [rows_max][SL_WIRE_RESULT_TOKENS] */
    float *result_logprobs;
    Sluice__LedgerRow *ledger, **ledger_list; /* [ranks] */
    uint64_t *heads_kept;                     /* [heads] */
    uint32_t *heads_pages;                    /* [heads] */
    uint8_t *flags;                           /* [heads][rows_max], when frames have them */

    uint8_t *unpack_block; /* [unpack_bytes] */
    size_t unpack_bytes;
};

#endif
