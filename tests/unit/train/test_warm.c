/* test_warm.c - planted tokens: a made attention that asks for some tokens and not for others, told
 * to gates through the teacher. They learn to keep the one and evict the other, also where only
 * what comes after a token tells it apart; the teacher against plain loops; ridge regression
 * against a known answer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "runtime/gate/gate_file.h"
#include "runtime/train/ridge.h"
#include "runtime/train/teacher.h"
#include "runtime/train/warm.h"
#include "tests/support/seeded.h"

/* One thread: a race detector does not know OpenMP's barriers. */
enum { WIDTH = 32, HEADS = 4, KV_HEADS = 2, DIM = 16, TOKENS = 512, WINDOW = 16, THREADS = 1 };

typedef struct {
    sl_teacher *teacher;
    sl_teacher_options options;
    void *storage;
    size_t bytes;
    float *q, *k, *v, *x, *map, *target;
    float *attended, *gain; /* where a norm stands behind attention */
    uint8_t *planted;       /* [TOKENS] asked for */
} scene;

static void scene_open(scene *s, bool has_post_norm)
{
    *s = (scene){.options = {.has_post_norm = has_post_norm,
                             .n_heads = HEADS,
                             .n_kv_heads = KV_HEADS,
                             .head_dim = DIM,
                             .width = WIDTH,
                             .attention_scale = 0.25F,
                             .tokens_max = TOKENS,
                             .window = WINDOW,
                             .threads = THREADS}};
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_teacher_init(&s->options, &arena, &s->teacher);
    s->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(s->bytes, "teacher", &s->storage), SL_OK);
    sl_arena_init(&arena, s->storage, s->bytes);
    sl_teacher_init(&s->options, &arena, &s->teacher);
    s->q = calloc(TOKENS * HEADS * DIM, sizeof *s->q);
    s->k = calloc(TOKENS * KV_HEADS * DIM, sizeof *s->k);
    s->v = calloc(TOKENS * KV_HEADS * DIM, sizeof *s->v);
    s->x = calloc(TOKENS * WIDTH, sizeof *s->x);
    s->map = calloc(WIDTH * HEADS * DIM, sizeof *s->map);
    s->target = calloc(KV_HEADS * TOKENS, sizeof *s->target);
    s->attended = calloc(TOKENS * HEADS * DIM, sizeof *s->attended);
    s->gain = calloc(WIDTH, sizeof *s->gain);
    s->planted = calloc(TOKENS, 1);
}

static void scene_close(scene *s)
{
    free(s->q), free(s->k), free(s->v), free(s->x), free(s->map), free(s->target);
    free(s->planted), free(s->attended), free(s->gain);
    sl_storage_release(s->storage, s->bytes);
}

static void fill(float *x, size_t n, float size, seeded *random)
{
    for (size_t i = 0; i < n; i++) x[i] = size * seeded_real(random);
}

static void ask_teacher(scene *s)
{
    sl_matrix o = {.data = s->map,
                   .type = SL_TYPE_F32,
                   .n_out = WIDTH,
                   .n_in = HEADS * DIM,
                   .row_bytes = HEADS * DIM * sizeof(float)};
    sl_teacher_rows rows = {.n_tokens = TOKENS,
                            .q = s->q,
                            .k = s->k,
                            .v = s->v,
                            .hidden = s->x,
                            .o = &o,
                            .attended = s->attended,
                            .post_norm = s->gain,
                            .rms_eps = 1e-6F};
    sl_teacher_score(s->teacher, &rows, s->target);
}

/* ---- the teacher ---- */

static double plain_weight(const scene *s, uint32_t head, uint32_t i, uint32_t j)
{
    double sum = 0, own = 0;
    for (uint32_t at = 0; at <= i; at++) {
        double dot = 0;
        for (uint32_t d = 0; d < DIM; d++)
            dot += (double)s->q[(i * HEADS + head) * DIM + d] *
                   (double)s->k[(at * KV_HEADS + head / 2) * DIM + d];
        double weight = exp(dot / sqrt(DIM));
        sum += weight;
        if (at == j) own = weight;
    }
    return own / sum;
}

