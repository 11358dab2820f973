/* runtime/text/jinja/jinja_functions.c - see jinja_functions.h. */
#include "runtime/text/jinja/jinja_functions.h"

#include <stdio.h>

#include "runtime/text/jinja/jinja_compare.h"
#include "runtime/text/jinja/jinja_error.h"
#include "runtime/text/jinja/jinja_print.h"

typedef const sl_jinja_arguments *arguments;

enum { RANGE_MAX = 100000 }; /* as Jinja's sandbox has it */

static sl_jinja_value function_range(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[3];
    if (!sl_jinja_bind(c, "range", a, "start stop step", 1, got)) return self;
    const bool one = got[1].kind == SL_JINJA_ABSENT;
    const int64_t start = one ? 0 : sl_jinja_integer_or(c, "range", got[0], 0);
    const int64_t stop = sl_jinja_integer_or(c, "range", got[one ? 0 : 1], 0);
    const int64_t step = sl_jinja_integer_or(c, "range", got[2], 1);
    if (step == 0) return sl_jinja_fail(c, "range: the step is zero");
    const sl_jinja_value list = sl_jinja_new_list(c);
    int64_t i = start;
    for (int n = 0; !c->failed && (step > 0 ? i < stop : i > stop); n++) {
        if (n == RANGE_MAX) return sl_jinja_fail(c, "range: more than %d numbers", RANGE_MAX);
        if (!sl_jinja_spend(c, 1)) break;
        sl_jinja_list_add(&c->memory, list, sl_jinja_integer(i));
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return list;
}

/* The entries of a dictionary, or of pairs. */
static void add_entries(sl_jinja_context *c, sl_jinja_value dict, sl_jinja_value from)
{
    if (from.kind == SL_JINJA_DICT) {
        bool goes_on = true;
        for (size_t i = 0; i < from.dict->n && goes_on; i++)
            goes_on = sl_jinja_key_set(c, dict, from.dict->entries[i].key,
                                       from.dict->entries[i].value);
        return;
    }
    const sl_jinja_list pairs = sl_jinja_items(c, from);
    for (size_t i = 0; i < pairs.n && !c->failed; i++) {
        const sl_jinja_list pair = sl_jinja_items(c, pairs.items[i]);
        if (pair.n != 2 || !sl_jinja_is_hashable(pair.items[0])) {
            sl_jinja_fail(c, "dict: what it is made of is no list of pairs");
            return;
        }
        sl_jinja_key_set(c, dict, pair.items[0], pair.items[1]);
    }
}

static sl_jinja_value make_dict(sl_jinja_context *c, const char *what, arguments a)
{
    const sl_jinja_value dict = sl_jinja_dict_new(&c->memory);
    if (dict.kind != SL_JINJA_DICT) return dict;
    if (a->n > 1) return sl_jinja_fail(c, "%s takes one argument without a name", what);
    if (a->n == 1) add_entries(c, dict, a->values[0]);
    for (size_t i = 0; i < a->n_named && !c->failed; i++)
        sl_jinja_key_set(c, dict, sl_jinja_string(&c->memory, a->named[i].name), a->named[i].value);
    return dict;
}

static sl_jinja_value function_dict(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    (void)self;
    return make_dict(c, "dict", a);
}

static sl_jinja_value function_namespace(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    (void)self;
    sl_jinja_value dict = make_dict(c, "namespace", a);
    if (dict.kind == SL_JINJA_DICT) dict.kind = SL_JINJA_NAMESPACE;
    return dict;
}

static sl_jinja_value function_raise(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value message;
    if (!sl_jinja_bind(c, "raise_exception", a, "message", 1, &message)) return self;
    const sl_jinja_text text = sl_jinja_str(c, message);
    const size_t bytes = text.bytes < sizeof c->error->text ? text.bytes : sizeof c->error->text;
    return sl_jinja_fail(c, "%.*s", (int)bytes, text.data);
}

/* What a directive's letter stands for; 0 bytes: it is not known. In the locale "C", as long as the
 * program sets no other. */
static size_t put_time(char letter, const struct tm *t, char *out, size_t out_bytes)
{
    switch (letter) {
    case 'a': return strftime(out, out_bytes, "%a", t);
    case 'A': return strftime(out, out_bytes, "%A", t);
    case 'b': return strftime(out, out_bytes, "%b", t);
    case 'B': return strftime(out, out_bytes, "%B", t);
    case 'd': return strftime(out, out_bytes, "%d", t);
    case 'e': return strftime(out, out_bytes, "%e", t);
    case 'F': return strftime(out, out_bytes, "%Y-%m-%d", t);
    case 'H': return strftime(out, out_bytes, "%H", t);
    case 'I': return strftime(out, out_bytes, "%I", t);
    case 'j': return strftime(out, out_bytes, "%j", t);
    case 'm': return strftime(out, out_bytes, "%m", t);
    case 'M': return strftime(out, out_bytes, "%M", t);
    case 'p': return strftime(out, out_bytes, "%p", t);
    case 'S': return strftime(out, out_bytes, "%S", t);
    case 'T': return strftime(out, out_bytes, "%T", t);
    case 'u': return strftime(out, out_bytes, "%u", t);
    case 'U': return strftime(out, out_bytes, "%U", t);
    case 'V': return strftime(out, out_bytes, "%V", t);
    case 'w': return strftime(out, out_bytes, "%w", t);
    case 'W': return strftime(out, out_bytes, "%W", t);
    case 'y': return (size_t)snprintf(out, out_bytes, "%02d", t->tm_year % 100);
    case 'Y': return strftime(out, out_bytes, "%Y", t);
    case '%': return strftime(out, out_bytes, "%%", t);
    default: return 0;
    }
}

/* The directive at a '%', such as "%d", or "%-d" without zeros in front: added, and its bytes. 0:
 * it is not known. */
static size_t add_time(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_text format, size_t at)
{
    const bool bare = at + 1 < format.bytes && format.data[at + 1] == '-';
    const size_t n = bare ? 3 : 2;
    char text[64];
    if (at + n > format.bytes) return 0;
    const size_t bytes = put_time(format.data[at + n - 1], c->options->now, text, sizeof text);
    if (bytes == 0) return 0;
    size_t skipped = 0;
    while (bare && skipped + 1 < bytes && (text[skipped] == '0' || text[skipped] == ' ')) skipped++;
    sl_jinja_add(out, (sl_jinja_text){.data = text + skipped, .bytes = bytes - skipped});
    return n;
}

static sl_jinja_value function_strftime(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value value;
    sl_jinja_builder out;
    if (!sl_jinja_bind(c, "strftime_now", a, "format", 1, &value)) return self;
    const sl_jinja_text format = sl_jinja_text_of(c, "strftime_now", value);
    sl_jinja_build(&out, &c->memory);
    for (size_t at = 0, n; at < format.bytes && sl_jinja_spend(c, 1); at += n) {
        n = format.data[at] == '%' ? add_time(c, &out, format, at) : 1;
        if (n == 0)
            return sl_jinja_fail(c, "strftime_now: '%.*s' is not known",
                                 SL_JINJA_SHOWN(sl_jinja_slice(format, at, format.bytes - at)));
        if (format.data[at] != '%') sl_jinja_add(&out, sl_jinja_slice(format, at, n));
    }
    return sl_jinja_finish(c, &out);
}

static const sl_jinja_builtin functions[] = {
    {"range", function_range},           {"dict", function_dict},
    {"namespace", function_namespace},   {"raise_exception", function_raise},
    {"strftime_now", function_strftime},
};

sl_jinja_value sl_jinja_find_function(const sl_jinja_context *c, sl_jinja_text name)
{
    const sl_jinja_builtin *function = sl_jinja_find_builtin(
        functions, sizeof functions / sizeof *functions, name);
    if (!function || (function->call == function_strftime && !c->options->now))
        return (sl_jinja_value){.kind = SL_JINJA_ABSENT};
    return (sl_jinja_value){.kind = SL_JINJA_FUNCTION, .function = function};
}
