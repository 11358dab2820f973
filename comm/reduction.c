/* comm/reduction.c - see reduction.h. Over gathers, so it needs nothing of a transport; a ring
 * would send less, but adds each part in another order. */
#include "comm/reduction.h"

#include <stdlib.h>
#include <string.h>

enum { ALL_PARTS_BYTES = 16 << 20, PART_BYTES_MIN = 4096 };

/* Add `part` to `sum`, both of so many bytes. */
typedef void (*add_part)(void *sum, const void *part, size_t bytes);

static void add_doubles(void *sum, const void *part, size_t bytes)
{
    double *to = sum;
    const double *x = part;
    for (size_t i = 0; i < bytes / sizeof *x; i++) to[i] += x[i];
}

static void add_floats(void *sum, const void *part, size_t bytes)
{
    float *to = sum;
    const float *x = part;
    for (size_t i = 0; i < bytes / sizeof *x; i++) to[i] += x[i];
}

static sl_status sum_ranks(sl_comm *comm, void *x, size_t bytes, add_part add)
{
    size_t ranks = (size_t)sl_comm_ranks(comm);
    if (ranks == 1) return SL_OK;
    size_t part_bytes = ALL_PARTS_BYTES / ranks / PART_BYTES_MIN * PART_BYTES_MIN;
    if (part_bytes < PART_BYTES_MIN) part_bytes = PART_BYTES_MIN;
    char *all = malloc(ranks * part_bytes);
    if (!all) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (size_t at = 0; status == SL_OK && at < bytes; at += part_bytes) {
        size_t n = bytes - at < part_bytes ? bytes - at : part_bytes;
        char *part = (char *)x + at;
        status = sl_comm_gather(comm, part, n, all, 0);
        if (status != SL_OK) break;
        memcpy(part, all, n);
        for (size_t r = 1; r < ranks; r++) add(part, all + r * n, n);
    }
    free(all);
    return status;
}

sl_status sl_comm_sum_doubles(sl_comm *comm, double *x, size_t n)
{
    return sum_ranks(comm, x, n * sizeof *x, add_doubles);
}

sl_status sl_comm_sum_floats(sl_comm *comm, float *x, size_t n)
{
    return sum_ranks(comm, x, n * sizeof *x, add_floats);
}
