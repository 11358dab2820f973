/* tests/fuzz/fuzz_frame.c - the input is a message or a record. Its first byte says which, and
 * whether it is sealed here: no mutation gets past a checksum, and what lies behind it must hold
 * too. What decodes is encoded again, and a frame goes on to the checks of the rank and to a
 * stage. */
#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"
#include "proto/wire_seal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/frame_maker.h"
#include "tests/support/stage_rig.h"
#include "tests/support/synth_vocab.h"

enum { AS_FRAME, AS_HELLO, AS_JOB, SEALED_FRAME, SEALED_HELLO, SEALED_JOB, N_KINDS };
enum { WIDTH = 32, SEQUENCES = 4, CONTEXT = 64, MAGIC_BYTES = 4 };

static const sl_frame_limits limits = {.rows_max = 12,
                                       .spans_max = 5,
                                       .controls_max = 4,
                                       .ranks = 3,
                                       .width = WIDTH,
                                       .n_layers = 1,
                                       .n_kv_heads = 1};
static sl_wire *wire;
static sl_frame first, second;
static synth_model model;

/* Arrays of exactly the size promised, so that a sanitizer guards their ends. */
static sl_frame make_frame(void)
{
    return (sl_frame){
        .controls = calloc(limits.controls_max, sizeof(sl_control)),
        .spans = calloc(limits.spans_max, sizeof(sl_span)),
        .tokens = calloc(limits.rows_max, sizeof(int32_t)),
        .results = calloc(limits.rows_max, sizeof(sl_token_result)),
        .ledger = calloc(limits.ranks, sizeof(sl_ledger_row)),
        .heads = calloc((size_t)limits.n_layers * limits.n_kv_heads, sizeof(sl_head_account)),
        .n_kv_heads = limits.n_kv_heads,
        .rows_max = limits.rows_max,
        .hidden = calloc((size_t)limits.rows_max * limits.width, sizeof(float)),
    };
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    synth_shape shape = synth_shape_default();
    shape.layers = 1;
    shape.width = shape.ffn = WIDTH;
    shape.heads = 2;
    shape.kv_heads = 1;
    shape.vocab = SYNTH_VOCAB_MIN;
    synth_model_open(&model, &shape);
    SL_ASSERT(sl_wire_open(&limits, &wire) == SL_OK);
    first = make_frame();
    second = make_frame();
    return 0;
}

/* ---- frames ---- */

/* A frame that every check lets through is computed, or refused by the stage, from its
 * beginning. */
static void compute(sl_frame *frame)
{
    const stage_rig_options options = {
        .n_stages = 1,
        .threads = 1,
        .rows_max = limits.rows_max,
        .spans_max = limits.spans_max,
        .controls_max = limits.controls_max,
        .sequences_max = SEQUENCES,
        .context = CONTEXT,
        .policy = {.kind = SL_POLICY_H2O, .sinks = 2, .window = 4, .keep = 0.5}};
    stage_rig rig;
    stage_rig_open(&rig, &options, model.gguf, sl_kernels_named("ref"));
    sl_status status = SL_OK;
    uint32_t vocab = rig.shape.vocab;
    if (frame->n_results == 0 && sl_frame_check(frame, &limits, SEQUENCES, vocab) == SL_OK)
        status = sl_stage_compute(rig.stages[0], frame);
    SL_ASSERT(status == SL_OK || status == SL_ERR_FORMAT);
    SL_ASSERT(frame->n_results <= limits.rows_max);
    stage_rig_close(&rig);
}

/* Encode into room[header max + payload]; returns the message. */
static const uint8_t *encode(const sl_frame *frame, const sl_wire_payload *payload,
                             const uint8_t *payload_bytes, uint8_t *room, size_t *n_bytes_out)
{
    const uint8_t *message;
    if (payload->n_bytes > 0)
        memcpy(room + sl_wire_header_bytes_max(&limits), payload_bytes, payload->n_bytes);
    SL_ASSERT(sl_wire_encode_frame(wire, frame, payload, room, &message, n_bytes_out) == SL_OK);
    SL_ASSERT(message >= room);
    return message;
}

