/* runtime/text/jinja/jinja_evaluate.c - what expressions are worth. */
#include <string.h>

#include "runtime/text/jinja/jinja_error.h"
#include "runtime/text/jinja/jinja_filters.h"
#include "runtime/text/jinja/jinja_functions.h"
#include "runtime/text/jinja/jinja_operators.h"
#include "runtime/text/jinja/jinja_print.h"
#include "runtime/text/jinja/jinja_run.h"
#include "runtime/text/jinja/jinja_tests.h"

static sl_jinja_value evaluate_name(sl_jinja_context *c, const sl_jinja_node *node)
{
    const sl_jinja_value *value = sl_jinja_lookup(c, node->name);
    if (value) return *value;
    const sl_jinja_value function = sl_jinja_find_function(c, node->name);
    return function.kind != SL_JINJA_ABSENT ? function : sl_jinja_undefined(c, node->name);
}

static sl_jinja_value make_list(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_value list = sl_jinja_new_list(c);
    for (const sl_jinja_node *item = node->items; item && !c->failed; item = item->next)
        sl_jinja_list_add(&c->memory, list, sl_jinja_evaluate(c, item));
    if (sl_jinja_is_list(list)) list.kind = (sl_jinja_kind)node->operation;
    return list;
}

static sl_jinja_value make_dict(sl_jinja_context *c, const sl_jinja_node *node)
{
    const sl_jinja_value dict = sl_jinja_dict_new(&c->memory);
    if (dict.kind != SL_JINJA_DICT) return sl_jinja_undefined_value;
    for (const sl_jinja_node *item = node->items; item && item->next; item = item->next->next) {
        const sl_jinja_value key = sl_jinja_evaluate(c, item);
        if (!sl_jinja_is_hashable(key)) return sl_jinja_fail_kind(c, "a key", key);
        const sl_jinja_value value = sl_jinja_evaluate(c, item->next);
        if (!sl_jinja_key_set(c, dict, key, value)) break;
    }
    return dict;
}

static sl_jinja_value evaluate_slice(sl_jinja_context *c, const sl_jinja_node *node)
{
    const sl_jinja_value value = sl_jinja_evaluate(c, node->first);
    const sl_jinja_node *const nodes[3] = {node->second, node->third, node->fourth};
    sl_jinja_value bounds[3];
    for (int i = 0; i < 3; i++)
        bounds[i] = nodes[i] ? sl_jinja_evaluate(c, nodes[i]) : sl_jinja_none;
    return c->failed ? sl_jinja_undefined_value : sl_jinja_slice_of(c, value, bounds);
}

/* ---- calls ---- */

/* What the nodes of a call give. False: the run has failed. */
static bool evaluate_arguments(sl_jinja_context *c, const sl_jinja_node *items,
                               sl_jinja_arguments *out)
{
    size_t n = 0, n_named = 0;
    for (const sl_jinja_node *item = items; item; item = item->next)
        *(item->kind == SL_JINJA_KEYWORD ? &n_named : &n) += 1;
    sl_jinja_value *values = sl_jinja_take(&c->memory, n * sizeof *values);
    struct sl_jinja_binding *named = sl_jinja_take(&c->memory, n_named * sizeof *named);
    if (!values || !named) return sl_jinja_spend(c, 1);
    *out = (sl_jinja_arguments){.values = values, .named = named};
    for (const sl_jinja_node *item = items; item && !c->failed; item = item->next) {
        if (item->kind != SL_JINJA_KEYWORD) {
            values[out->n++] = sl_jinja_evaluate(c, item);
            continue;
        }
        named[out->n_named].name = item->name;
        named[out->n_named++].value = sl_jinja_evaluate(c, item->first);
    }
    return !c->failed;
}

