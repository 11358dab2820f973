/* runtime/text/jinja/jinja_methods.c - see jinja_methods.h. Lists and dictionaries that the caller
 * gave are never changed: another run reads them, too. */
#include "runtime/text/jinja/jinja_methods.h"

#include <string.h>

#include "runtime/base/utf8.h"
#include "runtime/text/jinja/jinja_compare.h"
#include "runtime/text/jinja/jinja_format.h"

typedef const sl_jinja_arguments *arguments;

/* ---- strings ---- */

static sl_jinja_value strip(sl_jinja_context *c, const char *what, sl_jinja_value self, arguments a,
                            sl_jinja_side side)
{
    sl_jinja_value set;
    if (!sl_jinja_bind(c, what, a, "chars", 0, &set)) return set;
    const bool blanks = set.kind == SL_JINJA_ABSENT || set.kind == SL_JINJA_NONE;
    const sl_jinja_text chars = blanks ? sl_jinja_text_own("") : sl_jinja_text_of(c, what, set);
    if (!sl_jinja_spend(c, 1 + self.text->bytes / 4 * (1 + chars.bytes / 2))) return set;
    return sl_jinja_string(&c->memory, sl_jinja_strip(*self.text, side, blanks ? NULL : &chars));
}

static sl_jinja_value method_strip(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return strip(c, "strip", self, a, SL_JINJA_BOTH);
}

static sl_jinja_value method_lstrip(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return strip(c, "lstrip", self, a, SL_JINJA_LEFT);
}

static sl_jinja_value method_rstrip(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return strip(c, "rstrip", self, a, SL_JINJA_RIGHT);
}

static void add_text(sl_jinja_context *c, sl_jinja_value list, sl_jinja_text text)
{
    sl_jinja_list_add(&c->memory, list, sl_jinja_string(&c->memory, text));
}

static size_t blank_bytes(sl_jinja_text text, size_t at)
{
    return sl_utf8_blank_bytes(text.data + at, text.bytes - at);
}

/* At white space: words, and with `most` the rest as one. */
static void split_words(sl_jinja_context *c, sl_jinja_value list, sl_jinja_text text, size_t most)
{
    size_t at = 0;
    for (size_t n; (n = blank_bytes(text, at)) > 0;) at += n;
    for (; at < text.bytes && sl_jinja_spend(c, 1); most--) {
        size_t end = at;
        while (end < text.bytes && (most == 0 || blank_bytes(text, end) == 0))
            end += sl_jinja_char_bytes(text, end);
        add_text(c, list, sl_jinja_slice(text, at, end - at));
        at = end;
        for (size_t n; (n = blank_bytes(text, at)) > 0;) at += n;
    }
}

static void split_left(sl_jinja_context *c, sl_jinja_value list, sl_jinja_text text,
                       sl_jinja_text mark, size_t most)
{
    size_t at = 0;
    for (size_t found; most > 0 && (found = sl_jinja_find(text, mark, at)) != SIZE_MAX; most--) {
        if (!sl_jinja_spend(c, 1)) return;
        add_text(c, list, sl_jinja_slice(text, at, found - at));
        at = found + mark.bytes;
    }
    add_text(c, list, sl_jinja_slice(text, at, text.bytes - at));
}

static void reverse_items(sl_jinja_value list)
{
    if (!sl_jinja_is_list(list) || list.list->n == 0) return;
    sl_jinja_value *items = list.list->items;
    for (size_t i = 0, j = list.list->n - 1; i < j; i++, j--) {
        const sl_jinja_value kept = items[i];
        items[i] = items[j];
        items[j] = kept;
    }
}

/* The mark is compared at each place of the text, once, however often it is found. */
static bool spend_on_last(sl_jinja_context *c, sl_jinja_text text, sl_jinja_text mark)
{
    return sl_jinja_spend(c, 1 + text.bytes / 8 * (1 + mark.bytes / 64));
}

static void split_right(sl_jinja_context *c, sl_jinja_value list, sl_jinja_text text,
                        sl_jinja_text mark, size_t most)
{
    if (!spend_on_last(c, text, mark)) return;
    for (size_t found; most > 0 && (found = sl_jinja_find_last(text, mark)) != SIZE_MAX; most--) {
        if (!sl_jinja_spend(c, 1)) return;
        const size_t end = found + mark.bytes;
        add_text(c, list, sl_jinja_slice(text, end, text.bytes - end));
        text = sl_jinja_slice(text, 0, found);
    }
    add_text(c, list, text);
    reverse_items(list);
}

