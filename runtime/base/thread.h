/* runtime/base/thread.h - the one way to start a thread. Its stack has a size of our own: what
 * `ulimit -s` says would be address space by the gigabyte on one host, and too little on
 * another. */
#ifndef SL_THREAD_H
#define SL_THREAD_H

#include <pthread.h>

/* The deepest are the kernels of attention, whose tiles lie on it (400 KB); JSON nested as deep as
 * jansson reads takes less than 256 KB. Frames of sanitizers are several times as large. */
#if defined(__has_feature) /* clang */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SL_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SL_SANITIZED 1
#endif
#ifndef SL_SANITIZED
#define SL_SANITIZED 0
#endif
#define SL_THREAD_STACK_BYTES ((size_t)(SL_SANITIZED ? 8 : 1) << 20)

/* Start run(context). Returns 0, or an error number as pthread_create does. */
int sl_thread_start(pthread_t *id_out, void *(*run)(void *context), void *context);

/* Give threads that libraries start a stack of the same size, where they ask for none. */
void sl_thread_set_default_stack(void);

#endif
