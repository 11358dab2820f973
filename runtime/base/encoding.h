/* runtime/base/encoding.h - JSON and lists that people give are UTF-8. Editors put a byte order
 * mark in front, which is skipped; what PowerShell's > writes is UTF-16, and refused whole. */
#ifndef SL_ENCODING_H
#define SL_ENCODING_H

#include <stddef.h>

#include "runtime/base/status.h"

/* Bytes of the mark that the text begins with: 3, or 0. */
size_t sl_encoding_mark(const char *text, size_t bytes);
/* SL_ERR_FORMAT, logged with the way out: a text that begins so is UTF-16 or UTF-32. */
sl_status sl_encoding_check(const char *path, const char *text, size_t bytes);
/* The same of a file; SL_OK too when it cannot be read, which its reader will say. */
sl_status sl_encoding_check_file(const char *path);

#endif
