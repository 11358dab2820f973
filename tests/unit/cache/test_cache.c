/* tests/unit/cache/test_cache.c - the cache against plain arrays of every K and V and of who was
 * kept: what a query is shown is what cache.h says it sees, each key once, in order; pages are as
 * many as were kept fill, and shared by whom they should be; the same bits however a prompt was
 * cut. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/cache/cache.h"
#include "runtime/kernels/kernels.h"
#include "tests/support/seeded.h"

enum { LAYERS = 2, HEADS = 2, DIM = 16, GROUP_MAX = 3, SLOTS = 5, BLOCK_MAX = 40 };
enum { CONTEXT = 700, CHUNK_MAX = 150 };

/* ---- a cache and what it should hold ---- */

enum { ALL_HEADS = LAYERS * HEADS };

typedef struct {
    uint8_t kept[CONTEXT];                       /* by position, once it has left the window */
    uint32_t n_kept;                             /* of those that have */
    uint32_t page[CONTEXT / SL_PAGE_TOKENS + 1]; /* who made each page; equal when shared */
} plain_head;

typedef struct {
    bool open;
    uint32_t n_tokens;
    uint64_t salt[CONTEXT]; /* says every value of a token, and its fate */
    plain_head heads[ALL_HEADS];
} plain_sequence;

/* Who is kept: each head at its own rate, all to none. */
typedef enum { FATE_ALL, FATE_RAGGED, FATE_NONE } fate;

typedef struct {
    sl_cache cache;
    void *storage;
    size_t bytes;
    sl_kv_tile *tiles;
    sl_slots *visible;
    seeded random;
    plain_sequence plain[SLOTS];
    uint32_t pages_made;
    fate fate;
} rig;

#define check(r, expression)                                                          \
    do {                                                                              \
        if (!(expression))                                                            \
            fail_msg("seed %llu, window %u, fate %d, line %d: %s",                    \
                     (unsigned long long)(r)->random.seed, (r)->cache.options.window, \
                     (int)(r)->fate, __LINE__, #expression);                          \
    } while (0)

static void *allocate(size_t bytes)
{
    void *p = calloc(1, bytes);
    assert_non_null(p);
    return p;
}

static rig *rig_open(const sl_kv_layout *layout, uint64_t seed, uint32_t window, fate of)
{
    rig *r = allocate(sizeof *r);
    r->random = seeded_from(seed);
    r->fate = of;
    sl_cache_options options = {.layout = layout,
                                .n_layers = LAYERS,
                                .n_kv_heads = HEADS,
                                .head_dim = DIM,
                                .window = window,
                                .context = CONTEXT,
                                .sequences_max = SLOTS,
                                .chunk_max = CHUNK_MAX};
    /* As the driver's credit does: all that the slots could ever need, not a page more. */
    options.n_pages = SLOTS * LAYERS * HEADS * sl_cache_head_pages(window, CONTEXT);
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

static void rig_close(rig *r)
{
    sl_storage_release(r->storage, r->bytes);
    free(r->tiles), free(r->visible), free(r);
}

/* K, V of a token in one head: whole numbers that f16 holds exactly; k[0] is the position, so a
 * row that is found says which one it is. */
static void token_row(uint64_t salt, uint32_t layer, uint32_t head, uint32_t position, float *k,
                      float *v)
{
    seeded bits = seeded_from(salt ^ ((uint64_t)layer << 8 | head));
    for (int i = 0; i < DIM; i++) {
        k[i] = (float)(int)(seeded_bits(&bits) % 2001) - 1000;
        v[i] = (float)(int)(seeded_bits(&bits) % 2001) - 1000;
    }
    k[0] = (float)position;
}

/* Tokens that have left the window of a query, and pages they fill. */
static uint32_t plain_left(const rig *r, uint32_t n_tokens)
{
    uint32_t window = r->cache.options.window;
    return n_tokens > window ? n_tokens - window : 0;
}

static uint8_t fate_of(const rig *r, uint64_t salt, uint32_t head)
{
    static const uint32_t KEPT_OF_100[ALL_HEADS] = {25, 100, 0, 70};
    if (r->fate != FATE_RAGGED) return r->fate == FATE_ALL;
    seeded bits = seeded_from(salt + head);
    return seeded_below(&bits, 100) < KEPT_OF_100[head];
}

static uint32_t pages_for(uint32_t n_kept)
{
    return (n_kept + SL_PAGE_TOKENS - 1) / SL_PAGE_TOKENS;
}

static void plain_keep(rig *r, plain_head *h, uint32_t position)
{
    h->kept[position] = 1;
    if (h->n_kept++ % SL_PAGE_TOKENS == 0) h->page[pages_for(h->n_kept) - 1] = ++r->pages_made;
}

static void plain_grow(rig *r, plain_sequence *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        s->salt[s->n_tokens++] = seeded_bits(&r->random);
        if (plain_left(r, s->n_tokens) == 0) continue;
        uint32_t leaving = plain_left(r, s->n_tokens) - 1;
        for (uint32_t head = 0; head < ALL_HEADS; head++) {
            s->heads[head].kept[leaving] = 0;
            if (fate_of(r, s->salt[leaving], head)) plain_keep(r, &s->heads[head], leaving);
        }
    }
}

static void plain_fork(rig *r, plain_sequence *child, const plain_sequence *parent)
{
    *child = *parent;
    for (uint32_t head = 0; head < ALL_HEADS; head++) {
        plain_head *h = &child->heads[head];
        if (h->n_kept % SL_PAGE_TOKENS) h->page[pages_for(h->n_kept) - 1] = ++r->pages_made;
    }
}

static uint32_t plain_pages(const plain_sequence *s, uint32_t head)
{
    return s->open ? pages_for(s->heads[head].n_kept) : 0;
}

/* Open sequences that hold page i of s, s among them; *before_out: those in lower slots. */
static uint32_t plain_holders(const rig *r, const plain_sequence *s, uint32_t head, uint32_t i,
                              uint32_t *before_out)
{
    uint32_t n = 0;
    *before_out = 0;
    for (int slot = 0; slot < SLOTS; slot++) {
        const plain_sequence *other = &r->plain[slot];
        bool holds = i < plain_pages(other, head) &&
                     other->heads[head].page[i] == s->heads[head].page[i];
        n += holds;
        *before_out += holds && other < s;
    }
    return n;
}

/* Every page is held by whom it should be, and no page by nobody. */
static void check_pages(const rig *r)
{
    uint32_t n_used = 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        const plain_sequence *s = &r->plain[slot];
        for (uint32_t head = 0; head < ALL_HEADS; head++)
            for (uint32_t i = 0; i < plain_pages(s, head); i++) {
                uint32_t before, holders = plain_holders(r, s, head, i, &before);
                uint32_t page = r->cache.heads[slot * ALL_HEADS + head].pages[i];
                n_used += before == 0;
                check(r, r->cache.pool.references[page] == holders);
            }
    }
    check(r, r->cache.pool.n_used == n_used);
}

