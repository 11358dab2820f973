/* tests/sim/test_sim.c - a few requests through pipelines of 1 to 7 ranks with seeded delays,
 * chunk sizes, slots, pools too small for all at once, and lost ranks. Whatever the seed, what is
 * finished is bit for bit what one rank alone gives; a lost rank is noticed in time, and running
 * what is left completes the job with nothing done twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/codec/codec.h"
#include "launch/pipeline/sim.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "tests/support/count_malloc.h"
#include "tests/support/made_gate.h"
#include "tests/support/seeded.h"
#include "tests/support/synth_gguf.h"
#include "tests/support/synth_vocab.h"

/* Request ASKED has QUESTIONS tails; those behind it are its choices, each a prompt of its own. */
enum { ASKED = 8, QUESTIONS = 2, N_REQUESTS = ASKED + 1 + QUESTIONS };
enum { SEEDS = 240, PROMPT_MAX = 260, CONTEXT = 320, VOCAB = 384 };

typedef struct {
    uint8_t *bytes;
    sl_gguf *gguf;
    sl_model_shape shape;
    sl_tokenizer *tokenizer;
    const sl_kernels *kernels;
} model;

/* The job: what is known of each request, and its finished form. */
typedef struct {
    bool done[N_REQUESTS];
    sl_request *results[N_REQUESTS];
    int next;
    int finished_twice;
} job;

#define REQUIRE(condition, seed)                                                            \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "seed %llu: %s:%d: %s\n", (unsigned long long)(seed), __FILE__, \
                    __LINE__, #condition);                                                  \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

/* ---- requests: the same ones for every seed ---- */

static void add_tokens(uint64_t seed, size_t n, sl_tokens *out)
{
    seeded random = seeded_from(seed);
    for (size_t i = 0; i < n; i++)
        SL_ASSERT(sl_tokens_add(out, (int32_t)seeded_below(&random, VOCAB)) == SL_OK);
}

/* Several questions over one text, read once; or question number `index` - ASKED - 1 by itself. */
static sl_request *make_questions(int index)
{
    sl_request *r = calloc(1, sizeof *r);
    sl_tokens prompt = {0};
    SL_ASSERT(r);
    add_tokens(99, 150, &prompt);
    r->line = (uint64_t)index;
    r->custom_id = strdup("asked"); /* policies draw the same */
    r->n_choices = index == ASKED ? QUESTIONS : 1;
    if (index == ASKED) {
        r->tails = calloc(QUESTIONS, sizeof *r->tails);
        for (size_t i = 0; i < QUESTIONS; i++) add_tokens(i, 5 + 20 * i, &r->tails[i]);
    } else {
        size_t i = (size_t)(index - ASKED - 1);
        r->n_policy_prompt = prompt.n;
        add_tokens(i, 5 + 20 * i, &prompt);
    }
    r->prompt = prompt.ids;
    r->n_prompt = prompt.n;
    r->max_tokens = 20;
    r->ignore_eos = true;
    r->score_from = SIZE_MAX;
    r->sampling = (sl_sampling){.top_p = 1, .repetition_penalty = 1, .n_logprobs = 2};
    SL_ASSERT(sl_request_bind(r) == SL_OK);
    return r;
}

static sl_request *make_request(int index)
{
    if (index >= ASKED) return make_questions(index);
    seeded random = seeded_from(1000 + (uint64_t)index);
    sl_request *r = calloc(1, sizeof *r);
    SL_ASSERT(r);
    r->line = (uint64_t)index;
    r->n_prompt = 1 + seeded_below(&random, index % 3 == 0 ? PROMPT_MAX : 60);
    if (index == 6) r->n_prompt = 190;
    r->prompt = malloc(r->n_prompt * sizeof *r->prompt);
    for (size_t i = 0; i < r->n_prompt; i++) r->prompt[i] = (int32_t)seeded_below(&random, VOCAB);
    r->max_tokens = index == 5 ? 0 : 1 + (uint32_t)seeded_below(&random, 24);
    if (index == 4 || index == 6) r->max_tokens = 120;
    r->n_choices = index == 2 ? 3 : 1;
    r->ignore_eos = index % 2 == 0;
    r->score_from = index == 5 || index == 6 ? 0 : SIZE_MAX;
    r->sampling = (sl_sampling){.temperature = index % 2 ? 0.9F : 0,
                                .top_p = index == 3 ? 0.8F : 1,
                                .repetition_penalty = index == 4 ? 1.3F : 1,
                                .seed = 7U + (uint64_t)index,
                                .n_logprobs = index % 4 - 1};
    SL_ASSERT(sl_request_bind(r) == SL_OK);
    return r;
}