/* Encoding what was decoded gives one message, however the first was written. */
static void check_frame(const uint8_t *bytes, size_t n_bytes)
{
    sl_wire_payload payload, again;
    const uint8_t *payload_bytes, *again_bytes;
    if (sl_wire_decode_frame(wire, bytes, n_bytes, &first, &payload, &payload_bytes) != SL_OK) {
        SL_ASSERT(first.n_controls + first.n_spans + first.n_rows + first.n_results +
                      first.n_ledger ==
                  0);
        return;
    }
    SL_ASSERT(payload_bytes + payload.n_bytes == bytes + n_bytes);
    size_t room_bytes = sl_wire_header_bytes_max(&limits) + payload.n_bytes, n_once, n_twice;
    uint8_t *once = malloc(room_bytes), *twice = malloc(room_bytes);
    SL_ASSERT(once && twice);
    const uint8_t *message = encode(&first, &payload, payload_bytes, once, &n_once);
    SL_ASSERT(sl_wire_decode_frame(wire, message, n_once, &second, &again, &again_bytes) == SL_OK);
    SL_ASSERT(again.codec == payload.codec && again.n_bytes == payload.n_bytes);
    const uint8_t *copy = encode(&second, &again, again_bytes, twice, &n_twice);
    SL_ASSERT(n_once == n_twice && memcmp(message, copy, n_once) == 0);
    free(once);
    free(twice);
    compute(&second);
}

/* ---- hellos and jobs ---- */

static void check_hello(const uint8_t *bytes)
{
    sl_hello hello, again;
    if (sl_wire_decode_hello(bytes, &hello) != SL_OK) return;
    uint8_t once[SL_HELLO_BYTES], twice[SL_HELLO_BYTES];
    sl_wire_encode_hello(&hello, once);
    SL_ASSERT(sl_wire_decode_hello(once, &again) == SL_OK);
    sl_wire_encode_hello(&again, twice);
    SL_ASSERT(memcmp(once, twice, sizeof once) == 0);
}

static void check_job(const uint8_t *bytes, size_t n_bytes)
{
    sl_job_identity job, again;
    size_t used;
    if (sl_wire_decode_job(bytes, n_bytes, &job, &used) != SL_OK) return;
    SL_ASSERT(used <= n_bytes);
    uint8_t once[SL_JOB_IDENTITY_BYTES_MAX], twice[SL_JOB_IDENTITY_BYTES_MAX];
    size_t n_once, n_twice;
    SL_ASSERT(sl_wire_encode_job(&job, once, sizeof once, &n_once) == SL_OK);
    SL_ASSERT(sl_wire_decode_job(once, n_once, &again, &used) == SL_OK && used == n_once);
    SL_ASSERT(sl_wire_encode_job(&again, twice, sizeof twice, &n_twice) == SL_OK);
    SL_ASSERT(n_once == n_twice && memcmp(once, twice, n_once) == 0);
}

/* ---- the input ---- */

/* `front` bytes, the seal of a body, the body, what follows it: malloc'd. */
static uint8_t *seal(const void *front, size_t front_bytes, const uint8_t *body, size_t body_bytes,
                     size_t rest_bytes, size_t *n_bytes_out)
{
    *n_bytes_out = front_bytes + SL_SEAL_BYTES + body_bytes + rest_bytes;
    uint8_t *bytes = malloc(*n_bytes_out);
    SL_ASSERT(bytes);
    memcpy(bytes, front, front_bytes);
    memcpy(bytes + front_bytes + SL_SEAL_BYTES, body, body_bytes + rest_bytes);
    sl_seal_write(bytes + front_bytes, body_bytes);
    return bytes;
}

/* The first byte of a sealed frame says how many of the last ones are its payload. */
static void check_sealed_frame(const uint8_t *data, size_t size)
{
    if (size < 1 || data[0] > size - 1) return;
    size_t n_bytes;
    uint8_t *bytes = seal("", 0, data + 1, size - 1 - data[0], data[0], &n_bytes);
    check_frame(bytes, n_bytes);
    free(bytes);
}

static void check_any_hello(const uint8_t *data, size_t size, bool sealed)
{
    uint8_t *bytes = calloc(1, SL_HELLO_BYTES);
    size_t start = sealed ? SL_SEAL_BYTES : 0;
    SL_ASSERT(bytes);
    if (size > SL_HELLO_BYTES - start) size = SL_HELLO_BYTES - start;
    memcpy(bytes + start, data, size);
    if (sealed) sl_seal_write(bytes, size);
    check_hello(bytes);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    int kind = data[0] % N_KINDS;
    data++, size--;
    size_t n_bytes;
    uint8_t *bytes = seal("SLJB", MAGIC_BYTES, data, size, 0, &n_bytes);
    switch (kind) {
    case AS_FRAME: check_frame(data, size); break;
    case AS_HELLO: check_any_hello(data, size, false); break;
    case AS_JOB: check_job(data, size); break;
    case SEALED_FRAME: check_sealed_frame(data, size); break;
    case SEALED_HELLO: check_any_hello(data, size, true); break;
    case SEALED_JOB: check_job(bytes, n_bytes); break;
    }
    free(bytes);
    return 0;
}
