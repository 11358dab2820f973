/* test_cpt.c - gates tuned through a small model: gradients of what gates are made of against
 * central differences of the loss, shares that are held, steps that resume, and gates that learn
 * from random numbers which tokens the model needs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/train/attention_pass.h"
#include "runtime/train/cpt.h"
#include "runtime/train/head_pass.h"
#include "runtime/train/model_pass.h"
#include "tests/support/drawn_model.h"

enum { TOKENS = 96, SINKS = 2, WINDOW = 4, SEED = 7 };

typedef struct {
    drawn_model model;
    sl_gate gate;
    sl_gate_layer layers[DRAWN_LAYERS];
    sl_gate_params layout;
    void *gate_storage, *storage;
    size_t gate_bytes, bytes;
    sl_cpt_options options;
    sl_cpt *cpt;
    int32_t ids[TOKENS];
    uint32_t n_prompt;
} rig;

/* Gates of random numbers, in layers [first, LAYERS). */
static void draw_gate(rig *r, seeded *random, const sl_gate_shape *shape, uint32_t first)
{
    float *params;
    r->gate = (sl_gate){.model_width = DRAWN_WIDTH,
                        .n_kv_heads = DRAWN_KV_HEADS,
                        .n_layers = DRAWN_LAYERS,
                        .layers = r->layers};
    sl_gate_params_plan(&r->gate, shape, &r->layout);
    params = malloc(r->layout.n * sizeof *params);
    for (int turn = 0; turn < 2; turn++) {
        sl_arena arena;
        sl_arena_init(&arena, r->gate_storage, r->gate_bytes);
        seeded again = *random;
        for (uint32_t i = 0; i < DRAWN_LAYERS; i++) {
            r->layers[i] = (sl_gate_layer){.shape = {.span = SL_GATE_ABSENT}};
            for (size_t k = 0; k < r->layout.n; k++) params[k] = 0.3F * seeded_real(&again);
            if (i >= first)
                sl_gate_params_encode(&r->layout, params, SL_TYPE_F16, &arena, &r->layers[i]);
        }
        if (turn > 0) break;
        r->gate_bytes = arena.used_bytes;
        assert_int_equal(sl_storage_take(r->gate_bytes, "gate", &r->gate_storage), SL_OK);
    }
    free(params);
}

static void read_text(rig *r)
{
    const sl_cpt_text text = {.ids = r->ids, .n = TOKENS, .ahead = 3, .n_prompt = r->n_prompt};
    sl_cpt_read(r->cpt, &text);
}

static void draw_ids(rig *r, seeded *random)
{
    for (uint32_t t = 0; t < TOKENS; t++) r->ids[t] = (int32_t)seeded_below(random, DRAWN_VOCAB);
}

/* All layers attend to all tokens; gates from layer `first_gate` on. */
static void rig_open(rig *r, uint64_t seed, const sl_gate_shape *shape, uint32_t first_gate,
                     const sl_cpt_options *like)
{
    seeded random = seeded_from(seed);
    memset(r, 0, sizeof *r);
    drawn_model_make(&r->model, &random);
    for (uint32_t i = 0; i < DRAWN_LAYERS; i++) r->model.shape.kind_of[i] = 0;
    draw_gate(r, &random, shape, first_gate);
    draw_ids(r, &random);
    r->options = *like;
    r->options.gate = &r->gate;
    r->options.model = (sl_layer_pass_options){.shape = &r->model.shape,
                                               .weights = &r->model.weights,
                                               .kernels = sl_kernels_named("ref"),
                                               .sinks = SINKS,
                                               .window = WINDOW,
                                               .tokens_max = TOKENS,
                                               .threads = 2};
    for (int turn = 0; turn < 2; turn++) {
        sl_arena arena;
        sl_arena_init(&arena, r->storage, r->bytes);
        sl_cpt_init(&r->options, &arena, &r->cpt);
        if (turn > 0) break;
        r->bytes = arena.used_bytes;
        assert_int_equal(sl_storage_take(r->bytes, "cpt", &r->storage), SL_OK);
    }
}

static void rig_close(rig *r)
{
    sl_storage_release(r->storage, r->bytes);
    sl_storage_release(r->gate_storage, r->gate_bytes);
}

