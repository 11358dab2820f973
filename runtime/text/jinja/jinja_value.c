/* runtime/text/jinja/jinja_value.c - see jinja_value.h. Dictionaries are looked through from their
 * beginning: those of chats have a handful of keys, and a run pays a step for every few that are
 * looked at. */
#include "runtime/text/jinja/jinja_value.h"

#include <string.h>

const sl_jinja_value sl_jinja_none = {.kind = SL_JINJA_NONE};
const sl_jinja_value sl_jinja_undefined_value = {.kind = SL_JINJA_UNDEFINED};

/* ---- making ---- */

sl_jinja_value sl_jinja_boolean(bool boolean)
{
    return (sl_jinja_value){.kind = SL_JINJA_BOOLEAN, .boolean = boolean};
}

sl_jinja_value sl_jinja_integer(int64_t integer)
{
    return (sl_jinja_value){.kind = SL_JINJA_INTEGER, .integer = integer};
}

sl_jinja_value sl_jinja_float(double number)
{
    return (sl_jinja_value){.kind = SL_JINJA_FLOAT, .number = number};
}

sl_jinja_value sl_jinja_string(sl_jinja_memory *memory, sl_jinja_text text)
{
    sl_jinja_text *held = sl_jinja_new(memory, sl_jinja_text);
    if (!held) return sl_jinja_undefined_value;
    *held = text;
    return (sl_jinja_value){.kind = SL_JINJA_STRING, .text = held};
}

sl_jinja_value sl_jinja_string_copy(sl_jinja_memory *memory, const char *text, size_t bytes,
                                    sl_jinja_origin origin)
{
    char *copy = sl_jinja_take(memory, bytes + 1);
    if (!copy) return sl_jinja_undefined_value;
    if (bytes > 0) memcpy(copy, text, bytes);
    return sl_jinja_string(memory, (sl_jinja_text){.data = copy, .bytes = bytes, .origin = origin});
}

sl_jinja_value sl_jinja_list_new(sl_jinja_memory *memory, sl_jinja_kind kind)
{
    sl_jinja_list *list = sl_jinja_new(memory, sl_jinja_list);
    return list ? (sl_jinja_value){.kind = kind, .list = list} : sl_jinja_undefined_value;
}

sl_jinja_value sl_jinja_dict_new(sl_jinja_memory *memory)
{
    sl_jinja_dict *dict = sl_jinja_new(memory, sl_jinja_dict);
    return dict ? (sl_jinja_value){.kind = SL_JINJA_DICT, .dict = dict} : sl_jinja_undefined_value;
}

/* ---- lists and dictionaries ---- */

/* Room for one more of n items; what is returned has it, or is NULL. */
static void *make_room(sl_jinja_memory *memory, void *items, size_t n, size_t *capacity,
                       size_t item_bytes)
{
    if (n < *capacity) return items;
    const size_t more = 2 * n + 4;
    void *grown = sl_jinja_grow(memory, items, n * item_bytes, more * item_bytes);
    if (grown) *capacity = more;
    return grown;
}

void sl_jinja_list_reserve(sl_jinja_memory *memory, sl_jinja_value list, size_t n)
{
    if (!sl_jinja_is_list(list) || n > SIZE_MAX / sizeof *list.list->items) return;
    list.list->items = sl_jinja_take(memory, n * sizeof *list.list->items);
    list.list->capacity = list.list->items ? n : 0;
}

void sl_jinja_list_add(sl_jinja_memory *memory, sl_jinja_value list, sl_jinja_value item)
{
    if (!sl_jinja_is_list(list)) return; /* it found no memory itself */
    sl_jinja_list *l = list.list;
    sl_jinja_value *items = make_room(memory, l->items, l->n, &l->capacity, sizeof *items);
    if (!items) return;
    l->items = items;
    l->items[l->n++] = item;
}

void sl_jinja_dict_add(sl_jinja_memory *memory, sl_jinja_value dict, sl_jinja_value key,
                       sl_jinja_value value)
{
    if (dict.kind != SL_JINJA_DICT && dict.kind != SL_JINJA_NAMESPACE) return;
    sl_jinja_dict *d = dict.dict;
    sl_jinja_entry *entries = make_room(memory, d->entries, d->n, &d->capacity, sizeof *entries);
    if (!entries) return;
    d->entries = entries;
    d->entries[d->n++] = (sl_jinja_entry){key, value};
}

const sl_jinja_value *sl_jinja_dict_find(const sl_jinja_dict *dict, sl_jinja_value key)
{
    if (sl_jinja_is_string(key)) return sl_jinja_dict_find_text(dict, *key.text);
    for (size_t i = 0; i < dict->n; i++)
        if (sl_jinja_same(dict->entries[i].key, key)) return &dict->entries[i].value;
    return NULL;
}

