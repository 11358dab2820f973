/* runtime/text/jinja/jinja_expression.c - see jinja_expression.h. The order of operators is that of
 * jinja2/parser.py 3.1: if, or, and, not, comparisons, + -, ~, * / // %, **, signs, and what stands
 * behind a value (attributes, items, calls, filters, tests). */
#include "runtime/text/jinja/jinja_expression.h"

#include <string.h>

#include "runtime/text/jinja/jinja_error.h"

typedef struct {
    const char *text;
    sl_jinja_operation operation;
} operator_row;

typedef sl_jinja_node *(*parse_operand)(sl_jinja_parser *p);

static sl_jinja_node *parse_signed(sl_jinja_parser *p);

/* The operation of the operator at hand, which is passed. */
static bool take_operator(sl_jinja_parser *p, const operator_row *rows, size_t n,
                          sl_jinja_operation *out)
{
    for (size_t i = 0; i < n; i++) {
        if (!sl_jinja_skip_operator(p, rows[i].text)) continue;
        *out = rows[i].operation;
        return true;
    }
    return false;
}

/* The operator at hand, if it is of these, with the operand behind it, is added. */
static bool add_operand(sl_jinja_parser *p, const operator_row *rows, size_t n,
                        parse_operand operand, sl_jinja_nodes *operands)
{
    sl_jinja_operation operation;
    if (!take_operator(p, rows, n, &operation)) return false;
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_OPERAND);
    node->operation = operation;
    node->first = operand(p);
    sl_jinja_nodes_add(operands, node);
    return true;
}

static sl_jinja_node *with_operands(sl_jinja_parser *p, sl_jinja_node_kind kind,
                                    sl_jinja_node *first, sl_jinja_nodes operands)
{
    if (!operands.first) return first;
    sl_jinja_node *node = sl_jinja_node_new(p, kind);
    node->first = first;
    node->items = operands.first;
    return node;
}

/* Operands with operators of one rank between them, from the left. */
static sl_jinja_node *parse_binary(sl_jinja_parser *p, const operator_row *rows, size_t n,
                                   parse_operand operand)
{
    sl_jinja_node *first = operand(p);
    sl_jinja_nodes operands = {0};
    while (add_operand(p, rows, n, operand, &operands)) continue;
    return with_operands(p, SL_JINJA_BINARY, first, operands);
}

/* ---- literals and names ---- */

static sl_jinja_node *new_constant(sl_jinja_parser *p, sl_jinja_value value)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_CONSTANT);
    node->constant = value;
    return node;
}

static void note_use(sl_jinja_parser *p, sl_jinja_text name)
{
    if (sl_jinja_text_is(name, "caller")) p->uses |= SL_JINJA_USES_CALLER;
    if (sl_jinja_text_is(name, "varargs")) p->uses |= SL_JINJA_USES_VARARGS;
    if (sl_jinja_text_is(name, "kwargs")) p->uses |= SL_JINJA_USES_KWARGS;
}

static sl_jinja_node *parse_name(sl_jinja_parser *p)
{
    static const struct {
        const char *name;
        sl_jinja_value value;
    } words[] = {
        {"true", {.kind = SL_JINJA_BOOLEAN, .boolean = true}},
        {"True", {.kind = SL_JINJA_BOOLEAN, .boolean = true}},
        {"false", {.kind = SL_JINJA_BOOLEAN, .boolean = false}},
        {"False", {.kind = SL_JINJA_BOOLEAN, .boolean = false}},
        {"none", {.kind = SL_JINJA_NONE}},
        {"None", {.kind = SL_JINJA_NONE}},
    };
    const sl_jinja_text name = p->token.text;
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_NAME);
    sl_jinja_next(p);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!sl_jinja_text_is(name, words[i].name)) continue;
        node->kind = SL_JINJA_CONSTANT;
        node->constant = words[i].value;
        return node;
    }
    node->name = name;
    note_use(p, name);
    return node;
}

/* Strings that stand side by side are one. */
static sl_jinja_node *parse_string(sl_jinja_parser *p)
{
    sl_jinja_node *node = new_constant(p, p->token.value);
    const sl_jinja_text first = p->token.text;
    sl_jinja_next(p);
    if (p->token.kind != SL_JINJA_T_STRING) return node;
    sl_jinja_builder all;
    sl_jinja_build(&all, p->memory);
    sl_jinja_add(&all, first);
    for (; p->token.kind == SL_JINJA_T_STRING; sl_jinja_next(p)) sl_jinja_add(&all, p->token.text);
    node->constant = sl_jinja_string(p->memory, sl_jinja_built(&all));
    return node;
}

