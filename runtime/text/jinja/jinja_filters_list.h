/* runtime/text/jinja/jinja_filters_list.h - filters that go through the items of a value. */
#ifndef SL_JINJA_FILTERS_LIST_H
#define SL_JINJA_FILTERS_LIST_H

#include "runtime/text/jinja/jinja_context.h"

/* NULL: there is none of this name. */
const sl_jinja_builtin *sl_jinja_find_list_filter(sl_jinja_text name);

/* What an item has at the path "a.b.0"; an absent path is the item. */
sl_jinja_value sl_jinja_at_path(sl_jinja_context *c, sl_jinja_value item, sl_jinja_value path);

#endif
