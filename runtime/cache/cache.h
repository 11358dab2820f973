/* runtime/cache/cache.h - the pruned K/V of every sequence on one stage.
 *
 * Per (sequence, layer, KV head): a ring of the last `window` tokens, and append-only pages of what
 * was admitted when it left the ring; who is admitted is decided elsewhere (runtime/gate). What is
 * not admitted is nowhere. For query position q a key at position j is visible
 *     in the window  when j > q - window,
 *     in the pages   when j <= q - window and it was admitted.
 * Layers of sliding attention have a window of their own and no pages.
 * So what a query sees, and the order its tiles come in, depends on q alone, not on how a prompt
 * was cut into chunks. Everything is a page of kv_layout; attention is a walk over tiles.
 *
 * Threads: calls for different (layer, head) of one sequence may run at the same time where
 * said. */
#ifndef SL_CACHE_H
#define SL_CACHE_H

#include <pthread.h>
#include <stdbool.h>

#include "runtime/base/arena.h"
#include "runtime/cache/pool.h"
#include "runtime/kernels/kv_layout.h"

enum { SL_RUN_PAGES = 16 }; /* pages that one thread attends to in decode */

typedef struct {
    const sl_kv_layout *layout;
    uint32_t n_layers; /* of this stage */
    uint32_t n_kv_heads, head_dim;
    uint32_t window; /* 1 or more, of layers that attend to all tokens */
    /* [n_layers], lent until the cache is made: the window of a layer of sliding attention, 0 of
     * others. NULL: there are none. */
    const uint32_t *sliding_windows;
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

/* Pages of one head of all sequences, those that forks share counted once. */
typedef struct {
    uint32_t used, most; /* now, and ever */
} sl_cache_account;

typedef struct {
    uint32_t window;     /* latest tokens that a query sees */
    bool sliding;        /* nothing is ever admitted to pages */
    uint32_t ring_pages; /* of a head */
    size_t first_ring;   /* where those of its first head are, in pages of a sequence's rings */
} sl_cache_layer;

typedef struct {
    sl_cache_options options;
    sl_cache_layer *layers; /* [n_layers] */
    sl_pool pool;
    pthread_mutex_t pool_mutex; /* heads put side by side */
    size_t page_bytes;
    size_t rings_pages; /* of all heads of a sequence */
    uint32_t pages_max; /* of any head */
    uint32_t window_pages;
    uint32_t tiles_max;   /* of any list below */
    sl_cache_head *heads; /* [sequences_max][n_layers][n_kv_heads] */
    uint8_t *rings;       /* [sequences_max][rings_pages] pages, layer by layer, head by head */
    uint8_t *chunk;       /* [n_kv_heads][window_pages] pages: a prompt span's window */
    uint32_t *admitted; /* [n_kv_heads][chunk_max]: n_admitted as each query of the span sees it */
    uint8_t *open;      /* [sequences_max] */
    sl_cache_account *accounts; /* [n_layers][n_kv_heads] */
} sl_cache;

/* Takes all memory from the arena, zeroed; a counting arena measures it. */
void sl_cache_init(sl_cache *cache, const sl_cache_options *options, sl_arena *arena);
/* Pages of one head that a sequence of n tokens holds at most: when all are admitted. */
uint32_t sl_cache_head_pages(uint32_t window, uint32_t n_tokens);
/* Pages of one head that every open sequence has beside: its ring. */
uint32_t sl_cache_ring_pages(uint32_t window, uint32_t context);

/* Slots: asserts that `sequence` is closed (open, fork) or open (close). A fork shares the
 * parent's full pages and copies the rest. */
void sl_cache_open(sl_cache *cache, uint32_t sequence);
void sl_cache_fork(sl_cache *cache, uint32_t sequence, uint32_t parent);
void sl_cache_close(sl_cache *cache, uint32_t sequence);

/* Put a prompt span into one head: k, v: token t's row at k + t * stride, [head_dim] f32, as
 * attention meets them. keep[t]: whether token position + t - window, which t's arrival pushes out
 * of the window, is admitted (not read where there is no such token, nor in a sliding layer).
 * `position` counts from 0 and continues the sequence. Heads of one layer may run at once, but
 * taking pages is serialized inside. The span's tiles stay valid until the next layer's. */
void sl_cache_put_prompt(sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head,
                         uint32_t position, uint32_t n_tokens, const float *k, const float *v,
                         size_t stride, const uint8_t *keep);
/* Tiles for queries [first, first + n) of the span last put, each query `group` rows in a row.
 * tiles: [tiles_max]; visible: room for tiles_max * n * group. Returns how many. */
size_t sl_cache_prompt_tiles(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                             uint32_t head, uint32_t position, uint32_t first, uint32_t n,
                             uint32_t group, sl_kv_tile *tiles, sl_slots *visible);

/* Put one generated token, k, v [head_dim]; keep as above. */
void sl_cache_put_decode(sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head,
                         uint32_t position, const float *k, const float *v, bool keep);
/* Decode attention comes in runs: of SL_RUN_PAGES pages each, then one of the ring. */
uint32_t sl_cache_decode_runs(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                              uint32_t head);
uint32_t sl_cache_decode_runs_max(const sl_cache *cache);
size_t sl_cache_decode_tiles(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                             uint32_t head, uint32_t position, uint32_t run, uint32_t group,
                             sl_kv_tile *tiles, sl_slots *visible);

/* Of the tokens in a head's pages, retain those whose keep[] is not 0, [n_admitted], in their
 * order: copied once, into fresh pages. */
void sl_cache_retain(sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head,
                     const uint8_t *keep);

/* Keys by position, for callers that read all of them while everything has been admitted so far:
 * stretch i of those up to the end of the span last put. Its slots are tokens start + slot. */
typedef struct {
    const void *page;
    uint32_t start;
    sl_slots slots;
} sl_key_stretch;
uint32_t sl_cache_n_stretches(const sl_cache *cache, uint32_t layer, uint32_t position,
                              uint32_t n_tokens);
sl_key_stretch sl_cache_stretch(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                                uint32_t head, uint32_t position, uint32_t n_tokens, uint32_t i);

/* A layer of sliding attention, without pages. */
bool sl_cache_is_sliding(const sl_cache *cache, uint32_t layer);
/* What a head has in its pages, lent until the next call that changes it. */
const sl_cache_head *sl_cache_head_of(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                                      uint32_t head);
/* Pages that so many tokens fill. */
uint32_t sl_cache_pages_for(uint32_t n_tokens);

#endif
