/* test_attention_pass.c - training's attention against plain loops of doubles, and its gradients
 * against finite differences of them, for full and sliding layers, kept, soft and evicted keys. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/train/attention_pass.h"
#include "tests/support/seeded.h"

enum { TOKENS_MAX = 150, HEADS_MAX = 6, DIM_MAX = 16 };

typedef enum { KEPT, SOFT, HARD, N_FORMS } keep_form;

typedef struct {
    sl_attention_pass_options options;
    sl_attention_pass *pass;
    void *storage;
    size_t bytes;
    sl_attention_rows rows;
    keep_form form;
    size_t n_q, n_kv, n_keep, n_sums;
    float *q, *k, *v, *log_keep, *out, *log_sum, *d_out;
    float *d_q, *d_k, *d_v, *d_keep;
} rig;

static float *fill(seeded *random, size_t n, float size)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = size * seeded_real(random);
    return x;
}

static float *spoilt(size_t n) /* all of it is written */
{
    float *x = malloc(n * sizeof *x);
    memset(x, 0xff, n * sizeof *x);
    return x;
}

static void rig_open(rig *r, seeded *random, keep_form form)
{
    uint32_t group = 1 + seeded_below(random, 3), n_kv = 1 + seeded_below(random, 2);
    r->form = form;
    r->options = (sl_attention_pass_options){.n_heads = group * n_kv,
                                             .n_kv_heads = n_kv,
                                             .head_dim = 8 * (1 + seeded_below(random, 2)),
                                             .sinks = seeded_below(random, 5),
                                             .window = 1 + seeded_below(random, 30),
                                             .tokens_max = TOKENS_MAX,
                                             .threads = 1 + (int)seeded_below(random, 3)};
    r->options.scale = 1 / sqrtf((float)r->options.head_dim);
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_attention_pass_init(&r->options, &arena, &r->pass);
    r->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(r->bytes, "pass", &r->storage), SL_OK);
    sl_arena_init(&arena, r->storage, r->bytes);
    sl_attention_pass_init(&r->options, &arena, &r->pass);
    uint32_t n = 1 + seeded_below(random, TOKENS_MAX);
    uint32_t sliding = seeded_below(random, 2) ? 1 + seeded_below(random, 90) : 0;
    r->n_q = (size_t)n * r->options.n_heads * r->options.head_dim;
    r->n_kv = (size_t)n * n_kv * r->options.head_dim;
    r->n_keep = (size_t)n * n_kv;
    r->n_sums = (size_t)n * r->options.n_heads;
    r->q = fill(random, r->n_q, 2);
    r->k = fill(random, r->n_kv, 2);
    r->v = fill(random, r->n_kv, 1);
    r->d_out = fill(random, r->n_q, 1);
    r->log_keep = fill(random, r->n_keep, 2);
    for (size_t i = 0; i < r->n_keep; i++) {
        r->log_keep[i] = -fabsf(r->log_keep[i]);
        if (form == HARD) r->log_keep[i] = r->log_keep[i] > -1 ? 0 : SL_LOG_EVICTED;
    }
    r->out = spoilt(r->n_q), r->log_sum = spoilt(r->n_sums);
    r->d_q = spoilt(r->n_q), r->d_k = spoilt(r->n_kv), r->d_v = spoilt(r->n_kv);
    r->d_keep = spoilt(r->n_keep);
    r->rows = (sl_attention_rows){.n_tokens = n,
                                  .sliding = sliding,
                                  .q = r->q,
                                  .k = r->k,
                                  .v = r->v,
                                  .log_keep = form == KEPT ? NULL : r->log_keep};
}

