/* runtime/text/jinja/jinja_filters.c - see jinja_filters.h. Here are those that are given the name
 * of another filter or test, and `default`. */
#include "runtime/text/jinja/jinja_filters.h"

#include "runtime/text/jinja/jinja_compare.h"
#include "runtime/text/jinja/jinja_error.h"
#include "runtime/text/jinja/jinja_filters_list.h"
#include "runtime/text/jinja/jinja_filters_text.h"
#include "runtime/text/jinja/jinja_operators.h"
#include "runtime/text/jinja/jinja_tests.h"

typedef const sl_jinja_arguments *arguments;

static sl_jinja_value filter_default(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[2];
    if (!sl_jinja_bind(c, "default", a, "default_value boolean", 0, got)) return self;
    const bool missing = self.kind == SL_JINJA_UNDEFINED ||
                         (sl_jinja_truth(got[1]) && !sl_jinja_truth(self));
    if (!missing) return self;
    return got[0].kind != SL_JINJA_ABSENT ? got[0]
                                          : sl_jinja_string(&c->memory, sl_jinja_text_own(""));
}

static sl_jinja_value filter_attr(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value name;
    if (!sl_jinja_bind(c, "attr", a, "name", 1, &name)) return self;
    return sl_jinja_attribute(c, self, sl_jinja_text_of(c, "attr", name));
}

/* What map and select go through: nothing of a value that is false, whatever it is. */
static sl_jinja_list items_of_true(sl_jinja_context *c, sl_jinja_value value)
{
    return sl_jinja_truth(value) ? sl_jinja_items(c, value) : (sl_jinja_list){0};
}

/* ---- map ---- */

static sl_jinja_value map_attribute(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[2];
    const sl_jinja_value list = sl_jinja_new_list(c);
    if (!sl_jinja_bind(c, "map", a, "attribute default", 1, got)) return self;
    const sl_jinja_list items = items_of_true(c, self);
    for (size_t i = 0; i < items.n && sl_jinja_spend(c, 1); i++) {
        sl_jinja_value item = sl_jinja_at_path(c, items.items[i], got[0]);
        if (item.kind == SL_JINJA_UNDEFINED && got[1].kind != SL_JINJA_ABSENT) item = got[1];
        sl_jinja_list_add(&c->memory, list, item);
    }
    return list;
}

/* The arguments behind the first n. */
static sl_jinja_arguments behind(arguments a, size_t n)
{
    return (sl_jinja_arguments){a->values + n, a->n - n, a->named, a->n_named};
}

static sl_jinja_value filter_map(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    if (a->n == 0) return map_attribute(c, self, a);
    const sl_jinja_text name = sl_jinja_text_of(c, "map", a->values[0]);
    const sl_jinja_builtin *filter = sl_jinja_find_filter(name);
    if (!filter) return sl_jinja_fail(c, "the filter '%.*s' is not known", SL_JINJA_SHOWN(name));
    const sl_jinja_arguments rest = behind(a, 1);
    const sl_jinja_value list = sl_jinja_new_list(c);
    if (sl_jinja_enter(c)) {
        const sl_jinja_list items = items_of_true(c, self);
        for (size_t i = 0; i < items.n && sl_jinja_spend(c, 1); i++)
            sl_jinja_list_add(&c->memory, list, filter->call(c, items.items[i], &rest));
    }
    sl_jinja_leave(c);
    return list;
}

/* ---- select ---- */

/* What decides about an item: its own truth, or a test. */
static bool decides(sl_jinja_context *c, sl_jinja_value item, const sl_jinja_builtin *test,
                    arguments rest)
{
    return sl_jinja_truth(test ? test->call(c, item, rest) : item);
}

typedef enum { SELECTS, REJECTS } selection;

/* `n_paths` arguments come before the test's name: 0, or 1, the attribute that is tested. */
static sl_jinja_value select_items(sl_jinja_context *c, sl_jinja_value self, arguments a,
                                   size_t n_paths, selection wanted)
{
    const sl_jinja_builtin *test = NULL;
    sl_jinja_arguments rest = {0};
    if (a->n < n_paths) return sl_jinja_fail(c, "selectattr needs an attribute");
    if (a->n > n_paths) {
        const sl_jinja_text name = sl_jinja_text_of(c, "select", a->values[n_paths]);
        test = sl_jinja_find_test(name);
        if (!test) return sl_jinja_fail(c, "the test '%.*s' is not known", SL_JINJA_SHOWN(name));
        rest = behind(a, n_paths + 1);
    }
    const sl_jinja_value path = n_paths ? a->values[0] : (sl_jinja_value){.kind = SL_JINJA_ABSENT};
    const sl_jinja_value list = sl_jinja_new_list(c);
    const sl_jinja_list items = items_of_true(c, self);
    for (size_t i = 0; i < items.n && sl_jinja_spend(c, 1); i++) {
        const sl_jinja_value asked = sl_jinja_at_path(c, items.items[i], path);
        if (decides(c, asked, test, &rest) == (wanted == SELECTS))
            sl_jinja_list_add(&c->memory, list, items.items[i]);
    }
    return list;
}

static sl_jinja_value filter_select(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return select_items(c, self, a, 0, SELECTS);
}

static sl_jinja_value filter_reject(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return select_items(c, self, a, 0, REJECTS);
}

static sl_jinja_value filter_selectattr(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return select_items(c, self, a, 1, SELECTS);
}

static sl_jinja_value filter_rejectattr(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return select_items(c, self, a, 1, REJECTS);
}

static const sl_jinja_builtin filters[] = {
    {"default", filter_default},
    {"d", filter_default},
    {"attr", filter_attr},
    {"map", filter_map},
    {"select", filter_select},
    {"reject", filter_reject},
    {"selectattr", filter_selectattr},
    {"rejectattr", filter_rejectattr},
};

const sl_jinja_builtin *sl_jinja_find_filter(sl_jinja_text name)
{
    const sl_jinja_builtin *found = sl_jinja_find_builtin(filters, sizeof filters / sizeof *filters,
                                                          name);
    if (!found) found = sl_jinja_find_text_filter(name);
    return found ? found : sl_jinja_find_list_filter(name);
}