const sl_jinja_value *sl_jinja_dict_find_text(const sl_jinja_dict *dict, sl_jinja_text key)
{
    for (size_t i = 0; i < dict->n; i++) {
        const sl_jinja_value *other = &dict->entries[i].key;
        if (sl_jinja_is_string(*other) && sl_jinja_text_equal(*other->text, key))
            return &dict->entries[i].value;
    }
    return NULL;
}

void sl_jinja_dict_set(sl_jinja_memory *memory, sl_jinja_value dict, sl_jinja_value key,
                       sl_jinja_value value)
{
    if (dict.kind != SL_JINJA_DICT && dict.kind != SL_JINJA_NAMESPACE) return;
    sl_jinja_value *held = (sl_jinja_value *)sl_jinja_dict_find(dict.dict, key);
    if (held)
        *held = value;
    else
        sl_jinja_dict_add(memory, dict, key, value);
}

void sl_jinja_dict_set_own(sl_jinja_memory *memory, sl_jinja_value dict, const char *key,
                           sl_jinja_value value)
{
    sl_jinja_dict_set(memory, dict, sl_jinja_string(memory, sl_jinja_text_own(key)), value);
}

/* ---- asking ---- */

int64_t sl_jinja_as_integer(sl_jinja_value integer)
{
    return integer.kind == SL_JINJA_BOOLEAN ? integer.boolean : integer.integer;
}

double sl_jinja_as_float(sl_jinja_value number)
{
    return number.kind == SL_JINJA_FLOAT ? number.number : (double)sl_jinja_as_integer(number);
}

bool sl_jinja_truth(sl_jinja_value v)
{
    switch (v.kind) {
    case SL_JINJA_ABSENT:
    case SL_JINJA_UNDEFINED:
    case SL_JINJA_NONE: return false;
    case SL_JINJA_BOOLEAN: return v.boolean;
    case SL_JINJA_INTEGER: return v.integer != 0;
    case SL_JINJA_FLOAT: return v.number != 0;
    case SL_JINJA_STRING: return v.text->bytes > 0;
    case SL_JINJA_LIST:
    case SL_JINJA_TUPLE: return v.list->n > 0;
    case SL_JINJA_DICT: return v.dict->n > 0;
    default: return true;
    }
}

bool sl_jinja_is_hashable(sl_jinja_value v)
{
    return v.kind == SL_JINJA_NONE || v.kind == SL_JINJA_STRING || sl_jinja_is_number(v);
}

bool sl_jinja_same(sl_jinja_value a, sl_jinja_value b)
{
    if (sl_jinja_is_integer(a) && sl_jinja_is_integer(b))
        return sl_jinja_as_integer(a) == sl_jinja_as_integer(b);
    if (sl_jinja_is_number(a) && sl_jinja_is_number(b))
        return sl_jinja_as_float(a) == sl_jinja_as_float(b);
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case SL_JINJA_STRING: return sl_jinja_text_equal(*a.text, *b.text);
    case SL_JINJA_LIST:
    case SL_JINJA_TUPLE: return a.list == b.list;
    case SL_JINJA_DICT:
    case SL_JINJA_NAMESPACE: return a.dict == b.dict;
    case SL_JINJA_LOOP: return a.loop == b.loop;
    case SL_JINJA_MACRO: return a.macro == b.macro;
    case SL_JINJA_FUNCTION: return a.function == b.function;
    case SL_JINJA_METHOD: return a.method == b.method;
    default: return true; /* absent, undefined, none */
    }
}

const char *sl_jinja_kind_name(sl_jinja_kind kind)
{
    static const char *const names[] = {
        [SL_JINJA_ABSENT] = "nothing",
        [SL_JINJA_UNDEFINED] = "an undefined value",
        [SL_JINJA_NONE] = "none",
        [SL_JINJA_BOOLEAN] = "a boolean",
        [SL_JINJA_INTEGER] = "an integer",
        [SL_JINJA_FLOAT] = "a float",
        [SL_JINJA_STRING] = "a string",
        [SL_JINJA_LIST] = "a list",
        [SL_JINJA_TUPLE] = "a tuple",
        [SL_JINJA_DICT] = "a dictionary",
        [SL_JINJA_NAMESPACE] = "a namespace",
        [SL_JINJA_LOOP] = "a loop",
        [SL_JINJA_MACRO] = "a macro",
        [SL_JINJA_FUNCTION] = "a function",
        [SL_JINJA_METHOD] = "a method",
    };
    return names[kind];
}
