/* runtime/cache/cache.c - who owns which page. What is inside one belongs to kv_layout.
 *
 * A prompt span is attended through a window of its own: `chunk` holds the tokens that were in the
 * ring when it began and the span's own, in pages aligned to absolute positions, so that a query
 * meets the same tiles whatever the span's bounds. The ring itself is only read by decode. */
#include "runtime/cache/cache.h"

#include <stdbool.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

uint32_t sl_cache_pages_for(uint32_t n_tokens)
{
    return (n_tokens + SL_PAGE_TOKENS - 1) / SL_PAGE_TOKENS;
}

uint32_t sl_cache_head_pages(uint32_t window, uint32_t n_tokens)
{
    return sl_cache_pages_for(sl_saturating_sub_u32(n_tokens, window));
}

uint32_t sl_cache_ring_pages(uint32_t window, uint32_t context)
{
    return sl_cache_pages_for(sl_min_u32(window, context));
}

/* Returns the pages of all rings of a sequence. */
static size_t lay_out(const sl_cache_options *o, sl_cache_layer *layers)
{
    size_t rings_pages = 0;
    for (uint32_t i = 0; i < o->n_layers; i++) {
        uint32_t sliding = o->sliding_windows ? o->sliding_windows[i] : 0;
        sl_cache_layer layer = {.window = sliding ? sliding : o->window,
                                .sliding = sliding > 0,
                                .first_ring = rings_pages};
        layer.ring_pages = sl_cache_ring_pages(layer.window, o->context);
        rings_pages += (size_t)layer.ring_pages * o->n_kv_heads;
        if (layers) layers[i] = layer;
    }
    return rings_pages;
}

/* Of all layers, in tokens that a sequence can fill. */
static uint32_t widest_window(const sl_cache_options *o)
{
    uint32_t widest = o->window;
    for (uint32_t i = 0; o->sliding_windows && i < o->n_layers; i++)
        if (o->sliding_windows[i] > widest) widest = o->sliding_windows[i];
    return sl_min_u32(widest, o->context);
}

/* [sequences_max][n_layers][n_kv_heads] */
static sl_cache_head *take_heads(const sl_cache_options *o, sl_arena *arena)
{
    uint32_t pages_max = sl_cache_head_pages(o->window, o->context);
    size_t n_heads = (size_t)o->sequences_max * o->n_layers * o->n_kv_heads;
    sl_cache_head *heads = sl_arena_array(arena, sl_cache_head, n_heads);
    for (size_t i = 0; i < n_heads; i++) {
        size_t layer = i / o->n_kv_heads % o->n_layers;
        if (o->sliding_windows && o->sliding_windows[layer]) continue;
        uint32_t *pages = sl_arena_array(arena, uint32_t, pages_max);
        if (heads) heads[i].pages = pages;
    }
    return heads;
}

void sl_cache_init(sl_cache *cache, const sl_cache_options *options, sl_arena *arena)
{
    SL_ASSERT(options->window >= 1);
    const sl_cache_options *o = options;
    uint32_t widest = widest_window(o);
    *cache = (sl_cache){.options = *o, .page_bytes = o->layout->page_bytes(o->head_dim)};
    cache->layers = sl_arena_array(arena, sl_cache_layer, o->n_layers);
    cache->rings_pages = lay_out(o, cache->layers);
    cache->pages_max = sl_cache_head_pages(o->window, o->context);
    /* the window before the span, the span, and up to a page lost to alignment */
    cache->window_pages = sl_cache_pages_for(widest + o->chunk_max) + 1;
    cache->tiles_max = cache->pages_max + 1 + cache->window_pages +
                       sl_cache_ring_pages(widest, o->context);

    cache->heads = take_heads(o, arena);
    cache->rings = sl_arena_take(arena,
                                 (size_t)o->sequences_max * cache->rings_pages * cache->page_bytes);
    cache->chunk = sl_arena_take(arena,
                                 (size_t)o->n_kv_heads * cache->window_pages * cache->page_bytes);
    cache->admitted = sl_arena_array(arena, uint32_t, (size_t)o->n_kv_heads * o->chunk_max);
    cache->open = sl_arena_array(arena, uint8_t, o->sequences_max);
    cache->accounts = sl_arena_array(arena, sl_cache_account, (size_t)o->n_layers * o->n_kv_heads);
    cache->options.sliding_windows = NULL;
    pthread_mutex_init(&cache->pool_mutex, NULL);
    sl_pool_init(&cache->pool, o->n_pages, cache->page_bytes, arena);
}

/* ---- places ---- */

