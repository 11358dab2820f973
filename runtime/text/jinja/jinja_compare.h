/* runtime/text/jinja/jinja_compare.h - what is equal, what comes first, what is in what, and what a
 * value consists of: Python's ==, <, in, and iteration. */
#ifndef SL_JINJA_COMPARE_H
#define SL_JINJA_COMPARE_H

#include "runtime/text/jinja/jinja_context.h"

bool sl_jinja_equal(sl_jinja_context *c, sl_jinja_value a, sl_jinja_value b);
/* Below, equal or above 0; what has no order fails. */
int sl_jinja_order(sl_jinja_context *c, sl_jinja_value a, sl_jinja_value b);
bool sl_jinja_contains(sl_jinja_context *c, sl_jinja_value container, sl_jinja_value item);

/* What a loop over the value goes through: items, characters, keys; nothing of what is undefined.
 * The items are lent until a list is changed, or the run's own. What is none of these fails. */
sl_jinja_list sl_jinja_items(sl_jinja_context *c, sl_jinja_value value);

#endif
