/* tests/unit/sched/test_placement.c - the planned split against every split there is, on caches as
 * they are; the longest context against trying every length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/placement.h"
#include "tests/support/seeded.h"

enum { LAYERS_MAX = 9 };

typedef struct {
    sl_placement_options options;
    uint64_t weights[LAYERS_MAX];
    double keep[LAYERS_MAX];
    uint32_t sliding_windows[LAYERS_MAX];
    sl_plan plan;
    sl_plan_rank ranks[LAYERS_MAX];
} shape;

/* By the words of placement.h. */
static uint64_t plain_cache(const shape *s, uint32_t layer, uint32_t context)
{
    const sl_placement_options *o = &s->options;
    uint32_t sliding = s->sliding_windows[layer], window = sliding ? sliding : o->window;
    uint64_t ring = ((window < context ? window : context) + 63) / 64, pages = 0;
    if (!sliding && context > o->window) {
        double kept = context - o->window; /* all of the sinks, and a part of the rest */
        if (kept > o->sinks) kept = o->sinks + (kept - o->sinks) * s->keep[layer];
        while ((double)pages * 64 < kept) pages++;
    }
    return (ring + pages) * o->page_bytes * o->n_kv_heads * o->sequences;
}

static void make(shape *s, seeded *random)
{
    *s = (shape){.options = {.n_layers = 1 + seeded_below(random, LAYERS_MAX),
                             .n_kv_heads = 1 + seeded_below(random, 3),
                             .sequences = 1 + seeded_below(random, 4),
                             .sinks = seeded_below(random, 70),
                             .window = 1 + seeded_below(random, 200),
                             .page_bytes = 100,
                             .first_extra_bytes = seeded_below(random, 5000),
                             .last_extra_bytes = seeded_below(random, 5000)}};
    sl_placement_options *o = &s->options;
    sl_plan_init(1 + seeded_below(random, o->n_layers), s->ranks, &s->plan);
    for (uint32_t i = 0; i < o->n_layers; i++) {
        s->weights[i] = seeded_below(random, 8000);
        s->keep[i] = seeded_below(random, 101) / 100.0;
        s->sliding_windows[i] = seeded_below(random, 2) * seeded_below(random, 300);
    }
    bool limited = seeded_below(random, 4);
    for (uint32_t r = 0; r < s->plan.n_ranks && limited; r++)
        if (seeded_below(random, 3)) s->ranks[r].limit_bytes = 20000 + seeded_below(random, 40000);
    o->layer_weights = s->weights;
    o->keep = s->keep;
    o->sliding_windows = s->sliding_windows;
}

/* What a split makes of its fullest rank: by how much it is beyond a limit, and its bytes. */
typedef struct {
    uint64_t excess, largest;
} verdict;

static verdict judge(const shape *s, uint32_t context, const uint32_t *first)
{
    const sl_placement_options *o = &s->options;
    uint32_t n_ranks = s->plan.n_ranks;
    verdict v = {0};
    for (uint32_t r = 0; r < n_ranks; r++) {
        uint64_t limit = s->ranks[r].limit_bytes;
        uint64_t bytes = (r == 0 ? o->first_extra_bytes : 0) +
                         (r + 1 == n_ranks ? o->last_extra_bytes : 0);
        for (uint32_t i = first[r]; i < first[r + 1]; i++)
            bytes += s->weights[i] + plain_cache(s, i, context);
        if (bytes > v.largest) v.largest = bytes;
        if (bytes > limit && bytes - limit > v.excess) v.excess = bytes - limit;
    }
    return v;
}

/* The same of the split that the plan has. */
static verdict judge_plan(const shape *s, uint32_t context)
{
    uint32_t first[LAYERS_MAX + 1] = {0}, next = 0;
    for (uint32_t r = 0; r < s->plan.n_ranks; r++) {
        first[r] = s->ranks[r].first_layer;
        assert_int_equal(first[r], next);
        uint32_t n_full = 0;
        for (uint32_t i = 0; i < s->ranks[r].n_layers; i++)
            n_full += s->sliding_windows[s->ranks[r].first_layer + i] == 0;
        assert_int_equal(s->ranks[r].n_paged_heads, n_full * s->options.n_kv_heads);
        next += s->ranks[r].n_layers;
    }
    assert_int_equal(next, s->options.n_layers);
    first[s->plan.n_ranks] = next;
    return judge(s, context, first);
}