static void rig_close(rig *r)
{
    float *all[] = {r->q,   r->k,   r->v,   r->log_keep, r->out,  r->log_sum,
                    r->d_q, r->d_k, r->d_v, r->d_keep,   r->d_out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    sl_storage_release(r->storage, r->bytes);
}

/* ---- the equations ---- */

static const float *head_of(const float *all, uint32_t token, uint32_t n_heads, uint32_t head,
                            uint32_t dim)
{
    return all + ((size_t)token * n_heads + head) * dim;
}

static double dot(const float *x, const float *y, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

static bool sees(const rig *r, uint32_t i, uint32_t j)
{
    return j <= i && (r->rows.sliding == 0 || i - j < r->rows.sliding);
}

static bool is_eligible(const rig *r, uint32_t i, uint32_t j)
{
    return r->form != KEPT && j >= r->options.sinks && i - j >= r->options.window;
}

static uint32_t kv_head_of(const rig *r, uint32_t head)
{
    return head / (r->options.n_heads / r->options.n_kv_heads);
}

static double bare_score(const rig *r, uint32_t head, uint32_t i, uint32_t j)
{
    const sl_attention_pass_options *o = &r->options;
    return (double)o->scale * dot(head_of(r->q, i, o->n_heads, head, o->head_dim),
                                  head_of(r->k, j, o->n_kv_heads, kv_head_of(r, head), o->head_dim),
                                  o->head_dim);
}

static double gate_of(const rig *r, uint32_t head, uint32_t j)
{
    return (double)r->log_keep[(size_t)kv_head_of(r, head) * r->rows.n_tokens + j];
}

/* One query of one head. */
static double plain_attend(const rig *r, uint32_t head, uint32_t i, double *out)
{
    const sl_attention_pass_options *o = &r->options;
    double sum = 0;
    for (uint32_t d = 0; d < o->head_dim; d++) out[d] = 0;
    for (uint32_t j = 0; j <= i; j++) {
        if (!sees(r, i, j)) continue;
        double gate = is_eligible(r, i, j) ? gate_of(r, head, j) : 0;
        double w = exp(bare_score(r, head, i, j) + gate);
        const float *v = head_of(r->v, j, o->n_kv_heads, kv_head_of(r, head), o->head_dim);
        sum += w;
        for (uint32_t d = 0; d < o->head_dim; d++) out[d] += w * (double)v[d];
    }
    for (uint32_t d = 0; d < o->head_dim; d++) out[d] /= sum;
    return log(sum);
}

/* sum of d_out * out: its gradients are those that backward gives. */
static double weighed(const rig *r)
{
    const sl_attention_pass_options *o = &r->options;
    double sum = 0, out[DIM_MAX];
    for (uint32_t head = 0; head < o->n_heads; head++)
        for (uint32_t i = 0; i < r->rows.n_tokens; i++) {
            plain_attend(r, head, i, out);
            const float *d_out = head_of(r->d_out, i, o->n_heads, head, o->head_dim);
            for (uint32_t d = 0; d < o->head_dim; d++) sum += (double)d_out[d] * out[d];
        }
    return sum;
}

static void run(const rig *r, float *d_keep)
{
    sl_attention_pass_forward(r->pass, &r->rows, r->out, r->log_sum);
    sl_attention_pass_backward(r->pass, &r->rows, r->out, r->log_sum, r->d_out,
                               &(sl_attention_gradients){r->d_q, r->d_k, r->d_v, d_keep});
}

/* ---- tests ---- */

static void test_forward(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        seeded random = seeded_from(seed);
        rig r;
        double out[DIM_MAX];
        rig_open(&r, &random, (keep_form)(seed % N_FORMS));
        run(&r, r.d_keep);
        for (uint32_t head = 0; head < r.options.n_heads; head++)
            for (uint32_t i = 0; i < r.rows.n_tokens; i++) {
                double log_sum = plain_attend(&r, head, i, out);
                const float *got = head_of(r.out, i, r.options.n_heads, head, r.options.head_dim);
                for (uint32_t d = 0; d < r.options.head_dim; d++)
                    assert_seeded(&random, fabs((double)got[d] - out[d]) < 1e-5);
                float told = r.log_sum[(size_t)head * r.rows.n_tokens + i];
                assert_seeded(&random, fabs((double)told - log_sum) < 1e-4);
            }
        rig_close(&r);
    }
}

/* x moved a little in a random direction, by which the gradient must tell the change. */
static void check_moved(const rig *r, float *x, const float *gradient, size_t n, seeded *random)
{
    enum { STEPS_PER_UNIT = 4096 };
    float *was = malloc(n * sizeof *was), *way = malloc(n * sizeof *way);
    double told = 0, size = 0;
    memcpy(was, x, n * sizeof *was);
    for (size_t i = 0; i < n; i++) {
        way[i] = seeded_real(random) / STEPS_PER_UNIT;
        x[i] = was[i] + way[i];
    }
    double above = weighed(r);
    for (size_t i = 0; i < n; i++) {
        double moved = (double)x[i] - (double)was[i];
        told += moved * (double)gradient[i];
        size += fabs(moved * (double)gradient[i]);
        x[i] = was[i];
    }
    for (size_t i = 0; i < n; i++) x[i] = was[i] - way[i];
    double below = weighed(r);
    for (size_t i = 0; i < n; i++) {
        told += ((double)was[i] - (double)x[i]) * (double)gradient[i];
        x[i] = was[i];
    }
    assert_seeded(random, size > 0 && fabs(above - below - told) < 1e-3 * size + 1e-9);
    free(was);
    free(way);
}

static void test_gradients(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        seeded random = seeded_from(seed);
        rig r;
        rig_open(&r, &random, (keep_form)(seed % N_FORMS));
        run(&r, r.form == KEPT ? NULL : r.d_keep);
        bool has_others = r.rows.n_tokens > 1; /* one token's weight is 1 whatever its key */
        if (has_others) {
            check_moved(&r, r.q, r.d_q, r.n_q, &random);
            check_moved(&r, r.k, r.d_k, r.n_kv, &random);
        }
        check_moved(&r, r.v, r.d_v, r.n_kv, &random);
        if (r.form == SOFT && r.rows.n_tokens > r.options.sinks + r.options.window + 1 &&
            (r.rows.sliding == 0 || r.rows.sliding > r.options.window + 1))
            check_moved(&r, r.log_keep, r.d_keep, r.n_keep, &random);
        rig_close(&r);
    }
}

