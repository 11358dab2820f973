/* sched/split.h - contiguous runs of layers for the ranks of a pipeline. Pure arithmetic.
 * A pipeline is as slow, and as full, as its largest rank, so that one is made smallest. */
#ifndef SL_SPLIT_H
#define SL_SPLIT_H

#include <stdint.h>

enum { SL_SPLIT_LAYERS_MAX = 256 };

/* Rank 0 also holds first_extra_bytes (the embedding), the last rank last_extra_bytes (the
 * head). */
typedef struct {
    uint32_t n_layers, n_ranks;
    const uint64_t *layer_bytes; /* [n_layers] weights and cache */
    uint64_t first_extra_bytes, last_extra_bytes;
    const uint64_t *rank_limits; /* [n_ranks] of all its bytes; UINT64_MAX: none */
} sl_split_options;

/* Rank r gets layers [first_layer_out[r], first_layer_out[r + 1]), at least one.
 * Of all splits, one whose ranks are within their limits; where none is, one that goes beyond them
 * the least on the rank that does so the most. Of those, the least bytes on the largest rank; of
 * those, the most even: the least sum of squared bytes; of those, the later ranks take more layers
 * (rank 0 also drives). Returns by how many bytes a rank is beyond its limit: 0, it fits.
 * first_layer_out: [n_ranks + 1]. Asserts 1 <= n_ranks <= n_layers <= SL_SPLIT_LAYERS_MAX.
 * Time n_ranks * n_layers^2. */
uint64_t sl_split_layers(const sl_split_options *options, uint32_t *first_layer_out);

/* Bytes of a rank that holds layers [from, to). */
uint64_t sl_split_rank_bytes(const sl_split_options *options, uint32_t rank, uint32_t from,
                             uint32_t to);
/* By how many bytes that is beyond its limit. */
uint64_t sl_split_rank_excess(const sl_split_options *options, uint32_t rank, uint32_t from,
                              uint32_t to);

#endif
