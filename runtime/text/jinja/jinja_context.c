/* runtime/text/jinja/jinja_context.c - see jinja_context.h. */
#include "runtime/text/jinja/jinja_context.h"

#include <string.h>

#include "runtime/text/jinja/jinja_error.h"

const sl_jinja_builtin *sl_jinja_find_builtin(const sl_jinja_builtin *rows, size_t n,
                                              sl_jinja_text name)
{
    for (size_t i = 0; i < n; i++)
        if (sl_jinja_text_is(name, rows[i].name)) return &rows[i];
    return NULL;
}

/* ---- errors and bounds ---- */

__attribute__((format(printf, 3, 0))) static void fail(sl_jinja_context *c, sl_jinja_cause cause,
                                                       const char *format, va_list words)
{
    if (c->failed) return;
    c->failed = true;
    sl_jinja_error_say(c->error, c->line, format, words);
    c->error->cause = cause;
}

sl_jinja_value sl_jinja_fail(sl_jinja_context *c, const char *format, ...)
{
    va_list words;
    va_start(words, format);
    fail(c, SL_JINJA_WRONG, format, words);
    va_end(words);
    return sl_jinja_undefined_value;
}

sl_jinja_value sl_jinja_fail_cause(sl_jinja_context *c, sl_jinja_cause cause, const char *format,
                                   ...)
{
    va_list words;
    va_start(words, format);
    fail(c, cause, format, words);
    va_end(words);
    return sl_jinja_undefined_value;
}

sl_jinja_value sl_jinja_fail_undefined(sl_jinja_context *c, sl_jinja_value value)
{
    if (value.kind != SL_JINJA_UNDEFINED || !value.text)
        return sl_jinja_fail(c, "a value is undefined");
    return sl_jinja_fail(c, "'%.*s' is undefined", SL_JINJA_SHOWN(*value.text));
}

sl_jinja_value sl_jinja_fail_kind(sl_jinja_context *c, const char *what, sl_jinja_value value)
{
    if (value.kind == SL_JINJA_UNDEFINED) return sl_jinja_fail_undefined(c, value);
    return sl_jinja_fail(c, "%s cannot be done with %s", what, sl_jinja_kind_name(value.kind));
}

bool sl_jinja_spend(sl_jinja_context *c, uint64_t steps)
{
    if (c->failed) return false;
    if (c->memory.refused) {
        sl_jinja_fail(c, "more than %zu bytes of memory are needed",
                      c->options->limits.memory_bytes);
        return false;
    }
    if (steps > c->steps_left) {
        sl_jinja_fail(c, "more than %llu steps are needed",
                      (unsigned long long)c->options->limits.steps);
        return false;
    }
    c->steps_left -= steps;
    return true;
}

bool sl_jinja_spend_on(sl_jinja_context *c, size_t bytes)
{
    return sl_jinja_spend(c, 1 + bytes / 64);
}

bool sl_jinja_spend_on_each(sl_jinja_context *c, size_t bytes)
{
    return sl_jinja_spend(c, 1 + bytes / 8);
}

/* Steps for a look at n keys, which are compared to their end where they are as long as this one:
 * long ones may be slices of one text, which take no memory, so there may be many. */
static bool spend_on_keys(sl_jinja_context *c, size_t n, size_t key_bytes)
{
    return sl_jinja_spend(c, 1 + n / 8 + n * (key_bytes / 64));
}

bool sl_jinja_enter(sl_jinja_context *c)
{
    if (c->depth++ >= c->options->limits.depth)
        sl_jinja_fail(c, "more than %u levels within one another", c->options->limits.depth);
    return sl_jinja_spend(c, 1);
}

void sl_jinja_leave(sl_jinja_context *c) { c->depth--; }

/* ---- names ---- */

sl_jinja_scope *sl_jinja_scope_open(sl_jinja_context *c, sl_jinja_scope *around)
{
    sl_jinja_scope *scope = sl_jinja_new(&c->memory, sl_jinja_scope);
    if (!scope) return NULL;
    scope->around = around;
    c->scope = scope;
    return scope;
}

static struct sl_jinja_binding *find_in(sl_jinja_scope *scope, sl_jinja_text name)
{
    for (size_t i = 0; i < scope->n; i++)
        if (sl_jinja_text_equal(scope->bindings[i].name, name)) return &scope->bindings[i];
    return NULL;
}

void sl_jinja_assign(sl_jinja_context *c, sl_jinja_text name, sl_jinja_value value)
{
    sl_jinja_scope *scope = c->scope;
    if (!spend_on_keys(c, scope->n, name.bytes)) return;
    struct sl_jinja_binding *binding = find_in(scope, name);
    if (!binding) {
        if (scope->n == scope->capacity) {
            const size_t capacity = 2 * scope->n + 4, each = sizeof *binding;
            struct sl_jinja_binding *more = sl_jinja_grow(&c->memory, scope->bindings,
                                                          scope->n * each, capacity * each);
            if (!more) return;
            scope->bindings = more;
            scope->capacity = capacity;
        }
        binding = &scope->bindings[scope->n++];
        binding->name = name;
    }
    binding->value = value;
}

const sl_jinja_value *sl_jinja_lookup(sl_jinja_context *c, sl_jinja_text name)
{
    for (sl_jinja_scope *scope = c->scope; scope; scope = scope->around) {
        if (!spend_on_keys(c, scope->n, name.bytes)) return NULL;
        const struct sl_jinja_binding *binding = find_in(scope, name);
        if (binding) return &binding->value;
    }
    if (c->globals.kind != SL_JINJA_DICT) return NULL;
    return sl_jinja_key_find_text(c, c->globals.dict, name);
}

