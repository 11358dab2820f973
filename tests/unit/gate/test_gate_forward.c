/* tests/unit/gate/test_gate_forward.c - logits against the equations of gate_file.h in doubles, for
 * every span and shape; the same bits however tokens come: in any chunks, one by one, by any number
 * of threads, after a fork; and only of what the span may see. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "runtime/gate/gate_forward.h"
#include "tests/support/made_gate.h"

enum { MODEL = 32, KV = 3, CONTEXT = 320, ROWS = CONTEXT, SEQUENCES = 3 };

/* ---- the engine's gate ---- */

typedef struct {
    sl_gates gates;
    sl_gate_options options;
    sl_team *team;
    void *storage;
    size_t bytes;
} rig;

static void rig_open(rig *r, const made_gate *m, const sl_kernels *kernels, uint32_t window,
                     int threads)
{
    r->options = (sl_gate_options){.gate = &m->gate,
                                   .kernels = kernels,
                                   .layer_end = 1,
                                   .window = window,
                                   .sequences_max = SEQUENCES,
                                   .context = CONTEXT,
                                   .rows_max = ROWS,
                                   .threads = threads};
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_gates_init(&r->gates, &r->options, &arena);
    r->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(r->bytes, "gates", &r->storage), SL_OK);
    sl_arena_init(&arena, r->storage, r->bytes);
    sl_gates_init(&r->gates, &r->options, &arena);
    assert_int_equal(arena.used_bytes, r->bytes);
    sl_team_options team = {.threads = threads};
    assert_int_equal(sl_team_open(&team, &r->team), SL_OK);
}

static void rig_close(rig *r)
{
    sl_team_close(r->team);
    sl_storage_release(r->storage, r->bytes);
}

typedef struct {
    sl_gates *gates;
    const sl_span *span;
    uint32_t n_prompt, delay;
} scoring;

static void score_prompt(void *context, sl_member me)
{
    scoring *s = context;
    uint32_t delay = sl_gates_score_prompt(s->gates, me, 0, s->span, s->n_prompt);
    if (me.thread == 0) s->delay = delay;
}

/* Tokens [position, position + n) of x through the gate as one span; logits go to out [KV][CONTEXT]
 * at the tokens' own places. */
static void feed(rig *r, const float *x, uint32_t sequence, uint32_t position, uint32_t n,
                 sl_span_kind kind, uint32_t n_prompt, float *out)
{
    sl_linear maps[SL_GATE_MAPS_MAX];
    size_t n_maps = sl_gates_maps(&r->gates, 0, maps);
    uint32_t first_row = position % 5 < ROWS - n ? position % 5 : 0;
    sl_activations a = {
        .n_rows = n, .width = MODEL, .x = (float *)(uintptr_t)x + (size_t)position * MODEL};
    for (size_t i = 0; i < n_maps; i++) {
        const sl_matrix *w = maps[i].matrix;
        float *rows = maps[i].out + first_row * w->n_out;
        r->options.kernels->matmul[w->type](w, &a, 0, w->n_out, false, rows, w->n_out);
        for (size_t t = 0; maps[i].bias && t < n; t++)
            for (size_t j = 0; j < w->n_out; j++) rows[t * w->n_out + j] += maps[i].bias[j];
    }
    sl_span span = {.kind = kind,
                    .sequence = sequence,
                    .position = position,
                    .first_row = first_row,
                    .n_tokens = n};
    scoring s = {.gates = &r->gates, .span = &span, .n_prompt = n_prompt};
    if (kind == SL_SPAN_PROMPT)
        sl_team_run(r->team, score_prompt, &s);
    else
        s.delay = sl_gates_score_decode(&r->gates, 0, &span, n_prompt, 0);
    uint32_t delay = s.delay;
    for (uint32_t head = 0; head < KV; head++)
        for (uint32_t t = 0; t < n; t++)
            if (position + t >= delay)
                out[head * CONTEXT + position + t - delay] =
                    r->gates.logits[head * ROWS + first_row + t];
}

