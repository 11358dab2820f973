/* tests/unit/cache/test_cache.c - a query sees the keys that cache.h says, each once and in order;
 * there are as many pages as the kept tokens fill, shared by the sequences that should share
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/cache/cache_rig.h"

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

/* Every page is held by the sequences that should hold it, and no other page is in use. */
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
    return p <= query && (p >= plain_left(r, at.layer * HEADS + at.head, query + 1) || h->kept[p]);
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
    uint32_t last = r->plain[at.sequence].n_tokens - 1,
             left = plain_left(r, at.layer * HEADS + at.head, last + 1);
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

static void do_fork(rig *r, uint32_t sequence, uint32_t parent)
{
    sl_cache_fork(&r->cache, sequence, parent);
    plain_fork(r, &r->plain[sequence], &r->plain[parent]);
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
    uint32_t most = SLIDING_LAYER * HEADS * sl_cache_head_pages(r->cache.options.window, CONTEXT);
    return r->cache.pool.n_pages - r->cache.pool.n_used >= most;
}

/* As at the end of a prompt: of what each head has kept, some stay. */
static void do_retain(rig *r, uint32_t sequence)
{
    plain_sequence *s = &r->plain[sequence];
    for (uint32_t head = 0; head < SLIDING_LAYER * HEADS; head++) {
        plain_head *h = &s->heads[head];
        uint8_t keep[CONTEXT];
        uint32_t n = 0, of_100 = seeded_below(&r->random, 101);
        h->n_kept = 0;
        for (uint32_t p = 0; p < plain_left(r, head, s->n_tokens); p++) {
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
            rig_open_sequence(r, sequence);
        return;
    }
    uint32_t rest = CONTEXT - s->n_tokens;
    switch (seeded_below(&r->random, 9)) {
    case 0: rig_close_sequence(r, sequence); break;
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
            if (r->plain[sequence].open) rig_close_sequence(r, sequence);
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
        rig_open_sequence(r, 0);
        for (int k = 0; k < 3; k++) do_prompt(r, 0, 1 + seeded_below(&r->random, CHUNK_MAX));
        do_fork(r, 1, 0);
        do_fork(r, 2, 1);
        check_pages(r);
        for (int step = 0; step < 70; step++) {
            do_decode(r, 1);
            do_decode(r, step % 2 ? 2 : 1);
            for (uint32_t sequence = 0; sequence < 3; sequence++) check_sequence(r, sequence);
        }
        rig_close_sequence(r, 1); /* the one in the middle goes first */
        do_prompt(r, 2, CHUNK_MAX);
        check_pages(r);
        check_sequence(r, 0), check_sequence(r, 2);
        rig_close_sequence(r, 0);
        check_sequence(r, 2);
        rig_close_sequence(r, 2);
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
        if (r->plain[sequence].open) rig_close_sequence(r, sequence);
        if (r->plain[parent].open && life % 2)
            do_fork(r, sequence, parent);
        else
            rig_open_sequence(r, sequence);
        uint32_t rest = CONTEXT - r->plain[sequence].n_tokens;
        if (rest >= 80) do_prompt(r, sequence, 1 + seeded_below(&r->random, 80));
        check_pages(r);
    }
    for (uint32_t sequence = 0; sequence < SLOTS; sequence++)
        if (r->plain[sequence].open) rig_close_sequence(r, sequence);
    check(r, r->cache.pool.n_used == 0);
    for (uint32_t page = 0; page < r->cache.pool.n_pages; page++)
        check(r, r->cache.pool.references[page] == 0);
    rig_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_fork_diverges),
        cmocka_unit_test(test_no_page_leaks),
    };
    int failed = cmocka_run_group_tests_name("cache", tests, NULL, NULL);
    failed += cache_chunks_tests();
    return failed;
}
