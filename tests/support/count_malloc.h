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
#include <errno.h>
#include <malloc.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,readability-inconsistent-declaration-parameter-name) */
static struct {
    size_t calls, bytes; /* asked for so far, by any thread */
    size_t live, peak;   /* held now, and the most since somebody last set it to `live` */
} malloc_count;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);

static void *count_taken(void *block, size_t bytes)
{
    __atomic_fetch_add(&malloc_count.calls, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&malloc_count.bytes, bytes, __ATOMIC_RELAXED);
    size_t live = __atomic_add_fetch(&malloc_count.live, malloc_usable_size(block),
                                     __ATOMIC_RELAXED);
    if (live > malloc_count.peak) malloc_count.peak = live; /* threads may lose one another's */
    return block;
}

void *malloc(size_t bytes) { return count_taken(__libc_malloc(bytes), bytes); }

void *calloc(size_t n, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total)) total = SIZE_MAX / 2;
    return count_taken(__libc_calloc(n, bytes), total);
}

void *realloc(void *old, size_t bytes)
{
    size_t before = malloc_usable_size(old);
    void *block = __libc_realloc(old, bytes);
    if (block || bytes == 0) __atomic_fetch_sub(&malloc_count.live, before, __ATOMIC_RELAXED);
    return count_taken(block, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return count_taken(__libc_memalign(alignment, bytes), bytes);
}

int posix_memalign(void **block_out, size_t alignment, size_t bytes)
{
    void *block = aligned_alloc(alignment, bytes);
    if (!block) return ENOMEM;
    *block_out = block;
    return 0;
}

void free(void *block)
{
    __atomic_fetch_sub(&malloc_count.live, malloc_usable_size(block), __ATOMIC_RELAXED);
    __libc_free(block);
}
/* NOLINTEND(bugprone-reserved-identifier,readability-inconsistent-declaration-parameter-name) */
#endif

#endif