static sl_jinja_node *parse_list(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_MAKE_LIST);
    sl_jinja_nodes items = {0};
    node->operation = SL_JINJA_LIST;
    sl_jinja_next(p);
    while (!p->failed && !sl_jinja_at_operator(p, "]")) {
        if (items.first) sl_jinja_expect_operator(p, ",");
        if (sl_jinja_at_operator(p, "]")) break;
        sl_jinja_nodes_add(&items, sl_jinja_parse_expression(p));
    }
    sl_jinja_expect_operator(p, "]");
    node->items = items.first;
    return node;
}

static sl_jinja_node *parse_dict(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_MAKE_DICT);
    sl_jinja_nodes items = {0};
    sl_jinja_next(p);
    while (!p->failed && !sl_jinja_at_operator(p, "}")) {
        if (items.first) sl_jinja_expect_operator(p, ",");
        if (sl_jinja_at_operator(p, "}")) break;
        sl_jinja_nodes_add(&items, sl_jinja_parse_expression(p));
        sl_jinja_expect_operator(p, ":");
        sl_jinja_nodes_add(&items, sl_jinja_parse_expression(p));
    }
    sl_jinja_expect_operator(p, "}");
    node->items = items.first;
    return node;
}

static sl_jinja_node *parse_parentheses(sl_jinja_parser *p)
{
    sl_jinja_next(p);
    sl_jinja_node *node;
    if (sl_jinja_at_operator(p, ")")) {
        node = sl_jinja_node_new(p, SL_JINJA_MAKE_LIST);
        node->operation = SL_JINJA_TUPLE;
    } else {
        node = sl_jinja_parse_tuple(p);
    }
    sl_jinja_expect_operator(p, ")");
    return node;
}

static sl_jinja_node *parse_primary(sl_jinja_parser *p)
{
    switch (p->token.kind) {
    case SL_JINJA_T_NAME: return parse_name(p);
    case SL_JINJA_T_STRING: return parse_string(p);
    case SL_JINJA_T_NUMBER: {
        sl_jinja_node *node = new_constant(p, p->token.value);
        sl_jinja_next(p);
        return node;
    }
    default: break;
    }
    if (sl_jinja_at_operator(p, "(")) return parse_parentheses(p);
    if (sl_jinja_at_operator(p, "[")) return parse_list(p);
    if (sl_jinja_at_operator(p, "{")) return parse_dict(p);
    sl_jinja_unexpected(p, "an expression");
    return sl_jinja_node_new(p, SL_JINJA_CONSTANT);
}

/* ---- what stands behind a value ---- */

static sl_jinja_node *parse_argument(sl_jinja_parser *p)
{
    const bool keyword = p->token.kind == SL_JINJA_T_NAME && p->ahead.kind == SL_JINJA_T_OPERATOR &&
                         sl_jinja_text_is(p->ahead.text, "=");
    if (!keyword) return sl_jinja_parse_expression(p);
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_KEYWORD);
    node->name = p->token.text;
    sl_jinja_next(p);
    sl_jinja_next(p);
    node->first = sl_jinja_parse_expression(p);
    return node;
}

/* "(...)": what a function, filter or test is called with. */
static sl_jinja_node *parse_arguments(sl_jinja_parser *p)
{
    sl_jinja_nodes items = {0};
    sl_jinja_expect_operator(p, "(");
    while (!p->failed && !sl_jinja_at_operator(p, ")")) {
        if (items.first) sl_jinja_expect_operator(p, ",");
        if (sl_jinja_at_operator(p, ")")) break;
        if (sl_jinja_at_operator(p, "*") || sl_jinja_at_operator(p, "**"))
            sl_jinja_parser_fail(p, "'*' in front of an argument is not supported");
        sl_jinja_node *argument = parse_argument(p);
        if (items.last && items.last->kind == SL_JINJA_KEYWORD &&
            argument->kind != SL_JINJA_KEYWORD)
            sl_jinja_parser_fail(p, "an argument without a name stands behind one with a name");
        sl_jinja_nodes_add(&items, argument);
    }
    sl_jinja_expect_operator(p, ")");
    return items.first;
}

