/* runtime/text/jinja/jinja_parser.c - see jinja_parser.h. */
#include "runtime/text/jinja/jinja_parser.h"

#include "runtime/text/jinja/jinja_error.h"

/* Blocks and brackets within one another. Real templates have about ten. */
enum { DEPTH_MAX = 100 };

static void read_ahead(sl_jinja_parser *p)
{
    p->ahead = sl_jinja_lex_next(&p->lexer);
    if (p->ahead.kind == SL_JINJA_T_ERROR) p->failed = true;
}

bool sl_jinja_parser_init(sl_jinja_parser *p, sl_jinja_memory *memory, sl_jinja_error *error,
                          const char *text, size_t bytes)
{
    *p = (sl_jinja_parser){.memory = memory, .error = error};
    if (!sl_jinja_lex_init(&p->lexer, memory, error, text, bytes)) return false;
    read_ahead(p);
    sl_jinja_next(p);
    return true;
}

static void end_tokens(sl_jinja_parser *p)
{
    p->token.kind = p->ahead.kind = SL_JINJA_T_END;
    p->token.text = p->ahead.text = sl_jinja_text_own("");
}

void sl_jinja_parser_fail(sl_jinja_parser *p, const char *format, ...)
{
    va_list words;
    va_start(words, format);
    if (!p->failed) sl_jinja_error_say(p->error, p->token.line, format, words);
    va_end(words);
    p->failed = true;
    end_tokens(p);
}

void sl_jinja_unexpected(sl_jinja_parser *p, const char *expected)
{
    const sl_jinja_token *t = &p->token;
    switch (t->kind) {
    case SL_JINJA_T_END: sl_jinja_parser_fail(p, "%s is missing at the end", expected); break;
    case SL_JINJA_T_BLOCK_END:
    case SL_JINJA_T_PRINT_END:
        sl_jinja_parser_fail(p, "%s is missing before '%s'", expected,
                             t->kind == SL_JINJA_T_BLOCK_END ? "%}" : "}}");
        break;
    default:
        sl_jinja_parser_fail(p, "'%.*s' stands where %s should", SL_JINJA_SHOWN(t->text), expected);
    }
}

bool sl_jinja_descend(sl_jinja_parser *p)
{
    if (p->depth++ < DEPTH_MAX) return true;
    sl_jinja_parser_fail(p, "more than %d levels within one another", DEPTH_MAX);
    return false;
}

void sl_jinja_next(sl_jinja_parser *p)
{
    p->token = p->ahead;
    if (p->token.kind != SL_JINJA_T_END) read_ahead(p);
    if (p->failed) end_tokens(p);
}

bool sl_jinja_at(const sl_jinja_parser *p, sl_jinja_token_kind kind, const char *text)
{
    return p->token.kind == kind && sl_jinja_text_is(p->token.text, text);
}

bool sl_jinja_at_name(const sl_jinja_parser *p, const char *name)
{
    return sl_jinja_at(p, SL_JINJA_T_NAME, name);
}

bool sl_jinja_at_operator(const sl_jinja_parser *p, const char *text)
{
    return sl_jinja_at(p, SL_JINJA_T_OPERATOR, text);
}

bool sl_jinja_skip_name(sl_jinja_parser *p, const char *name)
{
    const bool there = sl_jinja_at_name(p, name);
    if (there) sl_jinja_next(p);
    return there;
}

bool sl_jinja_skip_operator(sl_jinja_parser *p, const char *text)
{
    const bool there = sl_jinja_at_operator(p, text);
    if (there) sl_jinja_next(p);
    return there;
}

void sl_jinja_expect_operator(sl_jinja_parser *p, const char *text)
{
    char words[8] = {'\'', text[0], '\''};
    if (!sl_jinja_skip_operator(p, text)) sl_jinja_unexpected(p, words);
}

void sl_jinja_expect_kind(sl_jinja_parser *p, sl_jinja_token_kind kind, const char *words)
{
    if (p->token.kind == kind)
        sl_jinja_next(p);
    else
        sl_jinja_unexpected(p, words);
}

sl_jinja_text sl_jinja_expect_name(sl_jinja_parser *p)
{
    const sl_jinja_text name = p->token.text;
    sl_jinja_expect_kind(p, SL_JINJA_T_NAME, "a name");
    return name;
}

sl_jinja_node *sl_jinja_node_new(sl_jinja_parser *p, sl_jinja_node_kind kind)
{
    sl_jinja_node *node = sl_jinja_new(p->memory, sl_jinja_node);
    if (!node) {
        sl_jinja_parser_fail(p, "the template is too large");
        p->spare = (sl_jinja_node){0};
        node = &p->spare;
    }
    node->kind = kind;
    node->line = p->token.line;
    return node;
}

void sl_jinja_nodes_add(sl_jinja_nodes *nodes, sl_jinja_node *node)
{
    if (nodes->last)
        nodes->last->next = node;
    else
        nodes->first = node;
    nodes->last = node;
}
