/* tests/unit/sched/test_credit.c - the account by itself, and against pools that really fill. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sched/credit.h"
#include "tests/support/seeded.h"

/* Whatever is in the last page, n tokens take no more pages than said, and can take as many. */
static void test_tokens_pages_is_the_exact_worst_case(void **state)
{
    (void)state;
    for (uint32_t n = 0; n <= 300; n++) {
        uint32_t worst = 0;
        for (uint32_t full = 0; full <= 130; full++) {
            uint32_t before = (full + 63) / 64, after = (full + n + 63) / 64;
            if (after - before > worst) worst = after - before;
        }
        assert_int_equal(sl_credit_tokens_pages(n), worst);
    }
    assert_int_equal(sl_credit_tokens_pages(UINT32_MAX), 1u << 26);
}

/* A rank whose layers all have sliding windows takes any number of head pages and none of its
 * own. */
static void test_rank_without_pages(void **state)
{
    (void)state;
    sl_plan_rank rows[] = {{.n_paged_heads = 0}, {.n_paged_heads = 2, .n_pages = 9}};
    const sl_plan plan = {.n_ranks = 2, .ranks = rows};
    sl_credit_rank ranks[2];
    sl_credit credit;
    sl_credit_init(&credit, &plan, ranks);
    assert_int_equal(sl_credit_fullest_rank(&credit), 1);
    assert_int_equal(sl_credit_head_pages_free(&credit), 4);
    sl_credit_take(&credit, 4);
    assert_false(sl_credit_fits(&credit, 1));
    sl_credit_settle(&credit, 0, 4, 0);
    assert_false(sl_credit_fits(&credit, 1));
    sl_credit_settle(&credit, 1, 4, 2);
    assert_int_equal(sl_credit_head_pages_free(&credit), 3);
    rows[1] = rows[0]; /* and a model without any pages is never short of them */
    sl_credit_init(&credit, &plan, ranks);
    assert_true(sl_credit_fits(&credit, UINT32_MAX));
}

static void test_take_and_settle(void **state)
{
    (void)state;
    sl_plan_rank rows[] = {{.n_paged_heads = 6, .n_pages = 60},
                           {.n_paged_heads = 9, .n_pages = 80}};
    const sl_plan plan = {.n_ranks = 2, .ranks = rows};
    sl_credit_rank ranks[] = {{99, 99}, {99, 99}};
    sl_credit credit;
    sl_credit_init(&credit, &plan, ranks);
    assert_int_equal(sl_credit_head_pages_free(&credit), 8); /* 80 / 9 */
    assert_true(sl_credit_fits(&credit, 8));
    assert_false(sl_credit_fits(&credit, 9));

    sl_credit_take(&credit, 3);
    assert_int_equal(ranks[0].pending, 18);
    assert_int_equal(ranks[1].pending, 27);
    assert_int_equal(sl_credit_head_pages_free(&credit), 5);
    sl_credit_take(&credit, 5);
    assert_true(sl_credit_fits(&credit, 0));
    assert_false(sl_credit_fits(&credit, 1));

    sl_credit_settle(&credit, 0, 3, 10);
    assert_int_equal(sl_credit_head_pages_free(&credit), 0); /* rank 1 has not said */
    sl_credit_settle(&credit, 1, 3, 7);
    assert_int_equal(sl_credit_head_pages_free(&credit), 3); /* 60-10-30 = 20, 80-7-45 = 28 */
    assert_int_equal(sl_credit_pages_free(&credit, 0), 20);
    assert_int_equal(sl_credit_pages_free(&credit, 1), 28);
    assert_int_equal(sl_credit_fullest_rank(&credit), 0); /* both have 3 */
    sl_credit_settle(&credit, 0, 5, 0);
    sl_credit_settle(&credit, 1, 5, 8);
    assert_int_equal(sl_credit_head_pages_free(&credit), 8);
    assert_int_equal(sl_credit_fullest_rank(&credit), 1);
}

/* A rank that claims more than its pool gets nothing, and the numbers do not wrap. */
static void test_overdrawn(void **state)
{
    (void)state;
    sl_plan_rank row = {.n_paged_heads = 2, .n_pages = 10};
    const sl_plan plan = {.n_ranks = 1, .ranks = &row};
    sl_credit_rank rank;
    sl_credit credit;
    sl_credit_init(&credit, &plan, &rank);
    sl_credit_take(&credit, 2);
    sl_credit_take(&credit, 1);
    sl_credit_settle(&credit, 0, 2, 9); /* and 2 are pending */
    assert_int_equal(sl_credit_head_pages_free(&credit), 0);
    sl_credit_settle(&credit, 0, 1, UINT64_MAX);
    assert_int_equal(sl_credit_head_pages_free(&credit), 0);
    sl_credit_settle(&credit, 0, 0, 9); /* 1 page free, a head page takes 2 */
    assert_int_equal(sl_credit_head_pages_free(&credit), 0);
    sl_credit_settle(&credit, 0, 0, 4);
    assert_int_equal(sl_credit_head_pages_free(&credit), 3);
}

enum { RANKS = 3, HEADS_MAX = 4, SEQUENCES = 6, FLIGHT_MAX = 5, STEPS = 400 };