/* What a norm behind attention divides query i's output by; 1 without one. */
static double plain_rms(const scene *s, uint32_t i)
{
    double square = 0;
    if (!s->options.has_post_norm) return 1;
    for (uint32_t row = 0; row < WIDTH; row++) {
        double out = 0;
        for (uint32_t d = 0; d < HEADS * DIM; d++)
            out += (double)s->map[row * HEADS * DIM + d] * (double)s->attended[i * HEADS * DIM + d];
        square += out * out;
    }
    return sqrt(square / WIDTH + 1e-6);
}

static double plain_target(const scene *s, uint32_t kv_head, uint32_t j)
{
    double worth = 0;
    for (uint32_t head = 2 * kv_head; head < 2 * kv_head + 2; head++) {
        double square = 0, asked = 0;
        for (uint32_t row = 0; row < WIDTH; row++) {
            double out = 0;
            for (uint32_t d = 0; d < DIM; d++)
                out += (double)s->map[row * HEADS * DIM + head * DIM + d] *
                       (double)s->v[(j * KV_HEADS + kv_head) * DIM + d];
            if (s->options.has_post_norm) out *= (double)s->gain[row];
            square += out * out;
        }
        for (uint32_t i = j + WINDOW; i < TOKENS; i++) {
            double norm = 0;
            for (uint32_t d = 0; d < WIDTH; d++)
                norm += (double)s->x[i * WIDTH + d] * (double)s->x[i * WIDTH + d];
            asked += pow(plain_weight(s, head, i, j) / plain_rms(s, i), 1.5) / sqrt(norm);
        }
        worth += pow(square, 0.75) * asked / (TOKENS - j - WINDOW);
    }
    return log(worth + 1e-12);
}

static void check_teacher(bool has_post_norm)
{
    seeded random = seeded_from(5);
    scene s;
    scene_open(&s, has_post_norm);
    fill(s.attended, TOKENS * HEADS * DIM, 1, &random);
    fill(s.gain, WIDTH, 2, &random);
    fill(s.q, TOKENS * HEADS * DIM, 2, &random);
    fill(s.k, TOKENS * KV_HEADS * DIM, 2, &random);
    fill(s.v, TOKENS * KV_HEADS * DIM, 1, &random);
    fill(s.x, TOKENS * WIDTH, 3, &random);
    fill(s.map, WIDTH * HEADS * DIM, 1, &random);
    ask_teacher(&s);
    uint32_t n = sl_teacher_targets(&s.options, TOKENS);
    assert_int_equal(n, TOKENS - TOKENS / 4 - WINDOW);
    for (int i = 0; i < 24; i++) {
        uint32_t head = seeded_below(&random, KV_HEADS), j = seeded_below(&random, n);
        double want = plain_target(&s, head, j), got = (double)s.target[head * TOKENS + j];
        assert_seeded(&random, fabs(got - want) < 1e-3);
    }
    assert_true(s.target[n] == 0 && s.target[TOKENS + n] == 0);
    scene_close(&s);
}

static void test_teacher(void **state)
{
    (void)state;
    check_teacher(false);
    check_teacher(true);
}

/* ---- gates ---- */

typedef enum { BY_ITSELF, BY_WHAT_FOLLOWS } planting;

/* Every query looks for the direction k[0] of planted keys. A token shows that it is one in x[0],
 * or the token after it does. */
static void plant(scene *s, planting how, seeded *random)
{
    fill(s->q, TOKENS * HEADS * DIM, 0.2F, random);
    fill(s->k, TOKENS * KV_HEADS * DIM, 0.2F, random);
    fill(s->v, TOKENS * KV_HEADS * DIM, 1, random);
    fill(s->x, TOKENS * WIDTH, 1, random);
    fill(s->map, WIDTH * HEADS * DIM, 1, random);
    for (uint32_t t = 0; t < TOKENS * HEADS; t++) s->q[t * DIM] = 6;
    for (uint32_t t = 0; t < TOKENS; t++) {
        s->planted[t] = seeded_below(random, 8) == 0;
        for (uint32_t h = 0; h < KV_HEADS; h++)
            s->k[(t * KV_HEADS + h) * DIM] = s->planted[t] ? 2 : -2;
        uint32_t tell = how == BY_ITSELF ? t : t + 1;
        if (tell < TOKENS) s->x[tell * WIDTH] = s->planted[t] ? 2 : -2;
    }
    ask_teacher(s);
}

