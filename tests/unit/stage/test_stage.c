/* tests/unit/stage/test_stage.c - contract 1 at the stage's door: the same bits however layers are
 * split, prompts cut and sequences mixed, and with any number of threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/seeded.h"
#include "tests/support/stage_rig.h"
#include "tests/unit/stage/stage_tests.h"

/* ---- a job of a few sequences, and what became of them ---- */

enum { JOBS = 6, TOKENS_MAX = 1400, CONTEXT = 1400, VOCAB = 300 };

typedef struct {
    int parent; /* forks from this one's prompt; -1: opened */
    uint32_t n_prompt, n_generate, score_from;
    int32_t tokens[TOKENS_MAX]; /* the prompt; of a fork, what follows its parent's */
    sl_sampling sampling;
} job;

/* By position: each is told once at most. */
typedef struct {
    sl_token_result at[TOKENS_MAX];
} told;

typedef struct {
    uint32_t n_jobs;
    job jobs[JOBS];
} batch;

static sl_sampling some_sampling(seeded *random)
{
    sl_sampling s = {.top_p = 1, .repetition_penalty = 1, .n_logprobs = -1};
    s.seed = seeded_bits(random);
    if (seeded_below(random, 3) > 0) s.temperature = 0.8F;
    if (seeded_below(random, 2)) s.top_p = 0.9F;
    if (seeded_below(random, 3) == 0) s.top_k = 20;
    if (seeded_below(random, 3) == 0) s.repetition_penalty = 1.3F;
    if (seeded_below(random, 3) == 0) s.frequency_penalty = 0.4F;
    if (seeded_below(random, 3) > 0) s.n_logprobs = (int32_t)seeded_below(random, 8);
    if (seeded_below(random, 3) == 0) {
        s.n_bias = 1;
        s.bias[0] = (sl_logit_bias){.token = 200, .value = 2};
    }
    return s;
}

static void make_batch(batch *b, uint64_t seed, uint32_t n_jobs, uint32_t prompt_max)
{
    seeded random = seeded_from(seed);
    b->n_jobs = n_jobs;
    for (uint32_t i = 0; i < n_jobs; i++) {
        job *j = &b->jobs[i];
        j->parent = i == 2 || i == 4 ? (int)i - 2 : -1; /* 4 is a fork of a fork */
        j->n_prompt = 1 + seeded_below(&random, prompt_max);
        j->n_generate = 1 + seeded_below(&random, 12);
        j->score_from = seeded_below(&random, 2) ? j->n_prompt : seeded_below(&random, j->n_prompt);
        for (uint32_t t = 0; t < j->n_prompt; t++)
            j->tokens[t] = (int32_t)seeded_below(&random, VOCAB);
        j->sampling = some_sampling(&random);
    }
}

/* ---- a plain driver ---- */

typedef enum { WAITING, RUNNING, DONE } job_stage;

typedef struct {
    job_stage stage;
    uint32_t begin;     /* position of its own first prompt token */
    uint32_t n_put;     /* tokens computed, a parent's included */
    uint32_t n_drawn;   /* tokens drawn */
    int32_t last;       /* the last of them */
    uint32_t n_waiting; /* forks that still need its prompt */
} progress;

typedef struct {
    const batch *b;
    stage_rig *rig;
    seeded random; /* who is in which frame, and how much of it */
    bool alone;    /* one sequence after the other, whole prompts */
    progress p[JOBS];
    told *told; /* [n_jobs] */
} driver;

static bool prompt_done(const driver *d, uint32_t i)
{
    const progress *p = &d->p[i];
    return p->stage == RUNNING && p->n_put >= p->begin + d->b->jobs[i].n_prompt;
}

static void start(driver *d, uint32_t i)
{
    const job *j = &d->b->jobs[i];
    progress *p = &d->p[i];
    if (p->stage != WAITING || (j->parent >= 0 && !prompt_done(d, (uint32_t)j->parent))) return;
    if (d->rig->frame.n_controls == d->rig->limits.controls_max) return;
    p->stage = RUNNING;
    if (j->parent < 0) {
        stage_rig_control(d->rig, SL_CONTROL_OPEN, i, 0, &j->sampling);
        return;
    }
    progress *parent = &d->p[j->parent];
    stage_rig_control(d->rig, SL_CONTROL_FORK, i, (uint32_t)j->parent, &j->sampling);
    parent->n_waiting--;
    p->begin = p->n_put = parent->n_put;
}

