/* runtime/base/mapping.c - a fixed table of atomics, so a signal handler can read it at any moment. An
 * entry is taken by its `path` and valid while `begin` is set. */
#include "runtime/base/mapping.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct {
    atomic_uintptr_t begin; /* 0: nothing here */
    atomic_size_t bytes;
    _Atomic(const char *) path; /* NULL: the entry is free */
} entry;

enum { ENTRIES = 64 };
static entry entries[ENTRIES];

void sl_mapping_note(const void *begin, size_t bytes, const char *path)
{
    for (int i = 0; i < ENTRIES; i++) {
        const char *nobody = NULL;
        if (!atomic_compare_exchange_strong(&entries[i].path, &nobody, path)) continue;
        atomic_store(&entries[i].bytes, bytes);
        atomic_store(&entries[i].begin, (uintptr_t)begin);
        return;
    }
}

void sl_mapping_forget(const void *begin)
{
    for (int i = 0; i < ENTRIES; i++) {
        uintptr_t there = (uintptr_t)begin;
        if (!atomic_compare_exchange_strong(&entries[i].begin, &there, 0)) continue;
        atomic_store(&entries[i].path, NULL);
        return;
    }
}

const char *sl_mapping_at(const void *address)
{
    uintptr_t at = (uintptr_t)address;
    for (int i = 0; i < ENTRIES; i++) {
        uintptr_t begin = atomic_load(&entries[i].begin);
        if (begin == 0 || at < begin || at - begin >= atomic_load(&entries[i].bytes)) continue;
        return atomic_load(&entries[i].path);
    }
    return NULL;
}
