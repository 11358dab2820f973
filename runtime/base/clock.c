/* runtime/base/clock.c - CLOCK_MONOTONIC. */
#include "runtime/base/clock.h"

#include <time.h>

int64_t sl_clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SL_SECOND + now.tv_nsec;
}

int64_t sl_clock_read(void *context)
{
    (void)context;
    return sl_clock_now_ns();
}
