/* runtime/base/append.c - see append.h. snprintf returns what it would have written, which must
 * never become an index. */
#include "runtime/base/append.h"

#include <stdarg.h>
#include <stdio.h>

#include "runtime/base/log.h"

void sl_append(char *out, size_t out_bytes, size_t *used, const char *format, ...)
{
    SL_ASSERT(*used < out_bytes);
    size_t room = out_bytes - *used;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(out + *used, room, format, arguments);
    va_end(arguments);
    if (n < 0)
        out[*used] = '\0'; /* an encoding error: nothing was said */
    else
        *used += (size_t)n < room ? (size_t)n : room - 1;
}