/* Memory that what is made of an arena needs: measured, then taken. */
typedef struct {
    void *storage;
    size_t bytes;
} room;

static void room_grow(room *r, const sl_arena *counted)
{
    r->bytes = counted->used_bytes;
    if (!r->storage) assert_int_equal(sl_storage_take(r->bytes, "room", &r->storage), SL_OK);
}

static void room_fini(room *r) { sl_storage_release(r->storage, r->bytes); }

/* A layer of seeded numbers. */
static void make_layer(const sl_gate *gate, const sl_gate_shape *shape, seeded *random, room *r,
                       sl_gate_layer *layer)
{
    sl_gate_params params;
    sl_gate_params_plan(gate, shape, &params);
    float *numbers = malloc(params.n * sizeof *numbers);
    fill(numbers, params.n, 0.3F, random);
    for (int turn = 0; turn < 2; turn++) {
        sl_arena arena;
        sl_arena_init(&arena, r->storage, r->bytes);
        sl_gate_params_encode(&params, numbers, SL_TYPE_F16, &arena, layer);
        room_grow(r, &arena);
    }
    free(numbers);
}

static void open_warm(const sl_warm_options *options, room *r, sl_warm **warm_out)
{
    for (int turn = 0; turn < 2; turn++) {
        sl_arena arena;
        sl_arena_init(&arena, r->storage, r->bytes);
        sl_warm_init(options, &arena, warm_out);
        room_grow(r, &arena);
    }
}

/* Layer 0 as a file would have it. */
static void encode_layer(const sl_warm *warm, uint32_t type, room *r, sl_gate_layer *layer)
{
    for (int turn = 0; turn < 2; turn++) {
        sl_arena arena;
        sl_arena_init(&arena, r->storage, r->bytes);
        sl_warm_encode(warm, 0, type, &arena, layer);
        room_grow(r, &arena);
    }
}

typedef struct {
    sl_gate gate;
    sl_gate_layer layer;
    sl_warm *warm;
    room memory, weights;
} learner;

static void learner_open(learner *l, uint32_t heads, uint32_t hidden)
{
    *l = (learner){.gate = {.n_layers = 1, .n_kv_heads = KV_HEADS, .model_width = WIDTH}};
    sl_gate_shape shape = {.span = SL_GATE_WINDOW,
                           .ahead = 1,
                           .heads = heads,
                           .width = heads > 0 ? 16 : 0,
                           .hidden = hidden};
    seeded random = seeded_from(9);
    make_layer(&l->gate, &shape, &random, &l->weights, &l->layer);
    l->gate.layers = &l->layer;
    sl_warm_options options = {
        .gate = &l->gate, .tokens_max = TOKENS, .slice = 64, .threads = THREADS};
    open_warm(&options, &l->memory, &l->warm);
}

static void learner_close(learner *l)
{
    room_fini(&l->memory);
    room_fini(&l->weights);
}

static sl_warm_piece piece_of(const scene *s)
{
    return (sl_warm_piece){.n_tokens = TOKENS,
                           .end = sl_teacher_targets(&s->options, TOKENS),
                           .x = s->x,
                           .target = s->target};
}

static double r2_of(learner *l, const scene *s)
{
    sl_warm_piece piece = piece_of(s);
    sl_warm_fits_reset(l->warm);
    sl_warm_measure(l->warm, &piece, UINT32_MAX);
    return sl_warm_fit_r2(sl_warm_fits(l->warm));
}