/* ---- what a query is shown ---- */

typedef struct {
    uint32_t sequence, layer, head;
} place;

/* Note the keys that row `row` of the tiles sees, in their order; returns how many. */
static uint32_t shown(const rig *r, place at, size_t n_tiles, size_t row, uint32_t *positions,
                      uint32_t n_max)
{
    const plain_sequence *s = &r->plain[at.sequence];
    uint32_t n = 0;
    for (size_t t = 0; t < n_tiles; t++) {
        const sl_kv_tile *tile = &r->tiles[t];
        sl_slots see = tile->visible ? tile->visible[row] : (sl_slots){0, SL_PAGE_TOKENS};
        check(r, see.end <= SL_PAGE_TOKENS);
        for (uint32_t slot = see.begin; slot < see.end; slot++) {
            float k[DIM], v[DIM], want_k[DIM], want_v[DIM];
            r->cache.options.layout->get(tile->page, slot, k, v, DIM);
            uint32_t position = (uint32_t)k[0];
            check(r, n < n_max && position < s->n_tokens && (float)position == k[0]);
            token_row(s->salt[position], at.layer, at.head, position, want_k, want_v);
            check(r, memcmp(k, want_k, sizeof k) == 0 && memcmp(v, want_v, sizeof v) == 0);
            positions[n++] = position;
        }
    }
    return n;
}

/* Whether query `query` sees position p. */
static bool plain_sees(const rig *r, place at, uint32_t query, uint32_t p)
{
    const plain_head *h = &r->plain[at.sequence].heads[at.layer * HEADS + at.head];
    return p <= query && (p >= plain_left(r, query + 1) || h->kept[p]);
}

/* Queries [first, first + n) of a span that begins at `position`: pages, then window, so what is
 * seen comes in the order of positions. */
