/* The map of hashes against a plain list of what was put in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "runtime/base/hash_map.h"
#include "tests/support/seeded.h"

static void test_empty(void **state)
{
    (void)state;
    sl_hash_map map = {0};
    const XXH128_hash_t zero = {0, 0}; /* a key like any other */
    assert_null(sl_hash_map_find(&map, sl_hash_id("a")));
    assert_null(sl_hash_map_find(&map, zero));
    sl_hash_map_free(&map);
    bool was_there;
    assert_int_equal(sl_hash_map_put(&map, zero, 5, &was_there), SL_OK);
    assert_false(was_there);
    assert_int_equal(*sl_hash_map_find(&map, zero), 5);
    assert_null(sl_hash_map_find(&map, sl_hash_id("")));
    sl_hash_map_free(&map);
    assert_null(sl_hash_map_find(&map, zero));
}

static void test_many(void **state)
{
    (void)state;
    enum { IDS = 20000, ADDS = 60000 };
    seeded random = seeded_from(1);
    uint64_t *values = calloc(IDS, sizeof *values);
    size_t count = 0;
    sl_hash_map map = {0};
    for (int i = 1; i <= ADDS; i++) {
        char id[32];
        uint32_t number = seeded_below(&random, IDS);
        snprintf(id, sizeof id, "line-%u", number);
        const uint64_t *found = sl_hash_map_find(&map, sl_hash_id(id));
        assert_seeded(&random, found ? *found == values[number] : values[number] == 0);
        if (seeded_below(&random, 2)) continue;
        bool was_there;
        assert_int_equal(sl_hash_map_put(&map, sl_hash_id(id), (uint64_t)i, &was_there), SL_OK);
        assert_seeded(&random, was_there == (values[number] != 0));
        count += !values[number];
        values[number] = (uint64_t)i;
    }
    assert_int_equal(map.count, count);
    /* what plans count on, while it grows: the old places and twice as many new ones */
    assert_true((map.capacity + map.capacity / 2) * sizeof *map.slots <=
                SL_HASH_MAP_BYTES_EACH * count);
    sl_hash_map_free(&map);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_empty), cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
