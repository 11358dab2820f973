/* runtime/base/clock.h - time since an arbitrary start. Only loops and reports read it;
 * state machines are told the time. */
#ifndef SL_CLOCK_H
#define SL_CLOCK_H

#include <stdint.h>

#define SL_MS     ((int64_t)1000000)
#define SL_SECOND ((int64_t)1000000000)

int64_t sl_clock_now_ns(void); /* monotonic */
/* The same for whoever is given a clock; `context` is not used. */
int64_t sl_clock_read(void *context);

#endif
