/* test_model_pass.c - training's pass through a model against plain loops of doubles: what comes
 * out behind the last layer, and its gradients by the input, by what gates let through and by low
 * ranks, against central differences. Plans are drawn at random, with every step that any
 * architecture has. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/train/model_pass.h"
#include "tests/support/drawn_model.h"

enum {
    WIDTH = 32,
    FFN = 48,
    HEADS = 4,
    KV_HEADS = 2,
    DIM = 8,
    LAYERS = 3,
    TOKENS = 40,
    VOCAB = 20
};
enum { N_X = TOKENS * WIDTH, N_KEEP = LAYERS * KV_HEADS * TOKENS, RANK = 3 };

typedef struct {
    drawn_model model;
    sl_layer_pass_options options;
    sl_lora_pass lora; /* of every second seed */
    sl_model_pass *pass;
    sl_model_pass_gates gates;
    void *storage, *lora_storage;
    size_t bytes, lora_bytes;
    float log_keep[N_KEEP], d_log_keep[N_KEEP];
    float x[N_X], way[N_X]; /* the input; what the output is weighed by */
    int32_t ids[TOKENS];
    uint32_t n_asked, n_told;
} rig;

/* ---- gates ---- */

static float *keep_of(float *all, uint32_t layer) { return all + layer * KV_HEADS * TOKENS; }

static void decide(void *context, uint32_t layer, const float *normed, uint32_t n_tokens,
                   float *log_keep)
{
    rig *r = context;
    assert_int_equal(n_tokens, TOKENS);
    assert_true(isfinite(normed[N_X - 1]));
    memcpy(log_keep, keep_of(r->log_keep, layer), KV_HEADS * TOKENS * sizeof *log_keep);
    r->n_asked++;
}

static void learn(void *context, uint32_t layer, const float *normed, uint32_t n_tokens,
                  const float *d_log_keep)
{
    rig *r = context;
    (void)normed, (void)n_tokens;
    memcpy(keep_of(r->d_log_keep, layer), d_log_keep, KV_HEADS * TOKENS * sizeof *d_log_keep);
    r->n_told++;
}

/* Some of the maps have one. */
static void lora_open(rig *r, seeded *random)
{
    sl_lora_shape shape = {.rank = RANK, .alpha = 2};
    for (sl_layer_map map = 0; map < SL_LAYER_MAPS; map++)
        shape.adapts[map] = map == SL_MAP_O || seeded_below(random, 2);
    for (int turn = 0; turn < 2; turn++) {
        sl_arena arena;
        sl_arena_init(&arena, r->lora_storage, r->lora_bytes);
        sl_lora_pass_init(&shape, &r->model.shape, TOKENS, &arena, &r->lora);
        r->lora.params = sl_arena_array(&arena, float, sl_lora_pass_n(&r->lora));
        if (turn > 0) break;
        r->lora_bytes = arena.used_bytes;
        assert_int_equal(sl_storage_take(r->lora_bytes, "lora", &r->lora_storage), SL_OK);
    }
    const size_t n = sl_lora_pass_n(&r->lora);
    sl_lora_pass_draw(&r->lora, 5, r->lora.params);
    for (size_t i = 0; i < n; i++) {
        assert_true(fabs((double)r->lora.params[i]) <= 1 / sqrt(WIDTH));
        r->lora.params[i] = 0.4F * seeded_real(random);
    }
    memset(r->lora.gradients, 0, n * sizeof *r->lora.gradients);
    r->options.lora = &r->lora;
}

static void rig_open(rig *r, uint64_t seed)
{
    seeded random = seeded_from(seed);
    memset(r, 0, sizeof *r);
    drawn_model_make(&r->model, &random);
    r->options = (sl_layer_pass_options){.shape = &r->model.shape,
                                         .weights = &r->model.weights,
                                         .kernels = sl_kernels_named("ref"),
                                         .sinks = 2,
                                         .window = 1 + seeded_below(&random, 8),
                                         .tokens_max = TOKENS,
                                         .threads = 1 + (int)seeded_below(&random, 3)};
    sl_arena arena;
    if (seed % 2 == 0) lora_open(r, &random);
    sl_arena_init(&arena, NULL, 0);
    sl_model_pass_init(&r->options, &arena, &r->pass);
    r->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(r->bytes, "pass", &r->storage), SL_OK);
    sl_arena_init(&arena, r->storage, r->bytes);
    sl_model_pass_init(&r->options, &arena, &r->pass);
    for (size_t i = 0; i < N_KEEP; i++) r->log_keep[i] = -1 - seeded_real(&random);
    for (size_t i = 0; i < N_X; i++) r->way[i] = seeded_real(&random);
    for (uint32_t t = 0; t < TOKENS; t++) r->ids[t] = (int32_t)seeded_below(&random, DRAWN_VOCAB);
    r->gates = (sl_model_pass_gates){.context = r, .decide = decide, .learn = learn};
}

