/* runtime/text/jinja/jinja_filters_list.c - see jinja_filters_list.h. What Jinja gives as a
 * generator is a list here. */
#include "runtime/text/jinja/jinja_filters_list.h"

#include <string.h>

#include "runtime/text/jinja/jinja_compare.h"
#include "runtime/text/jinja/jinja_methods.h"
#include "runtime/text/jinja/jinja_operators.h"
#include "runtime/text/jinja/jinja_print.h"

typedef const sl_jinja_arguments *arguments;

/* ---- items at a path ---- */

static sl_jinja_value path_key(sl_jinja_context *c, sl_jinja_text part)
{
    int64_t number = 0;
    bool digits = part.bytes > 0 && part.bytes < 10;
    for (size_t i = 0; digits && i < part.bytes; i++) {
        digits = part.data[i] >= '0' && part.data[i] <= '9';
        number = 10 * number + part.data[i] - '0';
    }
    return digits ? sl_jinja_integer(number) : sl_jinja_string(&c->memory, part);
}

sl_jinja_value sl_jinja_at_path(sl_jinja_context *c, sl_jinja_value item, sl_jinja_value path)
{
    if (path.kind == SL_JINJA_ABSENT || path.kind == SL_JINJA_NONE) return item;
    if (!sl_jinja_is_string(path)) return sl_jinja_item(c, item, path);
    sl_jinja_text rest = *path.text;
    for (bool more = true; more && sl_jinja_spend_on(c, rest.bytes);) {
        const size_t dot = sl_jinja_find(rest, sl_jinja_text_own("."), 0);
        more = dot != SIZE_MAX;
        const size_t n = more ? dot : rest.bytes;
        item = sl_jinja_item(c, item, path_key(c, sl_jinja_slice(rest, 0, n)));
        if (more) rest = sl_jinja_slice(rest, n + 1, rest.bytes - n - 1);
    }
    return item;
}

/* ---- sorting ---- */

typedef struct {
    sl_jinja_value key, item;
} keyed;

/* What is compared: what is at the path, strings in lower case unless case counts. */
static sl_jinja_value sort_key(sl_jinja_context *c, sl_jinja_value item, sl_jinja_value path,
                               bool case_counts)
{
    const sl_jinja_value key = sl_jinja_at_path(c, item, path);
    if (case_counts || !sl_jinja_is_string(key)) return key;
    sl_jinja_builder lower;
    sl_jinja_build(&lower, &c->memory);
    sl_jinja_add_cased(&lower, *key.text, SL_JINJA_LOWER);
    return sl_jinja_finish(c, &lower);
}

static keyed *with_keys(sl_jinja_context *c, sl_jinja_list items, sl_jinja_value path,
                        bool case_counts)
{
    keyed *all = sl_jinja_take(&c->memory, items.n * sizeof *all);
    for (size_t i = 0; all && i < items.n && sl_jinja_spend(c, 1); i++)
        all[i] = (keyed){sort_key(c, items.items[i], path, case_counts), items.items[i]};
    return all;
}

/* Merge sort: equal ones keep their order, also where the order is turned. */
static void sort(sl_jinja_context *c, keyed *all, keyed *spare, size_t n, int sign)
{
    if (n < 2 || !sl_jinja_spend(c, n)) return;
    const size_t half = n / 2;
    sort(c, all, spare, half, sign);
    sort(c, all + half, spare, n - half, sign);
    size_t left = 0, right = half;
    for (size_t i = 0; i < n; i++) {
        const bool take_right = left == half ||
                                (right < n &&
                                 sign * sl_jinja_order(c, all[right].key, all[left].key) < 0);
        spare[i] = all[take_right ? right++ : left++];
    }
    memcpy(all, spare, n * sizeof *all);
}