static const sl_gate_shape
    HEADS = {.span = SL_GATE_WINDOW,
             .heads = 2,
             .width = 16,
             .kv = SL_GATE_OWN_KV,
             .back = 6,
             .ahead = 3},
    LINEAR = {.span = SL_GATE_WINDOW},
    CAUSAL = {.span = SL_GATE_CAUSAL, .heads = 2, .width = 16, .kv = SL_GATE_OWN_KV},
    WHOLE_PROMPT = {.span = SL_GATE_PROMPT, .heads = 2, .width = 16, .kv = SL_GATE_SHARED_KV};

/* ---- gradients ---- */

static double loss_of(rig *r)
{
    sl_cpt_told told;
    read_text(r);
    sl_cpt_measure(r->cpt, 0.5, &told);
    return ((double)r->options.lm * told.lm + (double)r->options.kl * told.kl) / told.n;
}

/* Soft gates, at a fixed threshold, in the last layer alone: then nothing that a gate reads depends
 * on one, and the gradient is all of the derivative. */
static void test_gradients(void **state)
{
    (void)state;
    static const sl_cpt_options options = {
        .lm = 1, .kl = 0.7F, .eviction_loss = 1e-20F, .softness = 1.5F, .clip = 1e9F};
    for (uint64_t seed = 1; seed <= 8; seed++) {
        static rig r;
        sl_cpt_told told;
        const sl_gate_shape *shapes[] = {&HEADS, &LINEAR, &CAUSAL, &WHOLE_PROMPT};
        rig_open(&r, seed, shapes[seed % 4], DRAWN_LAYERS - 1, &options);
        r.n_prompt = shapes[seed % 4] == &WHOLE_PROMPT ? TOKENS / 2 : 0;
        sl_gate_numbers *numbers = sl_cpt_numbers(r.cpt);
        read_text(&r);
        sl_cpt_gradient(r.cpt, 0.5, 1, &told);
        for (size_t p = 0; p < SL_GATE_PARTS; p++) {
            const sl_gate_part *part = &numbers->layouts[DRAWN_LAYERS - 1].all[p];
            const size_t n = (size_t)part->n_out * part->n_in;
            float *x = numbers->params + numbers->at[DRAWN_LAYERS - 1] + part->at;
            const float *gradient = numbers->gradients + (x - numbers->params);
            double norm = 0, expected = 0;
            if (n == 0) continue;
            float *was = malloc(n * sizeof *was), *way = malloc(n * sizeof *way);
            memcpy(was, x, n * sizeof *was);
            for (size_t i = 0; i < n; i++) norm += (double)gradient[i] * (double)gradient[i];
            norm = sqrt(norm);
            assert_true(norm > 0);
            for (size_t i = 0; i < n; i++) { /* along the gradient, where all of it tells */
                way[i] = (float)(0.02 * (double)gradient[i] / norm);
                expected += 2 * (double)way[i] * (double)gradient[i];
            }
            for (size_t i = 0; i < n; i++) x[i] = was[i] + way[i];
            double change = loss_of(&r);
            for (size_t i = 0; i < n; i++) x[i] = was[i] - way[i];
            change -= loss_of(&r);
            memcpy(x, was, n * sizeof *was);
            if (!(fabs(change - expected) < 0.02 * expected + 2e-6))
                fail_msg("seed %d, part %d: moved by %g, told %g", (int)seed, (int)p, change,
                         expected);
            free(was), free(way);
        }
        rig_close(&r);
    }
}

/* ---- hard flags ---- */

/* The same passes by hand: linear gates, whose logits are sums in double, and what their biases
 * learn, straight through. */
typedef struct {
    rig *r;
    bool reads; /* everything is kept */
    double logits[DRAWN_LAYERS][DRAWN_KV_HEADS][TOKENS], d_bias[DRAWN_LAYERS][DRAWN_KV_HEADS];
    double threshold;
} by_hand;

static double linear_logit(const rig *r, uint32_t layer, uint32_t head, const float *x)
{
    const sl_gate_numbers *g = sl_cpt_numbers(r->cpt);
    const float *numbers = g->params + g->at[layer];
    double sum = (double)numbers[r->layout.x_bias.at + head];
    for (size_t i = 0; i < DRAWN_WIDTH; i++)
        sum += (double)numbers[r->layout.x.at + head * DRAWN_WIDTH + i] * (double)x[i];
    return sum;
}

static void decide_by_hand(void *context, uint32_t layer, const float *normed, uint32_t n_tokens,
                           float *log_keep)
{
    by_hand *h = context;
    memset(log_keep, 0, (size_t)DRAWN_KV_HEADS * n_tokens * sizeof *log_keep);
    for (uint32_t head = 0; head < DRAWN_KV_HEADS; head++)
        for (uint32_t t = SINKS; t < TOKENS - WINDOW; t++) {
            const double logit = linear_logit(h->r, layer, head, normed + t * DRAWN_WIDTH);
            h->logits[layer][head][t] = logit;
            if (!h->reads && logit < h->threshold) log_keep[head * n_tokens + t] = SL_LOG_EVICTED;
        }
}