/* ---- the equations ---- */

static double dot(const float *w, const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)w[i] * x[i];
    return sum;
}

static void map(const sl_matrix *w, const double *x, double *out)
{
    for (size_t j = 0; j < w->n_out; j++)
        out[j] = dot((const float *)w->data + j * w->n_in, x, w->n_in);
}

/* MHA' of token t over [begin, end): a [heads * width]. k, v: [token][kv * width], as stored. */
static void plain_attend(const sl_gate_shape *s, const double *q, double (*k)[256],
                         double (*v)[256], uint32_t begin, uint32_t end, double *a)
{
    for (uint32_t h = 0; h < s->heads; h++) {
        size_t at = s->kv == SL_GATE_OWN_KV ? h * s->width : 0;
        double weights[CONTEXT], sum = 0, top = -INFINITY;
        for (uint32_t j = begin; j < end; j++) {
            weights[j] = 0;
            for (uint32_t i = 0; i < s->width; i++)
                weights[j] += q[h * s->width + i] * k[j][at + i];
            weights[j] /= sqrt(s->width);
            if (weights[j] > top) top = weights[j];
        }
        for (uint32_t j = begin; j < end; j++) sum += weights[j] = exp(weights[j] - top);
        for (uint32_t i = 0; i < s->width; i++) {
            double value = 0;
            for (uint32_t j = begin; j < end; j++) value += weights[j] / sum * v[j][at + i];
            a[h * s->width + i] = value;
        }
    }
}

static double stored(double x) { return (double)sl_f16_to_f32(sl_f32_to_f16((float)x)); }

/* Logits of tokens 0 .. n - 1, [KV][CONTEXT]; a token whose `ahead` is beyond n has none. */
static void plain_logits(const sl_gate_layer *l, const float *x, uint32_t n, uint32_t window,
                         double *out)
{
    static double in[CONTEXT][MODEL], k[CONTEXT][256], v[CONTEXT][256];
    const sl_gate_shape *s = &l->shape;
    for (uint32_t t = 0; t < n; t++) {
        for (int i = 0; i < MODEL; i++) in[t][i] = (double)x[t * MODEL + (uint32_t)i];
        if (s->heads == 0) continue;
        map(&l->k, in[t], k[t]), map(&l->v, in[t], v[t]);
        for (size_t i = 0; i < l->k.n_out; i++)
            k[t][i] = stored(k[t][i]), v[t][i] = stored(v[t][i]);
    }
    for (uint32_t t = 0; t < n; t++) {
        uint32_t ahead = s->ahead < window - 1 ? s->ahead : window - 1, begin = 0, end = t + 1;
        if (s->span == SL_GATE_PROMPT) end = n;
        if (s->span == SL_GATE_WINDOW) {
            begin = t > s->back ? t - s->back : 0;
            end = t + ahead + 1;
            if (end > n) return;
        }
        double q[256], a[256], z[256], more[256] = {0};
        map(&l->x, in[t], z);
        if (s->heads > 0) {
            map(&l->q, in[t], q);
            plain_attend(s, q, k, v, begin, end, a);
            map(&l->a, a, more);
        }
        for (size_t i = 0; i < l->x.n_out; i++) {
            z[i] += (double)l->x_bias[i] + more[i];
            if (s->hidden > 0 && z[i] < 0) z[i] = 0;
        }
        for (uint32_t head = 0; head < KV; head++)
            out[head * CONTEXT + t] = s->hidden == 0
                                          ? z[head]
                                          : dot((const float *)l->out.data + head * s->hidden, z,
                                                s->hidden) +
                                                (double)l->out_bias[head];
    }
}

/* ---- tests ---- */