static size_t head_index(const sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head)
{
    const sl_cache_options *o = &cache->options;
    SL_DEBUG_ASSERT(sequence < o->sequences_max && layer < o->n_layers && head < o->n_kv_heads);
    return ((size_t)sequence * o->n_layers + layer) * o->n_kv_heads + head;
}

/* What one KV head of one layer of one sequence has. */
typedef struct {
    const sl_cache_layer *layer;
    sl_cache_head *head;
    uint8_t *ring;
} head_place;

static uint8_t *rings_of(const sl_cache *cache, uint32_t sequence)
{
    return cache->rings + sequence * cache->rings_pages * cache->page_bytes;
}

static head_place place_of(const sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head)
{
    const sl_cache_layer *l = &cache->layers[layer];
    size_t ring = l->first_ring + (size_t)head * l->ring_pages;
    return (head_place){l, &cache->heads[head_index(cache, sequence, layer, head)],
                        rings_of(cache, sequence) + ring * cache->page_bytes};
}

static uint8_t *ring_page(const sl_cache *cache, const head_place *at, uint32_t slot)
{
    return at->ring + slot / SL_PAGE_TOKENS * cache->page_bytes;
}

static uint32_t ring_slot(const head_place *at, uint32_t position)
{
    return position % (at->layer->ring_pages * SL_PAGE_TOKENS);
}

/* Where the window of a span that begins at `position` starts: the oldest token of the ring,
 * rounded down to a page of absolute positions. */
static uint32_t chunk_base(const sl_cache_layer *layer, uint32_t position)
{
    return sl_saturating_sub_u32(position, layer->window) / SL_PAGE_TOKENS * SL_PAGE_TOKENS;
}

static uint8_t *chunk_page(const sl_cache *cache, uint32_t head, uint32_t offset)
{
    size_t page = (size_t)head * cache->window_pages + offset / SL_PAGE_TOKENS;
    return cache->chunk + page * cache->page_bytes;
}

/* ---- pages; heads of a layer may take and give back side by side ---- */

static sl_cache_account *account_of(const sl_cache *cache, const sl_cache_head *head)
{
    size_t n = (size_t)cache->options.n_layers * cache->options.n_kv_heads;
    return &cache->accounts[(size_t)(head - cache->heads) % n];
}

static uint32_t take_page(sl_cache *cache, const sl_cache_head *head)
{
    sl_cache_account *account = account_of(cache, head);
    pthread_mutex_lock(&cache->pool_mutex);
    uint32_t page = sl_pool_take(&cache->pool);
    account->used++;
    if (account->used > account->most) account->most = account->used;
    pthread_mutex_unlock(&cache->pool_mutex);
    return page;
}

static void release_page(sl_cache *cache, const sl_cache_head *head, uint32_t page)
{
    pthread_mutex_lock(&cache->pool_mutex);
    if (sl_pool_release(&cache->pool, page)) account_of(cache, head)->used--;
    pthread_mutex_unlock(&cache->pool_mutex);
}

/* ---- sequences ---- */

static void empty_head(sl_cache *cache, sl_cache_head *head)
{
    for (uint32_t i = 0; i < sl_cache_pages_for(head->n_admitted); i++)
        release_page(cache, head, head->pages[i]);
    head->n_admitted = 0;
}

void sl_cache_open(sl_cache *cache, uint32_t sequence)
{
    SL_ASSERT(sequence < cache->options.sequences_max && !cache->open[sequence]);
    cache->open[sequence] = 1;
}

void sl_cache_close(sl_cache *cache, uint32_t sequence)
{
    SL_ASSERT(sequence < cache->options.sequences_max && cache->open[sequence]);
    const sl_cache_options *o = &cache->options;
    size_t first = head_index(cache, sequence, 0, 0);
    for (size_t i = 0; i < (size_t)o->n_layers * o->n_kv_heads; i++)
        empty_head(cache, &cache->heads[first + i]);
    cache->open[sequence] = 0;
}

static void fork_head(sl_cache *cache, const sl_cache_head *parent, sl_cache_head *child)
{
    SL_ASSERT(child->n_admitted == 0);
    child->n_admitted = parent->n_admitted;
    uint32_t n_full = parent->n_admitted / SL_PAGE_TOKENS;
    for (uint32_t i = 0; i < n_full; i++) {
        child->pages[i] = parent->pages[i];
        sl_pool_share(&cache->pool, child->pages[i]);
    }
    if (parent->n_admitted % SL_PAGE_TOKENS == 0) return;
    child->pages[n_full] = take_page(cache, child);
    memcpy(sl_pool_page(&cache->pool, child->pages[n_full]),
           sl_pool_page(&cache->pool, parent->pages[n_full]), cache->page_bytes);
}