/* A pool as a stage fills it: tokens kept of every (sequence, head). */
typedef struct {
    uint32_t kept[SEQUENCES][HEADS_MAX];
    uint32_t applied; /* frames */
} stage;

/* A frame: grow `sequence` by n_tokens, or fork it from a parent, or close it. */
typedef struct {
    uint32_t sequence, parent, n_tokens, head_pages;
    enum { GROW, FORK, CLOSE } kind;
    uint64_t used[RANKS];
} sent_frame;

static uint64_t pages_used(const stage *s, uint32_t heads)
{
    uint64_t pages = 0;
    for (uint32_t q = 0; q < SEQUENCES; q++)
        for (uint32_t h = 0; h < heads; h++) pages += (s->kept[q][h] + 63) / 64;
    return pages;
}

/* Gates differ: each head keeps none, all or any number of the tokens. A fork is counted as if
 * nothing were shared but full pages, which cost nothing here: only the copied page is new. */
static void apply(stage *s, const sent_frame *f, uint32_t heads, seeded *random)
{
    for (uint32_t h = 0; h < heads; h++) {
        uint32_t *kept = &s->kept[f->sequence][h];
        if (f->kind == CLOSE) *kept = 0;
        if (f->kind == FORK) *kept = s->kept[f->parent][h] % 64;
        if (f->kind == GROW)
            *kept += seeded_below(random, 3) ? f->n_tokens : seeded_below(random, f->n_tokens + 1);
    }
    s->applied++;
}

static sent_frame make_frame(seeded *random)
{
    sent_frame f = {.sequence = seeded_below(random, SEQUENCES), .kind = GROW};
    f.parent = (f.sequence + 1) % SEQUENCES;
    f.n_tokens = seeded_below(random, 4) ? 1 : 1 + seeded_below(random, 200);
    if (seeded_below(random, 12) == 0) f.kind = FORK;
    if (seeded_below(random, 12) == 0) f.kind = CLOSE;
    f.head_pages = f.kind == GROW   ? sl_credit_tokens_pages(f.n_tokens)
                   : f.kind == FORK ? SL_CREDIT_FORK_PAGES
                                    : 0;
    return f;
}

typedef struct {
    sl_plan plan;
    sl_plan_rank ranks[RANKS];
    sl_credit_rank credits[RANKS];
    uint32_t sent, settled, refused;
    stage stages[RANKS];
    sent_frame frames[STEPS];
    sl_credit credit;
} pipeline;

/* Send if credit allows, else close something, as the driver does. */
static void step_send(pipeline *p, seeded *random)
{
    sent_frame f = make_frame(random);
    if (p->sent - p->settled >= FLIGHT_MAX) return;
    if (!sl_credit_fits(&p->credit, f.head_pages)) {
        p->refused++;
        f = (sent_frame){.sequence = f.sequence, .kind = CLOSE};
    }
    sl_credit_take(&p->credit, f.head_pages);
    p->frames[p->sent++] = f;
}

/* Rank r applies its next frame, if the rank before it has; its pool must hold. */
static void step_stage(pipeline *p, uint32_t r, seeded *random)
{
    stage *s = &p->stages[r];
    uint32_t arrived = r == 0 ? p->sent : p->stages[r - 1].applied;
    if (s->applied == arrived) return;
    sent_frame *f = &p->frames[s->applied];
    apply(s, f, p->ranks[r].n_paged_heads, random);
    f->used[r] = pages_used(s, p->ranks[r].n_paged_heads);
    assert_seeded(random, f->used[r] <= p->ranks[r].n_pages);
}

static void step_settle(pipeline *p)
{
    if (p->settled == p->stages[RANKS - 1].applied) return;
    const sent_frame *f = &p->frames[p->settled++];
    for (uint32_t r = 0; r < RANKS; r++) sl_credit_settle(&p->credit, r, f->head_pages, f->used[r]);
}

static void test_pools_never_run_dry(void **state)
{
    (void)state;
    uint32_t refused = 0, sent = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        seeded random = seeded_from(seed);
        pipeline p;
        memset(&p, 0, sizeof p);
        sl_plan_init(RANKS, p.ranks, &p.plan);
        for (uint32_t r = 0; r < RANKS; r++) {
            p.ranks[r].n_paged_heads = 1 + seeded_below(&random, HEADS_MAX);
            p.ranks[r].n_pages = p.ranks[r].n_paged_heads * (4 + seeded_below(&random, 20));
        }
        sl_credit_init(&p.credit, &p.plan, p.credits);
        while (p.sent < STEPS) {
            uint32_t who = seeded_below(&random, RANKS + 2);
            if (who < RANKS)
                step_stage(&p, who, &random);
            else if (who == RANKS)
                step_send(&p, &random);
            else
                step_settle(&p);
        }
        refused += p.refused;
        sent += p.sent;
    }
    assert_true(refused > sent / 50); /* the pools were small enough to matter */
    assert_true(refused < sent / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_pages_is_the_exact_worst_case),
        cmocka_unit_test(test_rank_without_pages),
        cmocka_unit_test(test_take_and_settle),
        cmocka_unit_test(test_overdrawn),
        cmocka_unit_test(test_pools_never_run_dry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
