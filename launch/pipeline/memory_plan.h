/* launch/pipeline/memory_plan.h - how much memory a rank will take, and how many cache pages there
 * is room for. Pure arithmetic, so that a job is refused with the numbers before anything is
 * loaded. All numbers are bytes. */
#ifndef SL_MEMORY_PLAN_H
#define SL_MEMORY_PLAN_H

#include <stdint.h>

#include "runtime/base/limits.h"

typedef struct {
    uint64_t in_use;   /* by the process already, MPI's own memory included */
    uint64_t weights;  /* as they are in memory */
    uint64_t fixed;    /* frames, scratch, rings and sinks */
    uint64_t messages; /* comm, wire and codec */
    uint64_t stacks;   /* of threads, and small change */
    uint64_t job;      /* ids, lines, requests and records; rank 0 */
    uint64_t page;     /* one page of the pool with its bookkeeping */
    uint64_t pages_wanted, pages_least;
} sl_memory_needs;

/* Three limits; the one that leaves least counts. What is planned is taken from each of them. What
 * is in use already differs: address space that nothing has touched is no memory. */
typedef struct {
    uint64_t allowed;       /* memory beside what is in use */
    const char *source;     /* of that number, as the message names it */
    sl_limit data, address; /* of the data segment and of address space */
} sl_memory_limits;

typedef struct {
    uint64_t n_pages; /* of the pool: wanted, or what fits */
    uint64_t total;   /* of all the above: what the process may grow to */
} sl_memory_plan;

/* What the limits leave beside what is in use. */
uint64_t sl_memory_limits_left(const sl_memory_limits *limits);
/* SL_ERR_MEMORY, logged with the numbers and the limit that is too low: not even the least fits. */
sl_status sl_memory_plan_make(const sl_memory_needs *needs, const sl_memory_limits *limits,
                              sl_memory_plan *plan_out);

#endif