static sl_jinja_value sorted(sl_jinja_context *c, sl_jinja_list items, sl_jinja_value path,
                             bool case_counts, bool reverse)
{
    const sl_jinja_value list = sl_jinja_new_list(c);
    keyed *all = with_keys(c, items, path, case_counts);
    keyed *spare = sl_jinja_take(&c->memory, items.n * sizeof *spare);
    if (!all || !spare || c->failed) return list;
    sort(c, all, spare, items.n, reverse ? -1 : 1);
    for (size_t i = 0; i < items.n; i++) sl_jinja_list_add(&c->memory, list, all[i].item);
    return list;
}

static sl_jinja_value filter_sort(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[3];
    if (!sl_jinja_bind(c, "sort", a, "reverse case_sensitive attribute", 0, got)) return self;
    if (sl_jinja_is_string(got[2]) &&
        sl_jinja_find(*got[2].text, sl_jinja_text_own(","), 0) != SIZE_MAX)
        return sl_jinja_fail(c, "sort by several attributes is not supported");
    return sorted(c, sl_jinja_items(c, self), got[2], sl_jinja_truth(got[1]),
                  sl_jinja_truth(got[0]));
}

static sl_jinja_value filter_dictsort(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[3];
    if (!sl_jinja_bind(c, "dictsort", a, "case_sensitive by reverse", 0, got)) return self;
    if (self.kind != SL_JINJA_DICT) return sl_jinja_fail_kind(c, "dictsort", self);
    const bool by_value = sl_jinja_is_string(got[1]) && sl_jinja_text_is(*got[1].text, "value");
    return sorted(c, sl_jinja_items(c, sl_jinja_dict_items(c, self)), sl_jinja_integer(by_value),
                  sl_jinja_truth(got[0]), sl_jinja_truth(got[2]));
}

static sl_jinja_value least(sl_jinja_context *c, const char *what, sl_jinja_value self, arguments a,
                            int sign)
{
    sl_jinja_value got[2];
    if (!sl_jinja_bind(c, what, a, "case_sensitive attribute", 0, got)) return self;
    const sl_jinja_list items = sl_jinja_items(c, self);
    const keyed *all = with_keys(c, items, got[1], sl_jinja_truth(got[0]));
    if (items.n == 0 || !all || c->failed)
        return sl_jinja_undefined(c, sl_jinja_text_own("an item"));
    size_t best = 0;
    for (size_t i = 1; i < items.n && sl_jinja_spend(c, 1); i++)
        if (sign * sl_jinja_order(c, all[i].key, all[best].key) < 0) best = i;
    return all[best].item;
}

static sl_jinja_value filter_min(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return least(c, "min", self, a, 1);
}

static sl_jinja_value filter_max(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return least(c, "max", self, a, -1);
}

static sl_jinja_value filter_unique(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[2];
    const sl_jinja_value list = sl_jinja_new_list(c);
    if (!sl_jinja_bind(c, "unique", a, "case_sensitive attribute", 0, got)) return self;
    const sl_jinja_list items = sl_jinja_items(c, self);
    const keyed *all = with_keys(c, items, got[1], sl_jinja_truth(got[0]));
    for (size_t i = 0; all && i < items.n && !c->failed; i++) {
        bool seen = false;
        for (size_t j = 0; j < i && !seen && !c->failed; j++)
            seen = sl_jinja_equal(c, all[i].key, all[j].key);
        if (!seen) sl_jinja_list_add(&c->memory, list, all[i].item);
    }
    return list;
}

/* ---- others ---- */

static sl_jinja_value filter_length(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    if (!sl_jinja_bind_none(c, "length", a)) return self;
    switch (self.kind) {
    case SL_JINJA_UNDEFINED: return sl_jinja_integer(0);
    case SL_JINJA_DICT: return sl_jinja_integer((int64_t)self.dict->n);
    case SL_JINJA_LIST:
    case SL_JINJA_TUPLE: return sl_jinja_integer((int64_t)self.list->n);
    case SL_JINJA_STRING:
        if (!sl_jinja_spend_on_each(c, self.text->bytes)) return self;
        return sl_jinja_integer((int64_t)sl_jinja_count_chars(*self.text));
    default: return sl_jinja_fail_kind(c, "length", self);
    }
}

