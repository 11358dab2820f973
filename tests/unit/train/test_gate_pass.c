/* test_gate_pass.c - training's gate against the equations of gate_file.h in plain loops of
 * doubles, and its gradients against finite differences, for shapes of every kind. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/train/gate_pass.h"
#include "tests/support/seeded.h"

enum { WIDTH = 32, KV_HEADS = 3, TOKENS = 190, ROWS = 150, REACH = 40 };

typedef struct {
    sl_gate_params layout;
    sl_gate_pass pass;
    void *storage;
    size_t bytes;
    float *params, *x;
    sl_gate_stretch stretch;
} rig;

static void rig_open(rig *r, seeded *random)
{
    sl_gate gate = {.model_width = WIDTH, .n_kv_heads = KV_HEADS};
    sl_gate_shape shape = {.span = SL_GATE_WINDOW,
                           .heads = seeded_below(random, 4),
                           .kv = seeded_below(random, 2) ? SL_GATE_OWN_KV : SL_GATE_SHARED_KV,
                           .hidden = seeded_below(random, 2) * 24};
    shape.width = shape.heads > 0 ? 16 : 0;
    sl_gate_params_plan(&gate, &shape, &r->layout);
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_gate_pass_init(&r->layout, KV_HEADS, WIDTH, ROWS, REACH, &arena, &r->pass);
    r->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(r->bytes, "pass", &r->storage), SL_OK);
    sl_arena_init(&arena, r->storage, r->bytes);
    sl_gate_pass_init(&r->layout, KV_HEADS, WIDTH, ROWS, REACH, &arena, &r->pass);
    r->params = malloc(r->layout.n * sizeof *r->params);
    r->x = malloc((size_t)TOKENS * WIDTH * sizeof *r->x);
    for (size_t i = 0; i < r->layout.n; i++) r->params[i] = 0.4F * seeded_real(random);
    for (size_t i = 0; i < (size_t)TOKENS * WIDTH; i++) r->x[i] = 2 * seeded_real(random);
    r->stretch = (sl_gate_stretch){.x = r->x,
                                   .n_tokens = TOKENS,
                                   .first = seeded_below(random, 40),
                                   .back = 1 + seeded_below(random, REACH / 2 - 1),
                                   .ahead = seeded_below(random, REACH / 2)};
    r->stretch.n = 1 + seeded_below(random, ROWS);
}

static void rig_close(rig *r)
{
    free(r->params);
    free(r->x);
    sl_storage_release(r->storage, r->bytes);
}

/* ---- the equations ---- */

static double map(const rig *r, const sl_gate_part *part, size_t row, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < part->n_in; i++)
        sum += (double)r->params[part->at + row * part->n_in + i] * x[i];
    return sum;
}

static void input(const rig *r, uint32_t token, double *out)
{
    for (size_t i = 0; i < WIDTH; i++) out[i] = (double)r->x[(size_t)token * WIDTH + i];
}

/* a [heads * width] of one token. */
static void plain_attend(const rig *r, uint32_t t, double *a)
{
    const sl_gate_shape *s = &r->layout.shape;
    uint32_t begin = t > r->stretch.back ? t - r->stretch.back : 0, end = t + r->stretch.ahead + 1;
    if (end > TOKENS) end = TOKENS;
    double own[WIDTH], other[WIDTH];
    input(r, t, own);
    for (uint32_t h = 0; h < s->heads; h++) {
        size_t kv = s->kv == SL_GATE_OWN_KV ? h * s->width : 0;
        double sum = 0;
        memset(a + h * s->width, 0, s->width * sizeof *a);
        for (uint32_t j = begin; j < end; j++) {
            double dot = 0;
            input(r, j, other);
            for (size_t i = 0; i < s->width; i++)
                dot += map(r, &r->layout.q, h * s->width + i, own) *
                       map(r, &r->layout.k, kv + i, other);
            double weight = exp(dot / sqrt(s->width));
            sum += weight;
            for (size_t i = 0; i < s->width; i++)
                a[h * s->width + i] += weight * map(r, &r->layout.v, kv + i, other);
        }
        for (size_t i = 0; i < s->width; i++) a[h * s->width + i] /= sum;
    }
}