static void try_all(const shape *s, uint32_t context, uint32_t rank, uint32_t *first, verdict *best)
{
    if (rank == s->plan.n_ranks) {
        verdict v = judge(s, context, first);
        if (v.excess < best->excess || (v.excess == best->excess && v.largest < best->largest))
            *best = v;
        return;
    }
    for (first[rank] = first[rank - 1] + 1;
         first[rank] + s->plan.n_ranks - rank <= s->options.n_layers; first[rank]++)
        try_all(s, context, rank + 1, first, best);
}

static verdict best_of_all(const shape *s, uint32_t context)
{
    uint32_t first[LAYERS_MAX + 1] = {0};
    verdict best = {UINT64_MAX, UINT64_MAX};
    first[s->plan.n_ranks] = s->options.n_layers;
    try_all(s, context, 1, first, &best);
    return best;
}

static void test_against_all_splits(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        seeded random = seeded_from(seed);
        shape s;
        make(&s, &random);
        uint32_t context = seeded_below(&random, 3000);
        uint64_t excess = sl_placement_split(&s.options, context, &s.plan);
        verdict best = best_of_all(&s, context), found = judge_plan(&s, context);
        assert_seeded(&random, found.excess == best.excess && found.largest == best.largest);
        assert_seeded(&random, excess == best.excess);
        uint32_t largest = sl_placement_largest_rank(&s.options, context, &s.plan);
        sl_placement_rank most = sl_placement_of(&s.options, context, &s.plan, largest);
        assert_seeded(&random, most.weights + most.cache == found.largest);
        for (uint32_t r = 0; r < s.plan.n_ranks; r++) {
            sl_placement_rank held = sl_placement_of(&s.options, context, &s.plan, r);
            uint32_t first = s.ranks[r].first_layer;
            uint64_t cache = 0;
            for (uint32_t i = 0; i < s.ranks[r].n_layers; i++)
                cache += plain_cache(&s, first + i, context);
            assert_seeded(&random, held.cache == cache);
        }
    }
}

static void test_longest(void **state)
{
    (void)state;
    enum { MOST = 64 * 40 };
    for (uint64_t seed = 1; seed <= 300; seed++) {
        seeded random = seeded_from(seed);
        shape s;
        make(&s, &random);
        uint32_t longest_even = 0, longest_any = 0;
        sl_placement_even(&s.options, &s.plan);
        for (uint32_t context = 64; context <= MOST; context += 64) {
            if (judge_plan(&s, context).excess == 0) longest_even = context;
            if (best_of_all(&s, context).excess == 0) longest_any = context;
        }
        assert_seeded(&random, sl_placement_longest(&s.options, &s.plan, MOST) == longest_even);
        assert_seeded(&random,
                      sl_placement_longest_of_all(&s.options, &s.plan, MOST) == longest_any);
    }
}

/* No rank is without layers, and none has two more than another. */
static void test_even(void **state)
{
    (void)state;
    for (uint32_t layers = 1; layers <= 40; layers++)
        for (uint32_t ranks = 1; ranks <= layers; ranks++) {
            const uint32_t sliding_windows[40] = {0};
            const sl_placement_options options = {
                .n_layers = layers, .n_kv_heads = 3, .sliding_windows = sliding_windows};
            sl_plan_rank rows[40];
            sl_plan plan;
            uint32_t next = 0;
            sl_plan_init(ranks, rows, &plan);
            sl_placement_even(&options, &plan);
            for (uint32_t r = 0; r < ranks; r++) {
                uint32_t n = rows[r].n_layers;
                assert_true(n == layers / ranks || n == layers / ranks + 1);
                assert_true(rows[r].first_layer == next && rows[r].n_paged_heads == 3 * n);
                assert_int_equal(sl_plan_rank_of(&plan, next), r);
                assert_int_equal(sl_plan_rank_of(&plan, next + n - 1), r);
                next += n;
            }
            assert_int_equal(next, layers);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_all_splits),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