static void learn_by_hand(void *context, uint32_t layer, const float *normed, uint32_t n_tokens,
                          const float *d_log_keep)
{
    by_hand *h = context;
    (void)normed;
    for (uint32_t head = 0; head < DRAWN_KV_HEADS; head++)
        for (uint32_t t = SINKS; t < TOKENS - WINDOW; t++) {
            const double p = 1 / (1 + exp(h->threshold - h->logits[layer][head][t]));
            h->d_bias[layer][head] += (double)d_log_keep[head * n_tokens + t] * p * (1 - p);
        }
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* That half of all lie below. */
static double middle_of(const by_hand *h)
{
    enum { EACH = TOKENS - WINDOW - SINKS, N = DRAWN_LAYERS * DRAWN_KV_HEADS * EACH };
    double all[N];
    for (uint32_t i = 0; i < DRAWN_LAYERS * DRAWN_KV_HEADS; i++)
        memcpy(all + (size_t)i * EACH, h->logits[i / DRAWN_KV_HEADS][i % DRAWN_KV_HEADS] + SINKS,
               EACH * sizeof *all);
    qsort(all, N, sizeof *all, by_size);
    return all[N / 2];
}

/* From what is behind the last layer, the gradient of the mean of -log p. */
static void lm_gradient(sl_model_pass *pass, sl_head_pass *head, const rig *r, const float *x,
                        float *d_x)
{
    enum { FROM = SINKS + WINDOW, N = TOKENS - 1 - FROM };
    float normed[TOKENS * DRAWN_WIDTH], weight[N], none[N] = {0}, minus_log_p[N];
    for (int i = 0; i < N; i++) weight[i] = 1.0F / N;
    sl_model_pass_norm(pass, x, normed);
    memset(d_x, 0, sizeof normed);
    const sl_head_rows rows = {.n = N,
                               .head = &r->model.weights.head,
                               .x = normed + FROM * DRAWN_WIDTH,
                               .target = r->ids + FROM + 1,
                               .lm = weight,
                               .kl = none};
    sl_head_pass_run(head, &rows, minus_log_p, NULL, d_x + FROM * DRAWN_WIDTH);
    sl_model_pass_norm_backward(pass, x, d_x);
}

static void test_straight_through(void **state)
{
    (void)state;
    static const sl_cpt_options options = {.lm = 1, .clip = 1e9F};
    static rig r;
    static by_hand h;
    static float d_x[TOKENS * DRAWN_WIDTH];
    sl_cpt_told told;
    rig_open(&r, SEED, &LINEAR, 0, &options);
    h = (by_hand){.r = &r, .reads = true};
    const sl_head_pass_options head_options = {
        .width = DRAWN_WIDTH, .vocab = DRAWN_VOCAB, .rows_max = TOKENS, .threads = 2};
    const sl_model_pass_gates gates = {
        .context = &h, .decide = decide_by_hand, .learn = learn_by_hand};
    sl_model_pass *pass;
    sl_head_pass *head;
    void *storage = NULL;
    size_t bytes = 0;
    for (int turn = 0; turn < 2; turn++) {
        sl_arena arena;
        sl_arena_init(&arena, storage, bytes);
        sl_model_pass_init(&r.options.model, &arena, &pass);
        sl_head_pass_init(&head_options, &arena, &head);
        if (turn > 0) break;
        bytes = arena.used_bytes;
        assert_int_equal(sl_storage_take(bytes, "by hand", &storage), SL_OK);
    }
    sl_model_pass_embed(pass, r.ids, TOKENS);
    sl_model_pass_forward(pass, TOKENS, &gates);
    h.threshold = middle_of(&h);
    h.reads = false;
    sl_model_pass_embed(pass, r.ids, TOKENS);
    lm_gradient(pass, head, &r, sl_model_pass_forward(pass, TOKENS, &gates), d_x);
    sl_model_pass_backward(pass, &gates, d_x);

    read_text(&r);
    sl_cpt_gradient(r.cpt, 0.5, 1, &told);
    const sl_gate_numbers *g = sl_cpt_numbers(r.cpt);
    for (uint32_t layer = 0; layer < DRAWN_LAYERS; layer++)
        for (uint32_t i = 0; i < DRAWN_KV_HEADS; i++) {
            const double want = h.d_bias[layer][i],
                         got = (double)g->gradients[g->at[layer] + r.layout.x_bias.at + i];
            if (!(fabs(want) > 1e-7 && fabs(got - want) < 1e-3 * fabs(want) + 1e-8))
                fail_msg("layer %u, head %u: %g, expected %g", layer, i, got, want);
        }
    sl_storage_release(storage, bytes);
    rig_close(&r);
}

/* ---- rates ---- */

static void test_rates(void **state)
{
    (void)state;
    static const sl_cpt_options options = {.kl = 1, .clip = 1e9F};
    static rig r;
    sl_cpt_told told;
    rig_open(&r, SEED, &LINEAR, 0, &options);
    read_text(&r);
    const double n = (double)DRAWN_LAYERS * DRAWN_KV_HEADS * (TOKENS - SINKS - WINDOW);
    for (int quarters = 0; quarters <= 4; quarters++) {
        const double keep = quarters / 4.0;
        sl_cpt_measure(r.cpt, keep, &told);
        assert_true(told.n == TOKENS - 1 - SINKS - WINDOW && told.n_eligible == n);
        /* of its own logits, which are not those of the model that keeps all */
        assert_true(fabs(told.n_kept / n - keep) < 0.1);
        if (keep == 1) assert_true(told.kl < 1e-4 && fabs(told.lm - sl_cpt_full_lm(r.cpt)) < 1e-3);
    }
    rig_close(&r);
}

/* Gates of span `prompt` see all of a prompt and nothing behind it, and decide about its tokens;
 * what follows is kept, and scored. */
static void test_whole_prompt(void **state)
{
    (void)state;
    static const sl_cpt_options options = {.kl = 1, .eviction_loss = 1, .clip = 1e9F};
    static rig r;
    sl_cpt_told told[3];
    rig_open(&r, SEED, &WHOLE_PROMPT, 0, &options);
    r.n_prompt = 40;
    const int32_t changed[3] = {0, TOKENS - 1, 39}; /* nothing yet, then behind it, then its last */
    for (int i = 0; i < 3; i++) {
        r.ids[changed[i]] = i == 0 ? r.ids[0] : (r.ids[changed[i]] + 1) % DRAWN_VOCAB;
        read_text(&r);
        sl_cpt_measure(r.cpt, 0.5, &told[i]);
        assert_true(told[i].n == TOKENS - 40);
        assert_true(told[i].n_eligible == (double)DRAWN_LAYERS * DRAWN_KV_HEADS * (40 - SINKS));
        assert_true(told[i].kl > 0);
    }
    assert_true(told[0].n_kept == told[1].n_kept && told[0].lm != told[1].lm);
    assert_true(told[0].n_kept != told[2].n_kept);
    rig_close(&r);
}

/* With the eviction loss alone, gates come to keep the share that is asked. */
static void test_eviction_loss(void **state)
{
    (void)state;
    static const sl_cpt_options options = {.eviction_loss = 1, .clip = 1};
    static rig r;
    sl_cpt_told told;
    rig_open(&r, SEED, &LINEAR, 0, &options);
    for (int step = 0; step < 100; step++) {
        read_text(&r);
        sl_cpt_gradient(r.cpt, 0.2, 1, &told);
        assert_int_equal(sl_cpt_step(r.cpt, 0.02, 0), SL_OK);
    }
    assert_true(fabs(told.n_kept / told.n_eligible - 0.2) < 0.06);
    rig_close(&r);
}

/* Logits far below a threshold, of gates that are hardly soft, teach nothing, and no nonsense. What
 * is not finite all the same is not stepped. */
static void test_finite(void **state)
{
    (void)state;
    static const sl_cpt_options options = {.lm = 1, .softness = 1e-3F, .clip = 1};
    static rig r;
    sl_cpt_told told;
    rig_open(&r, SEED, &HEADS, 0, &options);
    sl_gate_numbers *numbers = sl_cpt_numbers(r.cpt);
    read_text(&r);
    sl_cpt_gradient(r.cpt, 0.2, 1, &told);
    for (size_t i = 0; i < numbers->n; i++) assert_true(isfinite(numbers->gradients[i]));
    assert_int_equal(sl_cpt_step(r.cpt, 0.01, 0), SL_OK);
    void *before = malloc(numbers->state_bytes);
    memcpy(before, numbers->state, numbers->state_bytes);
    numbers->gradients[3] = NAN;
    assert_int_equal(sl_cpt_step(r.cpt, 0.01, 0), SL_ERR_FORMAT);
    assert_memory_equal(before, numbers->state, numbers->state_bytes);
    free(before);
    rig_close(&r);
}

/* ---- learning ---- */

/* KL on texts never seen, a token. */
static double held_out(rig *r)
{
    double kl = 0, n = 0;
    seeded random = seeded_from(99);
    for (int i = 0; i < 4; i++) {
        sl_cpt_told told;
        draw_ids(r, &random);
        read_text(r);
        sl_cpt_measure(r->cpt, 0.25, &told);
        kl += told.kl, n += told.n;
    }
    return kl / n;
}

static void train(rig *r, int n_steps, seeded *random)
{
    sl_cpt_told told;
    for (int step = 0; step < n_steps; step++) {
        draw_ids(r, random);
        read_text(r);
        sl_cpt_gradient(r->cpt, 0.25, 1, &told);
        assert_int_equal(sl_cpt_step(r->cpt, 0.02, 0.9), SL_OK);
    }
}

static void test_learns(void **state)
{
    (void)state;
    static const sl_cpt_options options = {.kl = 1, .clip = 1};
    static rig r;
    rig_open(&r, SEED, &LINEAR, 0, &options);
    seeded random = seeded_from(3);
    const double before = held_out(&r);
    train(&r, 100, &random);
    const double after = held_out(&r);
    print_message("KL %.4f, then %.4f\n", before, after);
    assert_true(after < 0.7 * before);
    rig_close(&r);
}

/* An adapter learns a text that the frozen model does not know, while gates keep half of it. */
static void test_lora_learns(void **state)
{
    (void)state;
    static const sl_cpt_options options = {
        .lm = 1,
        .clip = 1,
        .lora = {.rank = 4, .alpha = 8, .adapts = {[SL_MAP_Q] = true, [SL_MAP_V] = true}},
        .lora_seed = 3};
    static rig r;
    sl_cpt_told told;
    rig_open(&r, SEED, &LINEAR, 0, &options);
    for (uint32_t t = 0; t < TOKENS; t++) r.ids[t] = (int32_t)(t * t % 7);
    read_text(&r);
    sl_cpt_measure(r.cpt, 0.5, &told);
    const double before = told.lm / told.n;
    for (int step = 0; step < 60; step++) {
        read_text(&r);
        sl_cpt_gradient(r.cpt, 0.5, 1, &told);
        assert_int_equal(sl_cpt_step(r.cpt, 0.1, 0.5), SL_OK);
    }
    sl_cpt_take_mean(r.cpt);
    read_text(&r);
    sl_cpt_measure(r.cpt, 0.5, &told);
    print_message("-log p %.3f, then %.3f\n", before, told.lm / told.n);
    assert_true(told.lm / told.n < 0.6 * before);
    const sl_lora_pass *lora = sl_cpt_lora(r.cpt);
    assert_true(lora->maps[SL_MAP_K].n_in == 0 && lora->params[lora->maps[SL_MAP_V].b] != 0);
    rig_close(&r);
}

/* The state is all that lasts: with it another run goes on to the same bytes. */
static void test_resumes(void **state)
{
    (void)state;
    static const sl_cpt_options options = {
        .lm = 1, .clip = 1, .lora = {.rank = 2, .alpha = 2, .adapts = {[SL_MAP_O] = true}}};
    static rig whole, other;
    seeded random = seeded_from(3), later;
    rig_open(&whole, SEED, &HEADS, 0, &options);
    train(&whole, 2, &random);
    later = random;
    sl_gate_numbers *from = sl_cpt_numbers(whole.cpt);
    rig_open(&other, SEED, &HEADS, 0, &options);
    memcpy(sl_cpt_numbers(other.cpt)->state, from->state, from->state_bytes);
    train(&whole, 2, &random);
    train(&other, 2, &later);
    assert_memory_equal(sl_cpt_numbers(other.cpt)->state, from->state, from->state_bytes);
    assert_true(*from->step == 4);
    rig_close(&whole);
    rig_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),     cmocka_unit_test(test_straight_through),
        cmocka_unit_test(test_rates),         cmocka_unit_test(test_whole_prompt),
        cmocka_unit_test(test_eviction_loss), cmocka_unit_test(test_finite),
        cmocka_unit_test(test_learns),        cmocka_unit_test(test_lora_learns),
        cmocka_unit_test(test_resumes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
