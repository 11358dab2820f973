/* tests/unit/base/test_queue.c - order, bounds, time limits and the end, between two threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "runtime/base/clock.h"
#include "runtime/base/queue.h"

/* Numbers as items. */
static void *item(uintptr_t n) { return (void *)n; }

static void test_order_and_bounds(void **state)
{
    (void)state;
    sl_queue *queue = sl_queue_open(3);
    void *out = item(99);
    assert_int_equal(sl_queue_try_take(queue, &out), SL_AGAIN);
    assert_ptr_equal(out, item(99));
    for (uintptr_t lap = 0; lap < 5; lap++) { /* the ring goes round */
        for (uintptr_t i = 0; i < 3; i++)
            assert_int_equal(sl_queue_try_put(queue, item(10 * lap + i)), SL_OK);
        assert_int_equal(sl_queue_try_put(queue, item(7)), SL_AGAIN);
        for (uintptr_t i = 0; i < 3; i++) {
            assert_int_equal(sl_queue_try_take(queue, &out), SL_OK);
            assert_ptr_equal(out, item(10 * lap + i));
        }
        assert_int_equal(sl_queue_try_put(queue, item(0)), SL_OK);
        assert_int_equal(sl_queue_try_take(queue, &out), SL_OK);
    }
    sl_queue_close(queue);
    sl_queue_close(NULL);
}

static void test_end(void **state)
{
    (void)state;
    sl_queue *queue = sl_queue_open(2);
    void *out;
    assert_int_equal(sl_queue_try_put(queue, item(1)), SL_OK);
    sl_queue_end(queue);
    assert_int_equal(sl_queue_try_put(queue, item(2)), SL_END);
    assert_int_equal(sl_queue_put(queue, item(2), -1), SL_END);
    assert_int_equal(sl_queue_try_take(queue, &out), SL_OK); /* what is in comes out */
    assert_ptr_equal(out, item(1));
    assert_int_equal(sl_queue_try_take(queue, &out), SL_END);
    assert_int_equal(sl_queue_take(queue, &out, -1), SL_END);
    sl_queue_close(queue);
}

static void test_time_limit(void **state)
{
    (void)state;
    sl_queue *queue = sl_queue_open(1);
    void *out;
    int64_t start = sl_clock_now_ns();
    assert_int_equal(sl_queue_take(queue, &out, 30), SL_AGAIN);
    assert_int_equal(sl_queue_put(queue, item(1), 30), SL_OK);
    assert_int_equal(sl_queue_put(queue, item(2), 30), SL_AGAIN);
    int64_t passed = sl_clock_now_ns() - start;
    assert_true(passed >= 60 * SL_MS);
    assert_true(passed < 10 * SL_SECOND);
    sl_queue_close(queue);
}

enum { MANY = 50000 };

static void *put_many(void *data)
{
    for (uintptr_t i = 1; i <= MANY; i++)
        if (sl_queue_put(data, item(i), -1) != SL_OK) return item(i);
    sl_queue_end(data);
    return NULL;
}

/* A queue of 4 makes both sides wait all the time; nothing is lost, doubled or reordered. */
static void test_two_threads(void **state)
{
    (void)state;
    sl_queue *queue = sl_queue_open(4);
    pthread_t putter;
    assert_int_equal(pthread_create(&putter, NULL, put_many, queue), 0);
    void *out;
    uintptr_t next = 1;
    while (sl_queue_take(queue, &out, -1) == SL_OK) {
        if (out != item(next)) break;
        next++;
    }
    sl_queue_end(queue); /* lets the putter go should the order be wrong */
    void *result;
    pthread_join(putter, &result);
    assert_null(result);
    assert_int_equal(next, MANY + 1);
    sl_queue_close(queue);
}

typedef struct {
    sl_queue *queue;
    sl_status status;
    pthread_t thread;
} waiter;

static void *wait_to_take(void *data)
{
    waiter *w = data;
    void *out;
    w->status = sl_queue_take(w->queue, &out, -1);
    return NULL;
}

static void *wait_to_put(void *data)
{
    waiter *w = data;
    w->status = sl_queue_put(w->queue, item(2), -1);
    return NULL;
}

static void pause_ms(long ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL); }

/* One waits to take from an empty queue, the other to put into a full one. */
static void begin_waiting(waiter *taker, waiter *putter)
{
    *taker = (waiter){.queue = sl_queue_open(1)};
    *putter = (waiter){.queue = sl_queue_open(1)};
    assert_int_equal(sl_queue_try_put(putter->queue, item(1)), SL_OK);
    assert_int_equal(pthread_create(&taker->thread, NULL, wait_to_take, taker), 0);
    assert_int_equal(pthread_create(&putter->thread, NULL, wait_to_put, putter), 0);
    pause_ms(50);
}

static void end_waiting(const waiter *taker, const waiter *putter, sl_status expected)
{
    pthread_join(taker->thread, NULL);
    pthread_join(putter->thread, NULL);
    assert_int_equal(taker->status, expected);
    assert_int_equal(putter->status, expected);
}

/* The end wakes those who wait without a limit, on either side. */
static void test_end_wakes(void **state)
{
    (void)state;
    waiter taker, putter;
    begin_waiting(&taker, &putter);
    sl_queue_end(taker.queue);
    sl_queue_end(putter.queue);
    end_waiting(&taker, &putter, SL_END);
    sl_queue_close(taker.queue);
    sl_queue_close(putter.queue);
}

/* A put wakes a waiting take, and a take a waiting put. */
static void test_work_wakes(void **state)
{
    (void)state;
    waiter taker, putter;
    begin_waiting(&taker, &putter);
    void *out;
    assert_int_equal(sl_queue_try_put(taker.queue, item(5)), SL_OK);
    assert_int_equal(sl_queue_try_take(putter.queue, &out), SL_OK);
    end_waiting(&taker, &putter, SL_OK);
    assert_int_equal(sl_queue_try_take(putter.queue, &out), SL_OK);
    assert_ptr_equal(out, item(2));
    sl_queue_close(taker.queue);
    sl_queue_close(putter.queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_bounds), cmocka_unit_test(test_end),
        cmocka_unit_test(test_time_limit),       cmocka_unit_test(test_two_threads),
        cmocka_unit_test(test_end_wakes),        cmocka_unit_test(test_work_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
