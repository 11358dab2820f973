/* runtime/text/jinja/jinja_functions.h - the functions that templates may call by name: range,
 * dict, namespace, raise_exception, strftime_now. */
#ifndef SL_JINJA_FUNCTIONS_H
#define SL_JINJA_FUNCTIONS_H

#include "runtime/text/jinja/jinja_context.h"

/* Absent: there is none of this name in this run. */
sl_jinja_value sl_jinja_find_function(const sl_jinja_context *c, sl_jinja_text name);

#endif