static sl_jinja_node *parse_call(sl_jinja_parser *p, sl_jinja_node *callee)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_CALL);
    node->first = callee;
    node->items = parse_arguments(p);
    return node;
}

static sl_jinja_node *parse_attribute(sl_jinja_parser *p, sl_jinja_node *value)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_ATTRIBUTE);
    sl_jinja_next(p);
    node->first = value;
    if (p->token.kind == SL_JINJA_T_NUMBER && p->token.value.kind == SL_JINJA_INTEGER) {
        node->kind = SL_JINJA_ITEM;
        node->second = new_constant(p, p->token.value);
        sl_jinja_next(p);
    } else {
        node->name = sl_jinja_expect_name(p);
    }
    return node;
}

/* A bound of a slice, or NULL when none stands there. */
static sl_jinja_node *parse_bound(sl_jinja_parser *p)
{
    if (sl_jinja_at_operator(p, ":") || sl_jinja_at_operator(p, "]")) return NULL;
    return sl_jinja_parse_expression(p);
}

static sl_jinja_node *parse_item(sl_jinja_parser *p, sl_jinja_node *value)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_ITEM);
    sl_jinja_next(p);
    node->first = value;
    if (sl_jinja_at_operator(p, "]")) sl_jinja_unexpected(p, "an index");
    node->second = parse_bound(p);
    if (sl_jinja_skip_operator(p, ":")) {
        node->kind = SL_JINJA_SLICE;
        node->third = parse_bound(p);
        if (sl_jinja_skip_operator(p, ":")) node->fourth = parse_bound(p);
    }
    sl_jinja_expect_operator(p, "]");
    return node;
}

static sl_jinja_node *parse_postfix(sl_jinja_parser *p, sl_jinja_node *node)
{
    for (;;) {
        if (sl_jinja_at_operator(p, "."))
            node = parse_attribute(p, node);
        else if (sl_jinja_at_operator(p, "["))
            node = parse_item(p, node);
        else if (sl_jinja_at_operator(p, "("))
            node = parse_call(p, node);
        else
            return node;
    }
}

static sl_jinja_node *parse_filter(sl_jinja_parser *p, sl_jinja_node *input)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_FILTER);
    node->first = input;
    node->name = sl_jinja_expect_name(p);
    if (sl_jinja_at_operator(p, "(")) node->items = parse_arguments(p);
    return node;
}

sl_jinja_node *sl_jinja_parse_filters(sl_jinja_parser *p, sl_jinja_node *input)
{
    while (sl_jinja_skip_operator(p, "|")) input = parse_filter(p, input);
    return input;
}

sl_jinja_node *sl_jinja_parse_first_filter(sl_jinja_parser *p)
{
    return sl_jinja_parse_filters(p, parse_filter(p, NULL));
}

/* A test may be given one argument without parentheses: "x is divisibleby 3". */
static bool at_test_argument(const sl_jinja_parser *p)
{
    const sl_jinja_token_kind kind = p->token.kind;
    if (kind == SL_JINJA_T_NAME)
        return !sl_jinja_at_name(p, "else") && !sl_jinja_at_name(p, "or") &&
               !sl_jinja_at_name(p, "and");
    return kind == SL_JINJA_T_STRING || kind == SL_JINJA_T_NUMBER || sl_jinja_at_operator(p, "[") ||
           sl_jinja_at_operator(p, "{");
}

static sl_jinja_node *parse_test(sl_jinja_parser *p, sl_jinja_node *value)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_TEST);
    sl_jinja_next(p);
    const bool negated = sl_jinja_skip_name(p, "not");
    node->first = value;
    node->name = sl_jinja_expect_name(p);
    if (sl_jinja_at_operator(p, "(")) {
        node->items = parse_arguments(p);
    } else if (at_test_argument(p)) {
        if (sl_jinja_at_name(p, "is")) sl_jinja_unexpected(p, "something else");
        node->items = parse_postfix(p, parse_primary(p));
    }
    if (!negated) return node;
    sl_jinja_node *not = sl_jinja_node_new(p, SL_JINJA_NOT);
    not ->first = node;
    return not ;
}