typedef void (*split_at)(sl_jinja_context *c, sl_jinja_value list, sl_jinja_text text,
                         sl_jinja_text mark, size_t most);

static sl_jinja_value split(sl_jinja_context *c, const char *what, sl_jinja_value self, arguments a,
                            split_at split_text)
{
    sl_jinja_value got[2];
    const sl_jinja_value list = sl_jinja_new_list(c);
    if (!sl_jinja_bind(c, what, a, "sep maxsplit", 0, got)) return list;
    const int64_t most = sl_jinja_integer_or(c, what, got[1], -1);
    const size_t most_parts = most < 0 ? SIZE_MAX : (size_t)most;
    const bool words = got[0].kind == SL_JINJA_ABSENT || got[0].kind == SL_JINJA_NONE;
    if (!sl_jinja_spend_on_each(c, self.text->bytes)) return list;
    if (words && split_text == split_right && most >= 0)
        return sl_jinja_fail(c, "rsplit at white space with a maximum is not supported");
    if (words) {
        split_words(c, list, *self.text, most_parts);
        return list;
    }
    const sl_jinja_text mark = sl_jinja_text_of(c, what, got[0]);
    if (mark.bytes == 0) return sl_jinja_fail(c, "%s: the separator is empty", what);
    split_text(c, list, *self.text, mark, most_parts);
    return list;
}

static sl_jinja_value method_split(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return split(c, "split", self, a, split_left);
}

static sl_jinja_value method_rsplit(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return split(c, "rsplit", self, a, split_right);
}

static sl_jinja_value method_splitlines(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    const sl_jinja_value list = sl_jinja_new_list(c);
    sl_jinja_text rest = *self.text, line;
    if (!sl_jinja_bind_none(c, "splitlines", a) || !sl_jinja_spend_on_each(c, rest.bytes))
        return list;
    while (sl_jinja_spend(c, 1) && sl_jinja_take_line(&rest, &line)) add_text(c, list, line);
    return list;
}

typedef bool (*text_test)(sl_jinja_text text, sl_jinja_text part);

/* False, too, where `part` is no string, and the run fails. */
static bool text_test_holds(sl_jinja_context *c, const char *what, sl_jinja_text text,
                            sl_jinja_value part, text_test test)
{
    const sl_jinja_text words = sl_jinja_text_of(c, what, part);
    return !c->failed && sl_jinja_spend_on(c, words.bytes) && test(text, words);
}

/* One text, or a tuple of which one must fit. */
static sl_jinja_value test_ends(sl_jinja_context *c, const char *what, sl_jinja_value self,
                                arguments a, text_test test)
{
    sl_jinja_value part;
    if (!sl_jinja_bind(c, what, a, "part", 1, &part)) return part;
    if (part.kind != SL_JINJA_TUPLE)
        return sl_jinja_boolean(text_test_holds(c, what, *self.text, part, test));
    bool found = false;
    for (size_t i = 0; i < part.list->n && !found && !c->failed; i++)
        found = text_test_holds(c, what, *self.text, part.list->items[i], test);
    return sl_jinja_boolean(found);
}

static sl_jinja_value method_startswith(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return test_ends(c, "startswith", self, a, sl_jinja_begins_with);
}

static sl_jinja_value method_endswith(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return test_ends(c, "endswith", self, a, sl_jinja_ends_with);
}

static sl_jinja_value cased(sl_jinja_context *c, const char *what, sl_jinja_value self, arguments a,
                            sl_jinja_case to)
{
    sl_jinja_builder out;
    if (!sl_jinja_bind_none(c, what, a)) return self;
    sl_jinja_build(&out, &c->memory);
    sl_jinja_add_cased(&out, *self.text, to);
    return sl_jinja_finish(c, &out);
}

static sl_jinja_value method_upper(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return cased(c, "upper", self, a, SL_JINJA_UPPER);
}

static sl_jinja_value method_lower(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return cased(c, "lower", self, a, SL_JINJA_LOWER);
}

static sl_jinja_value method_capitalize(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_builder out;
    const sl_jinja_text text = *self.text;
    const size_t first = text.bytes > 0 ? sl_jinja_char_bytes(text, 0) : 0;
    if (!sl_jinja_bind_none(c, "capitalize", a)) return self;
    sl_jinja_build(&out, &c->memory);
    sl_jinja_add_cased(&out, sl_jinja_slice(text, 0, first), SL_JINJA_UPPER);
    sl_jinja_add_cased(&out, sl_jinja_slice(text, first, text.bytes - first), SL_JINJA_LOWER);
    return sl_jinja_finish(c, &out);
}

