/* sched/split.c - three passes of dynamic programming over (ranks so far, layers so far): the least
 * excess over limits, under it the least possible largest rank, under both the least sum of
 * squares. One pass for the last alone will not do: in one of a hundred random chains its largest
 * rank is not the least possible. */
#include "sched/split.h"

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

/* Squares of byte counts, exact. */
typedef unsigned __int128 wide;
#define WIDE_MAX (~(wide)0)

typedef struct {
    const sl_split_options *options;
    uint64_t before[SL_SPLIT_LAYERS_MAX + 1]; /* bytes of layers 0 .. i - 1 */
    uint64_t most_excess, most_bytes;         /* of any rank, as found so far */
} chain;

static uint64_t rank_bytes(const chain *c, uint32_t rank, uint32_t from, uint32_t to)
{
    const sl_split_options *o = c->options;
    return c->before[to] - c->before[from] + (rank == 0 ? o->first_extra_bytes : 0) +
           (rank + 1 == o->n_ranks ? o->last_extra_bytes : 0);
}

static uint64_t rank_excess(const chain *c, uint32_t rank, uint32_t from, uint32_t to)
{
    return sl_saturating_sub_u64(rank_bytes(c, rank, from, to), c->options->rank_limits[rank]);
}

/* What a pass makes the largest of as small as can be. */
typedef uint64_t cost_of(const chain *c, uint32_t rank, uint32_t from, uint32_t to);

/* rank_bytes, but endless where a rank would go beyond the least excess. */
static uint64_t allowed_bytes(const chain *c, uint32_t rank, uint32_t from, uint32_t to)
{
    if (rank_excess(c, rank, from, to) > c->most_excess) return UINT64_MAX;
    return rank_bytes(c, rank, from, to);
}

/* largest[to]: the least largest cost when ranks so far hold layers 0 .. to - 1. A rank reads only
 * entries below the one it writes, so from the back one row is enough. */
static uint64_t least_largest(const chain *c, cost_of *cost)
{
    uint32_t n_layers = c->options->n_layers;
    uint64_t largest[SL_SPLIT_LAYERS_MAX + 1] = {0};
    for (uint32_t to = 1; to <= n_layers; to++) largest[to] = cost(c, 0, 0, to);
    for (uint32_t rank = 1; rank < c->options->n_ranks; rank++)
        for (uint32_t to = n_layers; to > rank; to--) {
            uint64_t best = UINT64_MAX;
            for (uint32_t from = rank; from < to; from++) {
                uint64_t here = cost(c, rank, from, to);
                if (here < largest[from]) here = largest[from];
                if (here < best) best = here;
            }
            largest[to] = best;
        }
    return largest[n_layers];
}

/* The square of a rank's bytes; WIDE_MAX where it is beyond what was found to be the least. */
static wide rank_square(const chain *c, uint32_t rank, uint32_t from, uint32_t to)
{
    uint64_t bytes = allowed_bytes(c, rank, from, to);
    return bytes <= c->most_bytes ? (wide)bytes * bytes : WIDE_MAX;
}

/* The first layer of `rank` when it ends before `to`, squares least; squares[] as largest[] above,
 * WIDE_MAX where there is no such split. */
static uint32_t most_even_start(const chain *c, uint32_t rank, uint32_t to, const wide *squares,
                                wide *best_out)
{
    uint32_t start = 0;
    *best_out = WIDE_MAX;
    for (uint32_t from = rank; from < to; from++) {
        wide square = rank_square(c, rank, from, to);
        if (square == WIDE_MAX || squares[from] == WIDE_MAX) continue;
        if (squares[from] + square >= *best_out) continue;
        *best_out = squares[from] + square;
        start = from;
    }
    return start;
}

static void open_chain(chain *c, const sl_split_options *options)
{
    const sl_split_options *o = options;
    SL_ASSERT(o->n_ranks >= 1 && o->n_ranks <= o->n_layers && o->n_layers <= SL_SPLIT_LAYERS_MAX);
    *c = (chain){.options = o, .most_excess = UINT64_MAX};
    for (uint32_t i = 0; i < o->n_layers; i++) c->before[i + 1] = c->before[i] + o->layer_bytes[i];
}

uint64_t sl_split_rank_bytes(const sl_split_options *options, uint32_t rank, uint32_t from,
                             uint32_t to)
{
    chain c;
    open_chain(&c, options);
    return rank_bytes(&c, rank, from, to);
}

uint64_t sl_split_rank_excess(const sl_split_options *options, uint32_t rank, uint32_t from,
                              uint32_t to)
{
    chain c;
    open_chain(&c, options);
    return rank_excess(&c, rank, from, to);
}

uint64_t sl_split_layers(const sl_split_options *options, uint32_t *first_layer_out)
{
    uint32_t n_layers = options->n_layers, n_ranks = options->n_ranks;
    chain c;
    open_chain(&c, options);
    c.most_excess = least_largest(&c, rank_excess);
    c.most_bytes = least_largest(&c, allowed_bytes);

    uint16_t start[SL_SPLIT_LAYERS_MAX][SL_SPLIT_LAYERS_MAX + 1] = {{0}}; /* [rank][to] */
    wide squares[SL_SPLIT_LAYERS_MAX + 1];
    for (uint32_t to = 1; to <= n_layers; to++) squares[to] = rank_square(&c, 0, 0, to);
    for (uint32_t rank = 1; rank < n_ranks; rank++)
        for (uint32_t to = n_layers; to > rank; to--)
            start[rank][to] = (uint16_t)most_even_start(&c, rank, to, squares, &squares[to]);

    first_layer_out[n_ranks] = n_layers;
    for (uint32_t rank = n_ranks - 1; rank > 0; rank--)
        first_layer_out[rank] = start[rank][first_layer_out[rank + 1]];
    first_layer_out[0] = 0;
    return c.most_excess;
}