static sl_jinja_value filter_first(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    if (!sl_jinja_bind_none(c, "first", a)) return self;
    const sl_jinja_list items = sl_jinja_items(c, self);
    return items.n > 0 ? items.items[0]
                       : sl_jinja_undefined(c, sl_jinja_text_own("the first of nothing"));
}

static sl_jinja_value filter_last(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    if (!sl_jinja_bind_none(c, "last", a)) return self;
    const sl_jinja_list items = sl_jinja_items(c, self);
    return items.n > 0 ? items.items[items.n - 1]
                       : sl_jinja_undefined(c, sl_jinja_text_own("the last of nothing"));
}

static sl_jinja_value filter_join(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[2];
    sl_jinja_builder out;
    if (!sl_jinja_bind(c, "join", a, "d attribute", 0, got)) return self;
    const sl_jinja_list items = sl_jinja_items(c, self);
    sl_jinja_build(&out, &c->memory);
    for (size_t i = 0; i < items.n && sl_jinja_spend(c, 1); i++) {
        if (i > 0 && got[0].kind != SL_JINJA_ABSENT) sl_jinja_print(c, &out, got[0]);
        sl_jinja_print(c, &out, sl_jinja_at_path(c, items.items[i], got[1]));
    }
    return sl_jinja_finish(c, &out);
}

static sl_jinja_value filter_list(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    const sl_jinja_value list = sl_jinja_new_list(c);
    if (!sl_jinja_bind_none(c, "list", a)) return self;
    const sl_jinja_list items = sl_jinja_items(c, self);
    for (size_t i = 0; i < items.n && sl_jinja_spend(c, 1); i++)
        sl_jinja_list_add(&c->memory, list, items.items[i]);
    return list;
}

static sl_jinja_value filter_reverse(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    static const sl_jinja_value backwards[3] = {{.kind = SL_JINJA_NONE},
                                                {.kind = SL_JINJA_NONE},
                                                {.kind = SL_JINJA_INTEGER, .integer = -1}};
    if (!sl_jinja_bind_none(c, "reverse", a)) return self;
    sl_jinja_list items;
    if (sl_jinja_is_string(self)) return sl_jinja_slice_of(c, self, backwards);
    items = sl_jinja_items(c, self);
    return sl_jinja_slice_of(c, (sl_jinja_value){.kind = SL_JINJA_LIST, .list = &items}, backwards);
}

static sl_jinja_value filter_items(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    if (!sl_jinja_bind_none(c, "items", a)) return self;
    if (self.kind == SL_JINJA_UNDEFINED) return sl_jinja_new_list(c);
    return self.kind == SL_JINJA_DICT ? sl_jinja_dict_items(c, self)
                                      : sl_jinja_fail_kind(c, "items", self);
}

static sl_jinja_value filter_sum(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[2];
    if (!sl_jinja_bind(c, "sum", a, "attribute start", 0, got)) return self;
    const sl_jinja_list items = sl_jinja_items(c, self);
    sl_jinja_value sum = got[1].kind == SL_JINJA_ABSENT ? sl_jinja_integer(0) : got[1];
    for (size_t i = 0; i < items.n && sl_jinja_spend(c, 1); i++)
        sum = sl_jinja_calculate(c, SL_JINJA_ADD, sum, sl_jinja_at_path(c, items.items[i], got[0]));
    return sum;
}

static const sl_jinja_builtin filters[] = {
    {"length", filter_length}, {"count", filter_length},      {"first", filter_first},
    {"last", filter_last},     {"join", filter_join},         {"list", filter_list},
    {"items", filter_items},   {"dictsort", filter_dictsort}, {"sort", filter_sort},
    {"unique", filter_unique}, {"min", filter_min},           {"max", filter_max},
    {"sum", filter_sum},       {"reverse", filter_reverse},
};

const sl_jinja_builtin *sl_jinja_find_list_filter(sl_jinja_text name)
{
    return sl_jinja_find_builtin(filters, sizeof filters / sizeof *filters, name);
}