static bool is_letter(sl_jinja_text text, size_t at)
{
    const char byte = text.data[at];
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (unsigned char)byte >= 0x80;
}

static sl_jinja_value method_title(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_builder out;
    bool inside = false; /* a word */
    if (!sl_jinja_bind_none(c, "title", a)) return self;
    sl_jinja_build(&out, &c->memory);
    for (size_t at = 0, n; at < self.text->bytes; at += n) {
        n = sl_jinja_char_bytes(*self.text, at);
        const sl_jinja_text letter = sl_jinja_slice(*self.text, at, n);
        sl_jinja_add_cased(&out, letter, inside ? SL_JINJA_LOWER : SL_JINJA_UPPER);
        inside = is_letter(*self.text, at);
    }
    return sl_jinja_finish(c, &out);
}

static sl_jinja_value method_replace(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[3];
    sl_jinja_builder out;
    if (!sl_jinja_bind(c, "replace", a, "old new count", 2, got)) return self;
    const sl_jinja_text old = sl_jinja_text_of(c, "replace", got[0]),
                        new = sl_jinja_text_of(c, "replace", got[1]);
    const int64_t most = sl_jinja_integer_or(c, "replace", got[2], -1);
    sl_jinja_build(&out, &c->memory);
    if (!sl_jinja_spend_on_each(c, self.text->bytes)) return self;
    sl_jinja_add_replaced(&out, *self.text, old, new, most < 0 ? SIZE_MAX : (size_t)most);
    return sl_jinja_finish(c, &out);
}

/* The number of the character at a place that was found; -1 where nothing was. */
static sl_jinja_value char_number(sl_jinja_text text, size_t place)
{
    if (place == SIZE_MAX) return sl_jinja_integer(-1);
    return sl_jinja_integer((int64_t)sl_jinja_count_chars(sl_jinja_slice(text, 0, place)));
}

static sl_jinja_value method_find(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value part;
    if (!sl_jinja_bind(c, "find", a, "sub", 1, &part) ||
        !sl_jinja_spend_on_each(c, self.text->bytes))
        return part;
    return char_number(*self.text, sl_jinja_find(*self.text, sl_jinja_text_of(c, "find", part), 0));
}

static sl_jinja_value method_rfind(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value part;
    if (!sl_jinja_bind(c, "rfind", a, "sub", 1, &part)) return part;
    const sl_jinja_text sub = sl_jinja_text_of(c, "rfind", part);
    if (!spend_on_last(c, *self.text, sub)) return part;
    return char_number(*self.text, sl_jinja_find_last(*self.text, sub));
}

static sl_jinja_value method_count(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value part;
    if (!sl_jinja_bind(c, "count", a, "sub", 1, &part) ||
        !sl_jinja_spend_on_each(c, self.text->bytes))
        return part;
    const sl_jinja_text sub = sl_jinja_text_of(c, "count", part);
    if (sub.bytes == 0) return sl_jinja_integer((int64_t)sl_jinja_count_chars(*self.text) + 1);
    int64_t n = 0;
    for (size_t at = 0; (at = sl_jinja_find(*self.text, sub, at)) != SIZE_MAX; at += sub.bytes) n++;
    return sl_jinja_integer(n);
}

static sl_jinja_value method_join(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value parts;
    sl_jinja_builder out;
    if (!sl_jinja_bind(c, "join", a, "parts", 1, &parts)) return self;
    const sl_jinja_list items = sl_jinja_items(c, parts);
    sl_jinja_build(&out, &c->memory);
    for (size_t i = 0; i < items.n && sl_jinja_spend(c, 1); i++) {
        if (i > 0) sl_jinja_add(&out, *self.text);
        sl_jinja_add(&out, sl_jinja_text_of(c, "join", items.items[i]));
    }
    return sl_jinja_finish(c, &out);
}

static sl_jinja_value digits_test(sl_jinja_context *c, const char *what, sl_jinja_value self,
                                  arguments a, const char *ranges)
{
    bool fits = self.text->bytes > 0;
    if (!sl_jinja_bind_none(c, what, a) || !sl_jinja_spend_on_each(c, self.text->bytes))
        return self;
    for (size_t i = 0; fits && i < self.text->bytes; i++) {
        const char byte = self.text->data[i];
        bool in = false;
        for (const char *range = ranges; *range; range += 2)
            in = in || (byte >= range[0] && byte <= range[1]);
        fits = in;
    }
    return sl_jinja_boolean(fits);
}

