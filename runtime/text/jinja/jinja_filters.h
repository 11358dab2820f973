/* runtime/text/jinja/jinja_filters.h - all filters by name. */
#ifndef SL_JINJA_FILTERS_H
#define SL_JINJA_FILTERS_H

#include "runtime/text/jinja/jinja_context.h"

/* NULL: there is none of this name. */
const sl_jinja_builtin *sl_jinja_find_filter(sl_jinja_text name);

#endif
