/* proto/wire_seal.h - what frame, hello and job records share: the seal before a protobuf body
 * and text in fixed arrays. Inside the room only. */
#ifndef SL_WIRE_SEAL_H
#define SL_WIRE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

/* u32 little-endian body bytes, u64 little-endian XXH3 of the body. */
enum { SL_SEAL_BYTES = 12 };

/* Write the seal of the body that follows it: out[SL_SEAL_BYTES + body_bytes]. */
void sl_seal_write(uint8_t *out, size_t body_bytes);
/* Find the body and compare its checksum. SL_ERR_FORMAT, logged as a broken `what`. */
sl_status sl_seal_check(const char *what, const uint8_t *bytes, size_t n_bytes,
                        const uint8_t **body_out, size_t *body_bytes_out);
/* The same without a word in the log; false: not whole. */
bool sl_seal_whole(const uint8_t *bytes, size_t n_bytes, const uint8_t **body_out,
                   size_t *body_bytes_out);
/* The version a sealed body starts with (field 1, fixed32); 0 when it does not. Read before
 * anything else, so that another version is called that and not garbage. */
uint32_t sl_seal_version(const uint8_t *body, size_t body_bytes);

/* The caller's text for a message: protobuf-c asks for char * even where it only reads.
 * Asserts that it ends within bytes_max. */
char *sl_text_lend(const char *text, size_t bytes_max);
/* Copy a string that must fit, with its end, into out[out_bytes_max]; false when it does not. */
bool sl_text_copy(char *out, size_t out_bytes_max, const char *text);

#endif
