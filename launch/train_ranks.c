/* launch/train_ranks.c - see train_ranks.h. */
#include "launch/train_ranks.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/clock.h"

enum { PART_BYTES = 1 << 20 };

static const int64_t PATIENCE_NS = 600 * SL_SECOND; /* ranks differ by a piece of text at most */

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
    char *all = malloc(ranks * PART_BYTES);
    if (!all) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (size_t at = 0; status == SL_OK && at < bytes; at += PART_BYTES) {
        size_t n = bytes - at < PART_BYTES ? bytes - at : PART_BYTES;
        char *part = (char *)x + at;
        status = sl_comm_gather(comm, part, n, all, PATIENCE_NS);
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

sl_status sl_train_agree(sl_comm *comm, sl_status status)
{
    size_t ranks = (size_t)sl_comm_ranks(comm);
    sl_status *all = calloc(ranks, sizeof *all), worst = status;
    if (!all) return SL_ERR_MEMORY;
    sl_status gathered = sl_comm_gather(comm, &status, sizeof status, all, PATIENCE_NS);
    for (size_t r = 0; gathered == SL_OK && r < ranks; r++)
        if (all[r] < worst) worst = all[r];
    free(all);
    return gathered == SL_OK ? worst : gathered;
}

sl_status sl_train_any(sl_comm *comm, bool mine, bool *any_out)
{
    double sum = mine;
    sl_status status = sl_train_sum_doubles(comm, &sum, 1);
    *any_out = sum > 0;
    return status;
}
