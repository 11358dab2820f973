/* runtime/base/queue.h - a bounded first-in-first-out queue of pointers between two threads. */
#ifndef SL_QUEUE_H
#define SL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/status.h"

typedef struct sl_queue sl_queue;

/* Owns `capacity` slots, not what the pointers point to. NULL when memory is out. */
sl_queue *sl_queue_open(size_t capacity);
void sl_queue_close(sl_queue *queue); /* NULL is fine; no thread may be inside */

/* SL_AGAIN: full (put) or empty (take). SL_END: ended, and for take also empty. */
sl_status sl_queue_try_put(sl_queue *queue, void *item);
sl_status sl_queue_try_take(sl_queue *queue, void **item_out);
/* The same, waiting; timeout_ms < 0 waits until something happens. */
sl_status sl_queue_put(sl_queue *queue, void *item, int timeout_ms);
sl_status sl_queue_take(sl_queue *queue, void **item_out, int timeout_ms);
/* No more puts; wakes everybody. */
void sl_queue_end(sl_queue *queue);

#endif