/* What is called cannot be: it is no function, or there is none of this name. */
static sl_jinja_value fail_call(sl_jinja_context *c, const sl_jinja_node *callee,
                                sl_jinja_value value)
{
    if (value.kind != SL_JINJA_UNDEFINED) return sl_jinja_fail_kind(c, "a call", value);
    if (callee->kind == SL_JINJA_NAME && sl_jinja_text_is(callee->name, "strftime_now"))
        return sl_jinja_fail_cause(c, SL_JINJA_TIME_UNSET, "strftime_now: the time is not set");
    if (callee->kind == SL_JINJA_ATTRIBUTE)
        return sl_jinja_fail(c, "the method '%.*s' is not known", SL_JINJA_SHOWN(callee->name));
    return sl_jinja_fail_undefined(c, value);
}

sl_jinja_value sl_jinja_evaluate_call(sl_jinja_context *c, const sl_jinja_node *node,
                                      sl_jinja_value caller)
{
    sl_jinja_arguments arguments = {0};
    const sl_jinja_value callee = sl_jinja_evaluate(c, node->first);
    if (!evaluate_arguments(c, node->items, &arguments)) return sl_jinja_undefined_value;
    c->line = node->line;
    switch (callee.kind) {
    case SL_JINJA_MACRO: return sl_jinja_call_macro(c, callee.macro, &arguments, caller);
    case SL_JINJA_FUNCTION: return callee.function->call(c, sl_jinja_undefined_value, &arguments);
    case SL_JINJA_METHOD: return callee.method->builtin->call(c, callee.method->self, &arguments);
    default: return fail_call(c, node->first, callee);
    }
}

static sl_jinja_value evaluate_test(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_arguments arguments = {0};
    const sl_jinja_builtin *test = sl_jinja_find_test(node->name);
    if (!test) return sl_jinja_fail(c, "the test '%.*s' is not known", SL_JINJA_SHOWN(node->name));
    const sl_jinja_value value = sl_jinja_evaluate(c, node->first);
    if (!evaluate_arguments(c, node->items, &arguments)) return sl_jinja_undefined_value;
    c->line = node->line;
    return test->call(c, value, &arguments);
}

static sl_jinja_value apply_filter(sl_jinja_context *c, const sl_jinja_node *node,
                                   sl_jinja_value input)
{
    sl_jinja_arguments arguments = {0};
    const sl_jinja_builtin *filter = sl_jinja_find_filter(node->name);
    if (!filter)
        return sl_jinja_fail(c, "the filter '%.*s' is not known", SL_JINJA_SHOWN(node->name));
    if (!evaluate_arguments(c, node->items, &arguments)) return sl_jinja_undefined_value;
    c->line = node->line;
    return filter->call(c, input, &arguments);
}

sl_jinja_value sl_jinja_apply_filters(sl_jinja_context *c, const sl_jinja_node *node,
                                      sl_jinja_value input)
{
    if (!node) return input;
    sl_jinja_value value = sl_jinja_undefined_value;
    if (sl_jinja_enter(c))
        value = apply_filter(c, node, sl_jinja_apply_filters(c, node->first, input));
    sl_jinja_leave(c);
    return value;
}

/* ---- operators ---- */

static sl_jinja_value evaluate_comparison(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_value left = sl_jinja_evaluate(c, node->first);
    for (const sl_jinja_node *o = node->items; o; o = o->next) {
        const sl_jinja_value right = sl_jinja_evaluate(c, o->first);
        if (c->failed) return sl_jinja_undefined_value;
        c->line = o->line;
        if (!sl_jinja_holds(c, (sl_jinja_operation)o->operation, left, right))
            return sl_jinja_boolean(false);
        left = right;
    }
    return sl_jinja_boolean(true);
}

static sl_jinja_value evaluate_concat(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_builder out;
    sl_jinja_build(&out, &c->memory);
    for (const sl_jinja_node *item = node->items; item && !c->failed; item = item->next)
        sl_jinja_print(c, &out, sl_jinja_evaluate(c, item));
    return sl_jinja_finish(c, &out);
}

static sl_jinja_value evaluate_binary(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_value left = sl_jinja_evaluate(c, node->first);
    for (const sl_jinja_node *o = node->items; o && !c->failed; o = o->next) {
        const sl_jinja_value right = sl_jinja_evaluate(c, o->first);
        if (c->failed) break;
        c->line = o->line;
        left = sl_jinja_calculate(c, (sl_jinja_operation)o->operation, left, right);
    }
    return left;
}

