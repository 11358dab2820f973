/* launch/machine/memory.h - what this process uses and may use, from the kernel. Address space that
 * nothing has touched is no memory: its limits are in runtime/base/limits.h. */
#ifndef SL_MEMORY_H
#define SL_MEMORY_H

#include <stdint.h>

/* Memory of this process now: resident or swapped out (VmRSS + VmSwap). */
uint64_t sl_memory_used_bytes(void);
/* Largest resident size so far (VmHWM); 0 where the kernel does not tell. */
uint64_t sl_memory_peak_bytes(void);
/* What all processes of this host, or of the control group (container, Slurm step) this one is in,
 * could still take together: MemAvailable, or the least of what the groups' limits leave. */
uint64_t sl_memory_available_bytes(void);
/* The same of the control groups alone, read from under `root` ("" is the real one); UINT64_MAX: no
 * limit, or none that can be read. */
uint64_t sl_memory_group_bytes(const char *root);

#endif
