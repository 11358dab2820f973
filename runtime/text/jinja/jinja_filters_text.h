/* runtime/text/jinja/jinja_filters_text.h - filters that make a text or a number of one value. */
#ifndef SL_JINJA_FILTERS_TEXT_H
#define SL_JINJA_FILTERS_TEXT_H

#include "runtime/text/jinja/jinja_context.h"

/* NULL: there is none of this name. */
const sl_jinja_builtin *sl_jinja_find_text_filter(sl_jinja_text name);

#endif
