/* runtime/text/jinja/jinja_operators.h - what operators make of values: sums, products, texts in a
 * row, attributes, items and slices. */
#ifndef SL_JINJA_OPERATORS_H
#define SL_JINJA_OPERATORS_H

#include "runtime/text/jinja/jinja_context.h"

/* One of + - * / // % **. */
sl_jinja_value sl_jinja_calculate(sl_jinja_context *c, sl_jinja_operation operation,
                                  sl_jinja_value a, sl_jinja_value b);
sl_jinja_value sl_jinja_negate(sl_jinja_context *c, sl_jinja_value value);
/* One of == != < <= > >= in, not in. */
bool sl_jinja_holds(sl_jinja_context *c, sl_jinja_operation operation, sl_jinja_value a,
                    sl_jinja_value b);

/* value.name: a method before an item of a dictionary. */
sl_jinja_value sl_jinja_attribute(sl_jinja_context *c, sl_jinja_value value, sl_jinja_text name);
/* value[key]: an item before a method. Undefined where there is none. */
sl_jinja_value sl_jinja_item(sl_jinja_context *c, sl_jinja_value value, sl_jinja_value key);
/* value[bounds[0]:bounds[1]:bounds[2]], each none where it was left out. */
sl_jinja_value sl_jinja_slice_of(sl_jinja_context *c, sl_jinja_value value,
                                 const sl_jinja_value bounds[3]);

#endif
