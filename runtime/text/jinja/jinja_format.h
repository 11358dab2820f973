/* runtime/text/jinja/jinja_format.h - texts with values put in: Python's "{} {name}".format(...),
 * and its "%s %5.2f" % values. */
#ifndef SL_JINJA_FORMAT_H
#define SL_JINJA_FORMAT_H

#include "runtime/text/jinja/jinja_context.h"

/* Fields without a form of their own; others fail. */
sl_jinja_value sl_jinja_format_braces(sl_jinja_context *c, sl_jinja_text text,
                                      const sl_jinja_arguments *arguments);
/* One value, or a tuple of as many as the text wants. %s %r %d %i %u %x %X %o %f %F %e %E %g %G %%,
 * with flags, width and precision; names in parentheses and "*" fail. */
sl_jinja_value sl_jinja_format_percent(sl_jinja_context *c, sl_jinja_text text,
                                       sl_jinja_value values);

#endif