static sl_jinja_node *parse_filters_and_tests(sl_jinja_parser *p, sl_jinja_node *node)
{
    for (;;) {
        if (sl_jinja_at_operator(p, "|"))
            node = sl_jinja_parse_filters(p, node);
        else if (sl_jinja_at_name(p, "is"))
            node = parse_test(p, node);
        else if (sl_jinja_at_operator(p, "("))
            node = parse_call(p, node);
        else
            return node;
    }
}

/* ---- operators ---- */

static sl_jinja_node *parse_sign(sl_jinja_parser *p)
{
    const bool negates = sl_jinja_at_operator(p, "-");
    sl_jinja_node *node = sl_jinja_node_new(p, negates ? SL_JINJA_NEGATE : SL_JINJA_PLUS);
    sl_jinja_next(p);
    if (sl_jinja_descend(p)) node->first = parse_signed(p);
    p->depth--;
    return node;
}

/* A value with its signs, and what stands behind it but filters and tests. */
static sl_jinja_node *parse_signed(sl_jinja_parser *p)
{
    const bool sign = sl_jinja_at_operator(p, "-") || sl_jinja_at_operator(p, "+");
    return parse_postfix(p, sign ? parse_sign(p) : parse_primary(p));
}

static sl_jinja_node *parse_value(sl_jinja_parser *p)
{
    return parse_filters_and_tests(p, parse_signed(p));
}

static sl_jinja_node *parse_power(sl_jinja_parser *p)
{
    static const operator_row rows[] = {{"**", SL_JINJA_POWER}};
    return parse_binary(p, rows, 1, parse_value);
}

static sl_jinja_node *parse_product(sl_jinja_parser *p)
{
    static const operator_row rows[] = {{"*", SL_JINJA_MULTIPLY},
                                        {"/", SL_JINJA_DIVIDE},
                                        {"//", SL_JINJA_FLOOR_DIVIDE},
                                        {"%", SL_JINJA_MODULO}};
    return parse_binary(p, rows, 4, parse_power);
}

static sl_jinja_node *parse_concat(sl_jinja_parser *p)
{
    sl_jinja_node *first = parse_product(p);
    if (!sl_jinja_at_operator(p, "~")) return first;
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_CONCAT);
    sl_jinja_nodes items = {0};
    sl_jinja_nodes_add(&items, first);
    while (sl_jinja_skip_operator(p, "~")) sl_jinja_nodes_add(&items, parse_product(p));
    node->items = items.first;
    return node;
}

static sl_jinja_node *parse_sum(sl_jinja_parser *p)
{
    static const operator_row rows[] = {{"+", SL_JINJA_ADD}, {"-", SL_JINJA_SUBTRACT}};
    return parse_binary(p, rows, 2, parse_concat);
}

static bool take_comparison(sl_jinja_parser *p, sl_jinja_operation *out)
{
    static const operator_row rows[] = {{"==", SL_JINJA_EQUAL},  {"!=", SL_JINJA_NOT_EQUAL},
                                        {"<", SL_JINJA_LESS},    {"<=", SL_JINJA_LESS_EQUAL},
                                        {">", SL_JINJA_GREATER}, {">=", SL_JINJA_GREATER_EQUAL}};
    if (take_operator(p, rows, 6, out)) return true;
    const bool not_in = sl_jinja_at_name(p, "not") && p->ahead.kind == SL_JINJA_T_NAME &&
                        sl_jinja_text_is(p->ahead.text, "in");
    if (not_in) sl_jinja_next(p);
    *out = not_in ? SL_JINJA_NOT_IN : SL_JINJA_IN;
    return sl_jinja_skip_name(p, "in");
}

static sl_jinja_node *parse_comparison(sl_jinja_parser *p)
{
    sl_jinja_node *first = parse_sum(p);
    sl_jinja_nodes operands = {0};
    sl_jinja_operation operation;
    while (take_comparison(p, &operation)) {
        sl_jinja_node *operand = sl_jinja_node_new(p, SL_JINJA_OPERAND);
        operand->operation = operation;
        operand->first = parse_sum(p);
        sl_jinja_nodes_add(&operands, operand);
    }
    return with_operands(p, SL_JINJA_COMPARE, first, operands);
}

static sl_jinja_node *parse_not(sl_jinja_parser *p)
{
    if (!sl_jinja_at_name(p, "not")) return parse_comparison(p);
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_NOT);
    sl_jinja_next(p);
    if (sl_jinja_descend(p)) node->first = parse_not(p);
    p->depth--;
    return node;
}