/* "and" and "or" give the operand that decides. */
static sl_jinja_value evaluate_choice(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_value value = sl_jinja_undefined_value;
    for (const sl_jinja_node *item = node->items; item && !c->failed; item = item->next) {
        value = sl_jinja_evaluate(c, item);
        if (sl_jinja_truth(value) == (node->kind == SL_JINJA_OR)) break;
    }
    return value;
}

static sl_jinja_value evaluate_condition(sl_jinja_context *c, const sl_jinja_node *node)
{
    const bool holds = sl_jinja_truth(sl_jinja_evaluate(c, node->second));
    if (c->failed) return sl_jinja_undefined_value;
    if (holds) return sl_jinja_evaluate(c, node->first);
    return node->third ? sl_jinja_evaluate(c, node->third)
                       : sl_jinja_undefined(c, sl_jinja_text_own("the other side of an 'if'"));
}

static sl_jinja_value evaluate_sign(sl_jinja_context *c, const sl_jinja_node *node)
{
    const sl_jinja_value value = sl_jinja_evaluate(c, node->first);
    if (c->failed) return sl_jinja_undefined_value;
    if (node->kind == SL_JINJA_NEGATE) return sl_jinja_negate(c, value);
    return sl_jinja_is_number(value) ? value : sl_jinja_fail_kind(c, "'+'", value);
}

static sl_jinja_value evaluate_access(sl_jinja_context *c, const sl_jinja_node *node)
{
    const sl_jinja_value value = sl_jinja_evaluate(c, node->first);
    const sl_jinja_value key = node->kind == SL_JINJA_ITEM ? sl_jinja_evaluate(c, node->second)
                                                           : sl_jinja_undefined_value;
    if (c->failed) return sl_jinja_undefined_value;
    c->line = node->line;
    return node->kind == SL_JINJA_ITEM ? sl_jinja_item(c, value, key)
                                       : sl_jinja_attribute(c, value, node->name);
}

static sl_jinja_value evaluate_kind(sl_jinja_context *c, const sl_jinja_node *node)
{
    switch (node->kind) {
    case SL_JINJA_CONSTANT: return node->constant;
    case SL_JINJA_NAME: return evaluate_name(c, node);
    case SL_JINJA_MAKE_LIST: return make_list(c, node);
    case SL_JINJA_MAKE_DICT: return make_dict(c, node);
    case SL_JINJA_ATTRIBUTE:
    case SL_JINJA_ITEM: return evaluate_access(c, node);
    case SL_JINJA_SLICE: return evaluate_slice(c, node);
    case SL_JINJA_CALL:
        return sl_jinja_evaluate_call(c, node, (sl_jinja_value){.kind = SL_JINJA_ABSENT});
    case SL_JINJA_FILTER: return apply_filter(c, node, sl_jinja_evaluate(c, node->first));
    case SL_JINJA_TEST: return evaluate_test(c, node);
    case SL_JINJA_NOT: return sl_jinja_boolean(!sl_jinja_truth(sl_jinja_evaluate(c, node->first)));
    case SL_JINJA_NEGATE:
    case SL_JINJA_PLUS: return evaluate_sign(c, node);
    case SL_JINJA_BINARY: return evaluate_binary(c, node);
    case SL_JINJA_COMPARE: return evaluate_comparison(c, node);
    case SL_JINJA_AND:
    case SL_JINJA_OR: return evaluate_choice(c, node);
    case SL_JINJA_CONCAT: return evaluate_concat(c, node);
    case SL_JINJA_CONDITION: return evaluate_condition(c, node);
    default: return sl_jinja_fail(c, "a statement stands where an expression should");
    }
}

sl_jinja_value sl_jinja_evaluate(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_value value = sl_jinja_undefined_value;
    c->line = node->line;
    if (sl_jinja_enter(c)) value = evaluate_kind(c, node);
    sl_jinja_leave(c);
    return c->failed ? sl_jinja_undefined_value : value;
}
