/* runtime/base/condition.h - waiting for what another thread changes, until a time of
 * sl_clock_now_ns. Owns nothing: a condition variable and its lock belong to the caller. */
#ifndef SL_CONDITION_H
#define SL_CONDITION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Ended with pthread_cond_destroy. */
void sl_condition_init(pthread_cond_t *condition);

#define SL_CONDITION_FOREVER INT64_MAX

/* Wait, with `lock` held, until the condition is signalled or the clock shows end_ns. True may also
 * mean that nothing has changed: the caller looks, and waits again. False: end_ns is over. */
bool sl_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t end_ns);

#endif