static sl_jinja_value method_isdigit(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return digits_test(c, "isdigit", self, a, "09");
}

static sl_jinja_value method_format(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return sl_jinja_format_braces(c, *self.text, a);
}

/* The text before a mark, the mark, and what is behind it; `found` SIZE_MAX: it is not in. */
static sl_jinja_value three_parts(sl_jinja_context *c, sl_jinja_text text, size_t found,
                                  size_t mark_bytes)
{
    const sl_jinja_value parts = sl_jinja_list_new(&c->memory, SL_JINJA_TUPLE);
    const size_t end = found + mark_bytes;
    add_text(c, parts, sl_jinja_slice(text, 0, found));
    add_text(c, parts, sl_jinja_slice(text, found, mark_bytes));
    add_text(c, parts, sl_jinja_slice(text, end, text.bytes - end));
    return parts;
}

static bool bind_mark(sl_jinja_context *c, const char *what, sl_jinja_value self, arguments a,
                      sl_jinja_text *mark_out)
{
    sl_jinja_value mark;
    if (!sl_jinja_bind(c, what, a, "sep", 1, &mark)) return false;
    *mark_out = sl_jinja_text_of(c, what, mark);
    if (mark_out->bytes == 0) sl_jinja_fail(c, "%s: the separator is empty", what);
    return !c->failed && spend_on_last(c, *self.text, *mark_out);
}

static sl_jinja_value method_partition(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_text mark;
    if (!bind_mark(c, "partition", self, a, &mark)) return self;
    const size_t found = sl_jinja_find(*self.text, mark, 0);
    return found == SIZE_MAX ? three_parts(c, *self.text, self.text->bytes, 0)
                             : three_parts(c, *self.text, found, mark.bytes);
}

static sl_jinja_value method_rpartition(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_text mark;
    if (!bind_mark(c, "rpartition", self, a, &mark)) return self;
    const size_t found = sl_jinja_find_last(*self.text, mark);
    return found == SIZE_MAX ? three_parts(c, *self.text, 0, 0)
                             : three_parts(c, *self.text, found, mark.bytes);
}

static sl_jinja_value method_removeprefix(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value prefix;
    const sl_jinja_text text = *self.text;
    if (!sl_jinja_bind(c, "removeprefix", a, "prefix", 1, &prefix) ||
        !text_test_holds(c, "removeprefix", text, prefix, sl_jinja_begins_with))
        return self;
    const size_t n = prefix.text->bytes;
    return sl_jinja_string(&c->memory, sl_jinja_slice(text, n, text.bytes - n));
}

static sl_jinja_value method_removesuffix(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value suffix;
    const sl_jinja_text text = *self.text;
    if (!sl_jinja_bind(c, "removesuffix", a, "suffix", 1, &suffix) ||
        !text_test_holds(c, "removesuffix", text, suffix, sl_jinja_ends_with))
        return self;
    return sl_jinja_string(&c->memory, sl_jinja_slice(text, 0, text.bytes - suffix.text->bytes));
}

/* ---- lists ---- */

static bool may_change(sl_jinja_context *c, const char *what, sl_jinja_value list)
{
    if (!list.list->open) sl_jinja_fail(c, "%s: this list cannot be changed", what);
    return list.list->open;
}

static sl_jinja_value method_append(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value item;
    if (!sl_jinja_bind(c, "append", a, "item", 1, &item) || !may_change(c, "append", self))
        return item;
    sl_jinja_list_add(&c->memory, self, item);
    return sl_jinja_none;
}

static sl_jinja_value method_list_pop(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value place;
    sl_jinja_list *list = self.list;
    if (!sl_jinja_bind(c, "pop", a, "index", 0, &place) || !may_change(c, "pop", self))
        return place;
    int64_t index = sl_jinja_integer_or(c, "pop", place, -1);
    if (index < 0) index += (int64_t)list->n;
    if (index < 0 || index >= (int64_t)list->n)
        return sl_jinja_fail(c, "pop: there is no such item");
    if (!sl_jinja_spend_on(c, list->n)) return place;
    const sl_jinja_value item = list->items[index];
    const size_t behind = list->n - (size_t)index - 1;
    memmove(&list->items[index], &list->items[index + 1], behind * sizeof *list->items);
    list->n--;
    return item;
}