static void put_prompt(driver *d, uint32_t i)
{
    const job *j = &d->b->jobs[i];
    progress *p = &d->p[i];
    uint32_t at = p->n_put - p->begin, n = j->n_prompt - at;
    uint32_t room = d->rig->limits.rows_max - d->rig->frame.n_rows;
    if (n > room) n = room;
    if (!d->alone) n = 1 + seeded_below(&d->random, n);
    sl_span *span = stage_rig_span(d->rig, SL_SPAN_PROMPT, i, p->n_put, j->tokens + at, n);
    span->sample = at + n == j->n_prompt;
    span->score_from = j->score_from <= at ? 0 : j->score_from < at + n ? j->score_from - at : n;
    if (!span->sample && span->score_from < n) span->next_token = j->tokens[at + n];
    p->n_put += n;
}

static void put_row(driver *d, uint32_t i)
{
    progress *p = &d->p[i];
    stage_rig_span(d->rig, SL_SPAN_DECODE, i, p->n_put, &p->last, 1)->sample = true;
    p->n_put++;
}

/* Of its prompt, or else of what it generates. */
static void put_span(driver *d, uint32_t i, bool of_prompt)
{
    const sl_frame *f = &d->rig->frame;
    if (d->p[i].stage != RUNNING || f->n_rows == d->rig->limits.rows_max ||
        f->n_spans == d->rig->limits.spans_max || prompt_done(d, i) == of_prompt)
        return;
    if (of_prompt)
        put_prompt(d, i);
    else if (d->p[i].n_waiting == 0)
        put_row(d, i);
}

static void note_results(driver *d)
{
    const sl_frame *f = &d->rig->frame;
    for (uint32_t i = 0; i < f->n_results; i++) {
        const sl_token_result *r = &f->results[i];
        sl_token_result *at = &d->told[r->sequence].at[r->position];
        assert_int_equal(at->kind, 0);
        *at = *r;
        /* beyond n_top is whatever an earlier frame left */
        memset(at->top + r->n_top, 0, (SL_TOP_LOGPROBS_MAX - r->n_top) * sizeof *at->top);
        if (r->kind != SL_RESULT_SAMPLED) continue;
        d->p[r->sequence].last = r->token;
        d->p[r->sequence].n_drawn++;
    }
}

static void close_done(driver *d)
{
    for (uint32_t i = 0; i < d->b->n_jobs; i++) {
        if (d->p[i].stage != RUNNING || d->p[i].n_drawn < d->b->jobs[i].n_generate ||
            d->p[i].n_waiting > 0 || d->rig->frame.n_controls == d->rig->limits.controls_max)
            continue;
        d->p[i].stage = DONE;
        stage_rig_control(d->rig, SL_CONTROL_CLOSE, i, 0, NULL);
    }
}

static bool all_done(const driver *d)
{
    for (uint32_t i = 0; i < d->b->n_jobs; i++)
        if (d->p[i].stage != DONE) return false;
    return true;
}

/* One frame of whoever can go on; alone: of the first that can. */
static void fill(driver *d)
{
    uint32_t n = d->b->n_jobs, from = d->alone ? 0 : seeded_below(&d->random, n);
    close_done(d);
    for (uint32_t i = 0; i < n; i++) {
        if (d->alone || seeded_below(&d->random, 2)) start(d, i);
    }
    for (int prompts = 0; prompts < 2; prompts++) { /* rows come first */
        for (uint32_t k = 0; k < n; k++) {
            uint32_t i = (from + k) % n;
            if (d->alone && d->rig->frame.n_spans > 0) return;
            if (d->alone || seeded_below(&d->random, 4) > 0) put_span(d, i, prompts);
        }
    }
}

/* The whole batch; *out: [n_jobs]. */
static void drive(const batch *b, stage_rig *rig, uint64_t seed, told *out)
{
    driver d = {.b = b, .rig = rig, .random = seeded_from(seed), .alone = seed == 0, .told = out};
    memset(out, 0, b->n_jobs * sizeof *out);
    for (uint32_t i = 0; i < b->n_jobs; i++)
        if (b->jobs[i].parent >= 0) d.p[b->jobs[i].parent].n_waiting++;
    for (uint64_t number = 0; !all_done(&d); number++) {
        assert_true(number < 100000);
        sl_frame_reset(&rig->frame, number);
        fill(&d);
        assert_int_equal(stage_rig_compute(rig), SL_OK);
        note_results(&d);
    }
    for (int i = 0; i < rig->n_stages; i++) {
        sl_stage_account account;
        sl_stage_account_get(rig->stages[i], &account);
        assert_int_equal(account.pages_used, 0);
    }
}

static void run(const synth_model *model, const sl_kernels *kernels, const stage_rig_options *o,
                const batch *b, uint64_t seed, told *out)
{
    stage_rig rig;
    stage_rig_open(&rig, o, model->gguf, kernels);
    drive(b, &rig, seed, out);
    stage_rig_close(&rig);
}

/* ---- contract 1 ---- */

