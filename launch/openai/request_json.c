/* launch/openai/request_json.c - see request_json.h. */
#include "launch/openai/request_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
