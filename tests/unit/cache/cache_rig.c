/* tests/unit/cache/cache_rig.c - see cache_rig.h. */
#include "tests/unit/cache/cache_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

const uint32_t windows[N_WINDOWS] = {1, 16, 64, 128, 200};
const fate fates[N_FATES] = {FATE_ALL, FATE_RAGGED, FATE_NONE};

void *allocate(size_t bytes)
{
    void *p = calloc(1, bytes);
    assert_non_null(p);
    return p;
}

rig *rig_open(const sl_kv_layout *layout, uint64_t seed, uint32_t window, fate of)
{
    rig *r = allocate(sizeof *r);
    r->random = seeded_from(seed);
    r->fate = of;
    static const uint32_t sliding_windows[LAYERS] = {[SLIDING_LAYER] = SLIDING_WINDOW};
    sl_cache_options options = {.layout = layout,
                                .n_layers = LAYERS,
                                .n_kv_heads = HEADS,
                                .head_dim = DIM,
                                .window = window,
                                .sliding_windows = sliding_windows,
                                .context = CONTEXT,
                                .sequences_max = SLOTS,
                                .chunk_max = CHUNK_MAX};
    /* As the driver's credit does: all that the slots could ever need, not a page more. */
    options.n_pages = SLOTS * (LAYERS - 1) * HEADS * sl_cache_head_pages(window, CONTEXT);
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_cache_init(&r->cache, &options, &arena);
    r->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(r->bytes, "cache", &r->storage), SL_OK);
    sl_arena_init(&arena, r->storage, r->bytes);
    sl_cache_init(&r->cache, &options, &arena);
    assert_int_equal(arena.used_bytes, r->bytes);
    r->tiles = allocate(r->cache.tiles_max * sizeof *r->tiles);
    r->visible = allocate((size_t)r->cache.tiles_max * BLOCK_MAX * GROUP_MAX * sizeof *r->visible);
    return r;
}

void rig_close(rig *r)
{
    sl_storage_release(r->storage, r->bytes);
    free(r->tiles), free(r->visible), free(r);
}

void rig_open_sequence(rig *r, uint32_t sequence)
{
    sl_cache_open(&r->cache, sequence);
    r->plain[sequence].open = true;
    r->plain[sequence].n_tokens = 0;
    for (uint32_t head = 0; head < ALL_HEADS; head++) r->plain[sequence].heads[head].n_kept = 0;
}

void rig_close_sequence(rig *r, uint32_t sequence)
{
    sl_cache_close(&r->cache, sequence);
    r->plain[sequence].open = false;
}

void token_row(uint64_t salt, uint32_t layer, uint32_t head, uint32_t position, float *k, float *v)
{
    seeded bits = seeded_from(salt ^ ((uint64_t)layer << 8 | head));
    for (int i = 0; i < DIM; i++) {
        k[i] = (float)(int)(seeded_bits(&bits) % 2001) - 1000;
        v[i] = (float)(int)(seeded_bits(&bits) % 2001) - 1000;
    }
    k[0] = (float)position;
}

static bool slides(uint32_t head) { return head / HEADS == SLIDING_LAYER; }

uint32_t plain_left(const rig *r, uint32_t head, uint32_t n_tokens)
{
    uint32_t window = slides(head) ? SLIDING_WINDOW : r->cache.options.window;
    return n_tokens > window ? n_tokens - window : 0;
}

static uint8_t fate_of(const rig *r, uint64_t salt, uint32_t head)
{
    static const uint32_t KEPT_OF_100[ALL_HEADS] = {25, 100, 0, 70, 0, 0};
    if (slides(head)) return 0;
    if (r->fate != FATE_RAGGED) return r->fate == FATE_ALL;
    seeded bits = seeded_from(salt + head);
    return seeded_below(&bits, 100) < KEPT_OF_100[head];
}

static uint32_t pages_for(uint32_t n_kept)
{
    return (n_kept + SL_PAGE_TOKENS - 1) / SL_PAGE_TOKENS;
}

void plain_keep(rig *r, plain_head *h, uint32_t position)
{
    h->kept[position] = 1;
    if (h->n_kept++ % SL_PAGE_TOKENS == 0) h->page[pages_for(h->n_kept) - 1] = ++r->pages_made;
}

void plain_grow(rig *r, plain_sequence *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        s->salt[s->n_tokens++] = seeded_bits(&r->random);
        for (uint32_t head = 0; head < ALL_HEADS; head++) {
            if (plain_left(r, head, s->n_tokens) == 0) continue;
            uint32_t leaving = plain_left(r, head, s->n_tokens) - 1;
            s->heads[head].kept[leaving] = 0;
            if (fate_of(r, s->salt[leaving], head)) plain_keep(r, &s->heads[head], leaving);
        }
    }
}

void plain_fork(rig *r, plain_sequence *child, const plain_sequence *parent)
{
    *child = *parent;
    for (uint32_t head = 0; head < ALL_HEADS; head++) {
        plain_head *h = &child->heads[head];
        if (h->n_kept % SL_PAGE_TOKENS) h->page[pages_for(h->n_kept) - 1] = ++r->pages_made;
    }
}

uint32_t plain_pages(const plain_sequence *s, uint32_t head)
{
    return s->open ? pages_for(s->heads[head].n_kept) : 0;
}

void fates_of(const rig *r, const plain_sequence *s, uint32_t head, uint32_t position, uint32_t n,
              uint8_t *keep)
{
    for (uint32_t t = 0; t < n; t++) {
        uint32_t left = plain_left(r, head, position + t + 1);
        keep[t] = left > 0 && !slides(head) ? s->heads[head].kept[left - 1] : 0xee;
    }
}
