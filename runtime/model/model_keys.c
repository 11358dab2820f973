/* runtime/model/model_keys.c - see model_keys.h. */
#include "runtime/model/model_keys.h"

#include <math.h>
#include <stdio.h>

#include "runtime/base/log.h"

int sl_key_shown(sl_text text) { return (int)(text.bytes < 60 ? text.bytes : 60); }

sl_key_name sl_key_named(const sl_model_keys *keys, const char *name)
{
    sl_key_name out;
    int n = snprintf(out.text, sizeof out.text, "%s.%s", keys->architecture, name);
    SL_ASSERT(n > 0 && (size_t)n < sizeof out.text);
    return out;
}

bool sl_key_exists(const sl_model_keys *keys, const char *name)
{
    return sl_gguf_has(keys->gguf, sl_key_named(keys, name).text);
}

sl_status sl_key_wrong(const sl_model_keys *keys, const char *name, const char *expected)
{
    sl_key_name key = sl_key_named(keys, name);
    const char *path = sl_gguf_path(keys->gguf);
    if (sl_gguf_has_array(keys->gguf, key.text)) {
        sl_error("%s: key %s is a list, as of models whose layers differ in it: supported is only "
                 "one value, %s",
                 path, key.text, expected);
        return SL_ERR_UNSUPPORTED;
    }
    if (sl_gguf_has(keys->gguf, key.text))
        sl_error("%s: key %s is not %s", path, key.text, expected);
    else
        sl_error("%s: key %s is missing", path, key.text);
    return SL_ERR_FORMAT;
}

sl_status sl_key_count(const sl_model_keys *keys, const char *name, uint32_t low, uint32_t high,
                       uint32_t *out)
{
    sl_key_name key = sl_key_named(keys, name);
    if (!sl_gguf_u32(keys->gguf, key.text, out))
        return sl_key_wrong(keys, name, "an integer that is not negative");
    if (*out < low || *out > high) {
        sl_error("%s: %s is %u, expected %u to %u", sl_gguf_path(keys->gguf), key.text, *out, low,
                 high);
        return SL_ERR_FORMAT;
    }
    return SL_OK;
}

sl_status sl_key_optional_count(const sl_model_keys *keys, const char *name, uint32_t low,
                                uint32_t high, uint32_t *out)
{
    return sl_key_exists(keys, name) ? sl_key_count(keys, name, low, high, out) : SL_OK;
}

sl_status sl_key_optional_flag(const sl_model_keys *keys, const char *name, bool *out)
{
    sl_key_name key = sl_key_named(keys, name);
    if (!sl_gguf_has(keys->gguf, key.text) || sl_gguf_bool(keys->gguf, key.text, out)) return SL_OK;
    return sl_key_wrong(keys, name, "true or false");
}

bool sl_key_number(const sl_model_keys *keys, const char *name, float *out)
{
    sl_key_name key = sl_key_named(keys, name);
    int32_t integer;
    if (sl_gguf_f32(keys->gguf, key.text, out)) return true;
    if (!sl_gguf_i32(keys->gguf, key.text, &integer)) return false;
    *out = (float)integer;
    return true;
}

sl_status sl_key_optional_number(const sl_model_keys *keys, const char *name, float low, float *out)
{
    if (!sl_key_exists(keys, name)) return SL_OK;
    sl_key_name key = sl_key_named(keys, name);
    float value;
    if (!sl_key_number(keys, name, &value)) return sl_key_wrong(keys, name, "a number");
    if (!(value >= low && value < INFINITY)) {
        sl_error("%s: %s is %g, expected %g or more", sl_gguf_path(keys->gguf), key.text,
                 (double)value, (double)low);
        return SL_ERR_FORMAT;
    }
    *out = value;
    return SL_OK;
}