/* Fit, and tell how well the gate does on a scene it has not seen. */
static double learn(learner *l, planting how, int rounds)
{
    seeded random = seeded_from(3);
    scene s;
    scene_open(&s, false);
    for (int i = 0; i < 4; i++) {
        plant(&s, how, &random);
        sl_warm_piece piece = piece_of(&s);
        sl_warm_ridge_add(l->warm, &piece);
    }
    assert_int_equal(sl_warm_ridge_solve(l->warm, 1e-3), SL_OK);
    for (int i = 0; i < rounds; i++) {
        plant(&s, how, &random);
        sl_warm_piece piece = piece_of(&s);
        for (uint32_t slice = 0; slice < sl_warm_slices(l->warm, &piece); slice++) {
            sl_warm_gradient(l->warm, &piece, slice, 1);
            sl_warm_step(l->warm, 0.01F);
        }
    }
    plant(&s, how, &random);
    double r2 = r2_of(l, &s);
    scene_close(&s);
    return r2;
}

/* Planted keys and noise differ by many units of the target, so a good fit keeps all of the one and
 * none of the other. */
static void test_planted_keys(void **state)
{
    (void)state;
    for (uint32_t hidden = 0; hidden <= 8; hidden += 8) {
        learner l;
        learner_open(&l, 0, hidden);
        assert_true(learn(&l, BY_ITSELF, 0) > 0.9);
        learner_close(&l);
    }
}

static void test_planted_ahead(void **state)
{
    (void)state;
    learner linear, heads;
    learner_open(&linear, 0, 0);
    learner_open(&heads, 2, 0);
    assert_true(learn(&linear, BY_WHAT_FOLLOWS, 20) < 0.3); /* x alone does not tell */
    assert_true(learn(&heads, BY_WHAT_FOLLOWS, 60) > 0.8);
    learner_close(&linear);
    learner_close(&heads);
}

/* The threshold between both, through the weights as a file has them. */
static void test_fates_of_planted(void **state)
{
    (void)state;
    learner l;
    learner_open(&l, 0, 0);
    learn(&l, BY_ITSELF, 0);
    room encoded = {0};
    sl_gate_layer layer;
    encode_layer(l.warm, SL_TYPE_Q8_0, &encoded, &layer);
    seeded random = seeded_from(77);
    scene s;
    scene_open(&s, false);
    plant(&s, BY_ITSELF, &random);
    float row[WIDTH], least = INFINITY, most = -INFINITY;
    for (uint32_t head = 0; head < KV_HEADS; head++) {
        sl_matrix_row(&layer.x, head, row);
        for (uint32_t t = 0; t < TOKENS; t++) {
            float logit = layer.x_bias[head];
            for (uint32_t i = 0; i < WIDTH; i++) logit += row[i] * s.x[t * WIDTH + i];
            if (s.planted[t] && logit < least) least = logit;
            if (!s.planted[t] && logit > most) most = logit;
        }
        assert_true(least > most + 1);
    }
    scene_close(&s);
    room_fini(&encoded);
    learner_close(&l);
}

/* ---- the objective ---- */

static double loss_at(double d)
{
    double slope;
    return sl_warm_loss(d, &slope);
}

/* The slope by the logit, of which d falls; a minimum of 0; no jump where it goes on straight. */
static void test_loss(void **state)
{
    (void)state;
    for (int i = 0; i < 80; i++) {
        double d = -6 + 0.173 * i, slope, h = 1e-6;
        assert_true(sl_warm_loss(d, &slope) >= 0);
        assert_float_equal(slope, (loss_at(d - h) - loss_at(d + h)) / (2 * h),
                           1e-5 * (1 + fabs(slope)));
    }
    assert_float_equal(loss_at(0), 0, 1e-12);
    assert_float_equal(loss_at(1), exp(1) - 2, 1e-12);
    assert_float_equal(loss_at(3 - 1e-9), loss_at(3 + 1e-9), 1e-6);
    assert_true(fabs(loss_at(9) - loss_at(8) - (exp(3) - 1)) < 1e-9);
}

enum { LAYERS = 3, N_ROWS = 60 };

/* Three layers of several kinds, which have the level in common. */
typedef struct {
    sl_gate gate;
    sl_gate_layer layers[LAYERS];
    sl_warm *warm;
    sl_warm_piece piece;
    float *x, *target;
    room memory, weights[LAYERS];
} objective;

