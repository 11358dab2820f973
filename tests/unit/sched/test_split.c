/* tests/unit/sched/test_split.c - against every split there is, and on shapes whose answer is
 * known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sched/split.h"
#include "tests/support/seeded.h"

typedef struct {
    uint64_t layers[SL_SPLIT_LAYERS_MAX], first_extra, last_extra;
    uint32_t n_layers, n_ranks;
    bool limited;
    uint64_t limits[SL_SPLIT_LAYERS_MAX];
} shape;

static uint64_t bytes_of(const shape *s, const uint32_t *first, uint32_t rank)
{
    uint64_t bytes = (rank == 0 ? s->first_extra : 0) +
                     (rank + 1 == s->n_ranks ? s->last_extra : 0);
    for (uint32_t i = first[rank]; i < first[rank + 1]; i++) bytes += s->layers[i];
    return bytes;
}

/* By how much the rank that is the most beyond a limit is so. */
static uint64_t excess_of(const shape *s, const uint32_t *first)
{
    uint64_t most = 0;
    for (uint32_t r = 0; s->limited && r < s->n_ranks; r++) {
        uint64_t bytes = bytes_of(s, first, r);
        if (bytes > s->limits[r] && bytes - s->limits[r] > most) most = bytes - s->limits[r];
    }
    return most;
}

/* Is split a to be preferred to b? The sentences of split.h, in order. */
static int better(const shape *s, const uint32_t *a, const uint32_t *b)
{
    uint64_t excess[2] = {excess_of(s, a), excess_of(s, b)};
    if (excess[0] != excess[1]) return excess[0] < excess[1];
    uint64_t largest[2] = {0}, squares[2] = {0};
    for (uint32_t r = 0; r < s->n_ranks; r++)
        for (int which = 0; which < 2; which++) {
            uint64_t bytes = bytes_of(s, which ? b : a, r);
            if (bytes > largest[which]) largest[which] = bytes;
            squares[which] += bytes * bytes;
        }
    if (largest[0] != largest[1]) return largest[0] < largest[1];
    if (squares[0] != squares[1]) return squares[0] < squares[1];
    for (uint32_t r = s->n_ranks - 1; r > 0; r--)
        if (a[r] != b[r]) return a[r] < b[r];
    return 0;
}

/* Try every first layer of `rank` and after. */
static void try_all(const shape *s, uint32_t rank, uint32_t *first, uint32_t *best)
{
    if (rank == s->n_ranks) {
        if (better(s, first, best)) memcpy(best, first, (s->n_ranks + 1) * sizeof *first);
        return;
    }
    for (first[rank] = first[rank - 1] + 1; first[rank] + (s->n_ranks - rank) <= s->n_layers;
         first[rank]++)
        try_all(s, rank + 1, first, best);
}

static uint64_t split(const shape *s, uint32_t *first)
{
    uint64_t limits[SL_SPLIT_LAYERS_MAX];
    for (uint32_t r = 0; r < s->n_ranks; r++) limits[r] = s->limited ? s->limits[r] : UINT64_MAX;
    const sl_split_options options = {.n_layers = s->n_layers,
                                      .n_ranks = s->n_ranks,
                                      .layer_bytes = s->layers,
                                      .first_extra_bytes = s->first_extra,
                                      .last_extra_bytes = s->last_extra,
                                      .rank_limits = limits};
    return sl_split_layers(&options, first);
}

static void test_against_all_splits(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        seeded random = seeded_from(seed);
        shape s = {.n_layers = 1 + seeded_below(&random, 11)};
        s.n_ranks = 1 + seeded_below(&random, s.n_layers);
        /* small numbers: many ties; large ones: the least largest rank is not the most even */
        uint32_t spread = seeded_below(&random, 2) ? 1 + seeded_below(&random, 6) : 60;
        for (uint32_t i = 0; i < s.n_layers; i++) s.layers[i] = seeded_below(&random, spread);
        s.first_extra = seeded_below(&random, 3) * seeded_below(&random, 20);
        s.last_extra = seeded_below(&random, 3) * seeded_below(&random, 20);
        s.limited = seed % 2;
        uint32_t share = 2 * (spread * s.n_layers + 20) / s.n_ranks + 2;
        for (uint32_t r = 0; r < s.n_ranks; r++) s.limits[r] = seeded_below(&random, share);

        uint32_t found[SL_SPLIT_LAYERS_MAX + 1] = {0}, best[SL_SPLIT_LAYERS_MAX + 1] = {0};
        uint32_t first[SL_SPLIT_LAYERS_MAX + 1] = {0};
        for (uint32_t r = 0; r < s.n_ranks; r++) best[r] = r;
        first[s.n_ranks] = best[s.n_ranks] = s.n_layers;
        try_all(&s, 1, first, best);
        assert_seeded(&random, split(&s, found) == excess_of(&s, best));
        assert_seeded(&random, memcmp(found, best, (s.n_ranks + 1) * sizeof *best) == 0);
    }
}

static void assert_counts(const shape *s, const uint32_t *counts)
{
    uint32_t first[SL_SPLIT_LAYERS_MAX + 1] = {0};
    split(s, first);
    assert_int_equal(first[0], 0);
    for (uint32_t r = 0; r < s->n_ranks; r++) assert_int_equal(first[r + 1] - first[r], counts[r]);
}

static shape equal_layers(uint32_t n_layers, uint64_t bytes, uint32_t n_ranks)
{
    shape s = {.n_layers = n_layers, .n_ranks = n_ranks};
    for (uint32_t i = 0; i < n_layers; i++) s.layers[i] = bytes;
    return s;
}

static void test_equal_layers(void **state)
{
    (void)state;
    shape s = equal_layers(30, 2200000, 4);
    assert_counts(&s, (uint32_t[SL_SPLIT_LAYERS_MAX]){7, 7, 8, 8});
    s.n_ranks = 1;
    assert_counts(&s, (uint32_t[SL_SPLIT_LAYERS_MAX]){30});
    s.n_ranks = 7;
    assert_counts(&s, (uint32_t[SL_SPLIT_LAYERS_MAX]){4, 4, 4, 4, 4, 5, 5});
}

/* An embedding as large as thirteen layers at either end: the layers between stay even. */
static void test_heavy_ends(void **state)
{
    (void)state;
    shape s = equal_layers(30, 2200000, 8);
    s.first_extra = s.last_extra = 28000000;
    assert_counts(&s, (uint32_t[SL_SPLIT_LAYERS_MAX]){1, 4, 4, 5, 5, 5, 5, 1});
    s.n_ranks = 2;
    assert_counts(&s, (uint32_t[SL_SPLIT_LAYERS_MAX]){15, 15});
    s.n_ranks = 3;
    assert_counts(&s, (uint32_t[SL_SPLIT_LAYERS_MAX]){6, 18, 6});
}

static void test_limits(void **state)
{
    (void)state;
    shape s = equal_layers(SL_SPLIT_LAYERS_MAX, 1ull << 40, SL_SPLIT_LAYERS_MAX);
    uint32_t first[SL_SPLIT_LAYERS_MAX + 1];
    split(&s, first);
    for (uint32_t r = 0; r <= s.n_ranks; r++) assert_int_equal(first[r], r);
    s.n_ranks = 100;
    split(&s, first);
    for (uint32_t r = 0; r < s.n_ranks; r++) assert_in_range(first[r + 1] - first[r], 2, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_all_splits),
        cmocka_unit_test(test_equal_layers),
        cmocka_unit_test(test_heavy_ends),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
