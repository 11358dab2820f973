/* runtime/text/bpe.c - symbols are a linked list, candidate pairs a heap; a pair whose symbols have
 * changed since it was pushed is skipped when it comes up. */
#include "runtime/text/bpe.h"

#include <stdbool.h>
#include <stdlib.h>

#include "runtime/base/log.h"

struct sl_bpe_merge {
    int32_t left, right; /* left -1: free */
    uint32_t rank;
    int32_t merged;
};

struct sl_bpe_node {
    int32_t id;              /* -1: merged into the one before */
    uint32_t previous, next; /* NONE at the ends */
};

struct sl_bpe_pair {
    uint32_t rank, at; /* node of the left symbol */
    int32_t left, right, merged;
};

static const uint32_t NONE = UINT32_MAX;

/* ---- the table ---- */

sl_status sl_bpe_merges_init(sl_bpe_merges *merges, size_t n_merges)
{
    size_t capacity = 16;
    while (capacity < 2 * n_merges) capacity *= 2;
    struct sl_bpe_merge *slots = malloc(capacity * sizeof *slots);
    if (!slots) return SL_ERR_MEMORY;
    for (size_t i = 0; i < capacity; i++) slots[i].left = -1;
    *merges = (sl_bpe_merges){.slots = slots, .capacity = capacity};
    return SL_OK;
}

void sl_bpe_merges_fini(sl_bpe_merges *merges) { free(merges->slots); }

static struct sl_bpe_merge *place(const sl_bpe_merges *merges, int32_t left, int32_t right)
{
    uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15U;
    size_t i = (size_t)(key >> 32) & (merges->capacity - 1);
    while (merges->slots[i].left >= 0 &&
           (merges->slots[i].left != left || merges->slots[i].right != right))
        i = (i + 1) & (merges->capacity - 1);
    return &merges->slots[i];
}

void sl_bpe_merges_add(sl_bpe_merges *merges, int32_t left, int32_t right, uint32_t rank,
                       int32_t merged)
{
    struct sl_bpe_merge *slot = place(merges, left, right);
    if (slot->left < 0)
        *slot = (struct sl_bpe_merge){.left = left, .right = right, .rank = rank, .merged = merged};
}

/* ---- the heap: lowest rank, then leftmost ---- */

static bool precedes(const struct sl_bpe_pair *a, const struct sl_bpe_pair *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static void push(sl_bpe_scratch *s, struct sl_bpe_pair pair)
{
    SL_DEBUG_ASSERT(s->n_heap < s->heap_capacity);
    size_t i = s->n_heap++;
    for (size_t parent; i > 0 && precedes(&pair, &s->heap[parent = (i - 1) / 2]); i = parent)
        s->heap[i] = s->heap[parent];
    s->heap[i] = pair;
}

static struct sl_bpe_pair pop(sl_bpe_scratch *s)
{
    struct sl_bpe_pair first = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < s->n_heap; i = child) {
        if (child + 1 < s->n_heap && precedes(&s->heap[child + 1], &s->heap[child])) child++;
        if (!precedes(&s->heap[child], &last)) break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = last;
    return first;
}

/* ---- merging ---- */

void sl_bpe_scratch_fini(sl_bpe_scratch *scratch)
{
    free(scratch->nodes);
    free(scratch->heap);
}

/* n nodes; each merge pushes two pairs at most, beside the n - 1 at the start. */
static sl_status make_room(sl_bpe_scratch *s, size_t n)
{
    if (n <= s->n_nodes) return SL_OK;
    if (n >= NONE / 4) return SL_ERR_MEMORY;
    size_t n_nodes = n > 1024 ? n : 1024;
    struct sl_bpe_node *nodes = realloc(s->nodes, n_nodes * sizeof *nodes);
    if (nodes) s->nodes = nodes;
    struct sl_bpe_pair *heap = realloc(s->heap, 3 * n_nodes * sizeof *heap);
    if (heap) s->heap = heap;
    if (!nodes || !heap) return SL_ERR_MEMORY;
    s->n_nodes = n_nodes;
    s->heap_capacity = 3 * n_nodes;
    return SL_OK;
}

static void offer(const sl_bpe_merges *merges, sl_bpe_scratch *s, uint32_t at)
{
    uint32_t next = at == NONE ? NONE : s->nodes[at].next;
    if (next == NONE) return;
    int32_t left = s->nodes[at].id, right = s->nodes[next].id;
    const struct sl_bpe_merge *merge = place(merges, left, right);
    if (merge->left >= 0)
        push(s, (struct sl_bpe_pair){.rank = merge->rank,
                                     .at = at,
                                     .left = left,
                                     .right = right,
                                     .merged = merge->merged});
}

static void apply(const sl_bpe_merges *merges, sl_bpe_scratch *s, const struct sl_bpe_pair *pair)
{
    struct sl_bpe_node *left = &s->nodes[pair->at];
    if (left->id != pair->left || left->next == NONE) return;
    struct sl_bpe_node *right = &s->nodes[left->next];
    if (right->id != pair->right) return;
    left->id = pair->merged;
    left->next = right->next;
    right->id = -1;
    if (left->next != NONE) s->nodes[left->next].previous = pair->at;
    offer(merges, s, left->previous);
    offer(merges, s, pair->at);
}

sl_status sl_bpe_run(const sl_bpe_merges *merges, sl_bpe_scratch *scratch, int32_t *ids, size_t n,
                     size_t *n_out)
{
    *n_out = n;
    if (n < 2) return SL_OK;
    if (make_room(scratch, n) != SL_OK) {
        sl_error("no memory to merge a piece of %zu bytes", n);
        return SL_ERR_MEMORY;
    }
    for (uint32_t i = 0; i < n; i++)
        scratch->nodes[i] = (struct sl_bpe_node){
            .id = ids[i], .previous = i ? i - 1 : NONE, .next = i + 1 < n ? i + 1 : NONE};
    scratch->n_heap = 0;
    for (uint32_t i = 0; i + 1 < n; i++) offer(merges, scratch, i);
    while (scratch->n_heap > 0) {
        struct sl_bpe_pair pair = pop(scratch);
        apply(merges, scratch, &pair);
    }
    size_t left = 0;
    for (uint32_t i = 0; i != NONE; i = scratch->nodes[i].next) ids[left++] = scratch->nodes[i].id;
    *n_out = left;
    return SL_OK;
}
