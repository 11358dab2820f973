/* runtime/base/queue.c - a ring under one mutex. The items are frames and requests, a few
 * hundred a second, so a lock costs nothing worth saving. */
#include "runtime/base/queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "runtime/base/clock.h"
#include "runtime/base/condition.h"

struct sl_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t capacity, first, count;
    bool ended;
    void *items[];
};

sl_queue *sl_queue_open(size_t capacity)
{
    sl_queue *queue = calloc(1, sizeof *queue + capacity * sizeof(void *));
    if (!queue) return NULL;
    queue->capacity = capacity;
    pthread_mutex_init(&queue->lock, NULL);
    sl_condition_init(&queue->changed);
    return queue;
}

void sl_queue_close(sl_queue *queue)
{
    if (!queue) return;
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static int64_t end_of(int timeout_ms)
{
    return timeout_ms < 0 ? SL_CONDITION_FOREVER : sl_clock_now_ns() + timeout_ms * SL_MS;
}

sl_status sl_queue_put(sl_queue *queue, void *item, int timeout_ms)
{
    const int64_t end_ns = end_of(timeout_ms);
    pthread_mutex_lock(&queue->lock);
    bool in_time = timeout_ms != 0;
    while (queue->count == queue->capacity && !queue->ended && in_time)
        in_time = sl_condition_wait(&queue->changed, &queue->lock, end_ns);
    sl_status status = SL_OK;
    if (queue->ended) {
        status = SL_END;
    } else if (queue->count == queue->capacity) {
        status = SL_AGAIN;
    } else {
        queue->items[(queue->first + queue->count++) % queue->capacity] = item;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return status;
}

sl_status sl_queue_take(sl_queue *queue, void **item_out, int timeout_ms)
{
    const int64_t end_ns = end_of(timeout_ms);
    pthread_mutex_lock(&queue->lock);
    bool in_time = timeout_ms != 0;
    while (queue->count == 0 && !queue->ended && in_time)
        in_time = sl_condition_wait(&queue->changed, &queue->lock, end_ns);
    sl_status status = SL_OK;
    if (queue->count > 0) {
        *item_out = queue->items[queue->first];
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
        pthread_cond_broadcast(&queue->changed);
    } else {
        status = queue->ended ? SL_END : SL_AGAIN;
    }
    pthread_mutex_unlock(&queue->lock);
    return status;
}

sl_status sl_queue_try_put(sl_queue *queue, void *item) { return sl_queue_put(queue, item, 0); }

sl_status sl_queue_try_take(sl_queue *queue, void **item_out)
{
    return sl_queue_take(queue, item_out, 0);
}

void sl_queue_end(sl_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->ended = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}
