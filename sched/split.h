/* sched/split.h - contiguous runs of layers for the ranks of a pipeline. Pure arithmetic.
 * A pipeline is as slow, and as full, as its largest rank, so that one is made smallest. */
#ifndef SL_SPLIT_H
#define SL_SPLIT_H

#include <stdint.h>

enum { SL_SPLIT_LAYERS_MAX = 256 };

/* Rank r gets layers [first_layer_out[r], first_layer_out[r + 1]), at least one. Rank 0 also
 * holds first_extra_bytes (the embedding), the last rank last_extra_bytes (the head).
 * Of all splits, one with the least bytes on the largest rank; of those, the most even: the
 * least sum of squared bytes; of those, the later ranks take more layers (rank 0 also drives).
 * first_layer_out: [n_ranks + 1]. Asserts 1 <= n_ranks <= n_layers <= SL_SPLIT_LAYERS_MAX.
 * Time n_ranks * n_layers^2. */
void sl_split_layers(const uint64_t *layer_bytes, uint32_t n_layers, uint64_t first_extra_bytes,
                     uint64_t last_extra_bytes, uint32_t n_ranks, uint32_t *first_layer_out);

#endif