static sl_status next(void *context, sl_request **request_out)
{
    job *j = context;
    while (j->next < N_REQUESTS && j->done[j->next]) j->next++;
    if (j->next == N_REQUESTS) return SL_END;
    *request_out = make_request(j->next++);
    return SL_OK;
}

static sl_status done(void *context, sl_request *request)
{
    job *j = context;
    j->finished_twice += j->done[request->line];
    j->done[request->line] = true;
    j->results[request->line] = request;
    return SL_OK;
}

static void free_job(job *j)
{
    for (int i = 0; i < N_REQUESTS; i++) sl_request_free(j->results[i]);
}

/* ---- comparing ---- */

static bool same_details(const sl_token_detail *a, const sl_token_detail *b, size_t n)
{
    if ((a != NULL) != (b != NULL)) return false;
    for (size_t i = 0; a && i < n; i++) {
        if (memcmp(&a[i].logprob, &b[i].logprob, sizeof a->logprob) != 0 ||
            a[i].n_top != b[i].n_top)
            return false;
        if (a[i].n_top && memcmp(a[i].top, b[i].top, a[i].n_top * sizeof *a[i].top) != 0)
            return false;
    }
    return true;
}

static bool same_choice(const sl_choice *x, const sl_choice *y)
{
    if (x->n_tokens != y->n_tokens || x->finish != y->finish || x->finish == SL_FINISH_NONE)
        return false;
    if (x->n_tokens && memcmp(x->tokens, y->tokens, x->n_tokens * sizeof *x->tokens) != 0)
        return false;
    return same_details(x->details, y->details, x->n_tokens) && x->seen == y->seen &&
           x->kept == y->kept;
}

static bool same_results(const sl_request *a, const sl_request *b)
{
    if (a->error.http_status || b->error.http_status) return false;
    for (uint32_t i = 0; i < a->n_choices; i++) {
        const sl_choice *x = &a->choices[i], *y = &b->choices[i];
        if (!same_choice(x, y) || x->cache_bytes != y->cache_bytes) return false;
    }
    return same_details(a->prompt_details, b->prompt_details, a->n_prompt);
}

/* ---- running ---- */

static sl_sim_options plain_options(const model *m)
{
    return (sl_sim_options){
        .gguf = m->gguf,
        .shape = &m->shape,
        .kernels = m->kernels,
        .tokenizer = m->tokenizer,
        .ranks = 1,
        .chunk = 64,
        .sequences = 16,
        .context = CONTEXT,
        .policy = {.sinks = 4, .window = 64},
        .keep = 1,
        .head_pages = 1000,
        .codec = SL_CODEC_F32,
        .compute_min_ns = SL_MS,
        .compute_max_ns = SL_MS,
        .silence_max_ns = 5 * SL_SECOND,
        .lost_rank = -1,
        .end_ns = 600 * SL_SECOND,
    };
}

