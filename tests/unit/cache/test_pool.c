/* tests/unit/cache/test_pool.c - the pool against a plain list of who holds which page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/cache/pool.h"
#include "tests/support/seeded.h"

enum { N_PAGES = 40, PAGE_BYTES = 192, HELD_MAX = 200, STEPS = 20000 };

/* A pool and its memory. */
typedef struct {
    sl_pool pool;
    void *storage;
    size_t bytes;
} rig;

static void rig_open(rig *r)
{
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_pool_init(&r->pool, N_PAGES, PAGE_BYTES, &arena);
    r->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(r->bytes, "pool", &r->storage), SL_OK);
    sl_arena_init(&arena, r->storage, r->bytes);
    sl_pool_init(&r->pool, N_PAGES, PAGE_BYTES, &arena);
    assert_int_equal(arena.used_bytes, r->bytes);
}

static void rig_close(rig *r) { sl_storage_release(r->storage, r->bytes); }

/* A pool planned too large never touches its upper part. */
static void test_lowest_first(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    for (uint32_t i = 0; i < N_PAGES; i++) assert_int_equal(sl_pool_take(&r.pool), i);
    for (uint32_t i = 0; i < N_PAGES; i++) sl_pool_release(&r.pool, i);
    assert_int_equal(r.pool.n_used, 0);
    assert_int_equal(r.pool.high_water, N_PAGES);
    rig_close(&r);
}

static void test_pages_are_apart(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    uint32_t ids[N_PAGES];
    for (uint32_t i = 0; i < N_PAGES; i++) {
        ids[i] = sl_pool_take(&r.pool);
        memset(sl_pool_page(&r.pool, ids[i]), (int)i + 1, PAGE_BYTES);
    }
    for (uint32_t i = 0; i < N_PAGES; i++) {
        const uint8_t *page = sl_pool_page(&r.pool, ids[i]);
        assert_int_equal((uintptr_t)page % 64, 0);
        for (size_t k = 0; k < PAGE_BYTES; k++) assert_int_equal(page[k], i + 1);
    }
    rig_close(&r);
}

/* Every reference that is out, one entry each, as its holder would know it. */
static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        seeded random = seeded_from(seed);
        rig r;
        rig_open(&r);
        uint32_t held[HELD_MAX], n_held = 0, references[N_PAGES] = {0}, n_used = 0, high = 0;
        for (int step = 0; step < STEPS; step++) {
            uint32_t what = seeded_below(&random, 3);
            if (what == 0 && n_used < N_PAGES && n_held < HELD_MAX) {
                uint32_t page = sl_pool_take(&r.pool);
                assert_seeded(&random, page < N_PAGES && references[page] == 0);
                references[page] = 1;
                held[n_held++] = page;
                n_used++;
            } else if (what == 1 && n_held > 0 && n_held < HELD_MAX) {
                uint32_t page = held[seeded_below(&random, n_held)];
                sl_pool_share(&r.pool, page);
                references[page]++;
                held[n_held++] = page;
            } else if (what == 2 && n_held > 0) {
                uint32_t at = seeded_below(&random, n_held), page = held[at];
                sl_pool_release(&r.pool, page);
                held[at] = held[--n_held];
                if (--references[page] == 0) n_used--;
            }
            if (n_used > high) high = n_used;
            assert_seeded(&random, r.pool.n_used == n_used && r.pool.high_water == high);
            assert_seeded(&random, memcmp(r.pool.references, references, sizeof references) == 0);
        }
        while (n_held > 0) sl_pool_release(&r.pool, held[--n_held]);
        assert_seeded(&random, r.pool.n_used == 0);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lowest_first),
        cmocka_unit_test(test_pages_are_apart),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
