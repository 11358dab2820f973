/* The lists of slots by state: whatever the order of moves, each list is in the order in which
 * frames carry what is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "launch/pipeline/driver_sequences.h"
#include "tests/support/seeded.h"

enum { SLOTS = 13, OWNERS = 4, MOVES = 4000 };

static bool by_age(sl_sequence_state state)
{
    return state == SL_SEQUENCE_PROMPT || state == SL_SEQUENCE_READY;
}

/* Every slot is in the list of its state, and nowhere else. */
static void check_lists(const sl_driver_sequences *all, seeded *random)
{
    uint32_t n = 0;
    for (int state = 0; state < SL_SEQUENCE_STATES; state++) {
        const sl_driver_sequence *before = NULL, *s;
        uint32_t n_here = 0;
        for (s = sl_driver_sequences_first(all, state); s; s = sl_driver_sequences_next(s)) {
            assert_seeded(random, s->state == (sl_sequence_state)state);
            bool ages_differ = before && by_age(state) && before->owner != s->owner;
            if (ages_differ)
                assert_seeded(random, before->owner->arrival < s->owner->arrival);
            else if (before && state != SL_SEQUENCE_WAITING)
                assert_seeded(random, before < s);
            before = s;
            n_here++;
        }
        assert_seeded(random, n_here == sl_driver_sequences_count(all, state));
        n += n_here;
    }
    assert_seeded(random, n == SLOTS);
}

static void test_order(void **state)
{
    (void)state;
    sl_arena arena;
    sl_driver_sequences all;
    sl_driver_request owners[OWNERS];
    seeded random = seeded_from(1);
    sl_arena_init(&arena, NULL, 0);
    sl_driver_sequences_init(SLOTS, &arena, &all);
    size_t bytes = arena.used_bytes;
    void *storage = aligned_alloc(64, bytes + 64 - bytes % 64);
    assert_non_null(storage);
    sl_arena_init(&arena, storage, bytes);
    sl_driver_sequences_init(SLOTS, &arena, &all);
    for (uint32_t i = 0; i < OWNERS; i++)
        owners[i] = (sl_driver_request){.arrival = (i + 2) % OWNERS};

    check_lists(&all, &random);
    for (int i = 0; i < MOVES; i++) {
        uint32_t slot = (uint32_t)seeded_below(&random, SLOTS);
        sl_driver_sequence *s = &all.slots[slot];
        s->owner = &owners[slot % OWNERS];
        sl_sequence_state to = (sl_sequence_state)seeded_below(&random, SL_SEQUENCE_STATES);
        sl_driver_sequences_move(&all, s, to);
        assert_int_equal(sl_driver_sequences_slot(&all, s), slot);
        check_lists(&all, &random);
    }
    free(storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
