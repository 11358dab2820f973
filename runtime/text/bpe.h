/* runtime/text/bpe.h - byte-pair merges over one piece of text (Sennrich et al. 2016,
 * arXiv:1508.07909). Knows ids and ranks, not texts. */
#ifndef SL_BPE_H
#define SL_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

/* Which pairs merge, into what, and which first: a hash table of pairs. */
typedef struct {
    struct sl_bpe_merge *slots;
    size_t capacity; /* a power of two */
} sl_bpe_merges;

sl_status sl_bpe_merges_init(sl_bpe_merges *merges, size_t n_merges);
void sl_bpe_merges_fini(sl_bpe_merges *merges);
/* The pair (left, right) becomes `merged`; lower ranks go first. A pair given twice keeps its
 * first rank. At most n_merges. */
void sl_bpe_merges_add(sl_bpe_merges *merges, int32_t left, int32_t right, uint32_t rank,
                       int32_t merged);

/* Room for merging that grows with the longest piece: start from {0}, one thread's. */
typedef struct {
    struct sl_bpe_node *nodes;
    size_t n_nodes;
    struct sl_bpe_pair *heap;
    size_t n_heap, heap_capacity;
} sl_bpe_scratch;
void sl_bpe_scratch_fini(sl_bpe_scratch *scratch);

/* Merge ids[n] in place: of all pairs that are neighbours the one of lowest rank, leftmost first,
 * until none merges. *n_out is what is left. O(n log n). SL_ERR_MEMORY. */
sl_status sl_bpe_run(const sl_bpe_merges *merges, sl_bpe_scratch *scratch, int32_t *ids, size_t n,
                     size_t *n_out);

#endif
