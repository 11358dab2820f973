/* runtime/text/jinja/jinja_parser.h - what reading statements and reading expressions share: the
 * token at hand, new nodes, and the first error, after which every token is the end, so that all
 * that reads comes to its own end. Lives for one sl_jinja_open. */
#ifndef SL_JINJA_PARSER_H
#define SL_JINJA_PARSER_H

#include "runtime/text/jinja/jinja_lex.h"
#include "runtime/text/jinja/jinja_node.h"

typedef struct {
    sl_jinja_memory *memory;
    sl_jinja_error *error;
    sl_jinja_lexer lexer;
    sl_jinja_token token, ahead; /* the one at hand, and the one after it */
    bool failed;
    uint32_t depth;
    unsigned uses;       /* what the macro that is being read has mentioned */
    uint32_t n_loops;    /* that the statement at hand stands in */
    sl_jinja_node spare; /* what is given where no memory is left, and nobody runs */
} sl_jinja_parser;

/* False: no memory. */
bool sl_jinja_parser_init(sl_jinja_parser *p, sl_jinja_memory *memory, sl_jinja_error *error,
                          const char *text, size_t bytes);

/* Say what is wrong at the token at hand, unless something was wrong before. */
void sl_jinja_parser_fail(sl_jinja_parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for a token that does not belong there. */
void sl_jinja_unexpected(sl_jinja_parser *p, const char *expected);
/* One level deeper; false, with an error: too deep. Ended with p->depth--. */
bool sl_jinja_descend(sl_jinja_parser *p);

void sl_jinja_next(sl_jinja_parser *p);
bool sl_jinja_at(const sl_jinja_parser *p, sl_jinja_token_kind kind, const char *text);
bool sl_jinja_at_name(const sl_jinja_parser *p, const char *name);
bool sl_jinja_at_operator(const sl_jinja_parser *p, const char *text);
/* Go on if this is at hand. */
bool sl_jinja_skip_name(sl_jinja_parser *p, const char *name);
bool sl_jinja_skip_operator(sl_jinja_parser *p, const char *text);
void sl_jinja_expect_operator(sl_jinja_parser *p, const char *text);
void sl_jinja_expect_kind(sl_jinja_parser *p, sl_jinja_token_kind kind, const char *words);
/* A name, which is passed. */
sl_jinja_text sl_jinja_expect_name(sl_jinja_parser *p);

/* A node of the line at hand; after an error one that nobody runs. Never NULL. */
sl_jinja_node *sl_jinja_node_new(sl_jinja_parser *p, sl_jinja_node_kind kind);

/* A list of nodes that grows at its end. */
typedef struct {
    sl_jinja_node *first, *last;
} sl_jinja_nodes;
void sl_jinja_nodes_add(sl_jinja_nodes *nodes, sl_jinja_node *node);

#endif