static void check_prompt_block(rig *r, place at, uint32_t position, uint32_t first, uint32_t n)
{
    uint32_t group = 1 + seeded_below(&r->random, GROUP_MAX), positions[CONTEXT] = {0};
    size_t n_tiles = sl_cache_prompt_tiles(&r->cache, at.sequence, at.layer, at.head, position,
                                           first, n, group, r->tiles, r->visible);
    check(r, n_tiles <= r->cache.tiles_max);
    for (int i = 0; i < 3; i++) {
        uint32_t row = i == 0 ? 0 : i == 1 ? n * group - 1 : seeded_below(&r->random, n * group);
        uint32_t query = position + first + row / group, n_seen = 0;
        uint32_t n_shown = shown(r, at, n_tiles, row, positions, CONTEXT);
        for (uint32_t p = 0; p <= query; p++)
            if (plain_sees(r, at, query, p)) check(r, n_seen < n_shown && positions[n_seen++] == p);
        check(r, n_seen == n_shown);
    }
}

static void check_span(rig *r, place at, uint32_t position, uint32_t n_tokens)
{
    uint32_t first = seeded_below(&r->random, n_tokens), rest = n_tokens - first;
    uint32_t n = 1 + seeded_below(&r->random, rest < BLOCK_MAX ? rest : BLOCK_MAX);
    check_prompt_block(r, at, position, first, n);
    check_prompt_block(r, at, position, n_tokens - 1, 1);
}

/* The last query as decode would ask it: runs of kept pages in order, then the ring. */
static void check_decode(rig *r, place at)
{
    uint32_t last = r->plain[at.sequence].n_tokens - 1, left = plain_left(r, last + 1);
    uint32_t group = 1 + seeded_below(&r->random, GROUP_MAX), n_seen = 0, next = 0;
    uint32_t n_runs = sl_cache_decode_runs(&r->cache, at.sequence, at.layer, at.head);
    uint8_t seen[CONTEXT] = {0};
    check(r, n_runs <= sl_cache_decode_runs_max(&r->cache));
    for (uint32_t run = 0; run < n_runs; run++) {
        uint32_t positions[CONTEXT];
        size_t n_tiles = sl_cache_decode_tiles(&r->cache, at.sequence, at.layer, at.head, last, run,
                                               group, r->tiles, r->visible);
        check(r, n_tiles <= r->cache.tiles_max);
        check(r, run + 1 == n_runs || n_tiles <= SL_RUN_PAGES);
        uint32_t n = shown(r, at, n_tiles, seeded_below(&r->random, group), positions, CONTEXT);
        for (uint32_t i = 0; i < n; i++, n_seen++) {
            check(r, (positions[i] < left) == (run + 1 < n_runs));
            check(r, plain_sees(r, at, last, positions[i]) && !seen[positions[i]]++);
            if (run + 1 == n_runs) continue;
            check(r, positions[i] >= next);
            next = positions[i];
        }
    }
    for (uint32_t p = 0; p <= last; p++) n_seen -= plain_sees(r, at, last, p);
    check(r, n_seen == 0);
}

static void check_sequence(rig *r, uint32_t sequence)
{
    if (!r->plain[sequence].open || r->plain[sequence].n_tokens == 0) return;
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        for (uint32_t head = 0; head < HEADS; head++)
            check_decode(r, (place){sequence, layer, head});
}

/* ---- operations on both ---- */

static void do_open(rig *r, uint32_t sequence)
{
    sl_cache_open(&r->cache, sequence);
    r->plain[sequence].open = true;
    r->plain[sequence].n_tokens = 0;
    for (uint32_t head = 0; head < ALL_HEADS; head++) r->plain[sequence].heads[head].n_kept = 0;
}

static void do_close(rig *r, uint32_t sequence)
{
    sl_cache_close(&r->cache, sequence);
    r->plain[sequence].open = false;
}

static void do_fork(rig *r, uint32_t sequence, uint32_t parent)
{
    sl_cache_fork(&r->cache, sequence, parent);
    plain_fork(r, &r->plain[sequence], &r->plain[parent]);
}

/* Of each token of a span, whether what it pushes out of the window is kept. */
static void fates_of(const rig *r, const plain_sequence *s, uint32_t head, uint32_t position,
                     uint32_t n, uint8_t *keep)
{
    for (uint32_t t = 0; t < n; t++) {
        uint32_t left = plain_left(r, position + t + 1);
        keep[t] = left > 0 ? s->heads[head].kept[left - 1] : 0xee;
    }
}

