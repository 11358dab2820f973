/* launch/openai/request_json.h - values in the JSON of a request, as the files that read it ask for
 * them. */
#ifndef SL_REQUEST_JSON_H
#define SL_REQUEST_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Text as JSON, the caller's to decref; NULL: it is none, *error, unless NULL, says why. Keys that
 * stand twice are refused, NUL is fine in texts. An integer beyond 64 bits is read as a
 * float; other integers stay integers. */
json_t *sl_request_json_load(const char *text, size_t bytes, json_error_t *error);
/* The value of a field; NULL when it is absent or null, which mean the same. */
json_t *sl_request_json_field(const json_t *object, const char *name);
/* `value` is the string `text`, to its last byte. */
bool sl_request_json_is(const json_t *value, const char *text);
/* A number without fraction, however it is written. false: it is not, or beyond int64_t. */
bool sl_request_json_integer(const json_t *value, int64_t *out);
/* malloc'd copy with a zero after it; NULL when memory is out. */
char *sl_request_json_copy(const char *text, size_t bytes);

#endif
