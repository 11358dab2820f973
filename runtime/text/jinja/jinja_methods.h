/* runtime/text/jinja/jinja_methods.h - what strings, lists and dictionaries can be asked to do:
 * "text.strip()", "list.append(x)", "dict.items()". */
#ifndef SL_JINJA_METHODS_H
#define SL_JINJA_METHODS_H

#include "runtime/text/jinja/jinja_context.h"

/* The method of this name that values of the kind have, or NULL. */
const sl_jinja_builtin *sl_jinja_method_of(sl_jinja_kind kind, sl_jinja_text name);

/* A dictionary's keys and values, as a list of pairs. */
sl_jinja_value sl_jinja_dict_items(sl_jinja_context *c, sl_jinja_value dict);

#endif
