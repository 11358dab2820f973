/* runtime/text/jinja/jinja_parse.c - sl_jinja_open: reading statements. Those that jinja2/parser.py
 * 3.1 knows, but for templates within templates (block, extends, include, import), and the
 * `generation` of Hugging Face, which marks a part and prints it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja/jinja_error.h"
#include "runtime/text/jinja/jinja_expression.h"

static sl_jinja_node *parse_body(sl_jinja_parser *p, const char *const *ends);

/* The rest of a statement's opening, and its body, up to one of the words that end it; that word is
 * at hand. */
static sl_jinja_node *parse_block(sl_jinja_parser *p, const char *const *ends)
{
    sl_jinja_skip_operator(p, ":");
    sl_jinja_expect_kind(p, SL_JINJA_T_BLOCK_END, "'%}'");
    sl_jinja_node *body = NULL;
    if (sl_jinja_descend(p)) body = parse_body(p, ends);
    p->depth--;
    return body;
}

/* The same for a body that one word ends, which is passed. */
static sl_jinja_node *parse_block_to(sl_jinja_parser *p, const char *end)
{
    const char *const ends[] = {end, NULL};
    sl_jinja_node *body = parse_block(p, ends);
    sl_jinja_next(p);
    return body;
}

static sl_jinja_node *parse_if(sl_jinja_parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    sl_jinja_node *first = NULL, *node = NULL;
    do {
        sl_jinja_node *branch = sl_jinja_node_new(p, SL_JINJA_IF);
        sl_jinja_next(p);
        branch->first = sl_jinja_parse_plain_tuple(p);
        branch->body = parse_block(p, ends);
        if (node)
            node->second = branch;
        else
            first = branch;
        node = branch;
    } while (!p->failed && sl_jinja_at_name(p, "elif"));
    const bool otherwise = sl_jinja_at_name(p, "else");
    sl_jinja_next(p);
    if (otherwise) node->other = parse_block_to(p, "endif");
    return first;
}

static sl_jinja_node *parse_for(sl_jinja_parser *p)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_FOR);
    sl_jinja_next(p);
    node->first = sl_jinja_parse_target(p);
    if (!sl_jinja_skip_name(p, "in")) sl_jinja_unexpected(p, "'in'");
    node->second = sl_jinja_parse_plain_tuple(p);
    if (sl_jinja_skip_name(p, "if")) node->third = sl_jinja_parse_expression(p);
    if (sl_jinja_at_name(p, "recursive"))
        sl_jinja_parser_fail(p, "'recursive' loops are not supported");
    p->n_loops++;
    node->body = parse_block(p, ends);
    p->n_loops--;
    const bool otherwise = sl_jinja_at_name(p, "else");
    sl_jinja_next(p);
    if (otherwise) node->other = parse_block_to(p, "endfor");
    return node;
}

static sl_jinja_node *parse_set(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_SET);
    sl_jinja_next(p);
    node->first = sl_jinja_parse_target(p);
    if (sl_jinja_skip_operator(p, "=")) {
        node->second = sl_jinja_parse_tuple(p);
        return node;
    }
    node->kind = SL_JINJA_SET_BLOCK;
    node->second = sl_jinja_parse_filters(p, NULL);
    node->body = parse_block_to(p, "endset");
    return node;
}

static sl_jinja_node *parse_parameters(sl_jinja_parser *p)
{
    sl_jinja_nodes items = {0};
    sl_jinja_expect_operator(p, "(");
    while (!p->failed && !sl_jinja_at_operator(p, ")")) {
        if (items.first) sl_jinja_expect_operator(p, ",");
        sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_PARAMETER);
        node->name = sl_jinja_expect_name(p);
        if (sl_jinja_skip_operator(p, "="))
            node->first = sl_jinja_parse_expression(p);
        else if (items.last && items.last->first)
            sl_jinja_parser_fail(p, "a parameter without a default stands behind one with it");
        sl_jinja_nodes_add(&items, node);
    }
    sl_jinja_expect_operator(p, ")");
    return items.first;
}