/* What flags get: of kept keys as of soft ones, of evicted ones what keeping them would change. */
static void test_straight_through(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        seeded random = seeded_from(seed);
        rig r;
        double out[DIM_MAX];
        rig_open(&r, &random, HARD);
        run(&r, r.d_keep);
        const sl_attention_pass_options *o = &r.options;
        uint32_t n = r.rows.n_tokens;
        double *want = calloc(r.n_keep, sizeof *want);
        for (uint32_t head = 0; head < o->n_heads; head++)
            for (uint32_t i = 0; i < n; i++) {
                double log_sum = plain_attend(&r, head, i, out), mean = 0;
                const float *d_out = head_of(r.d_out, i, o->n_heads, head, o->head_dim);
                for (uint32_t d = 0; d < o->head_dim; d++) mean += (double)d_out[d] * out[d];
                for (uint32_t j = 0; j < i; j++) {
                    if (!sees(&r, i, j) || !is_eligible(&r, i, j)) continue;
                    double e = exp(fmin(bare_score(&r, head, i, j) - log_sum, 20));
                    double w = gate_of(&r, head, j) < 0 ? e / (1 + e) : e;
                    uint32_t kv = kv_head_of(&r, head);
                    const float *v = head_of(r.v, j, o->n_kv_heads, kv, o->head_dim);
                    want[(size_t)kv * n + j] += w * (dot(d_out, v, o->head_dim) - mean);
                }
            }
        for (size_t i = 0; i < r.n_keep; i++)
            assert_seeded(&random, fabs((double)r.d_keep[i] - want[i]) < 1e-4);
        free(want);
        rig_close(&r);
    }
}

/* Equal threads, equal bits. */
static void test_repeats(void **state)
{
    (void)state;
    seeded random = seeded_from(5);
    rig r;
    rig_open(&r, &random, SOFT);
    run(&r, r.d_keep);
    float *k = malloc(r.n_kv * sizeof *k), *keep = malloc(r.n_keep * sizeof *keep);
    memcpy(k, r.d_k, r.n_kv * sizeof *k);
    memcpy(keep, r.d_keep, r.n_keep * sizeof *keep);
    run(&r, r.d_keep);
    assert_memory_equal(k, r.d_k, r.n_kv * sizeof *k);
    assert_memory_equal(keep, r.d_keep, r.n_keep * sizeof *keep);
    free(k), free(keep);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_straight_through),
        cmocka_unit_test(test_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
