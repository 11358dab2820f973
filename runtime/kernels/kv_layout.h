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

/* The part of [begin, end) that lies in the page whose slot 0 is at `start`; none: {0, 0}. */
sl_slots sl_slots_within(uint32_t begin, uint32_t end, uint32_t start);

typedef struct {
    const void *page;
    const sl_slots *visible; /* [n_rows], what each query row sees; NULL: the whole page */
} sl_kv_tile;

/* Where online softmax (Milakov & Gimelshein 2018, arXiv:1805.02867) stands for one query row:
 * begin with max -INFINITY, sum 0, acc 0. */
typedef struct {
    float max, sum;
} sl_softmax;

/* How a page stores its numbers. */
typedef enum {
    SL_KV_F16, /* clamped to the finite range */
    /* Of a token with a NaN every key is NaN, so that who sees the token notices; its values are 0,
     * so that who does not see it can multiply them by 0. */
    SL_KV_BF16,
    /* int8 with an f16 scale for every 32, made as sl_kernels.quantize does */
    SL_KV_Q8_0,
    SL_KV_TYPES
} sl_kv_type;

#define SL_KV_NAMES "auto, f16, bf16, q8_0"

typedef struct {
    const char *name;
    size_t head_dim_step; /* head_dim is a multiple of it, at most 256 */

    size_t (*page_bytes)(size_t head_dim);
    /* Write token `slot`: k, v [head_dim] f32. What is infinite or huge becomes the largest number
     * there is room for, a NaN stays one (in q8_0 with the 32 it belongs to, bf16: above). */
    void (*put)(void *page, size_t slot, const float *k, const float *v, size_t head_dim);
    /* Move stored bits unchanged; slots of the same or different pages. */
    void (*copy)(void *to, size_t to_slot, const void *from, size_t from_slot, size_t head_dim);
    /* The stored values, widened exactly, as f32 [head_dim] each. */
    void (*get)(const void *page, size_t slot, float *k, float *v, size_t head_dim);

    /* Continue softmax(q k) v over tiles in the order given: for every row r with something
     * visible in a tile, update state[r] and acc[r]. q is scaled already. q, acc:
     * [n_rows][head_dim] f32; state: [n_rows]. A row that sees nothing of a tile is left bit for
     * bit as it was, so skipping a tile nobody sees changes nothing, and a row's result depends on
     * its own q and tiles alone. */
    void (*attend)(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                   size_t head_dim, sl_softmax *state, float *acc);

    /* The same for the many rows of a prompt, where a set may be less exact for speed: its own
     * results are as reproducible, but not those of attend. (Tiles round queries and weights to
     * bf16 in both.) */
    void (*attend_prompt)(const sl_kv_tile *tiles, size_t n_tiles, const float *q, size_t n_rows,
                          size_t head_dim, sl_softmax *state, float *acc);

    /* out[r][slot] = q[r] k[slot] for all slots of a page; those never written give anything. q:
     * [n_rows][head_dim], out: [n_rows][SL_PAGE_TOKENS]. A score's bits depend on its row and key
     * alone. */
    void (*scores)(const void *page, const float *q, size_t n_rows, size_t head_dim, float *out);

    /* (state, acc) += (state2, acc2): the same as if the second's tiles had followed, up to
     * rounding; in a fixed order of operations. acc: [head_dim]. */
    void (*merge)(sl_softmax *state, float *acc, const sl_softmax *state2, const float *acc2,
                  size_t head_dim);
    /* out[i] = acc[i] / sum; zeros when nothing was seen. */
    void (*finish)(const sl_softmax *state, const float *acc, size_t head_dim, float *out);
} sl_kv_layout;

#endif