/* The body of a macro, or of a call, which is one without a name. */
static void parse_macro_body(sl_jinja_parser *p, sl_jinja_node *macro, const char *end)
{
    const unsigned uses = p->uses;
    const uint32_t n_loops = p->n_loops;
    p->uses = 0;
    p->n_loops = 0;
    macro->body = parse_block_to(p, end);
    macro->operation = p->uses;
    p->uses = uses;
    p->n_loops = n_loops;
}

static sl_jinja_node *parse_macro(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_MACRO_BLOCK);
    sl_jinja_next(p);
    node->name = sl_jinja_expect_name(p);
    node->items = parse_parameters(p);
    parse_macro_body(p, node, "endmacro");
    return node;
}

static sl_jinja_node *parse_call_block(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_CALL_BLOCK);
    sl_jinja_node *caller = sl_jinja_node_new(p, SL_JINJA_MACRO_BLOCK);
    sl_jinja_next(p);
    caller->name = sl_jinja_text_own("caller");
    if (sl_jinja_at_operator(p, "(")) caller->items = parse_parameters(p);
    node->third = caller;
    node->first = sl_jinja_parse_expression(p);
    if (node->first->kind != SL_JINJA_CALL) sl_jinja_parser_fail(p, "'call' wants a call");
    parse_macro_body(p, caller, "endcall");
    return node;
}

static sl_jinja_node *parse_filter_block(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_FILTER_BLOCK);
    sl_jinja_next(p);
    node->first = sl_jinja_parse_first_filter(p);
    node->body = parse_block_to(p, "endfilter");
    return node;
}

static sl_jinja_node *parse_with(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_WITH);
    sl_jinja_nodes sets = {0};
    sl_jinja_next(p);
    while (!p->failed && p->token.kind != SL_JINJA_T_BLOCK_END) {
        if (sets.first) sl_jinja_expect_operator(p, ",");
        sl_jinja_node *set = sl_jinja_node_new(p, SL_JINJA_SET);
        set->first = sl_jinja_parse_target(p);
        sl_jinja_expect_operator(p, "=");
        set->second = sl_jinja_parse_expression(p);
        sl_jinja_nodes_add(&sets, set);
    }
    node->items = sets.first;
    node->body = parse_block_to(p, "endwith");
    return node;
}

static sl_jinja_node *parse_generation(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_BODY);
    sl_jinja_next(p);
    node->body = parse_block_to(p, "endgeneration");
    return node;
}

static sl_jinja_node *parse_print(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_PRINT);
    sl_jinja_next(p);
    node->first = sl_jinja_parse_expression(p);
    return node;
}

static sl_jinja_node *parse_jump(sl_jinja_parser *p)
{
    const bool leaves = sl_jinja_at_name(p, "break");
    sl_jinja_node *node = sl_jinja_node_new(p, leaves ? SL_JINJA_BREAK : SL_JINJA_CONTINUE);
    if (p->n_loops == 0)
        sl_jinja_parser_fail(p, "'%s' stands in no loop", leaves ? "break" : "continue");
    sl_jinja_next(p);
    return node;
}

static sl_jinja_node *parse_statement(sl_jinja_parser *p)
{
    static const struct {
        const char *name;
        sl_jinja_node *(*parse)(sl_jinja_parser *p);
    } statements[] = {
        {"if", parse_if},           {"for", parse_for},
        {"set", parse_set},         {"macro", parse_macro},
        {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},       {"generation", parse_generation},
        {"print", parse_print},     {"break", parse_jump},
        {"continue", parse_jump},
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (sl_jinja_at_name(p, statements[i].name)) return statements[i].parse(p);
    if (p->token.kind == SL_JINJA_T_NAME)
        sl_jinja_parser_fail(p, "the statement '%.*s' is not known or stands in a wrong place",
                             SL_JINJA_SHOWN(p->token.text));
    else
        sl_jinja_unexpected(p, "a statement");
    return sl_jinja_node_new(p, SL_JINJA_BODY);
}

static bool at_end_word(const sl_jinja_parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (sl_jinja_at_name(p, *ends)) return true;
    return false;
}

static sl_jinja_node *parse_data(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_DATA);
    node->name = p->token.text;
    sl_jinja_next(p);
    return node;
}