static const stage_rig_options one_stage = {.n_stages = 1,
                                            .threads = 1,
                                            .rows_max = 256,
                                            .spans_max = 12,
                                            .controls_max = 12,
                                            .sequences_max = JOBS,
                                            .context = CONTEXT,
                                            .policy = {.sinks = 4, .window = 24}};

static void *allocate(size_t bytes)
{
    void *p = calloc(1, bytes);
    assert_non_null(p);
    return p;
}

/* Small, since the plain kernels run it too. */
static synth_shape small_shape(void)
{
    synth_shape shape = synth_shape_default();
    shape.width = shape.ffn = 64, shape.heads = 4, shape.vocab = VOCAB;
    return shape;
}

/* The same batch alone, in one stage with one thread, and in every other way. */
static void check_ways(const synth_shape *shape, const sl_kernels *kernels, stage_rig_options base,
                       const batch *b, uint64_t n_seeds)
{
    static const uint32_t rows[] = {256, 7, 64, 33, 128, 1};
    told *expected = allocate(JOBS * sizeof *expected), *got = allocate(JOBS * sizeof *got);
    synth_model model;
    synth_model_open(&model, shape);
    run(&model, kernels, &base, b, 0, expected);
    uint32_t n_sampled = 0;
    for (uint32_t i = 0; i < b->n_jobs; i++)
        for (uint32_t t = 0; t < TOKENS_MAX; t++)
            n_sampled += expected[i].at[t].kind == SL_RESULT_SAMPLED;
    assert_true(n_sampled >= b->n_jobs);
    for (uint64_t seed = 1; seed <= n_seeds; seed++) {
        stage_rig_options o = base;
        o.n_stages = 1 + (int)(seed % 3);
        o.threads = 1 + (int)(seed / 2 % 2);
        o.rows_max = rows[seed % 6];
        o.spans_max = 1 + (uint32_t)(seed * 5 % 11);
        run(&model, kernels, &o, b, seed, got);
        if (memcmp(expected, got, b->n_jobs * sizeof *got) != 0)
            fail_msg("%s, seed %llu: %d stages, %d threads, %u rows, %u spans: another answer",
                     kernels->name, (unsigned long long)seed, o.n_stages, o.threads, o.rows_max,
                     o.spans_max);
    }
    synth_model_close(&model);
    free(expected), free(got);
}

static void test_same_bits(void **state)
{
    (void)state;
    static const char *const sets[] = {"ref", "avx2", "avx512", "amx-emulated", "amx"};
    static const uint32_t windows[] = {24, 1, 128, 24, 24};
    static batch b;
    for (int i = 0; i < 5; i++) {
        const sl_kernels *kernels = sl_kernels_named(sets[i]);
        if (!kernels) continue;
        synth_shape shape = small_shape();
        stage_rig_options o = one_stage;
        o.policy.window = windows[i];
        make_batch(&b, 1 + (uint64_t)i, JOBS, 70);
        check_ways(&shape, kernels, o, &b, 6);
        shape.attention_type = shape.head_type = SL_TYPE_F16;
        shape.ffn_type = SL_TYPE_F32;
        shape.tie = SYNTH_UNTIED;
        shape.kv_heads = 4, shape.head_dim = 32, shape.layers = 3;
        o.policy.sinks = 0, o.kv = i < 3 ? SL_KV_Q8_0 : SL_KV_BF16;
        check_ways(&shape, kernels, o, &b, 2);
        shape.attention_type = SL_TYPE_Q4_0, shape.ffn_type = SL_TYPE_BF16;
        shape.bias = SYNTH_BIASED;
        shape.rope = (synth_rope){.type = "yarn", .factor = 4, .context = 512, .freqs = true};
        check_ways(&shape, kernels, o, &b, 3);
    }
}

/* Layers of other architectures: norms of heads before they are turned, halves turned, layers that
 * are not, norms before what is given is added, windows that slide within a prompt. */
static void test_same_bits_architectures(void **state)
{
    (void)state;
    static const char *const names[] = {"qwen2", "qwen3", "smollm3", "gemma3"};
    static const char *const sets[] = {"ref", "avx2", "avx512", "amx-emulated"};
    static batch b;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t k = 0; k < sizeof sets / sizeof *sets; k++) {
            const sl_kernels *kernels = sl_kernels_named(sets[k]);
            if (!kernels) continue;
            synth_shape shape = small_shape();
            shape.architecture = names[i];
            shape.layers = 5;
            shape.head_dim = 32;
            if (strcmp(names[i], "gemma3") == 0) shape.window = 20, shape.window_pattern = 3;
            make_batch(&b, 20 + i, JOBS, 70);
            check_ways(&shape, kernels, one_stage, &b, 2);
        }
    }
}

