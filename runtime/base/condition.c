/* runtime/base/condition.c - see condition.h. */
#include "runtime/base/condition.h"

#include <errno.h>
#include <time.h>

#include "runtime/base/clock.h"

void sl_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

bool sl_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t end_ns)
{
    if (end_ns == SL_CONDITION_FOREVER) return pthread_cond_wait(condition, lock) == 0;
    const struct timespec end = {.tv_sec = end_ns / SL_SECOND, .tv_nsec = end_ns % SL_SECOND};
    return pthread_cond_timedwait(condition, lock, &end) != ETIMEDOUT;
}
