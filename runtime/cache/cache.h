/* runtime/cache/cache.h - the pruned K/V of every sequence on one stage.
 *
 * Per (sequence, layer, KV head): the first `sinks` tokens, a ring of the last `window`, and
 * append-only pages of what was admitted when it left the ring. For query position q a key at
 * position j is visible as
 *     window   when j > q - window,
 *     sink     when j <= q - window and j < sinks,
 *     kept     when sinks <= j <= q - window and it was admitted.
 * So what a query sees, and the order its tiles come in, depends on q alone, not on how a prompt
 * was cut into chunks. Everything is a page of kv_layout; attention is a walk over tiles.
 *
 * Threads: calls for different (layer, head) of one sequence may run at the same time where said. */
#ifndef SL_CACHE_H
#define SL_CACHE_H

#include "runtime/base/arena.h"
#include "runtime/cache/pool.h"
#include "runtime/kernels/kv_layout.h"

enum { SL_RUN_PAGES = 16 }; /* pages that one thread attends to in decode */

typedef struct {
    const sl_kv_layout *layout;
    uint32_t n_layers; /* of this stage */
    uint32_t n_kv_heads, head_dim;
    uint32_t sinks;         /* 0 .. SL_PAGE_TOKENS */
    uint32_t window;        /* 1 or more */
    uint32_t context;       /* longest sequence, tokens */
    uint32_t sequences_max; /* slots */
    uint32_t chunk_max;     /* longest prompt span */
    uint32_t n_pages;       /* of the pool */
} sl_cache_options;

/* One KV head of one layer of one sequence. */
typedef struct {
    uint32_t n_admitted; /* tokens in pages */
    uint32_t *pages;     /* [pages_max] ids in the pool */
} sl_cache_head;

typedef struct {
    sl_cache_options options;
    sl_pool pool;
    size_t page_bytes;
    uint32_t ring_pages, pages_max, window_pages;
    uint32_t tiles_max;   /* of any list below */
    sl_cache_head *heads; /* [sequences_max][n_layers][n_kv_heads] */
    uint8_t *fixed;       /* the same order: one sink page and ring_pages each */
    uint8_t *chunk;       /* [n_kv_heads][window_pages] pages: a prompt span's window */
    uint32_t *admitted; /* [n_kv_heads][chunk_max]: n_admitted as each query of the span sees it */
    uint8_t *open;      /* [sequences_max] */
} sl_cache;

/* Takes all memory from the arena, zeroed; a counting arena measures it. */
void sl_cache_init(sl_cache *cache, const sl_cache_options *options, sl_arena *arena);
/* Pages of one head that a sequence of n tokens can hold at most. */
uint32_t sl_cache_head_pages(const sl_cache_options *options, uint32_t n_tokens);

/* Pages of one head that every open sequence has beside: its sinks and its ring. */
uint32_t sl_cache_fixed_pages(uint32_t window);

/* Slots: asserts that `sequence` is closed (open, fork) or open (close). A fork shares the
 * parent's full pages and copies the rest. */
void sl_cache_open(sl_cache *cache, uint32_t sequence);
void sl_cache_fork(sl_cache *cache, uint32_t sequence, uint32_t parent);
void sl_cache_close(sl_cache *cache, uint32_t sequence);

/* Put a prompt span into one head: k, v: token t's row at k + t * stride, [head_dim] f32, rotated.
 * `position` counts from 0 and continues the sequence. Heads of one layer may run at once, but
 * taking pages is serialized inside. The span's tiles stay valid until the next layer's. */
void sl_cache_put_prompt(sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head,
                         uint32_t position, uint32_t n_tokens, const float *k, const float *v,
                         size_t stride);
/* Tiles for queries [first, first + n) of the span last put, each query `group` rows in a row.
 * tiles: [tiles_max]; visible: room for tiles_max * n * group. Returns how many. */
size_t sl_cache_prompt_tiles(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                             uint32_t head, uint32_t position, uint32_t first, uint32_t n,
                             uint32_t group, sl_kv_tile *tiles, sl_slots *visible);

/* Put one generated token, k, v [head_dim]. */
void sl_cache_put_decode(sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head,
                         uint32_t position, const float *k, const float *v);
/* Decode attention comes in runs: of SL_RUN_PAGES pages each, then one of sinks and ring. */
uint32_t sl_cache_decode_runs(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                              uint32_t head);
uint32_t sl_cache_decode_runs_max(const sl_cache *cache);
size_t sl_cache_decode_tiles(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                             uint32_t head, uint32_t position, uint32_t run, uint32_t group,
                             sl_kv_tile *tiles, sl_slots *visible);

#endif
