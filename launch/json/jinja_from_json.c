/* launch/json/jinja_from_json.c - see jinja_from_json.h. The depth of what jansson has read is
 * bounded by it (2048). Keys of an object are unique. */
#include "launch/json/jinja_from_json.h"

#include <string.h>

static sl_jinja_value from_array(sl_jinja_memory *memory, const json_t *array)
{
    const sl_jinja_value list = sl_jinja_list_new(memory, SL_JINJA_LIST);
    for (size_t i = 0; i < json_array_size(array); i++)
        sl_jinja_list_add(memory, list, sl_jinja_from_json(memory, json_array_get(array, i)));
    return list;
}

static sl_jinja_value from_object(sl_jinja_memory *memory, const json_t *object)
{
    const sl_jinja_value dict = sl_jinja_dict_new(memory);
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)object, key, item)
    {
        const sl_jinja_value name = sl_jinja_string_copy(memory, key, strlen(key), SL_JINJA_GIVEN);
        sl_jinja_dict_add(memory, dict, name, sl_jinja_from_json(memory, item));
    }
    return dict;
}

sl_jinja_value sl_jinja_from_json(sl_jinja_memory *memory, const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT: return from_object(memory, json);
    case JSON_ARRAY: return from_array(memory, json);
    case JSON_STRING:
        return sl_jinja_string_copy(memory, json_string_value(json), json_string_length(json),
                                    SL_JINJA_GIVEN);
    case JSON_INTEGER: return sl_jinja_integer(json_integer_value(json));
    case JSON_REAL: return sl_jinja_float(json_real_value(json));
    case JSON_TRUE:
    case JSON_FALSE: return sl_jinja_boolean(json_is_true(json));
    default: return sl_jinja_none;
    }
}
