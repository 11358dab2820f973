/* tests/support/count_malloc.h - malloc of the whole program, counted. To be included once in a
 * program. Sanitizers bring their own malloc and must keep it: COUNTS_MALLOC is 0 then. */
#ifndef SL_TEST_COUNT_MALLOC_H
#define SL_TEST_COUNT_MALLOC_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_MALLOC 0
#endif
#endif
#ifndef COUNTS_MALLOC
#define COUNTS_MALLOC 1
#endif

#if COUNTS_MALLOC
/* NOLINTBEGIN(bugprone-reserved-identifier,readability-inconsistent-declaration-parameter-name) */
static struct {
    size_t calls, bytes; /* asked for so far, by any thread */
} malloc_count;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

static void count_malloc(size_t bytes)
{
    __atomic_fetch_add(&malloc_count.calls, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&malloc_count.bytes, bytes, __ATOMIC_RELAXED);
}

void *malloc(size_t bytes)
{
    count_malloc(bytes);
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total)) total = SIZE_MAX / 2;
    count_malloc(total);
    return __libc_calloc(n, bytes);
}

void *realloc(void *old, size_t bytes)
{
    count_malloc(bytes);
    return __libc_realloc(old, bytes);
}
/* NOLINTEND(bugprone-reserved-identifier,readability-inconsistent-declaration-parameter-name) */
#endif

#endif
