/* runtime/text/jinja/jinja_run.c - sl_jinja_run, and what statements do. */
#include "runtime/text/jinja/jinja_run.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja/jinja_compare.h"
#include "runtime/text/jinja/jinja_error.h"
#include "runtime/text/jinja/jinja_print.h"

sl_jinja_limits sl_jinja_limits_usual(void)
{
    return (sl_jinja_limits){.steps = 20000000,
                             .depth = 200,
                             .memory_bytes = (size_t)64 << 20,
                             .output_bytes = (size_t)64 << 20};
}

/* ---- assigning ---- */

static void assign_attribute(sl_jinja_context *c, const sl_jinja_node *target, sl_jinja_value value)
{
    const sl_jinja_value *holder = sl_jinja_lookup(c, target->name);
    if (c->failed) return;
    if (!holder || holder->kind != SL_JINJA_NAMESPACE)
        sl_jinja_fail(c, "'%.*s' is no namespace: its attributes cannot be set",
                      SL_JINJA_SHOWN(target->name));
    else
        sl_jinja_key_set(c, *holder, target->first->constant, value);
}

static void assign(sl_jinja_context *c, const sl_jinja_node *target, sl_jinja_value value)
{
    if (c->failed) return;
    if (target->kind == SL_JINJA_NAME) {
        sl_jinja_assign(c, target->name, value);
        return;
    }
    if (target->kind == SL_JINJA_ATTRIBUTE_TARGET) {
        assign_attribute(c, target, value);
        return;
    }
    const sl_jinja_list items = sl_jinja_items(c, value);
    const sl_jinja_node *part = target->items;
    size_t i = 0;
    for (; part && i < items.n && !c->failed; part = part->next) assign(c, part, items.items[i++]);
    if (part || i < items.n) sl_jinja_fail(c, "%zu values cannot be given to these names", items.n);
}

/* ---- blocks ---- */

sl_jinja_value sl_jinja_capture(sl_jinja_context *c, const sl_jinja_node *nodes)
{
    sl_jinja_builder block, *const out = c->out;
    sl_jinja_build(&block, &c->memory);
    c->out = &block;
    sl_jinja_execute(c, nodes);
    c->out = out;
    return sl_jinja_finish(c, &block);
}

/* The same in a scope of its own. */
static sl_jinja_value capture_scoped(sl_jinja_context *c, const sl_jinja_node *nodes)
{
    sl_jinja_scope *const scope = c->scope;
    sl_jinja_value text = sl_jinja_none;
    if (sl_jinja_scope_open(c, scope)) text = sl_jinja_capture(c, nodes);
    c->scope = scope;
    return text;
}

static void execute_set_block(sl_jinja_context *c, const sl_jinja_node *node)
{
    const sl_jinja_value text = capture_scoped(c, node->body);
    assign(c, node->first, sl_jinja_apply_filters(c, node->second, text));
}

static void execute_filter_block(sl_jinja_context *c, const sl_jinja_node *node)
{
    const sl_jinja_value text = capture_scoped(c, node->body);
    sl_jinja_print(c, c->out, sl_jinja_apply_filters(c, node->first, text));
}

static void execute_with(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_scope *const around = c->scope, *within = sl_jinja_scope_open(c, around);
    for (const sl_jinja_node *set = node->items; set && within && !c->failed; set = set->next) {
        c->scope = around; /* values do not see the names beside them */
        const sl_jinja_value value = sl_jinja_evaluate(c, set->second);
        c->scope = within;
        assign(c, set->first, value);
    }
    if (within) sl_jinja_execute(c, node->body);
    c->scope = around;
}

static void execute_if(sl_jinja_context *c, const sl_jinja_node *node)
{
    for (;; node = node->second) {
        const bool holds = sl_jinja_truth(sl_jinja_evaluate(c, node->first));
        if (c->failed) return;
        if (holds) {
            sl_jinja_execute(c, node->body);
            return;
        }
        if (node->second) continue;
        sl_jinja_execute(c, node->other);
        return;
    }
}