/* Rows of both heads side by side, as a layer hands them over. */
static void do_prompt(rig *r, uint32_t sequence, uint32_t n)
{
    static float k[CHUNK_MAX][HEADS][DIM], v[CHUNK_MAX][HEADS][DIM];
    plain_sequence *s = &r->plain[sequence];
    uint32_t position = s->n_tokens;
    plain_grow(r, s, n);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        for (uint32_t t = 0; t < n; t++)
            for (uint32_t head = 0; head < HEADS; head++)
                token_row(s->salt[position + t], layer, head, position + t, k[t][head], v[t][head]);
        for (uint32_t head = 0; head < HEADS; head++) {
            uint8_t keep[CHUNK_MAX];
            fates_of(r, s, layer * HEADS + head, position, n, keep);
            sl_cache_put_prompt(&r->cache, sequence, layer, head, position, n, k[0][head],
                                v[0][head], HEADS * DIM, keep);
        }
        for (uint32_t head = 0; head < HEADS; head++)
            check_span(r, (place){sequence, layer, head}, position, n);
    }
}

static void do_decode(rig *r, uint32_t sequence)
{
    plain_sequence *s = &r->plain[sequence];
    uint32_t position = s->n_tokens;
    plain_grow(r, s, 1);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        for (uint32_t head = 0; head < HEADS; head++) {
            float k[DIM], v[DIM];
            uint8_t keep;
            fates_of(r, s, layer * HEADS + head, position, 1, &keep);
            token_row(s->salt[position], layer, head, position, k, v);
            sl_cache_put_decode(&r->cache, sequence, layer, head, position, k, v, keep != 0);
        }
    }
}

/* Survivors are copied before the pages they were in are given back, unless somebody shares
 * those. */
static bool plain_room_to_retain(const rig *r)
{
    uint32_t most = ALL_HEADS * sl_cache_head_pages(r->cache.options.window, CONTEXT);
    return r->cache.pool.n_pages - r->cache.pool.n_used >= most;
}

/* As at the end of a prompt: of what each head has kept, some stay. */
static void do_retain(rig *r, uint32_t sequence)
{
    plain_sequence *s = &r->plain[sequence];
    for (uint32_t head = 0; head < ALL_HEADS; head++) {
        plain_head *h = &s->heads[head];
        uint8_t keep[CONTEXT];
        uint32_t n = 0, of_100 = seeded_below(&r->random, 101);
        h->n_kept = 0;
        for (uint32_t p = 0; p < plain_left(r, s->n_tokens); p++) {
            if (!h->kept[p]) continue;
            keep[n] = seeded_below(&r->random, 100) < of_100;
            h->kept[p] = 0;
            if (keep[n++]) plain_keep(r, h, p);
        }
        sl_cache_retain(&r->cache, sequence, head / HEADS, head % HEADS, keep);
    }
}

/* Something that is possible now, to a random sequence. */
static void do_anything(rig *r)
{
    uint32_t sequence = seeded_below(&r->random, SLOTS), other = seeded_below(&r->random, SLOTS);
    plain_sequence *s = &r->plain[sequence];
    if (!s->open) {
        if (r->plain[other].open && seeded_below(&r->random, 3) > 0)
            do_fork(r, sequence, other);
        else
            do_open(r, sequence);
        return;
    }
    uint32_t rest = CONTEXT - s->n_tokens;
    switch (seeded_below(&r->random, 9)) {
    case 0: do_close(r, sequence); break;
    case 1: /* the longest chunk */
    case 2:
    case 3: {
        uint32_t most = rest < CHUNK_MAX ? rest : CHUNK_MAX;
        if (most > 0)
            do_prompt(r, sequence,
                      seeded_below(&r->random, 4) ? 1 + seeded_below(&r->random, most) : most);
        break;
    }
    case 4:
        if (plain_room_to_retain(r)) do_retain(r, sequence);
        break;
    default: {
        uint32_t n = 1 + seeded_below(&r->random, 20);
        for (uint32_t i = 0; i < n && i < rest; i++) do_decode(r, sequence);
    }
    }
}

static const uint32_t windows[] = {1, 16, 64, 128, 200};
static const fate fates[] = {FATE_ALL, FATE_RAGGED, FATE_NONE};
enum { N_WINDOWS = 5, N_FATES = 3 };