static void rig_close(rig *r)
{
    sl_storage_release(r->storage, r->bytes);
    sl_storage_release(r->lora_storage, r->lora_bytes);
}

/* ---- the same in doubles ---- */

static void map(const sl_matrix *w, const float *bias, const double *x, double *out)
{
    const float *row = w->data;
    for (size_t o = 0; o < w->n_out; o++, row += w->n_in) {
        out[o] = bias ? (double)bias[o] : 0;
        for (size_t i = 0; i < w->n_in; i++) out[o] += (double)row[i] * x[i];
    }
}

/* out += factor B (A x) */
static void adapt(const rig *r, uint32_t layer, sl_layer_map kind, const double *x, double *out)
{
    const sl_lora_place *place = &r->lora.maps[kind];
    if (!r->options.lora || place->n_in == 0) return;
    const float *params = r->lora.params + layer * r->lora.layer_n;
    for (uint32_t rank = 0; rank < RANK; rank++) {
        double reduced = 0;
        for (uint32_t i = 0; i < place->n_in; i++)
            reduced += (double)params[place->a + rank * place->n_in + i] * x[i];
        for (uint32_t o = 0; o < place->n_out; o++)
            out[o] += 2.0 / RANK * (double)params[place->b + o * RANK + rank] * reduced;
    }
}

static void norm(const float *gain, size_t n, const double *x, double *out)
{
    double square = 0;
    for (size_t i = 0; i < n; i++) square += x[i] * x[i];
    double scale = 1 / sqrt(square / (double)n + 1e-5);
    for (size_t i = 0; i < n; i++) out[i] = (double)gain[i] * x[i] * scale;
}

static void turn(const rig *r, uint32_t layer, uint32_t position, double *head)
{
    const sl_rope *rope = &sl_layer_kind_of(&r->model.shape, layer)->rope;
    for (uint32_t i = 0; i < rope->dim / 2; i++) {
        double frequency = pow((double)rope->base, -2.0 * i / rope->dim);
        if (r->model.weights.rope_freqs) frequency /= (double)r->model.weights.rope_freqs[i];
        double c = cos(position * frequency), s = sin(position * frequency);
        bool halves = rope->pairing == SL_ROPE_HALVES;
        double *a = head + (halves ? i : 2 * i),
               *b = head + (halves ? i + rope->dim / 2 : 2 * i + 1);
        double was = *a;
        *a = was * c - *b * s;
        *b = was * s + *b * c;
    }
}

typedef struct {
    double x[TOKENS][WIDTH], q[TOKENS][HEADS][DIM], k[TOKENS][KV_HEADS][DIM],
        v[TOKENS][KV_HEADS][DIM];
    float log_keep[N_KEEP];
} plain;

static void heads_of(const rig *r, plain *p, uint32_t layer, uint32_t t)
{
    const sl_layer_weights *w = &r->model.layers[layer];
    double normed[WIDTH];
    norm(w->attn_norm, WIDTH, p->x[t], normed);
    map(&w->q, w->q_bias, normed, p->q[t][0]);
    adapt(r, layer, SL_MAP_Q, normed, p->q[t][0]);
    map(&w->k, w->k_bias, normed, p->k[t][0]);
    adapt(r, layer, SL_MAP_K, normed, p->k[t][0]);
    map(&w->v, w->v_bias, normed, p->v[t][0]);
    adapt(r, layer, SL_MAP_V, normed, p->v[t][0]);
    for (uint32_t h = 0; h < HEADS; h++) {
        if (w->q_norm) norm(w->q_norm, DIM, p->q[t][h], p->q[t][h]);
        turn(r, layer, t, p->q[t][h]);
    }
    for (uint32_t h = 0; h < KV_HEADS; h++) {
        if (w->k_norm) norm(w->k_norm, DIM, p->k[t][h], p->k[t][h]);
        turn(r, layer, t, p->k[t][h]);
    }
}

static void attend(const rig *r, const plain *p, uint32_t layer, uint32_t i, uint32_t h,
                   double *out)
{
    uint32_t sliding = sl_sliding_window(&r->model.shape, layer), kv = h / (HEADS / KV_HEADS);
    double sum = 0;
    for (uint32_t d = 0; d < DIM; d++) out[d] = 0;
    for (uint32_t j = 0; j <= i; j++) {
        if (sliding && i - j >= sliding) continue;
        double score = 0;
        for (uint32_t d = 0; d < DIM; d++) score += p->q[i][h][d] * p->k[j][kv][d];
        score *= (double)r->model.shape.attention_scale;
        if (!sliding && j >= r->options.sinks && i - j >= r->options.window)
            score += (double)p->log_keep[(layer * KV_HEADS + kv) * TOKENS + j];
        double weight = exp(score);
        sum += weight;
        for (uint32_t d = 0; d < DIM; d++) out[d] += weight * p->v[j][kv][d];
    }
    for (uint32_t d = 0; d < DIM; d++) out[d] /= sum;
}

