/* runtime/model/model_keys.c - see model_keys.h. */
#include "runtime/model/model_keys.h"

#include <math.h>

#include "runtime/base/log.h"

int sl_key_shown(sl_text text) { return (int)(text.bytes < 60 ? text.bytes : 60); }

sl_status sl_key_count(const sl_gguf *gguf, const char *key, uint32_t low, uint32_t high,
                       uint32_t *out)
{
    if (!sl_gguf_u32(gguf, key, out)) {
        sl_error("%s: key %s is missing or not an integer", sl_gguf_path(gguf), key);
        return SL_ERR_FORMAT;
    }
    if (*out < low || *out > high) {
        sl_error("%s: %s is %u, expected %u to %u", sl_gguf_path(gguf), key, *out, low, high);
        return SL_ERR_FORMAT;
    }
    return SL_OK;
}

sl_status sl_key_optional_count(const sl_gguf *gguf, const char *key, uint32_t low, uint32_t high,
                                uint32_t *out)
{
    return sl_gguf_has(gguf, key) ? sl_key_count(gguf, key, low, high, out) : SL_OK;
}

sl_status sl_key_optional_flag(const sl_gguf *gguf, const char *key, bool *out)
{
    if (!sl_gguf_has(gguf, key) || sl_gguf_bool(gguf, key, out)) return SL_OK;
    sl_error("%s: key %s is not true or false", sl_gguf_path(gguf), key);
    return SL_ERR_FORMAT;
}

bool sl_key_number(const sl_gguf *gguf, const char *key, float *out)
{
    int32_t integer;
    if (sl_gguf_f32(gguf, key, out)) return true;
    if (!sl_gguf_i32(gguf, key, &integer)) return false;
    *out = (float)integer;
    return true;
}

sl_status sl_key_optional_number(const sl_gguf *gguf, const char *key, float low, float *out)
{
    if (!sl_gguf_has(gguf, key)) return SL_OK;
    float value;
    if (!sl_key_number(gguf, key, &value)) {
        sl_error("%s: key %s is not a number", sl_gguf_path(gguf), key);
        return SL_ERR_FORMAT;
    }
    if (!(value >= low && value < INFINITY)) {
        sl_error("%s: %s is %g, expected %g or more", sl_gguf_path(gguf), key, (double)value,
                 (double)low);
        return SL_ERR_FORMAT;
    }
    *out = value;
    return SL_OK;
}