/* ---- keys ---- */

static bool spend_on_key(sl_jinja_context *c, const sl_jinja_dict *dict, sl_jinja_value key)
{
    return spend_on_keys(c, dict->n, sl_jinja_is_string(key) ? key.text->bytes : 0);
}

const sl_jinja_value *sl_jinja_key_find(sl_jinja_context *c, const sl_jinja_dict *dict,
                                        sl_jinja_value key)
{
    return spend_on_key(c, dict, key) ? sl_jinja_dict_find(dict, key) : NULL;
}

const sl_jinja_value *sl_jinja_key_find_text(sl_jinja_context *c, const sl_jinja_dict *dict,
                                             sl_jinja_text key)
{
    return spend_on_keys(c, dict->n, key.bytes) ? sl_jinja_dict_find_text(dict, key) : NULL;
}

bool sl_jinja_key_set(sl_jinja_context *c, sl_jinja_value dict, sl_jinja_value key,
                      sl_jinja_value value)
{
    const bool is_dict = dict.kind == SL_JINJA_DICT || dict.kind == SL_JINJA_NAMESPACE;
    if (!is_dict || !spend_on_key(c, dict.dict, key)) return false;
    sl_jinja_dict_set(&c->memory, dict, key, value);
    return true;
}

/* ---- making values ---- */

sl_jinja_value sl_jinja_undefined(sl_jinja_context *c, sl_jinja_text name)
{
    sl_jinja_value value = sl_jinja_string(&c->memory, name);
    value.kind = SL_JINJA_UNDEFINED;
    return value;
}

sl_jinja_value sl_jinja_finish(sl_jinja_context *c, const sl_jinja_builder *builder)
{
    if (!sl_jinja_spend_on(c, builder->bytes)) return sl_jinja_undefined_value;
    return sl_jinja_string(&c->memory, sl_jinja_built(builder));
}

sl_jinja_value sl_jinja_new_list(sl_jinja_context *c)
{
    const sl_jinja_value list = sl_jinja_list_new(&c->memory, SL_JINJA_LIST);
    if (list.kind == SL_JINJA_LIST) list.list->open = true;
    return list;
}

sl_jinja_value sl_jinja_new_pair(sl_jinja_context *c, sl_jinja_value first, sl_jinja_value second)
{
    const sl_jinja_value pair = sl_jinja_list_new(&c->memory, SL_JINJA_TUPLE);
    sl_jinja_list_add(&c->memory, pair, first);
    sl_jinja_list_add(&c->memory, pair, second);
    return pair;
}

/* ---- arguments ---- */

/* The place of a name in "first second third"; -1: it is not in. */
static int place_of(const char *names, sl_jinja_text name)
{
    for (int place = 0; *names; place++) {
        const size_t n = strcspn(names, " ");
        if (n == name.bytes && memcmp(names, name.data, n) == 0) return place;
        names += n + (names[n] == ' ');
    }
    return -1;
}

static size_t count_names(const char *names)
{
    size_t n = *names != '\0';
    for (; *names; names++) n += *names == ' ';
    return n;
}

bool sl_jinja_bind(sl_jinja_context *c, const char *what, const sl_jinja_arguments *arguments,
                   const char *names, size_t n_needed, sl_jinja_value *out)
{
    const sl_jinja_arguments *a = arguments;
    const size_t n = count_names(names);
    for (size_t i = 0; i < n; i++) out[i] = (sl_jinja_value){.kind = SL_JINJA_ABSENT};
    if (a->n > n) sl_jinja_fail(c, "%s takes %zu arguments, not %zu", what, n, a->n);
    for (size_t i = 0; i < a->n && !c->failed; i++) out[i] = a->values[i];
    for (size_t i = 0; i < a->n_named && !c->failed; i++) {
        const int place = place_of(names, a->named[i].name);
        if (place < 0 || out[place].kind != SL_JINJA_ABSENT)
            sl_jinja_fail(c, "%s: the argument '%.*s' is %s", what,
                          SL_JINJA_SHOWN(a->named[i].name),
                          place < 0 ? "not known" : "given twice");
        else
            out[place] = a->named[i].value;
    }
    for (size_t i = 0; i < n_needed && !c->failed; i++)
        if (out[i].kind == SL_JINJA_ABSENT)
            sl_jinja_fail(c, "%s needs %zu argument%s", what, n_needed, n_needed == 1 ? "" : "s");
    return !c->failed;
}

bool sl_jinja_bind_none(sl_jinja_context *c, const char *what, const sl_jinja_arguments *arguments)
{
    if (arguments->n > 0 || arguments->n_named > 0) sl_jinja_fail(c, "%s takes no arguments", what);
    return !c->failed;
}

int64_t sl_jinja_integer_or(sl_jinja_context *c, const char *what, sl_jinja_value value,
                            int64_t otherwise)
{
    if (value.kind == SL_JINJA_ABSENT) return otherwise;
    if (sl_jinja_is_integer(value)) return sl_jinja_as_integer(value);
    sl_jinja_fail(c, "%s wants an integer, not %s", what, sl_jinja_kind_name(value.kind));
    return otherwise;
}

sl_jinja_text sl_jinja_text_of(sl_jinja_context *c, const char *what, sl_jinja_value value)
{
    if (sl_jinja_is_string(value)) return *value.text;
    sl_jinja_fail(c, "%s wants a string, not %s", what, sl_jinja_kind_name(value.kind));
    return sl_jinja_text_own("");
}
