/* runtime/base/thread.c - see thread.h. */
#include "runtime/base/thread.h"

int sl_thread_start(pthread_t *id_out, void *(*run)(void *context), void *context)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0) return error;
    error = pthread_attr_setstacksize(&attributes, SL_THREAD_STACK_BYTES);
    if (error == 0) error = pthread_create(id_out, &attributes, run, context);
    pthread_attr_destroy(&attributes);
    return error;
}

void sl_thread_set_default_stack(void)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return;
    if (pthread_attr_setstacksize(&attributes, SL_THREAD_STACK_BYTES) == 0)
        pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
}