/* ---- loops ---- */

/* The items that the loop's own "if" lets through. */
static sl_jinja_list filtered(sl_jinja_context *c, const sl_jinja_node *node, sl_jinja_list items)
{
    if (!node->third) return items;
    const sl_jinja_value list = sl_jinja_new_list(c);
    sl_jinja_scope *const around = c->scope;
    if (sl_jinja_scope_open(c, around)) {
        for (size_t i = 0; i < items.n && sl_jinja_spend(c, 1); i++) {
            assign(c, node->first, items.items[i]);
            if (sl_jinja_truth(sl_jinja_evaluate(c, node->third)))
                sl_jinja_list_add(&c->memory, list, items.items[i]);
        }
    }
    c->scope = around;
    return sl_jinja_is_list(list) ? *list.list : (sl_jinja_list){0};
}

static void execute_for(sl_jinja_context *c, const sl_jinja_node *node)
{
    const sl_jinja_value over = sl_jinja_evaluate(c, node->second);
    const sl_jinja_list items = filtered(c, node, sl_jinja_items(c, over));
    sl_jinja_loop *loop = sl_jinja_new(&c->memory, sl_jinja_loop);
    sl_jinja_scope *const around = c->scope, *within = sl_jinja_scope_open(c, around);
    if (c->failed || !loop || !within) {
        c->scope = around;
        return;
    }
    if (items.n == 0) {
        sl_jinja_execute(c, node->other);
        c->scope = around;
        return;
    }
    *loop = (sl_jinja_loop){.items = items.items, .n = items.n};
    for (; loop->index < items.n && sl_jinja_spend(c, 1); loop->index++) {
        within->n = 0; /* what an iteration sets is gone in the next */
        sl_jinja_assign(c, sl_jinja_text_own("loop"),
                        (sl_jinja_value){.kind = SL_JINJA_LOOP, .loop = loop});
        assign(c, node->first, items.items[loop->index]);
        sl_jinja_execute(c, node->body);
        const bool leaves = c->flow == SL_JINJA_BREAKS;
        c->flow = SL_JINJA_GOES_ON;
        if (leaves) break;
    }
    c->scope = around;
}

/* ---- macros ---- */

static void define_macro(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_macro *macro = sl_jinja_new(&c->memory, sl_jinja_macro);
    if (!macro) return;
    *macro = (sl_jinja_macro){.node = node, .scope = c->scope};
    sl_jinja_assign(c, node->name, (sl_jinja_value){.kind = SL_JINJA_MACRO, .macro = macro});
}

/* The arguments that no parameter takes, for a body that mentions them. */
static void assign_others(sl_jinja_context *c, const sl_jinja_node *node,
                          const sl_jinja_arguments *a, size_t n_taken)
{
    if (node->operation & SL_JINJA_USES_VARARGS) {
        const sl_jinja_value rest = sl_jinja_list_new(&c->memory, SL_JINJA_TUPLE);
        for (size_t i = n_taken; i < a->n; i++) sl_jinja_list_add(&c->memory, rest, a->values[i]);
        sl_jinja_assign(c, sl_jinja_text_own("varargs"), rest);
    } else if (a->n > n_taken) {
        sl_jinja_fail(c, "the macro '%.*s' takes %zu arguments, not %zu",
                      SL_JINJA_SHOWN(node->name), n_taken, a->n);
    }
}

static bool is_parameter(const sl_jinja_node *node, sl_jinja_text name)
{
    for (const sl_jinja_node *p = node->items; p; p = p->next)
        if (sl_jinja_text_equal(p->name, name)) return true;
    return false;
}