static double plain_logit(const rig *r, uint32_t t, uint32_t head)
{
    const sl_gate_params *l = &r->layout;
    double x[WIDTH], a[64] = {0}, z[64] = {0};
    input(r, t, x);
    plain_attend(r, t, a);
    for (size_t u = 0; u < l->x.n_out; u++)
        z[u] = map(r, &l->x, u, x) + (double)r->params[l->x_bias.at + u] + map(r, &l->a, u, a);
    if (l->shape.hidden == 0) return z[head];
    for (size_t u = 0; u < l->x.n_out; u++) z[u] = z[u] > 0 ? z[u] : 0;
    return map(r, &l->out, head, z) + (double)r->params[l->out_bias.at + head];
}

static void test_forward(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        seeded random = seeded_from(seed);
        rig r;
        rig_open(&r, &random);
        float *logits = malloc((size_t)ROWS * KV_HEADS * sizeof *logits);
        sl_gate_pass_forward(&r.pass, r.params, &r.stretch, logits);
        for (int i = 0; i < 12; i++) {
            uint32_t t = seeded_below(&random, r.stretch.n), head = seeded_below(&random, KV_HEADS);
            double want = plain_logit(&r, r.stretch.first + t, head);
            double got = (double)logits[t * KV_HEADS + head];
            assert_seeded(&random, fabs(got - want) < 1e-4 * (1 + fabs(want)));
        }
        free(logits);
        rig_close(&r);
    }
}

/* ---- gradients ---- */

/* sum of weight * logit: its gradient by a logit is the weight. */
static double weighed(rig *r, const float *weight, float *logits)
{
    double sum = 0;
    sl_gate_pass_forward(&r->pass, r->params, &r->stretch, logits);
    for (size_t i = 0; i < (size_t)r->stretch.n * KV_HEADS; i++)
        sum += (double)weight[i] * (double)logits[i];
    return sum;
}

/* Of one tensor, moved a little in a random direction, by which the gradient must tell the
 * change. */
static void check_part(rig *r, const sl_gate_part *part, const float *weight, const float *gradient,
                       float *logits, seeded *random)
{
    enum { STEPS_PER_UNIT = 4096 };
    size_t n = (size_t)part->n_out * part->n_in;
    float *was = malloc(n * sizeof *was), *way = malloc(n * sizeof *way);
    double told = 0, size = 0;
    memcpy(was, r->params + part->at, n * sizeof *was);
    for (size_t i = 0; i < n; i++) {
        way[i] = seeded_real(random) / STEPS_PER_UNIT;
        told += 2 * (double)way[i] * (double)gradient[part->at + i];
        size += fabs((double)way[i] * (double)gradient[part->at + i]);
    }
    for (size_t i = 0; i < n; i++) r->params[part->at + i] = was[i] + way[i];
    double above = weighed(r, weight, logits);
    for (size_t i = 0; i < n; i++) r->params[part->at + i] = was[i] - way[i];
    double below = weighed(r, weight, logits);
    memcpy(r->params + part->at, was, n * sizeof *was);
    assert_seeded(random, size > 0 && fabs(above - below - told) < 0.01 * size);
    free(was);
    free(way);
}

static void test_gradients(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        seeded random = seeded_from(seed);
        rig r;
        rig_open(&r, &random);
        size_t n = (size_t)r.stretch.n * KV_HEADS;
        float *logits = malloc(n * sizeof *logits), *weight = malloc(n * sizeof *weight);
        float *gradient = malloc(r.layout.n * sizeof *gradient);
        for (size_t i = 0; i < n; i++) weight[i] = seeded_real(&random);
        memset(gradient, 0xff, r.layout.n * sizeof *gradient); /* all of it is written */
        sl_gate_pass_forward(&r.pass, r.params, &r.stretch, logits);
        sl_gate_pass_backward(&r.pass, r.params, &r.stretch, weight, gradient);
        for (size_t i = 0; i < SL_GATE_PARTS; i++)
            if (r.layout.all[i].n_out > 0)
                check_part(&r, &r.layout.all[i], weight, gradient, logits, &random);
        free(logits), free(weight), free(gradient);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
