/* launch/json/json_object.c - see json_object.h. */
#include "launch/json/json_object.h"

sl_json_object sl_json_begin(void) { return (sl_json_object){json_object()}; }

json_t *sl_json_end(sl_json_object *object)
{
    json_t *value = object->value;
    object->value = NULL;
    return value;
}

void sl_json_set_item(sl_json_object *object, const char *name, json_t *item)
{
    /* of NULL for either, jansson gives up the other and says that it failed */
    if (json_object_set_new_nocheck(object->value, name, item) == 0) return;
    json_decref(object->value);
    object->value = NULL;
}

void sl_json_set_text(sl_json_object *object, const char *name, const char *text)
{
    sl_json_set_item(object, name, json_string(text));
}

void sl_json_set_text_or_null(sl_json_object *object, const char *name, const char *text)
{
    sl_json_set_item(object, name, text ? json_string(text) : json_null());
}

void sl_json_set_bytes(sl_json_object *object, const char *name, const char *text, size_t bytes)
{
    sl_json_set_item(object, name, json_stringn(text, bytes));
}

void sl_json_set_number(sl_json_object *object, const char *name, double number)
{
    sl_json_set_item(object, name, json_real(number));
}

void sl_json_set_integer(sl_json_object *object, const char *name, int64_t integer)
{
    sl_json_set_item(object, name, json_integer((json_int_t)integer));
}

void sl_json_set_count(sl_json_object *object, const char *name, uint64_t count)
{
    sl_json_set_item(object, name, json_integer((json_int_t)count));
}

void sl_json_set_flag(sl_json_object *object, const char *name, bool flag)
{
    sl_json_set_item(object, name, json_boolean(flag));
}

void sl_json_set_null(sl_json_object *object, const char *name)
{
    sl_json_set_item(object, name, json_null());
}

json_t *sl_json_append(json_t *array, json_t *item)
{
    if (json_array_append_new(array, item) == 0) return array;
    json_decref(array);
    return NULL;
}