static void assign_other_names(sl_jinja_context *c, const sl_jinja_node *node,
                               const sl_jinja_arguments *a)
{
    const bool takes = node->operation & SL_JINJA_USES_KWARGS;
    const sl_jinja_value rest = takes ? sl_jinja_dict_new(&c->memory) : sl_jinja_none;
    for (size_t i = 0; i < a->n_named && !c->failed; i++) {
        if (is_parameter(node, a->named[i].name)) continue;
        if (takes)
            sl_jinja_key_set(c, rest, sl_jinja_string(&c->memory, a->named[i].name),
                             a->named[i].value);
        else
            sl_jinja_fail(c, "the macro '%.*s' has no parameter '%.*s'", SL_JINJA_SHOWN(node->name),
                          SL_JINJA_SHOWN(a->named[i].name));
    }
    if (takes) sl_jinja_assign(c, sl_jinja_text_own("kwargs"), rest);
}

static sl_jinja_value argument_for(sl_jinja_context *c, const sl_jinja_node *parameter,
                                   const sl_jinja_arguments *a, size_t place)
{
    if (place < a->n) return a->values[place];
    for (size_t i = 0; i < a->n_named; i++)
        if (sl_jinja_text_equal(a->named[i].name, parameter->name)) return a->named[i].value;
    return parameter->first ? sl_jinja_evaluate(c, parameter->first)
                            : sl_jinja_undefined(c, parameter->name);
}

static void assign_parameters(sl_jinja_context *c, const sl_jinja_node *node,
                              const sl_jinja_arguments *a, sl_jinja_value caller)
{
    size_t n = 0;
    for (const sl_jinja_node *p = node->items; p; p = p->next) n++;
    if (!sl_jinja_spend_on_each(c, n * a->n_named)) return; /* each is compared with each */
    n = 0;
    for (const sl_jinja_node *p = node->items; p && !c->failed; p = p->next, n++)
        sl_jinja_assign(c, p->name, argument_for(c, p, a, n));
    assign_others(c, node, a, n);
    assign_other_names(c, node, a);
    if (caller.kind == SL_JINJA_ABSENT) return;
    if (!(node->operation & SL_JINJA_USES_CALLER))
        sl_jinja_fail(c, "the macro '%.*s' does not use its caller", SL_JINJA_SHOWN(node->name));
    sl_jinja_assign(c, sl_jinja_text_own("caller"), caller);
}

sl_jinja_value sl_jinja_call_macro(sl_jinja_context *c, const sl_jinja_macro *macro,
                                   const sl_jinja_arguments *arguments, sl_jinja_value caller)
{
    sl_jinja_scope *const scope = c->scope;
    sl_jinja_value text = sl_jinja_none;
    if (sl_jinja_enter(c) && sl_jinja_scope_open(c, macro->scope)) {
        assign_parameters(c, macro->node, arguments, caller);
        text = sl_jinja_capture(c, macro->node->body);
    }
    sl_jinja_leave(c);
    c->scope = scope;
    return text;
}

static void execute_call_block(sl_jinja_context *c, const sl_jinja_node *node)
{
    sl_jinja_macro *caller = sl_jinja_new(&c->memory, sl_jinja_macro);
    if (!caller) return;
    *caller = (sl_jinja_macro){.node = node->third, .scope = c->scope};
    const sl_jinja_value value = {.kind = SL_JINJA_MACRO, .macro = caller};
    sl_jinja_print(c, c->out, sl_jinja_evaluate_call(c, node->first, value));
}

/* ---- statements ---- */

static void execute_one(sl_jinja_context *c, const sl_jinja_node *node)
{
    switch (node->kind) {
    case SL_JINJA_DATA:
        if (sl_jinja_spend_on(c, node->name.bytes)) sl_jinja_add(c->out, node->name);
        break;
    case SL_JINJA_PRINT: sl_jinja_print(c, c->out, sl_jinja_evaluate(c, node->first)); break;
    case SL_JINJA_IF: execute_if(c, node); break;
    case SL_JINJA_FOR: execute_for(c, node); break;
    case SL_JINJA_SET: assign(c, node->first, sl_jinja_evaluate(c, node->second)); break;
    case SL_JINJA_SET_BLOCK: execute_set_block(c, node); break;
    case SL_JINJA_MACRO_BLOCK: define_macro(c, node); break;
    case SL_JINJA_CALL_BLOCK: execute_call_block(c, node); break;
    case SL_JINJA_FILTER_BLOCK: execute_filter_block(c, node); break;
    case SL_JINJA_WITH: execute_with(c, node); break;
    case SL_JINJA_BODY: sl_jinja_execute(c, node->body); break;
    case SL_JINJA_BREAK: c->flow = SL_JINJA_BREAKS; break;
    case SL_JINJA_CONTINUE: c->flow = SL_JINJA_CONTINUES; break;
    default: sl_jinja_evaluate(c, node);
    }
}