static void objective_open(objective *o, seeded *random)
{
    *o = (objective){.gate = {.n_layers = LAYERS, .n_kv_heads = KV_HEADS, .model_width = WIDTH}};
    o->gate.layers = o->layers;
    static const sl_gate_shape SHAPES[LAYERS] = {
        {.span = SL_GATE_WINDOW},
        {.span = SL_GATE_WINDOW, .back = 5, .ahead = 3, .heads = 2, .width = 16},
        {.span = SL_GATE_WINDOW, .back = 2, .ahead = 1, .heads = 1, .width = 16, .hidden = 8},
    };
    for (int i = 0; i < LAYERS; i++)
        make_layer(&o->gate, &SHAPES[i], random, &o->weights[i], &o->layers[i]);
    sl_warm_options options = {
        .gate = &o->gate, .tokens_max = N_ROWS, .slice = N_ROWS, .threads = THREADS};
    open_warm(&options, &o->memory, &o->warm);
    o->x = malloc(sizeof(float) * LAYERS * N_ROWS * WIDTH);
    o->target = malloc(sizeof(float) * LAYERS * KV_HEADS * N_ROWS);
    fill(o->x, (size_t)LAYERS * N_ROWS * WIDTH, 0.5F, random);
    fill(o->target, (size_t)LAYERS * KV_HEADS * N_ROWS, 0.5F, random);
    o->piece = (sl_warm_piece){
        .n_tokens = N_ROWS, .first = 4, .end = N_ROWS - 5, .x = o->x, .target = o->target};
}

static void objective_close(objective *o)
{
    free(o->x), free(o->target);
    room_fini(&o->memory);
    for (int i = 0; i < LAYERS; i++) room_fini(&o->weights[i]);
}

/* Of all layers, each the mean over its tokens and heads. */
static double objective_loss(objective *o)
{
    double sum = 0;
    sl_warm_fits_reset(o->warm);
    sl_warm_measure(o->warm, &o->piece, UINT32_MAX);
    for (int i = 0; i < LAYERS; i++)
        sum += sl_warm_fits(o->warm)[i].loss / sl_warm_fits(o->warm)[i].n;
    return sum;
}

static void test_gradients(void **state)
{
    (void)state;
    seeded random = seeded_from(21);
    objective o;
    objective_open(&o, &random);
    size_t n;
    float *params = sl_warm_params(o.warm, &n), *gradients = sl_warm_gradients(o.warm, &n);
    SL_ASSERT(n > 0);
    sl_warm_gradient(o.warm, &o.piece, 0, UINT32_MAX);
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)gradients[i] * (double)gradients[i];
    double scale = sqrt(square / (double)n);
    assert_true(scale > 1e-4);
    for (int i = 0; i < 200; i++) {
        size_t at = seeded_below(&random, (uint32_t)n);
        float was = params[at], h = 2e-3F;
        params[at] = was + h;
        double above = objective_loss(&o);
        params[at] = was - h;
        double below = objective_loss(&o);
        params[at] = was;
        double slope = (above - below) / (2 * (double)h);
        if (fabs(slope - (double)gradients[at]) > 0.02 * (fabs(slope) + scale))
            fail_msg("number %zu: gradient %g, by differences %g", at, (double)gradients[at],
                     slope);
    }
    objective_close(&o);
}

/* What all tokens and heads have in common changes neither the loss nor a gradient. */
static void test_level(void **state)
{
    (void)state;
    seeded random = seeded_from(22);
    objective o;
    objective_open(&o, &random);
    size_t n;
    const float *gradients = sl_warm_gradients(o.warm, &n);
    float *before = malloc(n * sizeof *before);
    double loss = objective_loss(&o);
    sl_warm_gradient(o.warm, &o.piece, 0, UINT32_MAX);
    memcpy(before, gradients, n * sizeof *before);
    for (size_t i = 0; i < (size_t)LAYERS * KV_HEADS * N_ROWS; i++) o.target[i] += 7;
    assert_float_equal(objective_loss(&o), loss, 1e-5);
    sl_warm_gradient(o.warm, &o.piece, 0, UINT32_MAX);
    for (size_t i = 0; i < n; i++) assert_true(fabsf(before[i] - gradients[i]) < 1e-4F);
    free(before);
    objective_close(&o);
}