/* Long enough for two runs of pages in decode, and three blocks of queries in a span. */
static void test_same_bits_long(void **state)
{
    (void)state;
    const sl_kernels *kernels;
    static batch b;
    assert_int_equal(sl_kernels_choose(&kernels), SL_OK);
    synth_shape shape = small_shape();
    shape.layers = 2, shape.kv_heads = 1;
    make_batch(&b, 9, 2, 60);
    job *j = &b.jobs[0];
    seeded random = seeded_from(10);
    j->n_prompt = j->score_from = 1250;
    for (uint32_t t = 0; t < j->n_prompt; t++) j->tokens[t] = (int32_t)seeded_below(&random, VOCAB);
    stage_rig_options o = one_stage;
    told *expected = allocate(2 * sizeof *expected), *got = allocate(2 * sizeof *got);
    synth_model model;
    synth_model_open(&model, &shape);
    run(&model, kernels, &o, &b, 0, expected);
    for (uint64_t seed = 1; seed <= 2; seed++) {
        o.n_stages = (int)seed, o.threads = 2;
        run(&model, kernels, &o, &b, seed, got);
        assert_memory_equal(expected, got, 2 * sizeof *got);
    }
    synth_model_close(&model);
    free(expected), free(got);
}

/* Rows generated one by one see what a prompt's rows see: the same numbers up to rounding, which
 * f16 weights and f32 activations keep small. Lengths around the window, a page and a run of
 * them. */
static void test_rows_as_prompt(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {4, 24, 25, 29, 92, 93, 300, 1052, 1053, 1250};
    static int32_t tokens[CONTEXT];
    enum { ROWS = 3 };
    const sl_kernels *kernels;
    assert_int_equal(sl_kernels_choose(&kernels), SL_OK);
    synth_shape shape = small_shape();
    shape.attention_type = shape.ffn_type = shape.head_type = SL_TYPE_F16;
    synth_model model;
    synth_model_open(&model, &shape);
    stage_rig_options o = one_stage;
    o.rows_max = CONTEXT;
    stage_rig r;
    stage_rig_open(&r, &o, model.gguf, kernels);
    seeded random = seeded_from(21);
    for (uint32_t t = 0; t < CONTEXT; t++) tokens[t] = (int32_t)seeded_below(&random, VOCAB);
    sl_sampling sampling = {.top_p = 1, .repetition_penalty = 1, .n_logprobs = 0};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint32_t n = lengths[i];
        sl_frame_reset(&r.frame, 0);
        stage_rig_control(&r, SL_CONTROL_OPEN, 0, 0, &sampling);
        stage_rig_span(&r, SL_SPAN_PROMPT, 0, 0, tokens, n + 1)->score_from = n - ROWS;
        assert_int_equal(stage_rig_compute(&r), SL_OK);
        assert_int_equal(r.frame.n_results, ROWS);
        sl_token_result expected[ROWS];
        memcpy(expected, r.frame.results, sizeof expected);

        sl_frame_reset(&r.frame, 1);
        stage_rig_control(&r, SL_CONTROL_CLOSE, 0, 0, NULL);
        stage_rig_control(&r, SL_CONTROL_OPEN, 0, 0, &sampling);
        stage_rig_span(&r, SL_SPAN_PROMPT, 0, 0, tokens, n - ROWS);
        assert_int_equal(stage_rig_compute(&r), SL_OK);
        for (uint32_t t = n - ROWS; t < n; t++) {
            sl_frame_reset(&r.frame, 2);
            sl_span *span = stage_rig_span(&r, SL_SPAN_DECODE, 0, t, tokens + t, 1);
            span->score_from = 0, span->next_token = tokens[t + 1];
            assert_int_equal(stage_rig_compute(&r), SL_OK);
            assert_int_equal(r.frame.n_results, 1);
            const sl_token_result *a = &expected[t - (n - ROWS)], *b = &r.frame.results[0];
            assert_true(a->position == b->position && a->token == b->token);
            if (!(fabsf(a->logprob - b->logprob) < 5e-3F))
                fail_msg("%u tokens, position %u: %g as a prompt, %g as a row", n, a->position,
                         (double)a->logprob, (double)b->logprob);
        }
        sl_frame_reset(&r.frame, 3);
        stage_rig_control(&r, SL_CONTROL_CLOSE, 0, 0, NULL);
        assert_int_equal(stage_rig_compute(&r), SL_OK);
    }
    stage_rig_close(&r);
    synth_model_close(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_same_bits_architectures),
        cmocka_unit_test(test_same_bits_long),
        cmocka_unit_test(test_rows_as_prompt),
    };
    int failed = cmocka_run_group_tests_name("stage", tests, NULL, NULL);
    failed += stage_hostile_tests();
    failed += stage_allocation_tests();
    return failed;
}