void sl_cache_fork(sl_cache *cache, uint32_t sequence, uint32_t parent)
{
    SL_ASSERT(parent < cache->options.sequences_max && cache->open[parent]);
    sl_cache_open(cache, sequence);
    const sl_cache_options *o = &cache->options;
    size_t n = (size_t)o->n_layers * o->n_kv_heads;
    size_t from = head_index(cache, parent, 0, 0), to = head_index(cache, sequence, 0, 0);
    for (size_t i = 0; i < n; i++) fork_head(cache, &cache->heads[from + i], &cache->heads[to + i]);
    memcpy(rings_of(cache, sequence), rings_of(cache, parent),
           cache->rings_pages * cache->page_bytes);
}

/* ---- a token leaves the window ---- */

static void admit(sl_cache *cache, sl_cache_head *head, const void *from, uint32_t from_slot)
{
    const sl_cache_options *o = &cache->options;
    uint32_t slot = head->n_admitted % SL_PAGE_TOKENS, page = head->n_admitted / SL_PAGE_TOKENS;
    if (slot == 0) {
        SL_ASSERT(page < cache->pages_max);
        head->pages[page] = take_page(cache, head);
    }
    o->layout->copy(sl_pool_page(&cache->pool, head->pages[page]), slot, from, from_slot,
                    o->head_dim);
    head->n_admitted++;
}

/* Page i of the survivors is begun only when page i of before is being read, or has been. */
void sl_cache_retain(sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head,
                     const uint8_t *keep)
{
    sl_cache_head *h = &cache->heads[head_index(cache, sequence, layer, head)];
    uint32_t n = h->n_admitted;
    h->n_admitted = 0;
    for (uint32_t first = 0; first < n; first += SL_PAGE_TOKENS) {
        uint32_t page = h->pages[first / SL_PAGE_TOKENS];
        for (uint32_t i = first; i < n && i < first + SL_PAGE_TOKENS; i++)
            if (keep[i]) admit(cache, h, sl_pool_page(&cache->pool, page), i - first);
        release_page(cache, h, page);
    }
}

bool sl_cache_is_sliding(const sl_cache *cache, uint32_t layer)
{
    return cache->layers[layer].sliding;
}

const sl_cache_head *sl_cache_head_of(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                                      uint32_t head)
{
    return &cache->heads[head_index(cache, sequence, layer, head)];
}

/* ---- prompt ---- */

/* Whether what token `position` pushes out of the window goes to the pages. */
static bool is_admitted(const sl_cache_layer *layer, uint32_t position, bool keep)
{
    return !layer->sliding && position >= layer->window && keep;
}

/* The ring's tokens to the front of the span's window. */
static void take_ring(sl_cache *cache, const head_place *at, uint32_t head, uint32_t position)
{
    const sl_cache_options *o = &cache->options;
    uint32_t base = chunk_base(at->layer, position);
    for (uint32_t p = sl_saturating_sub_u32(position, at->layer->window); p < position; p++) {
        uint32_t slot = ring_slot(at, p);
        o->layout->copy(chunk_page(cache, head, p - base), (p - base) % SL_PAGE_TOKENS,
                        ring_page(cache, at, slot), slot % SL_PAGE_TOKENS, o->head_dim);
    }
}

/* The span's latest tokens, as many as the window holds, to the ring. */
static void fill_ring(sl_cache *cache, const head_place *at, uint32_t head, uint32_t position,
                      uint32_t end)
{
    const sl_cache_options *o = &cache->options;
    uint32_t base = chunk_base(at->layer, position);
    uint32_t oldest = sl_saturating_sub_u32(end, at->layer->window);
    for (uint32_t p = oldest > position ? oldest : position; p < end; p++) {
        uint32_t slot = ring_slot(at, p);
        o->layout->copy(ring_page(cache, at, slot), slot % SL_PAGE_TOKENS,
                        chunk_page(cache, head, p - base), (p - base) % SL_PAGE_TOKENS,
                        o->head_dim);
    }
}