/* Demands that nothing announces: a gate learns the logarithm of their mean, beside a
 * head whose demands are always the same. */
static void test_rare_demands(void **state)
{
    (void)state;
    seeded random = seeded_from(23);
    learner l;
    learner_open(&l, 0, 0);
    enum { N = 64 };
    static float x[N * WIDTH], target[KV_HEADS * N];
    sl_warm_piece piece = {.n_tokens = N, .end = N, .x = x, .target = target};
    for (int i = 0; i < 3000; i++) {
        fill(x, (size_t)N * WIDTH, 1, &random);
        for (int t = 0; t < N; t++) {
            target[t] = 0;
            target[N + t] = seeded_below(&random, 8) == 0 ? 2.5F : 0;
        }
        sl_warm_gradient(l.warm, &piece, 0, 0);
        sl_warm_step(l.warm, i < 2000 ? 0.01F : 0.001F);
    }
    room encoded = {0};
    sl_gate_layer layer;
    encode_layer(l.warm, SL_TYPE_F16, &encoded, &layer);
    double want = log((7 + exp(2.5)) / 8); /* the mean of the logarithms would be 0.31 */
    assert_float_equal((double)(layer.x_bias[1] - layer.x_bias[0]), want, 0.12);
    room_fini(&encoded);
    learner_close(&l);
}

/* ---- ridge ---- */

static void test_ridge(void **state)
{
    (void)state;
    enum { N_IN = 32, N_OUT = 2, ROWS = 300 };
    seeded random = seeded_from(4);
    float x[ROWS * N_IN], y[N_OUT * ROWS], w[N_OUT * N_IN], got[N_OUT * N_IN], bias[N_OUT];
    fill(x, ROWS * N_IN, 1, &random);
    fill(w, N_OUT * N_IN, 1, &random);
    for (int o = 0; o < N_OUT; o++)
        for (int t = 0; t < ROWS; t++) {
            y[o * ROWS + t] = 3.0F + (float)o;
            for (int i = 0; i < N_IN; i++) y[o * ROWS + t] += w[o * N_IN + i] * x[t * N_IN + i];
        }
    void *storage;
    size_t bytes;
    sl_arena arena;
    sl_ridge r;
    sl_arena_init(&arena, NULL, 0);
    sl_ridge_init(N_IN, N_OUT, &arena, &r);
    bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(bytes, "ridge", &storage), SL_OK);
    sl_arena_init(&arena, storage, bytes);
    sl_ridge_init(N_IN, N_OUT, &arena, &r);
    r.sums = calloc(r.n_sums, sizeof *r.sums);
    assert_int_equal(sl_ridge_solve(&r, 1e-3, got, bias), SL_ERR_FORMAT); /* no rows yet */
    sl_ridge_add(&r, 100, x, y, ROWS);
    sl_ridge_add(&r, ROWS - 100, x + 100 * N_IN, y + 100, ROWS);
    assert_int_equal(sl_ridge_solve(&r, 1e-9, got, bias), SL_OK);
    for (int i = 0; i < N_OUT * N_IN; i++) assert_true(fabsf(got[i] - w[i]) < 1e-3F);
    assert_true(fabsf(bias[0] - 3) < 1e-3F && fabsf(bias[1] - 4) < 1e-3F);
    assert_int_equal(sl_ridge_solve(&r, 10, got, bias), SL_OK); /* shrinks */
    assert_true(fabsf(got[0]) < fabsf(w[0]) * 0.5F);
    x[0] = INFINITY;
    sl_ridge_add(&r, 1, x, y, ROWS);
    assert_int_equal(sl_ridge_solve(&r, 1e-3, got, bias), SL_ERR_FORMAT);
    free(r.sums);
    sl_storage_release(storage, bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_teacher),       cmocka_unit_test(test_planted_keys),
        cmocka_unit_test(test_planted_ahead), cmocka_unit_test(test_fates_of_planted),
        cmocka_unit_test(test_loss),          cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_level),         cmocka_unit_test(test_rare_demands),
        cmocka_unit_test(test_ridge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