/* `o`, run in another way. */
static sl_sim_options seeded_options(sl_sim_options o, uint64_t seed)
{
    seeded random = seeded_from(seed);
    o.seed = seed;
    o.ranks = 1 + (int)seeded_below(&random, 7);
    o.chunk = (uint32_t[]){7, 32, 64, 100, 300}[seeded_below(&random, 5)];
    o.sequences = (uint32_t[]){3, 5, 16}[seeded_below(&random, 3)];
    o.codec = seeded_below(&random, 2) ? SL_CODEC_F32 : SL_CODEC_F32_ZSTD;
    /* few: not all of them at a time; but the longest alone, with heads that keep everything, and
     * copies of what survives a prompt */
    uint64_t few = o.policy.window >= 64 ? 5 : 9;
    o.head_pages = seeded_below(&random, 3) ? 1000 : few;
    o.expected_tokens = seeded_below(&random, 2) ? 1000 : 0;
    o.delay_max_ns = (int64_t)seeded_below(&random, 40) * SL_MS;
    o.compute_max_ns = (1 + (int64_t)seeded_below(&random, 200)) * SL_MS;
    if (o.ranks > 1 && seeded_below(&random, 2)) {
        o.lost_rank = (int)seeded_below(&random, (uint32_t)o.ranks);
        o.lost_ns = (int64_t)seeded_below(&random, 3000) * SL_MS;
    }
    return o;
}

static void run_again(const sl_sim_options *options, job *j)
{
    sl_sim_options o = *options;
    sl_sim_result result;
    sl_port port = {.context = j, .next = next, .done = done};
    o.lost_rank = -1;
    j->next = 0;
    REQUIRE(sl_sim_run(&o, &port, &result) == SL_OK && result.status == SL_OK, o.seed);
}

typedef struct {
    int lost, restarted;
} tally;

static void run_seed(const sl_sim_options *base, uint64_t seed, const job *reference, tally *t)
{
    sl_sim_options o = seeded_options(*base, seed);
    job j = {0};
    sl_port port = {.context = &j, .next = next, .done = done};
    sl_sim_result result;
    REQUIRE(sl_sim_run(&o, &port, &result) == SL_OK, seed);
    t->restarted += result.restarts > 0;
    if (result.status != SL_OK) {
        REQUIRE(o.lost_rank >= 0 && result.status == SL_ERR_PEER, seed);
        int back = (result.rank + o.ranks - 1) % o.ranks, ahead = (result.rank + 1) % o.ranks;
        REQUIRE(o.lost_rank == back || o.lost_rank == ahead,
                seed); /* it is a neighbour that noticed */
        REQUIRE(result.virtual_ns <= o.lost_ns + o.silence_max_ns + 2 * SL_SECOND, seed);
        t->lost++;
        run_again(&o, &j);
    }
    REQUIRE(j.finished_twice == 0, seed);
    for (int i = 0; i < N_REQUESTS; i++)
        REQUIRE(j.done[i] && same_results(j.results[i], reference->results[i]), seed);
    free_job(&j);
}

static void run_reference(const sl_sim_options *options, job *reference)
{
    *reference = (job){0};
    sl_port port = {.context = reference, .next = next, .done = done};
    sl_sim_result result;
    REQUIRE(sl_sim_run(options, &port, &result) == SL_OK && result.status == SL_OK, 0);
    for (int i = 0; i < QUESTIONS; i++)
        REQUIRE(same_choice(&reference->results[ASKED]->choices[i],
                            &reference->results[ASKED + 1 + i]->choices[0]),
                0);
}

/* ---- policies ---- */

enum { POLICY_SEEDS = 12, POLICY_SEEDS_FEW = 4, POLICY_SEEDS_SLIDING = 3 };

static const sl_gate_shape WINDOW_GATE = {
    .span = SL_GATE_WINDOW, .back = 20, .ahead = 9, .heads = 2, .width = 16};
static const sl_gate_shape PROMPT_GATE = {
    .span = SL_GATE_PROMPT, .heads = 2, .width = 16, .kv = SL_GATE_OWN_KV, .hidden = 8};

