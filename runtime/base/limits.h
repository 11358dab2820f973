/* runtime/base/limits.h - the system's limits on the address space a process takes (ulimit -v) and
 * on its data segment (ulimit -d). Both count what is set aside, whether or not anything ever
 * touches it, so neither says how much memory is in use. A limit that is too low is named with the
 * value that is enough: libraries that meet one hang, crash or say "out of memory". */
#ifndef SL_LIMITS_H
#define SL_LIMITS_H

#include <stdint.h>

#include "runtime/base/status.h"

typedef struct {
    uint64_t most;  /* bytes; UINT64_MAX: no limit */
    uint64_t taken; /* of it, now */
} sl_limit;

sl_limit sl_limit_data(void);
sl_limit sl_limit_address(void);
/* What a limit leaves; UINT64_MAX: all. */
uint64_t sl_limit_left(sl_limit limit);
/* The value to give ulimit (kilobytes, rounded up) so that `bytes` find room beside what is
 * taken. */
uint64_t sl_limit_enough(sl_limit limit, uint64_t bytes);

/* SL_ERR_MEMORY, logged: a limit leaves less than `bytes`, which `what` takes. */
sl_status sl_limits_check(uint64_t bytes, const char *what);

/* What a program does before anything else, so that limits mean the same on every host: allocations
 * of all threads come from one heap (each thread's own would set 64 MB aside), threads that
 * libraries start have our stacks, and this thread's may grow as far as one of them.
 * SL_ERR_MEMORY, logged: ulimit -s cannot be raised so far. */
sl_status sl_limits_begin(void);

/* What a command does before it begins. SL_ERR_MEMORY, logged: a limit leaves too little for
 * any. */
sl_status sl_limits_check_least(void);

#endif