static const sl_gate_shape SHAPES[] = {
    {.span = SL_GATE_WINDOW, .back = 96, .ahead = 32, .heads = 4, .width = 16},
    {.span = SL_GATE_WINDOW, .back = 7, .ahead = 3, .heads = 3, .width = 32, .kv = SL_GATE_OWN_KV},
    {.span = SL_GATE_WINDOW, .back = 0, .ahead = 5, .heads = 1, .width = 16, .hidden = 24},
    {.span = SL_GATE_WINDOW, .back = 64, .ahead = 64, .heads = 2, .width = 48, .hidden = 5},
    {.span = SL_GATE_CAUSAL, .heads = 4, .width = 16},
    {.span = SL_GATE_CAUSAL, .heads = 2, .width = 16, .kv = SL_GATE_OWN_KV, .hidden = 8},
    {.span = SL_GATE_PROMPT, .heads = 4, .width = 16, .hidden = 16},
    {.span = SL_GATE_PROMPT, .heads = 2, .width = 64, .kv = SL_GATE_OWN_KV},
    {.span = SL_GATE_WINDOW, .back = 3, .ahead = 9, .heads = 0},
    {.span = SL_GATE_CAUSAL, .heads = 0, .hidden = 12},
};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };
static const char *const SETS[] = {"ref", "avx2", "avx512"};

static float *inputs(uint32_t n, seeded *random)
{
    float *x = calloc((size_t)n * MODEL, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < (size_t)n * MODEL; i++) x[i] = made_gate_normal(random);
    return x;
}

/* Tokens before a span's last `ahead` have logits. */
static uint32_t n_scored(const sl_gate_shape *s, uint32_t n, uint32_t window)
{
    uint32_t ahead = s->ahead < window - 1 ? s->ahead : window - 1;
    return s->span == SL_GATE_WINDOW ? n > ahead ? n - ahead : 0 : n;
}

static void test_equations(void **state)
{
    (void)state;
    static const uint32_t windows[] = {128, 16, 1};
    for (uint32_t i = 0; i < N_SHAPES * 3 * 3; i++) {
        const sl_kernels *kernels = sl_kernels_named(SETS[i / N_SHAPES % 3]);
        if (!kernels) continue;
        const sl_gate_shape *shape = &SHAPES[i % N_SHAPES];
        uint32_t window = windows[i / N_SHAPES / 3];
        seeded random = seeded_from(1000 + i);
        uint32_t n = 1 + seeded_below(&random, CONTEXT);
        made_gate m;
        rig r;
        made_gate_open(&m, shape, 1, KV, MODEL, &random);
        float *x = inputs(n, &random);
        static float got[KV * CONTEXT];
        static double want[KV * CONTEXT];
        rig_open(&r, &m, kernels, window, 2);
        feed(&r, x, 0, 0, n, SL_SPAN_PROMPT, n, got);
        plain_logits(&m.layers[0], x, n, window, want);
        for (uint32_t head = 0; head < KV; head++)
            for (uint32_t t = 0; t < n_scored(shape, n, window); t++) {
                double error = fabs((double)got[head * CONTEXT + t] - want[head * CONTEXT + t]);
                if (!(error < 2e-3)) /* f16 of nearly equal numbers may differ by a step */
                    fail_msg(
                        "shape %u, %s, window %u, seed %llu: token %u of %u head %u: %g is off "
                        "by %g",
                        i % N_SHAPES, kernels->name, window, (unsigned long long)random.seed, t, n,
                        head, (double)got[head * CONTEXT + t], error);
            }
        rig_close(&r);
        free(x);
        made_gate_close(&m);
    }
}