static const struct {
    sl_policy policy;
    const sl_gate_shape *gate;
    double keep; /* of eligible tokens, all choices, roughly */
} POLICIES[] = {
    {{.kind = SL_POLICY_STREAMING, .sinks = 4, .window = 40}, NULL, 0},
    {{.kind = SL_POLICY_RANDOM, .sinks = 4, .window = 16, .keep = 0.3}, NULL, 0.3},
    {{.kind = SL_POLICY_KEYNORM, .sinks = 0, .window = 16, .keep = 0.4}, NULL, 0.4},
    {{.kind = SL_POLICY_KEYDIFF, .sinks = 4, .window = 1, .keep = 0.4}, NULL, 0.4},
    {{.kind = SL_POLICY_GATE, .sinks = 4, .window = 16, .keep = 0.3}, &WINDOW_GATE, 0.3},
    {{.kind = SL_POLICY_GATE, .sinks = 2, .window = 5, .keep = 0.5, .has_threshold = true},
     &WINDOW_GATE,
     0.5},
    {{.kind = SL_POLICY_GATE,
      .window = 1,
      .keep = 0.5,
      .has_threshold = true,
      .whole_prompts = true},
     &PROMPT_GATE,
     0.7},
    {{.kind = SL_POLICY_SNAPKV, .sinks = 4, .window = 32, .keep = 0.25}, NULL, 0.5},
    {{.kind = SL_POLICY_H2O, .sinks = 4, .window = 16, .keep = 0.5}, NULL, 0.7},
};
enum { N_POLICIES = sizeof POLICIES / sizeof *POLICIES };

/* As much was evicted as the policy says, and every result reports the same number. */
static void check_retention(const job *j, int i)
{
    uint64_t seen = 0, kept = 0;
    for (int r = 0; r < N_REQUESTS; r++)
        for (uint32_t c = 0; c < j->results[r]->n_choices; c++) {
            const sl_choice *choice = &j->results[r]->choices[c];
            REQUIRE(choice->kept <= choice->seen && choice->cache_bytes > 0, (uint64_t)i);
            seen += choice->seen;
            kept += choice->kept;
        }
    double keep = (double)kept / (double)seen, off = keep - POLICIES[i].keep;
    if (seen == 0 || off < -0.25 || off > 0.25)
        SL_ASSERT(!printf("policy %d kept %.3f of %llu, not %.3f\n", i, keep,
                          (unsigned long long)seen, POLICIES[i].keep));
}

/* Every policy, over any ranks, chunks and mixes, with restarts and ranks lost: the same
 * results. */
static void check_policies(const model *m, uint64_t seeds)
{
    for (int i = 0; i < N_POLICIES; i++) {
        seeded random = seeded_from((uint64_t)i);
        made_gate made;
        sl_sim_options o = plain_options(m);
        o.policy = POLICIES[i].policy;
        o.keep = sl_policy_at_prompt_end(o.policy.kind) ? 1 : POLICIES[i].keep;
        if (POLICIES[i].gate) {
            made_gate_open(&made, POLICIES[i].gate, m->shape.n_layers, m->shape.n_kv_heads,
                           m->shape.width, &random);
            o.gate = &made.gate;
        }
        job reference;
        tally t = {0};
        run_reference(&o, &reference);
        check_retention(&reference, i);
        for (uint64_t seed = 1; seed <= seeds; seed++) run_seed(&o, seed, &reference, &t);
        printf("policy %s: %d ranks lost, %d with restarts\n", sl_policy_name(o.policy.kind),
               t.lost, t.restarted);
        free_job(&reference);
        if (o.gate) made_gate_close(&made);
    }
}

/* ---- the token path allocates nothing ---- */

#if COUNTS_MALLOC
static sl_status next_long(void *context, sl_request **request_out)
{
    job *j = context;
    if (j->done[0]) return SL_END;
    *request_out = j->results[0];
    j->done[0] = true;
    return *request_out ? SL_OK : SL_END;
}

static sl_status done_long(void *context, sl_request *request)
{
    ((job *)context)->results[0] = request;
    return SL_OK;
}

