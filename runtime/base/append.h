/* runtime/base/append.h - a text that grows piece by piece in a room of fixed size. */
#ifndef SL_APPEND_H
#define SL_APPEND_H

#include <stddef.h>

/* Print behind out[*used], which is then its new end: always below out_bytes, with a zero there.
 * What does not fit is cut. *used < out_bytes; begin with 0. */
void sl_append(char *out, size_t out_bytes, size_t *used, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