static void add(const float *gain, const double *given, double *x)
{
    double normed[WIDTH];
    if (gain) norm(gain, WIDTH, given, normed);
    for (size_t i = 0; i < WIDTH; i++) x[i] += gain ? normed[i] : given[i];
}

static double activate(sl_activation activation, double x)
{
    double u = activation == SL_GEGLU ? 2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x) : x;
    return x / (1 + exp(-u));
}

static void feed_forward(const rig *r, uint32_t layer, double *x)
{
    const sl_layer_weights *w = &r->model.layers[layer];
    double normed[WIDTH], gate[FFN], up[FFN], given[WIDTH];
    norm(w->ffn_norm, WIDTH, x, normed);
    map(&w->gate, w->gate_bias, normed, gate);
    adapt(r, layer, SL_MAP_GATE, normed, gate);
    map(&w->up, w->up_bias, normed, up);
    adapt(r, layer, SL_MAP_UP, normed, up);
    for (size_t i = 0; i < FFN; i++) gate[i] = activate(r->model.shape.activation, gate[i]) * up[i];
    map(&w->down, w->down_bias, gate, given);
    adapt(r, layer, SL_MAP_DOWN, gate, given);
    add(w->ffn_post_norm, given, x);
}

static void plain_forward(const rig *r, plain *p)
{
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        const sl_layer_weights *w = &r->model.layers[layer];
        for (uint32_t t = 0; t < TOKENS; t++) heads_of(r, p, layer, t);
        for (uint32_t t = 0; t < TOKENS; t++) {
            double attended[HEADS * DIM], given[WIDTH];
            for (uint32_t h = 0; h < HEADS; h++) attend(r, p, layer, t, h, attended + h * DIM);
            map(&w->o, w->o_bias, attended, given);
            adapt(r, layer, SL_MAP_O, attended, given);
            add(w->attn_post_norm, given, p->x[t]);
            feed_forward(r, layer, p->x[t]);
        }
    }
}

/* sum of way * what the final norm gives: its gradients are what backward gives. x: [TOKENS][WIDTH]
 * before the first layer. */
static double weighed(const rig *r, const double *x, const float *log_keep)
{
    static plain p;
    double sum = 0;
    memcpy(p.x, x, sizeof p.x);
    memcpy(p.log_keep, log_keep, sizeof p.log_keep);
    plain_forward(r, &p);
    for (uint32_t t = 0; t < TOKENS; t++) {
        double normed[WIDTH];
        norm(r->model.weights.output_norm, WIDTH, p.x[t], normed);
        for (size_t i = 0; i < WIDTH; i++) sum += normed[i] * (double)r->way[t * WIDTH + i];
    }
    return sum;
}

static void input_of(const rig *r, double *x)
{
    for (uint32_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < WIDTH; i++)
            x[t * WIDTH + i] = (double)((const float *)r->model.weights.embedding
                                            .data)[r->ids[t] * WIDTH + (int)i] *
                               (double)r->model.shape.embedding_scale;
}

/* ---- tests ---- */

enum { SEEDS = 24 };

/* What the pass gives; d_x, if wanted, of way. Returns sum of way * normed. */
static double run(rig *r, float *d_x)
{
    static float normed[N_X];
    double sum = 0;
    sl_model_pass_embed(r->pass, r->ids, TOKENS);
    const float *x = sl_model_pass_forward(r->pass, TOKENS, &r->gates);
    sl_model_pass_norm(r->pass, x, normed);
    for (size_t i = 0; i < N_X; i++) sum += (double)normed[i] * (double)r->way[i];
    memcpy(d_x, r->way, N_X * sizeof *d_x);
    sl_model_pass_norm_backward(r->pass, x, d_x);
    sl_model_pass_backward(r->pass, &r->gates, d_x);
    return sum;
}

static void test_forward(void **state)
{
    (void)state;
    static rig r;
    static float d_x[N_X];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        double x[N_X];
        rig_open(&r, seed);
        input_of(&r, x);
        double got = run(&r, d_x), want = weighed(&r, x, r.log_keep);
        if (fabs(got - want) > 2e-3) fail_msg("seed %d: %g, expected %g", (int)seed, got, want);
        uint32_t n_full = 0;
        for (uint32_t i = 0; i < LAYERS; i++) n_full += sl_sliding_window(&r.model.shape, i) == 0;
        assert_int_equal(r.n_asked, n_full);
        assert_int_equal(r.n_told, n_full);
        rig_close(&r);
    }
}

