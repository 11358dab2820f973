/* launch/openai/request_json.c - see request_json.h. */
#include "launch/openai/request_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

/* A number in JSON that has neither fraction nor exponent, and is too large for int64_t. */
static bool is_beyond_64_bits(const char *number, size_t bytes)
{
    const bool negative = number[0] == '-';
    const char *digits = number + negative;
    const size_t n = bytes - negative;
    for (size_t i = 0; i < n; i++)
        if (digits[i] < '0' || digits[i] > '9') return false;
    const char *most = negative ? "9223372036854775808" : "9223372036854775807";
    return n > strlen(most) || (n == strlen(most) && memcmp(digits, most, n) > 0);
}

/* A copy of the text with ".0" behind each integer beyond 64 bits; NULL when memory is out. */
static char *widen_integers(const char *text, size_t bytes, size_t *bytes_out)
{
    char *out = malloc(bytes + bytes / 8 + 1); /* such an integer has 19 digits at least */
    size_t n = 0;
    for (size_t at = 0, end; out && at < bytes; at = end) {
        end = at + 1;
        if (text[at] == '"') {
            while (end < bytes && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
            end = end < bytes ? end + 1 : bytes;
        } else if (text[at] == '-' || (text[at] >= '0' && text[at] <= '9')) {
            while (end < bytes && text[end] != '\0' && strchr("0123456789+-.eE", text[end])) end++;
        }
        memcpy(out + n, text + at, end - at);
        n += end - at;
        if (text[at] == '"' || !is_beyond_64_bits(text + at, end - at)) continue;
        out[n++] = '.';
        out[n++] = '0';
    }
    *bytes_out = n;
    return out;
}

json_t *sl_request_json_load(const char *text, size_t bytes, json_error_t *error)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    json_error_t unused;
    if (!error) error = &unused;
    json_t *root = json_loadb(text, bytes, flags, error);
    if (root || json_error_code(error) != json_error_numeric_overflow) return root;
    char *widened = widen_integers(text, bytes, &bytes);
    if (widened) root = json_loadb(widened, bytes, flags, error);
    free(widened);
    return root;
}

/* ---- values ---- */

json_t *sl_request_json_field(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

bool sl_request_json_is(const json_t *value, const char *text)
{
    const size_t bytes = strlen(text);
    return json_is_string(value) && json_string_length(value) == bytes &&
           memcmp(json_string_value(value), text, bytes) == 0;
}

bool sl_request_json_integer(const json_t *value, int64_t *out)
{
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    const double real = json_is_real(value) ? json_real_value(value) : NAN;
    if (!(real >= -0x1p63 && real < 0x1p63) || real != floor(real)) return false;
    *out = (int64_t)real;
    return true;
}

char *sl_request_json_copy(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    if (!copy) return NULL;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}
