/* sched/split.c - two passes of dynamic programming over (ranks so far, layers so far): the
 * least possible largest rank, then the least sum of squares under it. The second alone will not
 * do: in one of a hundred random chains its largest rank is not the least possible. */
#include "sched/split.h"

#include "runtime/base/log.h"

/* Squares of byte counts, exact. */
typedef unsigned __int128 wide;
#define WIDE_MAX (~(wide)0)

typedef struct {
    uint64_t before[SL_SPLIT_LAYERS_MAX + 1]; /* bytes of layers 0 .. i - 1 */
    uint64_t first_extra_bytes, last_extra_bytes;
    uint32_t n_layers, n_ranks;
} chain;

/* Bytes of `rank` when it holds layers [from, to). */
static uint64_t rank_bytes(const chain *c, uint32_t rank, uint32_t from, uint32_t to)
{
    return c->before[to] - c->before[from] + (rank == 0 ? c->first_extra_bytes : 0) +
           (rank + 1 == c->n_ranks ? c->last_extra_bytes : 0);
}

/* largest[to]: the least largest rank when ranks so far hold layers 0 .. to - 1. A rank reads
 * only entries below the one it writes, so from the back one row is enough. */
static uint64_t least_largest(const chain *c)
{
    uint64_t largest[SL_SPLIT_LAYERS_MAX + 1];
    for (uint32_t to = 1; to <= c->n_layers; to++) largest[to] = rank_bytes(c, 0, 0, to);
    for (uint32_t rank = 1; rank < c->n_ranks; rank++)
        for (uint32_t to = c->n_layers; to > rank; to--) {
            uint64_t best = UINT64_MAX;
            for (uint32_t from = rank; from < to; from++) {
                uint64_t bytes = rank_bytes(c, rank, from, to);
                if (bytes < largest[from]) bytes = largest[from];
                if (bytes < best) best = bytes;
            }
            largest[to] = best;
        }
    return largest[c->n_layers];
}

/* The first layer of `rank` when it ends before `to`, no rank so far above most_bytes, squares
 * least; squares[] as largest[] above, WIDE_MAX where there is no such split. */
static uint32_t most_even_start(const chain *c, uint32_t rank, uint32_t to, uint64_t most_bytes,
                                const wide *squares, wide *best_out)
{
    uint32_t start = 0;
    *best_out = WIDE_MAX;
    for (uint32_t from = rank; from < to; from++) {
        uint64_t bytes = rank_bytes(c, rank, from, to);
        if (bytes > most_bytes || squares[from] == WIDE_MAX) continue;
        wide sum = squares[from] + (wide)bytes * bytes;
        if (sum >= *best_out) continue;
        *best_out = sum;
        start = from;
    }
    return start;
}

void sl_split_layers(const uint64_t *layer_bytes, uint32_t n_layers, uint64_t first_extra_bytes,
                     uint64_t last_extra_bytes, uint32_t n_ranks, uint32_t *first_layer_out)
{
    SL_ASSERT(n_ranks >= 1 && n_ranks <= n_layers && n_layers <= SL_SPLIT_LAYERS_MAX);
    chain c = {.first_extra_bytes = first_extra_bytes,
               .last_extra_bytes = last_extra_bytes,
               .n_layers = n_layers,
               .n_ranks = n_ranks};
    for (uint32_t i = 0; i < n_layers; i++) c.before[i + 1] = c.before[i] + layer_bytes[i];

    uint64_t most_bytes = least_largest(&c);
    uint16_t start[SL_SPLIT_LAYERS_MAX][SL_SPLIT_LAYERS_MAX + 1]; /* [rank][to] */
    wide squares[SL_SPLIT_LAYERS_MAX + 1];
    for (uint32_t to = 1; to <= n_layers; to++) {
        uint64_t bytes = rank_bytes(&c, 0, 0, to);
        squares[to] = bytes <= most_bytes ? (wide)bytes * bytes : WIDE_MAX;
    }
    for (uint32_t rank = 1; rank < n_ranks; rank++)
        for (uint32_t to = n_layers; to > rank; to--)
            start[rank][to] = (uint16_t)most_even_start(&c, rank, to, most_bytes, squares,
                                                        &squares[to]);

    first_layer_out[n_ranks] = n_layers;
    for (uint32_t rank = n_ranks - 1; rank > 0; rank--)
        first_layer_out[rank] = start[rank][first_layer_out[rank + 1]];
    first_layer_out[0] = 0;
}