static void check(uint64_t seed, const char *what, double told, double size, double above,
                  double below)
{
    const double change = (above - below) / 2;
    if (fabs(change - told) > 2e-3 * size)
        fail_msg("seed %d, %s: moved by %g, told %g of %g", (int)seed, what, change, told, size);
}

static void test_input_gradient(void **state)
{
    (void)state;
    static rig r;
    static float d_x[N_X];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static double x[N_X], above[N_X], below[N_X];
        double told = 0, size = 0;
        seeded random = seeded_from(seed);
        rig_open(&r, seed);
        input_of(&r, x);
        run(&r, d_x);
        for (size_t i = 0; i < N_X; i++) {
            double way = 1e-5 * (double)seeded_real(&random);
            above[i] = x[i] + way;
            below[i] = x[i] - way;
            told += way * (double)d_x[i];
            size += fabs(way * (double)d_x[i]);
        }
        check(seed, "input", told, size, weighed(&r, above, r.log_keep),
              weighed(&r, below, r.log_keep));
        rig_close(&r);
    }
}

static void test_gate_gradient(void **state)
{
    (void)state;
    static rig r;
    static float d_x[N_X], above[N_KEEP], below[N_KEEP];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static double x[N_X];
        seeded random = seeded_from(seed);
        rig_open(&r, seed);
        input_of(&r, x);
        run(&r, d_x);
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            double told = 0, size = 0;
            if (sl_sliding_window(&r.model.shape, layer)) continue;
            memcpy(above, r.log_keep, sizeof above);
            memcpy(below, r.log_keep, sizeof below);
            for (uint32_t i = 0; i < KV_HEADS * TOKENS; i++) {
                float *up = keep_of(above, layer) + i, *down = keep_of(below, layer) + i;
                float way = 1e-3F * seeded_real(&random);
                *up += way, *down -= way;
                double moved = ((double)*up - (double)*down) / 2;
                told += moved * (double)keep_of(r.d_log_keep, layer)[i];
                size += fabs(moved * (double)keep_of(r.d_log_keep, layer)[i]);
            }
            assert_true(size > 0);
            check(seed, "gates", told, size, weighed(&r, x, above), weighed(&r, x, below));
        }
        rig_close(&r);
    }
}

/* Of each map of each layer, moved in a random direction. */
static void test_lora_gradient(void **state)
{
    (void)state;
    static rig r;
    static float d_x[N_X];
    for (uint64_t seed = 2; seed <= SEEDS; seed += 2) {
        static double x[N_X];
        seeded random = seeded_from(seed);
        rig_open(&r, seed);
        input_of(&r, x);
        run(&r, d_x);
        for (uint32_t part = 0; part < LAYERS * SL_LAYER_MAPS * 2; part++) {
            const sl_lora_place *place = &r.lora.maps[part / 2 % SL_LAYER_MAPS];
            const size_t at = part / 2 / SL_LAYER_MAPS * r.lora.layer_n +
                              (part % 2 ? place->a : place->b),
                         n = RANK * (part % 2 ? place->n_in : place->n_out);
            float was[RANK * FFN], way[RANK * FFN], *params = r.lora.params + at;
            double told = 0, size = 0;
            if (n == 0) continue;
            memcpy(was, params, n * sizeof *was);
            for (size_t i = 0; i < n; i++) {
                way[i] = 1e-3F * seeded_real(&random);
                told += (double)way[i] * (double)r.lora.gradients[at + i];
                size += fabs((double)way[i] * (double)r.lora.gradients[at + i]);
            }
            assert_true(size > 0);
            for (size_t i = 0; i < n; i++) params[i] = was[i] + way[i];
            const double above = weighed(&r, x, r.log_keep);
            for (size_t i = 0; i < n; i++) params[i] = was[i] - way[i];
            const double below = weighed(&r, x, r.log_keep);
            memcpy(params, was, n * sizeof *was);
            check(seed, "low rank", told, size, above, below);
        }
        rig_close(&r);
    }
}

/* Without gates all is kept, as with gates that say so. */
static void test_no_gates(void **state)
{
    (void)state;
    static rig r;
    static float d_x[N_X], d_all[N_X];
    rig_open(&r, 3);
    memset(r.log_keep, 0, sizeof r.log_keep);
    double all = run(&r, d_all);
    r.gates = (sl_model_pass_gates){NULL, NULL, NULL};
    assert_true(run(&r, d_x) == all);
    assert_memory_equal(d_x, d_all, sizeof d_x);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),       cmocka_unit_test(test_input_gradient),
        cmocka_unit_test(test_gate_gradient), cmocka_unit_test(test_lora_gradient),
        cmocka_unit_test(test_no_gates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