/* Operands with a word between them. */
static sl_jinja_node *parse_words(sl_jinja_parser *p, const char *word, sl_jinja_node_kind kind,
                                  parse_operand operand)
{
    sl_jinja_node *first = operand(p);
    if (!sl_jinja_at_name(p, word)) return first;
    sl_jinja_node *node = sl_jinja_node_new(p, kind);
    sl_jinja_nodes items = {0};
    sl_jinja_nodes_add(&items, first);
    while (sl_jinja_skip_name(p, word)) sl_jinja_nodes_add(&items, operand(p));
    node->items = items.first;
    return node;
}

static sl_jinja_node *parse_and(sl_jinja_parser *p)
{
    return parse_words(p, "and", SL_JINJA_AND, parse_not);
}

sl_jinja_node *sl_jinja_parse_plain(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_descend(p) ? parse_words(p, "or", SL_JINJA_OR, parse_and)
                                              : sl_jinja_node_new(p, SL_JINJA_CONSTANT);
    p->depth--;
    return node;
}

sl_jinja_node *sl_jinja_parse_expression(sl_jinja_parser *p)
{
    sl_jinja_node *value = sl_jinja_parse_plain(p);
    while (sl_jinja_skip_name(p, "if")) {
        sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_CONDITION);
        node->first = value;
        node->second = sl_jinja_parse_plain(p);
        if (sl_jinja_skip_name(p, "else")) {
            if (sl_jinja_descend(p)) node->third = sl_jinja_parse_expression(p);
            p->depth--;
        }
        value = node;
    }
    return value;
}

/* ---- tuples and targets ---- */

static bool at_tuple_end(const sl_jinja_parser *p)
{
    return p->token.kind == SL_JINJA_T_PRINT_END || p->token.kind == SL_JINJA_T_BLOCK_END ||
           sl_jinja_at_operator(p, ")") || sl_jinja_at_name(p, "recursive");
}

static sl_jinja_node *as_tuple(sl_jinja_parser *p, sl_jinja_nodes items)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_MAKE_LIST);
    node->operation = SL_JINJA_TUPLE;
    node->items = items.first;
    return node;
}

static sl_jinja_node *parse_items(sl_jinja_parser *p, parse_operand operand)
{
    sl_jinja_node *first = operand(p);
    if (!sl_jinja_at_operator(p, ",")) return first;
    sl_jinja_nodes items = {0};
    sl_jinja_nodes_add(&items, first);
    while (sl_jinja_skip_operator(p, ",") && !at_tuple_end(p))
        sl_jinja_nodes_add(&items, operand(p));
    return as_tuple(p, items);
}

sl_jinja_node *sl_jinja_parse_tuple(sl_jinja_parser *p)
{
    return parse_items(p, sl_jinja_parse_expression);
}

sl_jinja_node *sl_jinja_parse_plain_tuple(sl_jinja_parser *p)
{
    return parse_items(p, sl_jinja_parse_plain);
}

static sl_jinja_node *parse_one_target(sl_jinja_parser *p)
{
    if (sl_jinja_skip_operator(p, "(")) {
        sl_jinja_node *node = sl_jinja_descend(p) ? sl_jinja_parse_target(p)
                                                  : sl_jinja_node_new(p, SL_JINJA_NAME);
        p->depth--;
        sl_jinja_expect_operator(p, ")");
        return node;
    }
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_NAME);
    node->name = sl_jinja_expect_name(p);
    if (!sl_jinja_skip_operator(p, ".")) return node;
    node->kind = SL_JINJA_ATTRIBUTE_TARGET;
    const sl_jinja_text attribute = sl_jinja_expect_name(p);
    node->first = new_constant(p, sl_jinja_string(p->memory, attribute));
    return node;
}

sl_jinja_node *sl_jinja_parse_target(sl_jinja_parser *p)
{
    sl_jinja_node *first = parse_one_target(p);
    if (!sl_jinja_at_operator(p, ",")) return first;
    sl_jinja_nodes items = {0};
    sl_jinja_nodes_add(&items, first);
    while (sl_jinja_skip_operator(p, ",") && p->token.kind == SL_JINJA_T_NAME &&
           !sl_jinja_at_name(p, "in"))
        sl_jinja_nodes_add(&items, parse_one_target(p));
    return as_tuple(p, items);
}