/* A sequence in random spans, the last tokens one by one, some of it before a fork. */
static void feed_cut(rig *r, const float *x, uint32_t n, seeded *cut, float *out)
{
    uint32_t sequence = seeded_below(cut, SEQUENCES), n_prompt = n - n / 5;
    uint32_t fork_at = seeded_below(cut, n);
    for (uint32_t p = 0, step; p < n; p += step) {
        uint32_t end = p < n_prompt ? n_prompt : n;
        step = p < n_prompt ? 1 + seeded_below(cut, 1 + seeded_below(cut, 150)) : 1;
        if (step > end - p) step = end - p;
        sl_span_kind kind = p < n_prompt ? SL_SPAN_PROMPT : SL_SPAN_DECODE;
        feed(r, x, sequence, p, step, kind, n_prompt, out);
        if (p > fork_at || p + step <= fork_at) continue;
        uint32_t child = (sequence + 1) % SEQUENCES;
        sl_gates_fork(&r->gates, child, sequence);
        static float unused[KV * CONTEXT];
        if (p + step < n_prompt) /* the parent goes on with other tokens: nobody else feels it */
            feed(r, x + MODEL, sequence, p + step - 1, 1, SL_SPAN_PROMPT, n_prompt, unused);
        sequence = child;
    }
}

static void test_any_chunks(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_SHAPES * 3; i++) {
        const sl_kernels *kernels = sl_kernels_named(SETS[i / N_SHAPES]);
        const sl_gate_shape *shape = &SHAPES[i % N_SHAPES];
        if (!kernels || shape->span == SL_GATE_PROMPT) continue; /* never cut */
        seeded random = seeded_from(2000 + i);
        made_gate m;
        rig r;
        made_gate_open(&m, shape, 1, KV, MODEL, &random);
        uint32_t n = CONTEXT - 1, window = 1 + seeded_below(&random, 100);
        float *x = inputs(n + 1, &random);
        static float whole[KV * CONTEXT], cut[KV * CONTEXT];
        rig_open(&r, &m, kernels, window, 1);
        feed(&r, x, 0, 0, n, SL_SPAN_PROMPT, n, whole);
        rig_close(&r);
        for (int way = 0; way < 6; way++) {
            rig_open(&r, &m, kernels, window, 1 + way % 3);
            feed_cut(&r, x, n, &random, cut);
            rig_close(&r);
            for (uint32_t head = 0; head < KV; head++)
                if (memcmp(whole + head * CONTEXT, cut + head * CONTEXT,
                           n_scored(shape, n, window) * sizeof *cut) != 0)
                    fail_msg("shape %u, %s, window %u, way %d, seed %llu: other logits",
                             i % N_SHAPES, kernels->name, window, way,
                             (unsigned long long)random.seed);
        }
        free(x);
        made_gate_close(&m);
    }
}

/* Where nothing decides, scores are not numbers: no gate, and what follows a `prompt` gate's
 * prompt. */
static void test_ungated(void **state)
{
    (void)state;
    seeded random = seeded_from(3);
    static const sl_gate_shape shapes[] = {{.span = SL_GATE_ABSENT},
                                           {.span = SL_GATE_PROMPT, .heads = 1, .width = 16}};
    float *x = inputs(12, &random);
    for (int i = 0; i < 2; i++) {
        made_gate m;
        rig r;
        float out[KV * CONTEXT];
        made_gate_open(&m, &shapes[i], 1, KV, MODEL, &random);
        rig_open(&r, &m, sl_kernels_named("ref"), 4, 1);
        feed(&r, x, 0, 0, 10, SL_SPAN_PROMPT, 10, out);
        feed(&r, x, 0, 10, 1, SL_SPAN_DECODE, 10, out);
        feed(&r, x, 0, 11, 1, SL_SPAN_PROMPT, 10, out); /* a given token counts as generated */
        for (uint32_t head = 0; head < KV; head++)
            for (uint32_t t = 0; t < 12; t++)
                assert_int_equal(isnan(out[head * CONTEXT + t]) != 0, i == 0 || t >= 10);
        assert_int_equal(sl_gates_sequence_bytes(&r.gates), 0);
        rig_close(&r);
        made_gate_close(&m);
    }
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equations),
        cmocka_unit_test(test_any_chunks),
        cmocka_unit_test(test_ungated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
