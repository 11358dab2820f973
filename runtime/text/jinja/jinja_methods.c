/* runtime/text/jinja/jinja_methods.c - see jinja_methods.h. Lists and dictionaries that the caller
 * gave are never changed: another run reads them, too. */
#include "runtime/text/jinja/jinja_methods.h"

#include <string.h>

#include "runtime/text/jinja/jinja_compare.h"
#include "runtime/text/jinja/jinja_error.h"
#include "runtime/text/jinja/jinja_print.h"

typedef const sl_jinja_arguments *arguments;

/* ---- strings ---- */

static sl_jinja_value strip(sl_jinja_context *c, const char *what, sl_jinja_value self, arguments a,
                            sl_jinja_side side)
{
    sl_jinja_value set;
    if (!sl_jinja_bind(c, what, a, "chars", 0, &set)) return set;
    const bool blanks = set.kind == SL_JINJA_ABSENT || set.kind == SL_JINJA_NONE;
    const sl_jinja_text chars = blanks ? sl_jinja_text_own("") : sl_jinja_text_of(c, what, set);
    if (!sl_jinja_spend_on(c, self.text->bytes)) return set;
    if (chars.bytes > 64 && !sl_jinja_spend(c, self.text->bytes / 64 * chars.bytes)) return set;
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

/* At white space: words, and with `most` the rest as one. */
static void split_words(sl_jinja_context *c, sl_jinja_value list, sl_jinja_text rest, size_t most)
{
    for (rest = sl_jinja_strip(rest, SL_JINJA_LEFT, NULL); rest.bytes > 0; most--) {
        if (!sl_jinja_spend(c, 1)) return;
        size_t end = 0;
        while (end < rest.bytes &&
               sl_jinja_strip(sl_jinja_slice(rest, end, rest.bytes - end), SL_JINJA_LEFT, NULL)
                       .bytes == rest.bytes - end)
            end += sl_jinja_char_bytes(rest, end);
        if (most == 0) end = rest.bytes;
        add_text(c, list, sl_jinja_slice(rest, 0, end));
        rest = sl_jinja_strip(sl_jinja_slice(rest, end, rest.bytes - end), SL_JINJA_LEFT, NULL);
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

static void split_right(sl_jinja_context *c, sl_jinja_value list, sl_jinja_text text,
                        sl_jinja_text mark, size_t most)
{
    for (size_t found; most > 0 && (found = sl_jinja_find_last(text, mark)) != SIZE_MAX; most--) {
        const size_t compared = text.bytes - found;
        if (!sl_jinja_spend(c, 1 + compared / 64 * (1 + mark.bytes / 64))) return;
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
    if (!sl_jinja_spend_on(c, self.text->bytes)) return list;
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
    if (!sl_jinja_bind_none(c, "splitlines", a)) return list;
    while (sl_jinja_spend(c, 1) && sl_jinja_take_line(&rest, &line)) add_text(c, list, line);
    return list;
}

typedef bool (*text_test)(sl_jinja_text text, sl_jinja_text part);

/* One text, or a tuple of which one must fit. */
static sl_jinja_value test_ends(sl_jinja_context *c, const char *what, sl_jinja_value self,
                                arguments a, text_test test)
{
    sl_jinja_value part;
    if (!sl_jinja_bind(c, what, a, "part", 1, &part)) return part;
    if (part.kind != SL_JINJA_TUPLE)
        return sl_jinja_boolean(test(*self.text, sl_jinja_text_of(c, what, part)));
    bool found = false;
    for (size_t i = 0; i < part.list->n && !found && sl_jinja_spend(c, 1); i++)
        found = test(*self.text, sl_jinja_text_of(c, what, part.list->items[i]));
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
    if (!sl_jinja_spend_on(c, self.text->bytes)) return self;
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
    if (!sl_jinja_bind(c, "find", a, "sub", 1, &part) || !sl_jinja_spend_on(c, self.text->bytes))
        return part;
    return char_number(*self.text, sl_jinja_find(*self.text, sl_jinja_text_of(c, "find", part), 0));
}

static sl_jinja_value method_rfind(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value part;
    if (!sl_jinja_bind(c, "rfind", a, "sub", 1, &part)) return part;
    const sl_jinja_text sub = sl_jinja_text_of(c, "rfind", part);
    if (!sl_jinja_spend(c, 1 + self.text->bytes / 64 * (1 + sub.bytes / 64))) return part;
    return char_number(*self.text, sl_jinja_find_last(*self.text, sub));
}

static sl_jinja_value method_count(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value part;
    if (!sl_jinja_bind(c, "count", a, "sub", 1, &part) || !sl_jinja_spend_on(c, self.text->bytes))
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
    if (!sl_jinja_bind_none(c, what, a) || !sl_jinja_spend_on(c, self.text->bytes)) return self;
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

/* "{}" in order, "{0}" by number, "{name}" by name, without a form of its own. */
static const sl_jinja_value *format_argument(arguments a, sl_jinja_text field, size_t *next)
{
    size_t number = 0;
    bool digits = field.bytes > 0;
    for (size_t i = 0; i < field.bytes; i++) {
        digits = digits && field.data[i] >= '0' && field.data[i] <= '9' && number < 1000;
        number = 10 * number + (size_t)(field.data[i] - '0');
    }
    if (field.bytes == 0) number = (*next)++;
    if (digits || field.bytes == 0) return number < a->n ? &a->values[number] : NULL;
    for (size_t i = 0; i < a->n_named; i++)
        if (sl_jinja_text_equal(a->named[i].name, field)) return &a->named[i].value;
    return NULL;
}

/* The field that opens at a brace: added, and its bytes. 0: it failed. */
static size_t add_field(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_text text, size_t at,
                        arguments a, size_t *next)
{
    const size_t end = sl_jinja_find(text, sl_jinja_text_own("}"), at);
    const sl_jinja_value *value = NULL;
    if (end != SIZE_MAX)
        value = format_argument(a, sl_jinja_slice(text, at + 1, end - at - 1), next);
    if (!value) {
        sl_jinja_fail(c, "format: the field at '%.*s' has no value, or is not supported",
                      SL_JINJA_SHOWN(sl_jinja_slice(text, at, text.bytes - at)));
        return 0;
    }
    sl_jinja_print(c, out, *value);
    return end + 1 - at;
}

static sl_jinja_value method_format(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_builder out;
    const sl_jinja_text text = *self.text;
    size_t next = 0, done = 0;
    sl_jinja_build(&out, &c->memory);
    for (size_t at = 0; at < text.bytes;) {
        const char brace = text.data[at];
        if (brace != '{' && brace != '}') {
            at++;
            continue;
        }
        const bool twice = at + 1 < text.bytes && text.data[at + 1] == brace;
        if (!twice && brace == '}') return sl_jinja_fail(c, "format: a '}' is alone");
        sl_jinja_add(&out, sl_jinja_slice(text, done, at - done + twice));
        const size_t n = twice ? 2 : add_field(c, &out, text, at, a, &next);
        if (n == 0) return self;
        done = at += n;
    }
    sl_jinja_add(&out, sl_jinja_slice(text, done, text.bytes - done));
    return sl_jinja_finish(c, &out);
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

static sl_jinja_value one_of_entries(sl_jinja_context *c, const char *what, sl_jinja_value self,
                                     arguments a, bool keys)
{
    const sl_jinja_value list = sl_jinja_new_list(c);
    if (!sl_jinja_bind_none(c, what, a)) return list;
    for (size_t i = 0; i < self.dict->n && sl_jinja_spend(c, 1); i++) {
        const sl_jinja_entry *entry = &self.dict->entries[i];
        sl_jinja_list_add(&c->memory, list, keys ? entry->key : entry->value);
    }
    return list;
}

static sl_jinja_value method_keys(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return one_of_entries(c, "keys", self, a, true);
}

static sl_jinja_value method_values(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return one_of_entries(c, "values", self, a, false);
}

static sl_jinja_value method_get(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[2];
    if (!sl_jinja_bind(c, "get", a, "key default", 1, got) || !sl_jinja_spend_on(c, self.dict->n))
        return got[0];
    const sl_jinja_value *value = sl_jinja_dict_find(self.dict, got[0]);
    return value ? *value : got[1].kind == SL_JINJA_ABSENT ? sl_jinja_none : got[1];
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

#define ROWS(table) table, sizeof(table) / sizeof *(table)

const sl_jinja_builtin *sl_jinja_method_of(sl_jinja_kind kind, sl_jinja_text name)
{
    switch (kind) {
    case SL_JINJA_STRING: return sl_jinja_find_builtin(ROWS(of_strings), name);
    case SL_JINJA_LIST:
    case SL_JINJA_TUPLE: return sl_jinja_find_builtin(ROWS(of_lists), name);
    case SL_JINJA_DICT: return sl_jinja_find_builtin(ROWS(of_dicts), name);
    default: return NULL;
    }
}
