/* runtime/base/utf8.h - where the characters of a text are, and which of them are blank: UTF-8 as
 * Unicode's table 3-7 has it. Pure functions. */
#ifndef SL_UTF8_H
#define SL_UTF8_H

#include <stddef.h>
#include <stdint.h>

typedef enum { SL_UTF8_WHOLE, SL_UTF8_BROKEN, SL_UTF8_PARTIAL } sl_utf8_kind;

/* The character at s[n > 0]: how many bytes it has (WHOLE), or how many no character can begin
 * with (BROKEN), or that more bytes are needed to tell (PARTIAL: *bytes_out is 1). */
sl_utf8_kind sl_utf8_next(const uint8_t *s, size_t n, size_t *bytes_out);

/* The code point of a whole character of so many bytes. */
uint32_t sl_utf8_code(const uint8_t *s, size_t bytes);
/* Write the character of a code point below 0x110000 to `out`, which has room for 4 bytes; returns
 * how many it takes. */
size_t sl_utf8_put(uint32_t code, char *out);

/* Bytes of the white space, as Python's str.isspace has it, that text[n] begins with; 0: none. */
size_t sl_utf8_blank_bytes(const char *text, size_t n);
/* The same of the character that text[n] ends with. */
size_t sl_utf8_blank_bytes_before(const char *text, size_t n);

#endif
