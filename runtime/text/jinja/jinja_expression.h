/* runtime/text/jinja/jinja_expression.h - reading expressions, from "x if y else z" down to a
 * literal. Each function stands at the expression's first token and ends after its last. */
#ifndef SL_JINJA_EXPRESSION_H
#define SL_JINJA_EXPRESSION_H

#include "runtime/text/jinja/jinja_parser.h"

sl_jinja_node *sl_jinja_parse_expression(sl_jinja_parser *p);
/* An expression that has no "if" of its own: one may follow it. */
sl_jinja_node *sl_jinja_parse_plain(sl_jinja_parser *p);
/* One expression, or a tuple of several with commas between. */
sl_jinja_node *sl_jinja_parse_tuple(sl_jinja_parser *p);
sl_jinja_node *sl_jinja_parse_plain_tuple(sl_jinja_parser *p);
/* What can be assigned to: a name, an attribute of a namespace, a tuple of them. */
sl_jinja_node *sl_jinja_parse_target(sl_jinja_parser *p);
/* "| name(...)", several; `input` may be NULL, and is then what is returned where there is none. */
sl_jinja_node *sl_jinja_parse_filters(sl_jinja_parser *p, sl_jinja_node *input);
/* A filter whose "|" was left out: "{% filter name(...) | ... %}". */
sl_jinja_node *sl_jinja_parse_first_filter(sl_jinja_parser *p);

#endif
