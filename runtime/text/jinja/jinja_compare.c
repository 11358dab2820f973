/* runtime/text/jinja/jinja_compare.c - see jinja_compare.h. */
#include "runtime/text/jinja/jinja_compare.h"

/* ---- equality ---- */

static bool equal_lists(sl_jinja_context *c, const sl_jinja_list *a, const sl_jinja_list *b)
{
    bool equal = a->n == b->n;
    for (size_t i = 0; equal && i < a->n && i < b->n; i++)
        equal = sl_jinja_equal(c, a->items[i], b->items[i]);
    return equal;
}

static bool equal_dicts(sl_jinja_context *c, const sl_jinja_dict *a, const sl_jinja_dict *b)
{
    bool equal = a->n == b->n;
    for (size_t i = 0; equal && i < a->n; i++) {
        const sl_jinja_value *other = sl_jinja_key_find(c, b, a->entries[i].key);
        equal = other && sl_jinja_equal(c, a->entries[i].value, *other);
    }
    return equal;
}

bool sl_jinja_equal(sl_jinja_context *c, sl_jinja_value a, sl_jinja_value b)
{
    if (!sl_jinja_spend_on(c, sl_jinja_is_string(a) ? a.text->bytes : 0)) return false;
    const bool same = sl_jinja_same(a, b);
    if (same || a.kind != b.kind || (!sl_jinja_is_list(a) && a.kind != SL_JINJA_DICT)) return same;
    bool equal = false;
    if (sl_jinja_enter(c))
        equal = a.kind == SL_JINJA_DICT ? equal_dicts(c, a.dict, b.dict)
                                        : equal_lists(c, a.list, b.list);
    sl_jinja_leave(c);
    return equal;
}

/* ---- order ---- */

static int order_lists(sl_jinja_context *c, const sl_jinja_list *a, const sl_jinja_list *b)
{
    for (size_t i = 0; i < a->n && i < b->n && !c->failed; i++)
        if (!sl_jinja_equal(c, a->items[i], b->items[i]))
            return sl_jinja_order(c, a->items[i], b->items[i]);
    return (a->n > b->n) - (a->n < b->n);
}

int sl_jinja_order(sl_jinja_context *c, sl_jinja_value a, sl_jinja_value b)
{
    int order = 0;
    if (!sl_jinja_enter(c)) {
        order = 0;
    } else if (sl_jinja_is_integer(a) && sl_jinja_is_integer(b)) {
        const int64_t x = sl_jinja_as_integer(a), y = sl_jinja_as_integer(b);
        order = (x > y) - (x < y);
    } else if (sl_jinja_is_number(a) && sl_jinja_is_number(b)) {
        const double x = sl_jinja_as_float(a), y = sl_jinja_as_float(b);
        order = (x > y) - (x < y);
    } else if (sl_jinja_is_string(a) && sl_jinja_is_string(b)) {
        if (sl_jinja_spend_on(c, a.text->bytes)) order = sl_jinja_text_compare(*a.text, *b.text);
    } else if (sl_jinja_is_list(a) && a.kind == b.kind) {
        order = order_lists(c, a.list, b.list);
    } else if (a.kind == SL_JINJA_UNDEFINED || b.kind == SL_JINJA_UNDEFINED) {
        sl_jinja_fail_undefined(c, a.kind == SL_JINJA_UNDEFINED ? a : b);
    } else {
        sl_jinja_fail(c, "%s and %s have no order", sl_jinja_kind_name(a.kind),
                      sl_jinja_kind_name(b.kind));
    }
    sl_jinja_leave(c);
    return order;
}

/* ---- in ---- */

bool sl_jinja_contains(sl_jinja_context *c, sl_jinja_value container, sl_jinja_value item)
{
    switch (container.kind) {
    case SL_JINJA_UNDEFINED: return false;
    case SL_JINJA_STRING:
        if (!sl_jinja_spend_on(c, container.text->bytes)) return false;
        return sl_jinja_find(*container.text, sl_jinja_text_of(c, "'in' a string", item), 0) !=
               SIZE_MAX;
    case SL_JINJA_DICT:
        if (!sl_jinja_is_hashable(item) && item.kind != SL_JINJA_TUPLE)
            sl_jinja_fail_kind(c, "looking up a key", item);
        return sl_jinja_key_find(c, container.dict, item) != NULL;
    case SL_JINJA_LIST:
    case SL_JINJA_TUPLE:
        for (size_t i = 0; i < container.list->n && !c->failed; i++)
            if (sl_jinja_equal(c, container.list->items[i], item)) return true;
        return false;
    default: sl_jinja_fail_kind(c, "'in'", container); return false;
    }
}

/* ---- iteration ---- */

static void add_chars(sl_jinja_context *c, sl_jinja_value list, sl_jinja_text text)
{
    for (size_t at = 0, n; at < text.bytes && sl_jinja_spend(c, 1); at += n) {
        n = sl_jinja_char_bytes(text, at);
        sl_jinja_list_add(&c->memory, list,
                          sl_jinja_string(&c->memory, sl_jinja_slice(text, at, n)));
    }
}

sl_jinja_list sl_jinja_items(sl_jinja_context *c, sl_jinja_value value)
{
    if (sl_jinja_is_list(value)) return *value.list;
    if (value.kind == SL_JINJA_UNDEFINED) return (sl_jinja_list){0};
    if (value.kind != SL_JINJA_STRING && value.kind != SL_JINJA_DICT) {
        sl_jinja_fail_kind(c, "a loop", value);
        return (sl_jinja_list){0};
    }
    const sl_jinja_value list = sl_jinja_new_list(c);
    if (value.kind == SL_JINJA_STRING)
        add_chars(c, list, *value.text);
    else
        for (size_t i = 0; i < value.dict->n && sl_jinja_spend(c, 1); i++)
            sl_jinja_list_add(&c->memory, list, value.dict->entries[i].key);
    return sl_jinja_is_list(list) ? *list.list : (sl_jinja_list){0};
}