void sl_cache_put_prompt(sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head,
                         uint32_t position, uint32_t n_tokens, const float *k, const float *v,
                         size_t stride, const uint8_t *keep)
{
    const sl_cache_options *o = &cache->options;
    SL_ASSERT(n_tokens >= 1 && n_tokens <= o->chunk_max && position + n_tokens <= o->context);
    head_place at = place_of(cache, sequence, layer, head);
    uint32_t base = chunk_base(at.layer, position);
    uint32_t *admitted = cache->admitted + (size_t)head * o->chunk_max;

    take_ring(cache, &at, head, position);
    for (uint32_t t = 0; t < n_tokens; t++) {
        uint32_t offset = position + t - base;
        o->layout->put(chunk_page(cache, head, offset), offset % SL_PAGE_TOKENS, k + t * stride,
                       v + t * stride, o->head_dim);
        if (is_admitted(at.layer, position + t, keep[t])) {
            uint32_t leaving = offset - at.layer->window;
            admit(cache, at.head, chunk_page(cache, head, leaving), leaving % SL_PAGE_TOKENS);
        }
        admitted[t] = at.head->n_admitted;
    }
    fill_ring(cache, &at, head, position, position + n_tokens);
}

typedef enum { TILE_PAGE, TILE_WINDOW } tile_kind;

/* What query `position` sees of a tile that starts at token (window), or admitted index (pages),
 * `start`. */
static sl_slots query_sees(uint32_t window, tile_kind kind, uint32_t position, uint32_t n_admitted,
                           uint32_t start)
{
    if (kind == TILE_PAGE) return sl_slots_within(0, n_admitted, start);
    return sl_slots_within(sl_saturating_sub_u32(position + 1, window), position + 1, start);
}

/* A list of tiles being filled for n queries of a span. */
typedef struct {
    const uint32_t *admitted; /* [n] */
    uint32_t window, position, n, group;
    sl_kv_tile *tiles;
    size_t n_tiles;
    sl_slots *visible; /* next free */
} tile_list;

/* Add a tile unless no query sees any of it; whole pages need no list of slots. */
static void add_tile(tile_list *list, tile_kind kind, const void *page, uint32_t start)
{
    bool any = false, all = true;
    for (uint32_t t = 0; t < list->n; t++) {
        sl_slots slots = query_sees(list->window, kind, list->position + t, list->admitted[t],
                                    start);
        any |= slots.end > 0;
        all &= slots.begin == 0 && slots.end == SL_PAGE_TOKENS;
        for (uint32_t g = 0; g < list->group; g++) list->visible[t * list->group + g] = slots;
    }
    if (!any) return;
    list->tiles[list->n_tiles++] = (sl_kv_tile){.page = page,
                                                .visible = all ? NULL : list->visible};
    if (!all) list->visible += (size_t)list->n * list->group;
}

size_t sl_cache_prompt_tiles(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                             uint32_t head, uint32_t position, uint32_t first, uint32_t n,
                             uint32_t group, sl_kv_tile *tiles, sl_slots *visible)
{
    head_place at = place_of(cache, sequence, layer, head);
    const uint32_t *admitted = cache->admitted + (size_t)head * cache->options.chunk_max + first;
    tile_list list = {.admitted = admitted,
                      .window = at.layer->window,
                      .position = position + first,
                      .n = n,
                      .group = group,
                      .tiles = tiles,
                      .visible = visible};

    for (uint32_t i = 0; i < sl_cache_pages_for(admitted[n - 1]); i++) {
        const void *page = sl_pool_page(&cache->pool, at.head->pages[i]);
        if (admitted[0] / SL_PAGE_TOKENS > i) /* whole for the first query, so for all */
            tiles[list.n_tiles++] = (sl_kv_tile){.page = page};
        else
            add_tile(&list, TILE_PAGE, page, i * SL_PAGE_TOKENS);
    }
    uint32_t base = chunk_base(at.layer, position);
    for (uint32_t p = base; p < position + first + n; p += SL_PAGE_TOKENS)
        add_tile(&list, TILE_WINDOW, chunk_page(cache, head, p - base), p);
    SL_DEBUG_ASSERT(list.n_tiles <= cache->tiles_max);
    return list.n_tiles;
}

/* Pages first, then the window of the span; the token at the seam is in both, and counted once. */
uint32_t sl_cache_n_stretches(const sl_cache *cache, uint32_t layer, uint32_t position,
                              uint32_t n_tokens)
{
    const sl_cache_layer *l = &cache->layers[layer];
    uint32_t end = position + n_tokens, base = chunk_base(l, position);
    return sl_cache_pages_for(sl_saturating_sub_u32(end, l->window)) +
           sl_cache_pages_for(end - base);
}

