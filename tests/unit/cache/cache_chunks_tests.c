/* tests/unit/cache/cache_chunks_tests.c - attention gives the same bits however a prompt is
 * cut into chunks and blocks of queries. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/cache/cache_rig.h"

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

/* One prompt in random chunks and query blocks, then some decoding, in the last head of a layer. */
static void attend_all(rig *r, uint32_t layer, uint64_t cut_seed, attended *out)
{
    seeded cut = seeded_from(cut_seed);
    place at = {seeded_below(&cut, SLOTS), layer, HEADS - 1};
    r->random = seeded_from(r->random.seed); /* the same tokens each time */
    rig_open_sequence(r, at.sequence);
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
        fates_of(r, s, layer * HEADS + HEADS - 1, p, n, keep);
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
        fates_of(r, s, layer * HEADS + HEADS - 1, p, 1, &keep);
        token_row(salts[p], at.layer, at.head, p, key, value);
        sl_cache_put_decode(&r->cache, at.sequence, at.layer, at.head, p, key, value, keep != 0);
        s->n_tokens = p + 1;
        attend_last(r, at, out);
    }
    free(k), free(v);
    rig_close_sequence(r, at.sequence);
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
        for (uint32_t layer = SLIDING_LAYER - 1; layer <= SLIDING_LAYER; layer++) {
            attend_all(r, layer, 1, first);
            for (uint64_t cut = 2; cut <= 5; cut++) {
                attend_all(r, layer, cut, again);
                check(r, memcmp(first, again, sizeof *first) == 0);
            }
        }
        free(first), free(again);
        rig_close(r);
    }
}

int cache_chunks_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_chunks),
    };
    return cmocka_run_group_tests_name("cache chunks", tests, NULL, NULL);
}
