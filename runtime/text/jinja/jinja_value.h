/* runtime/text/jinja/jinja_value.h - the values of a template, as Python has them: plain, passed by
 * value, their texts, lists and dictionaries in an sl_jinja_memory. Whoever renders a template
 * makes the document it prints with these (messages, tools, what else the request says). Knows how
 * values are held and found, not what templates do with them. Where memory is refused, a value is
 * undefined or an item is left out, and memory->refused stays set: callers check it once, at the
 * end. */
#ifndef SL_JINJA_VALUE_H
#define SL_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/text/jinja/jinja_memory.h"
#include "runtime/text/jinja/jinja_text.h"

typedef enum {
    SL_JINJA_ABSENT, /* no value at all: an argument that was not given */
    SL_JINJA_UNDEFINED,
    SL_JINJA_NONE,
    SL_JINJA_BOOLEAN,
    SL_JINJA_INTEGER,
    SL_JINJA_FLOAT,
    SL_JINJA_STRING,
    SL_JINJA_LIST,
    SL_JINJA_TUPLE,
    SL_JINJA_DICT,
    SL_JINJA_NAMESPACE,
    SL_JINJA_LOOP,
    SL_JINJA_MACRO,
    SL_JINJA_FUNCTION,
    SL_JINJA_METHOD,
} sl_jinja_kind;

typedef struct sl_jinja_list sl_jinja_list;
typedef struct sl_jinja_dict sl_jinja_dict;

typedef struct {
    sl_jinja_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        const sl_jinja_text *text; /* a string, or the name of what is undefined (may be NULL) */
        sl_jinja_list *list;       /* of a list or tuple */
        sl_jinja_dict *dict;       /* of a dictionary or namespace */
        const struct sl_jinja_loop *loop;
        const struct sl_jinja_macro *macro;
        const struct sl_jinja_builtin *function;
        const struct sl_jinja_method *method;
    };
} sl_jinja_value;

struct sl_jinja_list {
    sl_jinja_value *items;
    size_t n, capacity;
    bool open; /* made by the template, which may change it; a caller's never is */
};

typedef struct {
    sl_jinja_value key, value;
} sl_jinja_entry;

struct sl_jinja_dict {
    sl_jinja_entry *entries; /* in the order in which keys were first set */
    size_t n, capacity;
};

/* ---- making ---- */

extern const sl_jinja_value sl_jinja_none, sl_jinja_undefined_value;
sl_jinja_value sl_jinja_boolean(bool boolean);
sl_jinja_value sl_jinja_integer(int64_t integer);
sl_jinja_value sl_jinja_float(double number);
sl_jinja_value sl_jinja_string(sl_jinja_memory *memory, sl_jinja_text text);
/* A copy of text[bytes], which is then the memory's. */
sl_jinja_value sl_jinja_string_copy(sl_jinja_memory *memory, const char *text, size_t bytes,
                                    sl_jinja_origin origin);
/* Empty ones. The kind may be tuple. */
sl_jinja_value sl_jinja_list_new(sl_jinja_memory *memory, sl_jinja_kind kind);
sl_jinja_value sl_jinja_dict_new(sl_jinja_memory *memory);

/* ---- lists and dictionaries ---- */

/* So many items will be in a new list, so room is taken once. */
void sl_jinja_list_reserve(sl_jinja_memory *memory, sl_jinja_value list, size_t n);
void sl_jinja_list_add(sl_jinja_memory *memory, sl_jinja_value list, sl_jinja_value item);
/* `key` is equal to no other key: the entry is added without looking for it. */
void sl_jinja_dict_add(sl_jinja_memory *memory, sl_jinja_value dict, sl_jinja_value key,
                       sl_jinja_value value);
/* Give the key a value, whether it has one or not. */
void sl_jinja_dict_set(sl_jinja_memory *memory, sl_jinja_value dict, sl_jinja_value key,
                       sl_jinja_value value);
/* The same for a key of the template's own words, such as "messages"; it must outlive the
 * memory. */
void sl_jinja_dict_set_own(sl_jinja_memory *memory, sl_jinja_value dict, const char *key,
                           sl_jinja_value value);
/* Lent until the dictionary is changed; NULL: it has no such key. */
const sl_jinja_value *sl_jinja_dict_find(const sl_jinja_dict *dict, sl_jinja_value key);
const sl_jinja_value *sl_jinja_dict_find_text(const sl_jinja_dict *dict, sl_jinja_text key);

/* ---- asking ---- */

static inline bool sl_jinja_is_string(sl_jinja_value v) { return v.kind == SL_JINJA_STRING; }
static inline bool sl_jinja_is_list(sl_jinja_value v)
{
    return v.kind == SL_JINJA_LIST || v.kind == SL_JINJA_TUPLE;
}
/* An integer as Python counts them: booleans are 0 and 1. */
static inline bool sl_jinja_is_integer(sl_jinja_value v)
{
    return v.kind == SL_JINJA_INTEGER || v.kind == SL_JINJA_BOOLEAN;
}
static inline bool sl_jinja_is_number(sl_jinja_value v)
{
    return sl_jinja_is_integer(v) || v.kind == SL_JINJA_FLOAT;
}
int64_t sl_jinja_as_integer(sl_jinja_value integer);
double sl_jinja_as_float(sl_jinja_value number);
bool sl_jinja_truth(sl_jinja_value value);
/* A key of a dictionary must be one of these. */
bool sl_jinja_is_hashable(sl_jinja_value value);
/* Equal as keys are: numbers by value, texts by bytes. Lists, tuples and dictionaries are compared
 * elsewhere; here they are equal when they are the same one. */
bool sl_jinja_same(sl_jinja_value a, sl_jinja_value b);
/* "a string", "a list" ..., for messages; static storage. */
const char *sl_jinja_kind_name(sl_jinja_kind kind);

#endif
