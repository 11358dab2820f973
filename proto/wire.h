/* proto/wire.h - checked encode and decode of every message and on-disk record: the
 * front door of proto, which knows plain structs and moves nothing. Schema: sluice.proto. Layout
 * of a frame message: u32 little-endian header bytes, u64 little-endian XXH3 of the header, the
 * protobuf header (it holds the payload's bytes and XXH3), the payload (hidden rows, encoded by
 * comm's codec; never in the protobuf). A hello starts with the same two words, and so do a
 * journal, after its magic, and each of its entries. Decoding trusts nothing: checksums
 * come first, counts are bounded by the limits, memory comes from a fixed arena inside sl_wire. */
#ifndef SL_WIRE_H
#define SL_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/frame/frame.h"

/* Raised when messages change meaning. Ranks of different versions refuse each other. */
enum { SL_WIRE_VERSION = 5 };

/* Encoder and decoder of one rank's frames; owns its scratch: one thread at a time. */
typedef struct sl_wire sl_wire;
sl_status sl_wire_open(const sl_frame_limits *limits, sl_wire **wire_out);
void sl_wire_close(sl_wire *wire); /* NULL is fine */
size_t sl_wire_open_bytes(const sl_frame_limits *limits);
/* Upper bound of a frame's header with its length word. */
size_t sl_wire_header_bytes_max(const sl_frame_limits *limits);

typedef struct {
    uint32_t codec; /* sl_codec_kind's number; 0 exactly when n_bytes is 0: no payload */
    size_t n_bytes;
} sl_wire_payload;

/* Write the frame's header into out; the payload, already at `payload_bytes`, is what follows
 * when sent. Two steps, so the payload is encoded in place: first reserve
 * sl_wire_header_bytes_max, encode the payload after it, then call this: the header is written
 * so that it ends where the payload starts. *message_out points to the first byte.
 * `room` is [sl_wire_header_bytes_max + payload bytes].
 * SL_ERR_FORMAT, logged: sl_frame_check would refuse the frame where it arrives. */
sl_status sl_wire_encode_frame(sl_wire *wire, const sl_frame *frame, const sl_wire_payload *payload,
                               uint8_t *room, const uint8_t **message_out, size_t *n_bytes_out);

/* Fill `frame` (arrays within limits; hidden untouched) from a message; *payload_bytes_out
 * points into `bytes`. Sampling of controls other than open and fork does not travel.
 * What passed is within the limits; slots and tokens are for the caller's sl_frame_check.
 * SL_ERR_FORMAT, logged: another version (both are named), a checksum, a count out of
 * bounds; the frame is then empty. */
sl_status sl_wire_decode_frame(sl_wire *wire, const uint8_t *bytes, size_t n_bytes, sl_frame *frame,
                               sl_wire_payload *payload_out, const uint8_t **payload_bytes_out);

/* What ranks tell each other before the first frame. */
enum { SL_HELLO_TEXT_MAX = 64, SL_HELLO_BYTES = 1024 };
typedef struct {
    uint32_t version;                /* SL_WIRE_VERSION of the sender */
    char build[SL_HELLO_TEXT_MAX];   /* git version */
    char kernels[SL_HELLO_TEXT_MAX]; /* kernel set */
    char host[SL_HELLO_TEXT_MAX];
    int32_t status; /* sl_status: this rank is ready, or why not */
    uint32_t threads;
    uint64_t options_hash; /* of everything that must be equal on all ranks */
    uint64_t header_hash;  /* of its model file */
    uint64_t model_hash;   /* this rank's share; shares add up */
    uint64_t memory_limit; /* of weights and cache here, beside all else */
    uint64_t pages_total;  /* of its pool */
    uint64_t planned_bytes;
} sl_hello;
/* Into out[SL_HELLO_BYTES], zero-padded, length first. Asserts that texts end. */
void sl_wire_encode_hello(const sl_hello *hello, uint8_t *out);
/* From bytes[SL_HELLO_BYTES]; every text of *hello_out ends. SL_ERR_FORMAT, logged: another
 * version (both are named), a checksum, a text too long. */
sl_status sl_wire_decode_hello(const uint8_t *bytes, sl_hello *hello_out);

/* OUT.job, the journal of a job: which job OUT belongs to, then an entry for each of its lines. */
enum { SL_JOB_OPTIONS_MAX = 32 };
typedef struct {
    char name[32], value[96];
} sl_job_option;
typedef struct {
    uint64_t model_hash, gate_hash; /* gate 0: none */
    char numerics[96]; /* what of the arithmetic depends on the machine and the cache */
    uint32_t n_options;
    sl_job_option options[SL_JOB_OPTIONS_MAX]; /* that change results, as what they came to */
} sl_job_identity;
enum { SL_JOB_IDENTITY_BYTES_MAX = 8192 }; /* enough for any */
/* SL_ERR_MEMORY, logged: out is too small. Decode takes what the journal begins with, *n_used_out
 * of its n_bytes; SL_ERR_FORMAT, logged: no journal, another version, a checksum, too many or too
 * long options. */
sl_status sl_wire_encode_job(const sl_job_identity *job, uint8_t *out, size_t out_bytes_max,
                             size_t *n_bytes_out);
sl_status sl_wire_decode_job(const uint8_t *bytes, size_t n_bytes, sl_job_identity *job_out,
                             size_t *n_used_out);

/* One line of OUT: where it is, what was asked, what it holds. */
typedef struct {
    uint64_t offset, n_bytes;                   /* with its newline */
    uint64_t body_hash;                         /* 0: not known */
    uint64_t record_hash_low, record_hash_high; /* XXH3, 128 bits, but for the newline */
} sl_job_entry;
enum { SL_JOB_ENTRY_BYTES_MAX = 96 };
/* Into out[SL_JOB_ENTRY_BYTES_MAX]; how many bytes it takes. */
size_t sl_wire_encode_job_entry(const sl_job_entry *entry, uint8_t *out);
/* The entry that n_bytes begin with, of *n_used_out. SL_ERR_FORMAT: it is not whole; not logged,
 * since that is what an interrupted job leaves at the end. */
sl_status sl_wire_decode_job_entry(const uint8_t *bytes, size_t n_bytes, sl_job_entry *entry_out,
                                   size_t *n_used_out);

#endif
