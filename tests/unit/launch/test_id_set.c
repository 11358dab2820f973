/* The set of ids against a plain list of what was put in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "launch/id_set.h"
#include "tests/support/seeded.h"

static void test_empty(void **state)
{
    (void)state;
    sl_id_set set = {0};
    assert_false(sl_id_set_has(&set, "a"));
    assert_false(sl_id_set_has(&set, ""));
    sl_id_set_free(&set);
    bool was_there;
    assert_int_equal(sl_id_set_add(&set, "", &was_there), SL_OK);
    assert_false(was_there);
    assert_true(sl_id_set_has(&set, ""));
    assert_false(sl_id_set_has(&set, "a"));
    sl_id_set_free(&set);
    assert_false(sl_id_set_has(&set, ""));
}

static void test_many(void **state)
{
    (void)state;
    enum { IDS = 20000, ADDS = 60000 };
    seeded random = seeded_from(1);
    bool *in = calloc(IDS, sizeof *in);
    size_t count = 0;
    sl_id_set set = {0};
    for (int i = 0; i < ADDS; i++) {
        char id[32];
        uint32_t number = seeded_below(&random, IDS);
        snprintf(id, sizeof id, "line-%u", number);
        assert_seeded(&random, sl_id_set_has(&set, id) == in[number]);
        if (seeded_below(&random, 2)) continue;
        bool was_there;
        assert_int_equal(sl_id_set_add(&set, id, &was_there), SL_OK);
        assert_seeded(&random, was_there == in[number]);
        count += !in[number];
        in[number] = true;
    }
    assert_int_equal(set.count, count);
    assert_true(set.capacity * sizeof *set.slots <=
                48 * count); /* 32 bytes each, and a half empty */
    sl_id_set_free(&set);
    free(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_empty), cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