static sl_jinja_node *parse_print_tag(sl_jinja_parser *p)
{
    sl_jinja_node *node = sl_jinja_node_new(p, SL_JINJA_PRINT);
    sl_jinja_next(p);
    node->first = sl_jinja_parse_tuple(p);
    sl_jinja_expect_kind(p, SL_JINJA_T_PRINT_END, "'}}'");
    return node;
}

/* Up to the end, or where `ends` are given, to the tag of one of them, whose word is at hand. */
static sl_jinja_node *parse_body(sl_jinja_parser *p, const char *const *ends)
{
    sl_jinja_nodes nodes = {0};
    while (!p->failed) {
        switch (p->token.kind) {
        case SL_JINJA_T_DATA: sl_jinja_nodes_add(&nodes, parse_data(p)); break;
        case SL_JINJA_T_PRINT_BEGIN: sl_jinja_nodes_add(&nodes, parse_print_tag(p)); break;
        case SL_JINJA_T_BLOCK_BEGIN:
            sl_jinja_next(p);
            if (at_end_word(p, ends)) return nodes.first;
            sl_jinja_nodes_add(&nodes, parse_statement(p));
            sl_jinja_expect_kind(p, SL_JINJA_T_BLOCK_END, "'%}'");
            break;
        default:
            if (ends) {
                int last = 0;
                while (ends[last + 1]) last++;
                sl_jinja_parser_fail(p, "'%s' is missing at the end", ends[last]);
            }
            return nodes.first;
        }
    }
    return nodes.first;
}

/* A node takes 136 bytes, and stands for a byte at least. Real templates have up to 30,000. */
enum { TEMPLATE_BYTES_MAX = 1 << 18, MEMORY_BYTES_MAX = 48 << 20 };

static sl_status too_large(sl_jinja_error *error)
{
    error->line = 1;
    snprintf(error->text, sizeof error->text, "chat template, line 1: it is larger than %d bytes",
             TEMPLATE_BYTES_MAX);
    return SL_ERR_FORMAT;
}

/* SL_ERR_FORMAT and *error; SL_ERR_MEMORY. */
static sl_status compile(sl_jinja *jinja, const char *text, size_t bytes, sl_jinja_error *error)
{
    sl_jinja_parser *p = calloc(1, sizeof *p);
    const bool begun = p && sl_jinja_parser_init(p, &jinja->memory, error, text, bytes);
    if (begun) jinja->body = parse_body(p, NULL);
    const bool failed = begun && p->failed;
    free(p);
    if (failed) return SL_ERR_FORMAT;
    return begun && !jinja->memory.refused ? SL_OK : SL_ERR_MEMORY;
}

sl_status sl_jinja_open(const char *text, size_t bytes, sl_jinja **jinja_out, sl_jinja_error *error)
{
    *error = (sl_jinja_error){0};
    if (bytes > TEMPLATE_BYTES_MAX) return too_large(error);
    sl_jinja *jinja = calloc(1, sizeof *jinja);
    if (!jinja) return SL_ERR_MEMORY;
    sl_jinja_memory_init(&jinja->memory, MEMORY_BYTES_MAX);
    const sl_status status = compile(jinja, text, bytes, error);
    if (status == SL_OK)
        *jinja_out = jinja;
    else
        sl_jinja_close(jinja);
    return status;
}

void sl_jinja_close(sl_jinja *jinja)
{
    if (!jinja) return;
    sl_jinja_memory_fini(&jinja->memory);
    free(jinja);
}
