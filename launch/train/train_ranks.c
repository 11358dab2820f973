/* launch/train/train_ranks.c - see train_ranks.h. */
#include "launch/train/train_ranks.h"

#include <stdlib.h>
#include <string.h>

#include "launch/machine/ranks.h"

enum { ALL_PARTS_BYTES = 16 << 20, PART_BYTES_MIN = 4096 };

static void add_doubles(double *sum, const void *part, size_t bytes)
{
    const double *x = part;
    for (size_t i = 0; i < bytes / sizeof *x; i++) sum[i] += x[i];
}

static void add_floats(float *sum, const void *part, size_t bytes)
{
    const float *x = part;
    for (size_t i = 0; i < bytes / sizeof *x; i++) sum[i] += x[i];
}

typedef enum { DOUBLES, FLOATS } number;

static sl_status sum_ranks(sl_comm *comm, void *x, size_t bytes, number kind)
{
    size_t ranks = (size_t)sl_comm_ranks(comm);
    if (ranks == 1) return SL_OK;
    size_t part_bytes = ALL_PARTS_BYTES / ranks / PART_BYTES_MIN * PART_BYTES_MIN;
    if (part_bytes < PART_BYTES_MIN) part_bytes = PART_BYTES_MIN;
    char *all = malloc(ranks * part_bytes);
    if (!all) sl_ranks_abort_memory(comm);
    sl_status status = SL_OK;
    for (size_t at = 0; status == SL_OK && at < bytes; at += part_bytes) {
        size_t n = bytes - at < part_bytes ? bytes - at : part_bytes;
        char *part = (char *)x + at;
        status = sl_comm_gather(comm, part, n, all, 0);
        if (status != SL_OK) break;
        memcpy(part, all, n);
        for (size_t r = 1; r < ranks; r++) {
            if (kind == DOUBLES)
                add_doubles((double *)part, all + r * n, n);
            else
                add_floats((float *)part, all + r * n, n);
        }
    }
    free(all);
    return status;
}

sl_status sl_train_sum_doubles(sl_comm *comm, double *x, size_t n)
{
    return sum_ranks(comm, x, n * sizeof *x, DOUBLES);
}

sl_status sl_train_sum_floats(sl_comm *comm, float *x, size_t n)
{
    return sum_ranks(comm, x, n * sizeof *x, FLOATS);
}

sl_status sl_train_any(sl_comm *comm, bool mine, bool *any_out)
{
    double sum = mine;
    sl_status status = sl_train_sum_doubles(comm, &sum, 1);
    *any_out = sum > 0;
    return status;
}

sl_status sl_train_same(sl_comm *comm, uint64_t value, bool *same_out)
{
    size_t ranks = (size_t)sl_comm_ranks(comm);
    uint64_t *all = calloc(ranks, sizeof *all);
    if (!all) sl_ranks_abort_memory(comm);
    sl_status status = sl_comm_gather(comm, &value, sizeof value, all, 0);
    *same_out = true;
    for (size_t r = 0; r < ranks; r++) *same_out = *same_out && all[r] == value;
    free(all);
    return status;
}