sl_key_stretch sl_cache_stretch(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                                uint32_t head, uint32_t position, uint32_t n_tokens, uint32_t i)
{
    const sl_cache_head *h = sl_cache_head_of(cache, sequence, layer, head);
    const sl_cache_layer *l = &cache->layers[layer];
    uint32_t end = position + n_tokens, base = chunk_base(l, position);
    SL_ASSERT(h->n_admitted == sl_saturating_sub_u32(end, l->window));
    uint32_t n_pages = sl_cache_pages_for(h->n_admitted), start = i * SL_PAGE_TOKENS;
    if (i < n_pages)
        return (sl_key_stretch){sl_pool_page(&cache->pool, h->pages[i]), start,
                                sl_slots_within(0, h->n_admitted, start)};
    start = base + (i - n_pages) * SL_PAGE_TOKENS;
    return (sl_key_stretch){chunk_page(cache, head, start - base), start,
                            sl_slots_within(h->n_admitted, end, start)};
}

/* ---- decode ---- */

void sl_cache_put_decode(sl_cache *cache, uint32_t sequence, uint32_t layer, uint32_t head,
                         uint32_t position, const float *k, const float *v, bool keep)
{
    const sl_cache_options *o = &cache->options;
    SL_ASSERT(position < o->context);
    head_place at = place_of(cache, sequence, layer, head);
    if (is_admitted(at.layer, position, keep)) {
        uint32_t slot = ring_slot(&at, position - at.layer->window);
        admit(cache, at.head, ring_page(cache, &at, slot), slot % SL_PAGE_TOKENS);
    }
    uint32_t slot = ring_slot(&at, position);
    o->layout->put(ring_page(cache, &at, slot), slot % SL_PAGE_TOKENS, k, v, o->head_dim);
}

uint32_t sl_cache_decode_runs(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                              uint32_t head)
{
    uint32_t n = cache->heads[head_index(cache, sequence, layer, head)].n_admitted;
    return (sl_cache_pages_for(n) + SL_RUN_PAGES - 1) / SL_RUN_PAGES + 1;
}

uint32_t sl_cache_decode_runs_max(const sl_cache *cache)
{
    return (cache->pages_max + SL_RUN_PAGES - 1) / SL_RUN_PAGES + 1;
}

/* Add slots [begin, end) of the ring, page by page. */
static size_t add_ring(const sl_cache *cache, const head_place *at, uint32_t begin, uint32_t end,
                       uint32_t group, sl_kv_tile *tiles, sl_slots **visible)
{
    size_t n = 0;
    while (begin < end) {
        uint32_t start = begin / SL_PAGE_TOKENS * SL_PAGE_TOKENS;
        sl_slots slots = sl_slots_within(begin, end, start);
        for (uint32_t g = 0; g < group; g++) (*visible)[g] = slots;
        tiles[n++] = (sl_kv_tile){.page = ring_page(cache, at, begin), .visible = *visible};
        *visible += group;
        begin = start + SL_PAGE_TOKENS;
    }
    return n;
}

/* The ring wraps, so what is visible of it is one range of slots or two. */
static size_t ring_tiles(const sl_cache *cache, const head_place *at, uint32_t position,
                         uint32_t group, sl_kv_tile *tiles, sl_slots *visible)
{
    uint32_t left = sl_saturating_sub_u32(position + 1, at->layer->window);
    uint32_t slots = at->layer->ring_pages * SL_PAGE_TOKENS, count = position + 1 - left;
    uint32_t begin = count == slots ? 0 : left % slots;
    uint32_t end = begin + count;
    size_t n = add_ring(cache, at, begin, sl_min_u32(end, slots), group, tiles, &visible);
    return n +
           add_ring(cache, at, 0, sl_saturating_sub_u32(end, slots), group, tiles + n, &visible);
}

size_t sl_cache_decode_tiles(const sl_cache *cache, uint32_t sequence, uint32_t layer,
                             uint32_t head, uint32_t position, uint32_t run, uint32_t group,
                             sl_kv_tile *tiles, sl_slots *visible)
{
    head_place at = place_of(cache, sequence, layer, head);
    const sl_cache_head *h = at.head;
    if (run + 1 == sl_cache_decode_runs(cache, sequence, layer, head))
        return ring_tiles(cache, &at, position, group, tiles, visible);

    uint32_t first = run * SL_RUN_PAGES,
             last = sl_min_u32(first + SL_RUN_PAGES, sl_cache_pages_for(h->n_admitted));
    for (uint32_t i = first; i < last; i++) {
        sl_slots slots = sl_slots_within(0, h->n_admitted, i * SL_PAGE_TOKENS);
        sl_kv_tile *tile = &tiles[i - first];
        *tile = (sl_kv_tile){.page = sl_pool_page(&cache->pool, h->pages[i])};
        if (slots.end == SL_PAGE_TOKENS) continue;
        for (uint32_t g = 0; g < group; g++) visible[g] = slots;
        tile->visible = visible; /* only the last page is part full */
    }
    return last - first;
}