static void test_random_operations(void **state)
{
    (void)state;
    const sl_kv_layout *layout = sl_kernels_named("ref")->kv[SL_KV_F16];
    for (uint32_t i = 0; i < N_WINDOWS * N_FATES * 2; i++) {
        rig *r = rig_open(layout, 1 + i, windows[i % N_WINDOWS], fates[i / N_WINDOWS % N_FATES]);
        for (int step = 0; step < 150; step++) {
            do_anything(r);
            check_pages(r);
            /* Also those that nothing happened to: a fork must not be felt by its parent. */
            check_sequence(r, seeded_below(&r->random, SLOTS));
        }
        for (uint32_t sequence = 0; sequence < SLOTS; sequence++) check_sequence(r, sequence);
        for (uint32_t sequence = 0; sequence < SLOTS; sequence++)
            if (r->plain[sequence].open) do_close(r, sequence);
        check(r, r->cache.pool.n_used == 0);
        rig_close(r);
    }
}

/* Parent and child go on apart, in turns, across several page bounds. */
static void test_fork_diverges(void **state)
{
    (void)state;
    const sl_kv_layout *layout = sl_kernels_named("ref")->kv[SL_KV_F16];
    for (uint32_t i = 0; i < N_WINDOWS * N_FATES; i++) {
        rig *r = rig_open(layout, 100 + i, windows[i % N_WINDOWS], fates[i / N_WINDOWS]);
        do_open(r, 0);
        for (int k = 0; k < 3; k++) do_prompt(r, 0, 1 + seeded_below(&r->random, CHUNK_MAX));
        do_fork(r, 1, 0);
        do_fork(r, 2, 1);
        check_pages(r);
        for (int step = 0; step < 70; step++) {
            do_decode(r, 1);
            do_decode(r, step % 2 ? 2 : 1);
            for (uint32_t sequence = 0; sequence < 3; sequence++) check_sequence(r, sequence);
        }
        do_close(r, 1); /* the one in the middle goes first */
        do_prompt(r, 2, CHUNK_MAX);
        check_pages(r);
        check_sequence(r, 0), check_sequence(r, 2);
        do_close(r, 0);
        check_sequence(r, 2);
        do_close(r, 2);
        check(r, r->cache.pool.n_used == 0);
        rig_close(r);
    }
}

/* Ten thousand short lives in one pool. */
static void test_no_page_leaks(void **state)
{
    (void)state;
    rig *r = rig_open(sl_kernels_named("ref")->kv[SL_KV_F16], 7, 1, FATE_RAGGED);
    for (int life = 0; life < 10000; life++) {
        uint32_t sequence = seeded_below(&r->random, SLOTS);
        uint32_t parent = (sequence + 1 + seeded_below(&r->random, SLOTS - 1)) % SLOTS;
        if (r->plain[sequence].open) do_close(r, sequence);
        if (r->plain[parent].open && life % 2)
            do_fork(r, sequence, parent);
        else
            do_open(r, sequence);
        uint32_t rest = CONTEXT - r->plain[sequence].n_tokens;
        if (rest >= 80) do_prompt(r, sequence, 1 + seeded_below(&r->random, 80));
        check_pages(r);
    }
    for (uint32_t sequence = 0; sequence < SLOTS; sequence++)
        if (r->plain[sequence].open) do_close(r, sequence);
    check(r, r->cache.pool.n_used == 0);
    for (uint32_t page = 0; page < r->cache.pool.n_pages; page++)
        check(r, r->cache.pool.references[page] == 0);
    rig_close(r);
}

/* ---- the same bits however a prompt is cut ---- */

enum { CUT_TOKENS = 520, CUT_DECODE = 70, CUT_GROUP = 3 };

/* What attention ends with for every query. */
typedef struct {
    sl_softmax state[CUT_TOKENS + CUT_DECODE][CUT_GROUP];
    float acc[CUT_TOKENS + CUT_DECODE][CUT_GROUP][DIM];
} attended;

static void begin_query(uint32_t position, float q[CUT_GROUP][DIM], attended *out)
{
    seeded bits = seeded_from(position);
    for (int g = 0; g < CUT_GROUP; g++) {
        out->state[position][g] = (sl_softmax){.max = -INFINITY, .sum = 0};
        for (int i = 0; i < DIM; i++) {
            q[g][i] = (float)(seeded_bits(&bits) % 2001) * 1e-6F - 1e-3F;
            out->acc[position][g][i] = 0;
        }
    }
}

