/* test_head_pass.c - losses of the output map against plain loops of doubles, and their gradients
 * against central differences, over more columns than go at once. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/gguf/tensor_type.h"
#include "runtime/train/head_pass.h"
#include "tests/support/seeded.h"

enum { WIDTH = 32, VOCAB = 2500, ROWS = 9 };

typedef struct {
    sl_head_pass_options options;
    sl_head_pass *pass;
    void *storage;
    size_t bytes;
    float map[VOCAB * WIDTH], x[ROWS * WIDTH], teacher_x[ROWS * WIDTH], lm[ROWS], kl[ROWS];
    int32_t target[ROWS];
    sl_matrix head;
    sl_head_rows rows;
    float minus_log_p[ROWS], divergence[ROWS], d_x[ROWS * WIDTH];
} rig;

static void fill(seeded *random, size_t n, float size, float *x)
{
    for (size_t i = 0; i < n; i++) x[i] = size * seeded_real(random);
}

static void rig_open(rig *r, seeded *random, bool has_teacher)
{
    r->options = (sl_head_pass_options){
        .width = WIDTH, .vocab = VOCAB, .rows_max = ROWS, .threads = 1 + (int)(random->seed % 3)};
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_head_pass_init(&r->options, &arena, &r->pass);
    r->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(r->bytes, "pass", &r->storage), SL_OK);
    sl_arena_init(&arena, r->storage, r->bytes);
    sl_head_pass_init(&r->options, &arena, &r->pass);
    fill(random, VOCAB * WIDTH, 1, r->map);
    fill(random, ROWS * WIDTH, 2, r->x);
    memcpy(r->teacher_x, r->x, sizeof r->x);
    for (size_t i = 0; i < ROWS * WIDTH; i++) r->teacher_x[i] += 0.3F * seeded_real(random);
    for (uint32_t t = 0; t < ROWS; t++) {
        bool scored = seeded_below(random, 4) > 0;
        r->target[t] = scored ? (int32_t)seeded_below(random, VOCAB) : -1;
        r->lm[t] = scored ? 0.5F + seeded_real(random) / 4 : 0;
        r->kl[t] = seeded_below(random, 3) > 0 ? 0.5F + seeded_real(random) / 4 : 0;
    }
    r->head = (sl_matrix){.data = r->map,
                          .type = SL_TYPE_F32,
                          .n_out = VOCAB,
                          .n_in = WIDTH,
                          .row_bytes = WIDTH * sizeof(float)};
    r->rows = (sl_head_rows){.n = 1 + seeded_below(random, ROWS),
                             .head = &r->head,
                             .x = r->x,
                             .teacher_x = has_teacher ? r->teacher_x : NULL,
                             .target = r->target,
                             .lm = r->lm,
                             .kl = r->kl};
    memset(r->d_x, 0xff, sizeof r->d_x);
}

/* ---- the equations ---- */

static void log_softmax(const rig *r, const double *x, double *out)
{
    double sum = 0;
    for (size_t v = 0; v < VOCAB; v++) {
        out[v] = 0;
        for (size_t i = 0; i < WIDTH; i++) out[v] += (double)r->map[v * WIDTH + i] * x[i];
        sum += exp(out[v]);
    }
    for (size_t v = 0; v < VOCAB; v++) out[v] -= log(sum);
}

static void row_of(const float *all, uint32_t t, double *out)
{
    for (size_t i = 0; i < WIDTH; i++) out[i] = (double)all[t * WIDTH + i];
}

static double plain_loss(const rig *r, uint32_t t, const double *x, double *lm_out, double *kl_out)
{
    static double own[VOCAB], said[VOCAB];
    double teacher_x[WIDTH];
    log_softmax(r, x, own);
    *lm_out = r->target[t] < 0 ? 0 : -own[r->target[t]];
    *kl_out = 0;
    if (!r->rows.teacher_x) return (double)r->lm[t] * *lm_out;
    row_of(r->teacher_x, t, teacher_x);
    log_softmax(r, teacher_x, said);
    for (size_t v = 0; v < VOCAB; v++) *kl_out += exp(said[v]) * (said[v] - own[v]);
    return (double)r->lm[t] * *lm_out + (double)r->kl[t] * *kl_out;
}

/* ---- tests ---- */

static void check(uint64_t seed, bool has_teacher)
{
    static rig r;
    seeded random = seeded_from(seed);
    rig_open(&r, &random, has_teacher);
    sl_head_pass_run(r.pass, &r.rows, r.minus_log_p, has_teacher ? r.divergence : NULL, r.d_x);
    for (uint32_t t = 0; t < r.rows.n; t++) {
        double x[WIDTH], lm, kl;
        row_of(r.x, t, x);
        plain_loss(&r, t, x, &lm, &kl);
        assert_seeded(&random, fabs((double)r.minus_log_p[t] - lm) < 1e-4);
        if (has_teacher) assert_seeded(&random, fabs((double)r.divergence[t] - kl) < 1e-4);
        for (int i = 0; i < 4; i++) {
            size_t at = seeded_below(&random, WIDTH);
            double was = x[at];
            x[at] = was + 1e-4;
            double above = plain_loss(&r, t, x, &lm, &kl);
            x[at] = was - 1e-4;
            double want = (above - plain_loss(&r, t, x, &lm, &kl)) / 2e-4;
            x[at] = was;
            assert_seeded(&random, fabs((double)r.d_x[t * WIDTH + at] - want) < 1e-3);
        }
    }
    sl_storage_release(r.storage, r.bytes);
}

static void test_losses(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) check(seed, seed % 2 == 0);
}

/* The teacher itself: nothing to learn. */
static void test_same(void **state)
{
    (void)state;
    static rig r;
    seeded random = seeded_from(2);
    rig_open(&r, &random, true);
    memcpy(r.teacher_x, r.x, sizeof r.x);
    for (uint32_t t = 0; t < ROWS; t++) r.lm[t] = 0, r.target[t] = -1;
    sl_head_pass_run(r.pass, &r.rows, r.minus_log_p, r.divergence, r.d_x);
    for (uint32_t t = 0; t < r.rows.n; t++) {
        assert_true(fabsf(r.divergence[t]) < 1e-5F && r.minus_log_p[t] == 0);
        for (size_t i = 0; i < WIDTH; i++) assert_true(fabsf(r.d_x[t * WIDTH + i]) < 1e-5F);
    }
    sl_storage_release(r.storage, r.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