/* Calls of malloc in a whole run of three ranks, without those of the simulated network. */
static uint64_t calls_of_run(const model *m, uint32_t n_prompt, uint32_t n_tokens)
{
    sl_sim_options o = plain_options(m);
    o.ranks = 3;
    o.codec = SL_CODEC_F32_ZSTD;
    o.delay_max_ns = SL_MS;
    sl_request *r = make_request(4); /* greedy, with penalties */
    sl_request *request = calloc(1, sizeof *request);
    SL_ASSERT(request);
    *request = (sl_request){.n_prompt = n_prompt,
                            .max_tokens = n_tokens,
                            .n_choices = 2,
                            .ignore_eos = true,
                            .score_from = 0,
                            .sampling = r->sampling};
    sl_request_free(r);
    request->sampling.n_logprobs = 3;
    request->prompt = calloc(n_prompt, sizeof *request->prompt);
    SL_ASSERT(request->prompt && sl_request_bind(request) == SL_OK);
    job j = {.results = {request}};
    sl_port port = {.context = &j, .next = next_long, .done = done_long};
    sl_sim_result result;
    uint64_t before = malloc_count.calls;
    REQUIRE(sl_sim_run(&o, &port, &result) == SL_OK && result.status == SL_OK, 0);
    uint64_t calls = malloc_count.calls - before;
    REQUIRE(request->choices[1].n_tokens == n_tokens && result.packets > n_tokens, 0);
    sl_request_free(request);
    return calls - result.packets;
}

/* Ten times the tokens, and not one call more. */
static void check_allocations(const model *m)
{
    calls_of_run(m, 20, 10); /* libraries and threads have begun */
    uint64_t few = calls_of_run(m, 20, 10);
    REQUIRE(calls_of_run(m, 200, 10) == few, 0);
    REQUIRE(calls_of_run(m, 20, 100) == few, 0);
}
#else
static void check_allocations(const model *m) { (void)m; }
#endif

/* Of Gemma 3 every third layer has pages, so that with many ranks some have none. */
static void open_model(const char *architecture, model *m)
{
    bool slides = strcmp(architecture, "gemma3") == 0;
    synth_shape shape = {.seed = 5,
                         .architecture = architecture,
                         .window = slides ? 40 : 0,
                         .window_pattern = slides ? 3 : 0,
                         .layers = 7,
                         .width = 32,
                         .ffn = 64,
                         .heads = 4,
                         .kv_heads = 2,
                         .head_dim = 16,
                         .vocab = VOCAB,
                         .context = CONTEXT,
                         .rope_base = 10000,
                         .attention_type = SL_TYPE_Q4_1,
                         .ffn_type = SL_TYPE_Q8_0,
                         .head_type = SL_TYPE_Q8_0,
                         .tie = SYNTH_TIED};
    char path[] = "/tmp/sluice-test-sim-XXXXXX";
    int file = mkstemp(path);
    SL_ASSERT(file >= 0);
    synth_gguf_save(&shape, path);
    SL_ASSERT(sl_gguf_open(path, &m->gguf) == SL_OK);
    remove(path);
    SL_ASSERT(sl_model_shape_read(m->gguf, &m->shape) == SL_OK);
    SL_ASSERT(sl_tokenizer_open(m->gguf, &m->tokenizer) == SL_OK);
    SL_ASSERT(sl_kernels_choose(&m->kernels) == SL_OK);
}

static void close_model(model *m)
{
    sl_tokenizer_close(m->tokenizer);
    sl_gguf_close(m->gguf);
}

int main(int argc, char **argv)
{
    model m, sliding;
    open_model("llama", &m);
    open_model("gemma3", &sliding);
    sl_log_set_level(SL_LOG_NONE); /* lost ranks are meant: their lines would fill pages */

    job reference;
    sl_sim_options o = plain_options(&m);
    run_reference(&o, &reference);

    tally t = {0};
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t last = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? first : SEEDS;
    for (uint64_t seed = first; seed <= last; seed++) run_seed(&o, seed, &reference, &t);
    printf("%llu seeds, %d with a rank lost in time, %d with restarts for lack of pages\n",
           (unsigned long long)last - first + 1, t.lost, t.restarted);
    if (argc == 1)
        REQUIRE(t.lost > SEEDS / 8 && t.restarted > 0, 0); /* the seeds meet both cases */

    check_policies(&m, argc == 1 ? POLICY_SEEDS : POLICY_SEEDS_FEW);
    check_policies(&sliding, POLICY_SEEDS_SLIDING);
    check_allocations(&m);

    free_job(&reference);
    close_model(&m);
    close_model(&sliding);
    return 0;
}
