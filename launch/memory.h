/* launch/memory.h - what this process uses and may use, from the kernel. */
#ifndef SL_MEMORY_H
#define SL_MEMORY_H

#include <stdint.h>

/* Largest resident size so far (VmHWM); 0 where the kernel does not tell. */
uint64_t sl_memory_peak_bytes(void);
/* Data segment now (VmData), and its limit (RLIMIT_DATA; UINT64_MAX: none). */
uint64_t sl_memory_data_bytes(void);
uint64_t sl_memory_data_limit(void);
/* What the host could still give to all its processes (MemAvailable). */
uint64_t sl_memory_available_bytes(void);

#endif
