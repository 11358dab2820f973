/* runtime/text/jinja/jinja_print.h - values as text, as Python's str() and repr() have them. */
#ifndef SL_JINJA_PRINT_H
#define SL_JINJA_PRINT_H

#include "runtime/text/jinja/jinja_context.h"

/* str(value), added. */
void sl_jinja_print(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_value value);
/* repr(value), added. */
void sl_jinja_print_repr(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_value value);
/* str() as a text: of a string, it itself. */
sl_jinja_text sl_jinja_str(sl_jinja_context *c, sl_jinja_value value);
/* repr() of a float. */
enum { SL_JINJA_FLOAT_BYTES = 40 };
void sl_jinja_float_text(double number, char out[SL_JINJA_FLOAT_BYTES]);

#endif
