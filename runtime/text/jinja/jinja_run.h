/* runtime/text/jinja/jinja_run.h - a template as it runs: expressions give values
 * (jinja_evaluate.c), statements print and set names (jinja_run.c), each calls the other. */
#ifndef SL_JINJA_RUN_H
#define SL_JINJA_RUN_H

#include "runtime/text/jinja/jinja_context.h"

sl_jinja_value sl_jinja_evaluate(sl_jinja_context *c, const sl_jinja_node *node);
/* A filter of a block, whose innermost input is `input`. */
sl_jinja_value sl_jinja_apply_filters(sl_jinja_context *c, const sl_jinja_node *node,
                                      sl_jinja_value input);
/* A call, of a macro with this caller unless it is absent. */
sl_jinja_value sl_jinja_evaluate_call(sl_jinja_context *c, const sl_jinja_node *node,
                                      sl_jinja_value caller);

/* Statements, up to the end of the list or a break. */
void sl_jinja_execute(sl_jinja_context *c, const sl_jinja_node *nodes);
/* What the statements print, as a text. */
sl_jinja_value sl_jinja_capture(sl_jinja_context *c, const sl_jinja_node *nodes);
sl_jinja_value sl_jinja_call_macro(sl_jinja_context *c, const sl_jinja_macro *macro,
                                   const sl_jinja_arguments *arguments, sl_jinja_value caller);

#endif