void sl_jinja_execute(sl_jinja_context *c, const sl_jinja_node *nodes)
{
    if (sl_jinja_enter(c)) {
        for (; nodes && !c->failed && c->flow == SL_JINJA_GOES_ON; nodes = nodes->next) {
            c->line = nodes->line;
            execute_one(c, nodes);
            if (c->out->failed && !c->failed && !c->memory.refused)
                sl_jinja_fail_cause(c, SL_JINJA_TOO_LONG, "more than %zu bytes are printed",
                                    c->options->limits.output_bytes);
        }
    }
    sl_jinja_leave(c);
}

/* ---- output ---- */

static size_t count_parts(sl_jinja_text text)
{
    size_t n = text.bytes > 0;
    for (size_t i = 1; text.origins && i < text.bytes; i++)
        n += text.origins[i] != text.origins[i - 1];
    return n;
}

static void fill_parts(sl_jinja_text text, sl_jinja_part *parts)
{
    size_t n = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        const bool given = (text.origins ? text.origins[i] : (uint8_t)text.origin) != SL_JINJA_OWN;
        const bool ends = i + 1 == text.bytes ||
                          (text.origins && text.origins[i + 1] != text.origins[i]);
        if (ends) parts[n++] = (sl_jinja_part){.end = i + 1, .given = given};
    }
}

/* What is printed is counted as memory of the run, each part with what a caller makes of it. */
enum { PART_BYTES = 48 };

static sl_status copy_output(sl_jinja_context *c, sl_jinja_text text, sl_jinja_output *out)
{
    sl_jinja_output copy = {.bytes = text.bytes, .n_parts = count_parts(text)};
    c->memory.refused |= text.bytes + PART_BYTES * copy.n_parts > c->memory.left_bytes;
    if (!sl_jinja_spend(c, 0)) return SL_ERR_REQUEST;
    copy.text = malloc(text.bytes + 1);
    copy.parts = malloc((copy.n_parts + 1) * sizeof *copy.parts);
    if (!copy.text || !copy.parts) {
        sl_jinja_output_free(&copy);
        return SL_ERR_MEMORY;
    }
    memcpy(copy.text, text.data, text.bytes);
    copy.text[text.bytes] = '\0';
    fill_parts(text, copy.parts);
    *out = copy;
    return SL_OK;
}

void sl_jinja_output_free(sl_jinja_output *out)
{
    free(out->text);
    free(out->parts);
    *out = (sl_jinja_output){0};
}

sl_status sl_jinja_run(const sl_jinja *jinja, sl_jinja_value globals,
                       const sl_jinja_options *options, sl_jinja_output *out, sl_jinja_error *error)
{
    *error = (sl_jinja_error){0};
    sl_jinja_context c = {.options = options,
                          .error = error,
                          .globals = globals,
                          .steps_left = options->limits.steps,
                          .line = 1};
    sl_jinja_builder printed;
    sl_jinja_memory_init(&c.memory, options->limits.memory_bytes);
    sl_jinja_build(&printed, &c.memory);
    printed.bytes_max = options->limits.output_bytes;
    c.out = &printed;
    if (sl_jinja_scope_open(&c, NULL)) sl_jinja_execute(&c, jinja->body);
    sl_jinja_spend(&c, 0); /* memory may have been refused at the end */
    const sl_status status = c.failed ? SL_ERR_REQUEST
                                      : copy_output(&c, sl_jinja_built(&printed), out);
    sl_jinja_memory_fini(&c.memory);
    return status;
}
