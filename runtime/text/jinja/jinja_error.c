/* runtime/text/jinja/jinja_error.c - see jinja_error.h. */
#include "runtime/text/jinja/jinja_error.h"

#include <stdio.h>

#include "runtime/base/plain.h"

void sl_jinja_error_say(sl_jinja_error *error, uint32_t line, const char *format, va_list words)
{
    char said[sizeof error->text];
    const size_t most = sizeof said - 40; /* so that what is in front of it fits, too */
    const int n = vsnprintf(said, sizeof said, format, words);
    const size_t bytes = n < 0 ? 0 : (size_t)n < sizeof said ? (size_t)n : sizeof said - 1;
    snprintf(error->text, sizeof error->text, "chat template, line %u: %.*s", line,
             (int)sl_plain_prefix(said, bytes, most), said);
    error->line = line;
}

int sl_jinja_shown_bytes(sl_jinja_text text)
{
    return (int)sl_plain_prefix(text.data, text.bytes, SL_JINJA_SHOWN_BYTES);
}