static void attend_block(rig *r, place at, uint32_t position, uint32_t first, uint32_t n,
                         attended *out)
{
    static float q[BLOCK_MAX][CUT_GROUP][DIM];
    uint32_t query = position + first;
    size_t n_tiles = sl_cache_prompt_tiles(&r->cache, at.sequence, at.layer, at.head, position,
                                           first, n, CUT_GROUP, r->tiles, r->visible);
    for (uint32_t t = 0; t < n; t++) begin_query(query + t, q[t], out);
    r->cache.options.layout->attend(r->tiles, n_tiles, q[0][0], (size_t)n * CUT_GROUP, DIM,
                                    out->state[query], out->acc[query][0]);
}

static void attend_last(rig *r, place at, attended *out)
{
    uint32_t query = r->plain[at.sequence].n_tokens - 1;
    float q[CUT_GROUP][DIM];
    begin_query(query, q, out);
    uint32_t n_runs = sl_cache_decode_runs(&r->cache, at.sequence, at.layer, at.head);
    for (uint32_t run = 0; run < n_runs; run++) {
        size_t n_tiles = sl_cache_decode_tiles(&r->cache, at.sequence, at.layer, at.head, query,
                                               run, CUT_GROUP, r->tiles, r->visible);
        r->cache.options.layout->attend(r->tiles, n_tiles, q[0], CUT_GROUP, DIM, out->state[query],
                                        out->acc[query][0]);
    }
}

/* One prompt in random chunks and query blocks, then some decoding, in the last head. */
static void attend_all(rig *r, uint64_t cut_seed, attended *out)
{
    seeded cut = seeded_from(cut_seed);
    place at = {seeded_below(&cut, SLOTS), LAYERS - 1, HEADS - 1};
    r->random = seeded_from(r->random.seed); /* the same tokens each time */
    do_open(r, at.sequence);
    plain_sequence *s = &r->plain[at.sequence];
    plain_grow(r, s, CUT_TOKENS + CUT_DECODE);
    uint64_t salts[CUT_TOKENS + CUT_DECODE];
    memcpy(salts, s->salt, sizeof salts);
    float(*k)[DIM] = allocate(CUT_TOKENS * sizeof *k), (*v)[DIM] = allocate(CUT_TOKENS * sizeof *v);
    for (uint32_t p = 0; p < CUT_TOKENS; p++) token_row(salts[p], at.layer, at.head, p, k[p], v[p]);
    uint32_t longest = 1 + seeded_below(&cut, CHUNK_MAX);
    for (uint32_t p = 0, n; p < CUT_TOKENS; p += n) {
        n = 1 + seeded_below(&cut, longest);
        if (n > CUT_TOKENS - p) n = CUT_TOKENS - p;
        uint8_t keep[CHUNK_MAX];
        fates_of(r, s, ALL_HEADS - 1, p, n, keep);
        sl_cache_put_prompt(&r->cache, at.sequence, at.layer, at.head, p, n, k[p], v[p], DIM, keep);
        for (uint32_t first = 0, rows; first < n; first += rows) {
            rows = 1 + seeded_below(&cut, BLOCK_MAX);
            if (rows > n - first) rows = n - first;
            attend_block(r, at, p, first, rows, out);
        }
    }
    for (uint32_t p = CUT_TOKENS; p < CUT_TOKENS + CUT_DECODE; p++) {
        float key[DIM], value[DIM];
        uint8_t keep;
        fates_of(r, s, ALL_HEADS - 1, p, 1, &keep);
        token_row(salts[p], at.layer, at.head, p, key, value);
        sl_cache_put_decode(&r->cache, at.sequence, at.layer, at.head, p, key, value, keep != 0);
        s->n_tokens = p + 1;
        attend_last(r, at, out);
    }
    free(k), free(v);
    do_close(r, at.sequence);
}

static void test_any_chunks(void **state)
{
    (void)state;
    static const char *const sets[] = {"ref", "avx2", "avx512"};
    for (uint32_t i = 0; i < N_WINDOWS * N_FATES * 3; i++) {
        const sl_kernels *kernels = sl_kernels_named(sets[i / (N_WINDOWS * N_FATES)]);
        if (!kernels) continue;
        rig *r = rig_open(kernels->kv[SL_KV_F16], 200 + i, windows[i % N_WINDOWS],
                          fates[i / N_WINDOWS % N_FATES]);
        attended *first = allocate(sizeof *first), *again = allocate(sizeof *again);
        attend_all(r, 1, first);
        for (uint64_t cut = 2; cut <= 5; cut++) {
            attend_all(r, cut, again);
            check(r, memcmp(first, again, sizeof *first) == 0);
        }
        free(first), free(again);
        rig_close(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_fork_diverges),
        cmocka_unit_test(test_no_page_leaks),
        cmocka_unit_test(test_any_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
