/* runtime/text/jinja/jinja_error.h - saying what is wrong with a template, in one form. */
#ifndef SL_JINJA_ERROR_H
#define SL_JINJA_ERROR_H

#include <stdarg.h>

#include "runtime/text/jinja/jinja.h"

/* "chat template, line N: WORDS". */
void sl_jinja_error_say(sl_jinja_error *error, uint32_t line, const char *format, va_list words)
    __attribute__((format(printf, 3, 0)));

/* A text for "%.*s", cut to what a message shows. */
enum { SL_JINJA_SHOWN_BYTES = 80 };
int sl_jinja_shown_bytes(sl_jinja_text text);
#define SL_JINJA_SHOWN(text) sl_jinja_shown_bytes(text), (text).data

#endif