static sl_jinja_value method_index(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value item;
    if (!sl_jinja_bind(c, "index", a, "item", 1, &item)) return item;
    for (size_t i = 0; i < self.list->n && !c->failed; i++)
        if (sl_jinja_spend(c, 1) && sl_jinja_equal(c, self.list->items[i], item))
            return sl_jinja_integer((int64_t)i);
    return sl_jinja_fail(c, "index: it is not in the list");
}

/* ---- dictionaries ---- */

sl_jinja_value sl_jinja_dict_items(sl_jinja_context *c, sl_jinja_value dict)
{
    const sl_jinja_value list = sl_jinja_new_list(c);
    for (size_t i = 0; i < dict.dict->n && sl_jinja_spend(c, 1); i++) {
        const sl_jinja_entry *entry = &dict.dict->entries[i];
        sl_jinja_list_add(&c->memory, list, sl_jinja_new_pair(c, entry->key, entry->value));
    }
    return list;
}

static sl_jinja_value method_items(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return sl_jinja_bind_none(c, "items", a) ? sl_jinja_dict_items(c, self) : self;
}

static sl_jinja_value method_keys(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    const sl_jinja_value list = sl_jinja_new_list(c);
    if (!sl_jinja_bind_none(c, "keys", a)) return list;
    for (size_t i = 0; i < self.dict->n && sl_jinja_spend(c, 1); i++)
        sl_jinja_list_add(&c->memory, list, self.dict->entries[i].key);
    return list;
}

static sl_jinja_value method_values(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    const sl_jinja_value list = sl_jinja_new_list(c);
    if (!sl_jinja_bind_none(c, "values", a)) return list;
    for (size_t i = 0; i < self.dict->n && sl_jinja_spend(c, 1); i++)
        sl_jinja_list_add(&c->memory, list, self.dict->entries[i].value);
    return list;
}

static sl_jinja_value method_get(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[2];
    if (!sl_jinja_bind(c, "get", a, "key default", 1, got)) return got[0];
    const sl_jinja_value *value = sl_jinja_key_find(c, self.dict, got[0]);
    return value ? *value : got[1].kind == SL_JINJA_ABSENT ? sl_jinja_none : got[1];
}

/* ---- loops ---- */

/* Of its arguments the one whose turn it is. */
static sl_jinja_value method_cycle(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    if (a->n == 0) return sl_jinja_fail(c, "cycle needs an argument");
    return a->values[self.loop->index % a->n];
}

/* ---- tables ---- */

static const sl_jinja_builtin of_strings[] = {
    {"strip", method_strip},
    {"lstrip", method_lstrip},
    {"rstrip", method_rstrip},
    {"split", method_split},
    {"rsplit", method_rsplit},
    {"splitlines", method_splitlines},
    {"startswith", method_startswith},
    {"endswith", method_endswith},
    {"upper", method_upper},
    {"lower", method_lower},
    {"title", method_title},
    {"capitalize", method_capitalize},
    {"replace", method_replace},
    {"find", method_find},
    {"rfind", method_rfind},
    {"count", method_count},
    {"join", method_join},
    {"isdigit", method_isdigit},
    {"format", method_format},
    {"partition", method_partition},
    {"rpartition", method_rpartition},
    {"removeprefix", method_removeprefix},
    {"removesuffix", method_removesuffix},
};

static const sl_jinja_builtin of_lists[] = {
    {"append", method_append},
    {"pop", method_list_pop},
    {"index", method_index},
};

static const sl_jinja_builtin of_dicts[] = {
    {"items", method_items},
    {"keys", method_keys},
    {"values", method_values},
    {"get", method_get},
};

static const sl_jinja_builtin of_loops[] = {{"cycle", method_cycle}};

#define ROWS(table) table, sizeof(table) / sizeof *(table)

const sl_jinja_builtin *sl_jinja_method_of(sl_jinja_kind kind, sl_jinja_text name)
{
    switch (kind) {
    case SL_JINJA_STRING: return sl_jinja_find_builtin(ROWS(of_strings), name);
    case SL_JINJA_LIST:
    case SL_JINJA_TUPLE: return sl_jinja_find_builtin(ROWS(of_lists), name);
    case SL_JINJA_DICT: return sl_jinja_find_builtin(ROWS(of_dicts), name);
    case SL_JINJA_LOOP: return sl_jinja_find_builtin(ROWS(of_loops), name);
    default: return NULL;
    }
}
