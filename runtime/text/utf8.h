/* runtime/text/utf8.h - where the characters of a text are: UTF-8 as Unicode's table 3-7 has it. */
#ifndef SL_UTF8_H
#define SL_UTF8_H

#include <stddef.h>
#include <stdint.h>

typedef enum { SL_UTF8_WHOLE, SL_UTF8_BROKEN, SL_UTF8_PARTIAL } sl_utf8_kind;

/* The character at s[n > 0]: how many bytes it has (WHOLE), or how many no character can begin
 * with (BROKEN), or that more bytes are needed to tell (PARTIAL: *bytes_out is 1). */
sl_utf8_kind sl_utf8_next(const uint8_t *s, size_t n, size_t *bytes_out);

#endif
