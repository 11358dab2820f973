/* runtime/kernels/kv_layout.h - what is inside a page of the cache.
 *
 * A page holds K and V of SL_PAGE_TOKENS tokens of one KV head. Sinks, ring, kept pages and a
 * prompt chunk's window are all pages, so attention has one path: softmax over a list of
 * tiles, each a page and the slots that a query may see. The cache decides which page belongs
 * to whom; only this interface knows the bytes within. Moves and dumps use the exported form. */
#ifndef SL_KV_LAYOUT_H
#define SL_KV_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

enum { SL_PAGE_TOKENS = 64 };

/* Slots [begin, end) of a page. */
typedef struct {
    uint8_t begin, end;
} sl_slots;

typedef struct {
    const void *page;
    const sl_slots *visible; /* [n_rows], what each query row sees; NULL: the whole page */
} sl_kv_tile;

/* Where online softmax (Milakov & Gimelshein 2018, arXiv:1805.02867) stands for one query row:
 * begin with max -INFINITY, sum 0, acc 0. */
typedef struct {
    float max, sum;
} sl_softmax;

typedef struct {
    const char *name; /* "f16" */

    size_t (*page_bytes)(size_t head_dim);
    /* Write token `slot`: k, v [head_dim] f32, clamped to the finite f16 range. */
    void (*put)(void *page, size_t slot, const float *k, const float *v, size_t head_dim);
    /* Move stored bits unchanged; slots of the same or different pages. */
    void (*copy)(void *to, size_t to_slot, const void *from, size_t from_slot, size_t head_dim);
    /* The stored values, widened exactly, as f32 [head_dim] each. */
    void (*get)(const void *page, size_t slot, float *k, float *v, size_t head_dim);

    /* Continue softmax(q k / 1) v over tiles in the order given: for every row r with something
     * visible in a tile, update state[r] and acc[r]. q is already scaled by 1/sqrt(head_dim).
     * q, acc: [n_rows][head_dim] f32; state: [n_rows]. A row that sees nothing of a tile is left
     * bit for bit as it was, so skipping a tile nobody sees changes nothing, and a row's result
     * depends on its own q and tiles alone. head_dim is a multiple of 16, at most 256. */
    void (*attend)(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                   size_t head_dim, sl_softmax *state, float *acc);

    /* (state, acc) += (state2, acc2): the same as if the second's tiles had followed, up to
     * rounding; in a fixed order of operations. acc: [head_dim]. */
    void (*merge)(sl_softmax *state, float *acc, const sl_softmax *state2, const float *acc2,
                  size_t head_dim);
    /* out[i] = acc[i] / sum; zeros when nothing was seen. */
    void (*finish)(const sl_softmax *state, const float *acc, size_t head_dim, float *out);
} sl_kv_layout;

#endif
