/* tests/golden/test_golden_real.c - SmolLM2-135M-Instruct against the oracle: perplexity of 1,024
 * tokens, the 20 best after a prompt, 16 greedy steps. SLUICE_TEST_MODEL is its path. */
#include "tests/golden/golden.h"

enum { SKIPPED = 77, IDS_MAX = 1024, PROMPT_MAX = 256, STEPS_MAX = 16, ROWS = 256 };

/* Rounding activations to int8 amplifies: noise of 1e-6 on the inputs of the oracle's own linear
 * maps moves its log-probabilities of the 20 best by up to 0.24, on average by 0.1, and its
 * perplexity between 14.43 and 14.57 (five seeds). f32 arithmetic is such noise, and differs by
 * kernel set, so closer agreement would be luck. The f16 models of test_golden_synth.c are compared
 * closely. */
/* Of the 20 best after this prompt f32 attention (ref, avx2) is off by 0.18 and 0.23 at most, 0.07
 * and 0.12 on average, int8 by 0.42 and 0.25, bf16 tiles by 0.30 and 0.18. */
static const double LOGPROB_OFF = 0.5, LOGPROB_OFF_MEAN = 0.3;
static const double OFF_Q8 = 0.01, OFF_EXACT = 0.015; /* of perplexity, relative */
/* Below this distance to the runner-up, another engine may rightly choose otherwise. */
static const double GAP_SURE = 0.15;

static double perplexity(stage_rig *rig, const int32_t *ids, uint32_t n, uint32_t piece)
{
    static sl_token_result results[IDS_MAX];
    double sum = 0;
    uint32_t n_scored = 0;
    for (uint32_t at = 0; at + piece <= n; at += piece) {
        uint32_t n_results = golden_prompt(rig, ids + at, piece, piece / 2, 0, results);
        REQUIRE(n_results == piece - piece / 2 + 1, "%u results", n_results);
        for (uint32_t i = 0; i + 1 < n_results; i++) { /* the last was drawn */
            REQUIRE(results[i].position == piece / 2 + i &&
                        results[i].token == ids[at + results[i].position],
                    "result %u is of position %u", i, results[i].position);
            sum -= results[i].logprob;
            n_scored++;
        }
        golden_close(rig);
    }
    printf("perplexity over %u tokens: nll %.6f, ", n_scored, sum / n_scored);
    return exp(sum / n_scored);
}

static void check_perplexity(stage_rig *rig, const json_t *golden)
{
    int32_t ids[IDS_MAX];
    uint32_t n = golden_ids(json_object_get(golden, "ids"), ids, IDS_MAX);
    uint32_t piece = (uint32_t)golden_number(golden, "perplexity_context");
    double got = perplexity(rig, ids, n, piece);
    double exact = golden_number(json_object_get(golden, "perplexity_exact"), "perplexity");
    double q8 = golden_number(json_object_get(golden, "perplexity_q8"), "perplexity");
    printf("%.4f (exact %.4f, int8 activations %.4f)\n", got, exact, q8);
    REQUIRE(fabs(got / q8 - 1) <= OFF_Q8, "perplexity %.4f is not near %.4f", got, q8);
    REQUIRE(fabs(got / exact - 1) <= OFF_EXACT, "perplexity %.4f is not near %.4f", got, exact);
}

/* All that should be among the 20 best, unless it is about as likely as the last of them. */
static void check_top(const sl_token_result *told, const json_t *best)
{
    double worst = 0, sum = 0;
    size_t n = json_array_size(best), n_found = 0;
    REQUIRE(n == SL_TOP_LOGPROBS_MAX && told->n_top == n, "%zu best, told %u", n, told->n_top);
    for (size_t i = 0; i < n; i++) {
        int32_t token = (int32_t)golden_item(json_array_get(best, i), 0);
        double expected = golden_item(json_array_get(best, i), 1), off;
        size_t k = 0;
        while (k < n && told->top[k].token != token) k++;
        if (k == n) {
            REQUIRE(expected < told->top[n - 1].logprob + LOGPROB_OFF, "token %d is missing",
                    token);
            continue;
        }
        off = fabs(told->top[k].logprob - expected);
        REQUIRE(off <= LOGPROB_OFF, "token %d: %.5f, expected %.5f", token,
                (double)told->top[k].logprob, expected);
        if (off > worst) worst = off;
        sum += off;
        n_found++;
    }
    printf("%zu best: %zu found, off by %.5f at most, %.5f on average\n", n, n_found, worst,
           sum / (double)n_found);
    REQUIRE(sum <= LOGPROB_OFF_MEAN * (double)n_found, "off by too much on average");
}

/* The oracle's own tokens go in, so a step that may differ does not end the comparison. */
static void check_greedy(stage_rig *rig, const sl_token_result *first, uint32_t n_prompt,
                         const json_t *steps)
{
    sl_token_result told = *first;
    size_t n = json_array_size(steps), n_sure = 0;
    REQUIRE(n == STEPS_MAX, "%zu greedy steps", n);
    for (size_t i = 0; i < n; i++) {
        const json_t *step = json_array_get(steps, i);
        int32_t token = (int32_t)golden_number(step, "token");
        double expected = golden_number(step, "logprob");
        if (golden_number(step, "gap") > GAP_SURE) {
            REQUIRE(told.token == token, "step %zu: token %d, expected %d", i, told.token, token);
            REQUIRE(fabs(told.logprob - expected) <= LOGPROB_OFF, "step %zu: %.5f, expected %.5f",
                    i, (double)told.logprob, expected);
            n_sure++;
        }
        sl_frame_reset(&rig->frame, i);
        stage_rig_span(rig, SL_SPAN_DECODE, 0, n_prompt + (uint32_t)i, &token, 1)->sample = true;
        REQUIRE(stage_rig_compute(rig) == SL_OK && rig->frame.n_results == 1, "step %zu", i);
        told = rig->frame.results[0];
    }
    printf("%zu greedy steps: %zu are sure, all equal\n", n, n_sure);
    REQUIRE(n_sure >= n / 2, "only %zu sure steps", n_sure);
}

static void check_continuation(stage_rig *rig, const json_t *golden)
{
    static sl_token_result results[2];
    int32_t ids[PROMPT_MAX];
    uint32_t n = golden_ids(json_object_get(golden, "prompt"), ids, PROMPT_MAX);
    uint32_t n_told = golden_prompt(rig, ids, n, n, SL_TOP_LOGPROBS_MAX, results);
    REQUIRE(n_told == 1, "%u results", n_told);
    check_top(&results[0], json_object_get(golden, "top"));
    check_greedy(rig, &results[0], n, json_object_get(golden, "greedy"));
    golden_close(rig);
}

int main(int argc, char **argv)
{
    const char *path = getenv("SLUICE_TEST_MODEL");
    REQUIRE(argc == 2, "usage: test_golden_real FOLDER");
    if (!path || !*path) {
        printf("skipped: SLUICE_TEST_MODEL is not set: launch/fetch_model.sh gives its path\n");
        return SKIPPED;
    }
    sl_gguf *gguf;
    const sl_kernels *kernels;
    REQUIRE(sl_gguf_open(path, &gguf) == SL_OK, "SLUICE_TEST_MODEL=%s", path);
    REQUIRE(sl_kernels_choose(&kernels) == SL_OK, "no kernels");
    json_t *golden = golden_load(argv[1], "real");
    /* One thread: a second gains little beside other tests, and waits for its core. */
    stage_rig_options o = {.n_stages = 1,
                           .threads = 1,
                           .rows_max = ROWS,
                           .spans_max = 1,
                           .controls_max = 1,
                           .sequences_max = 1,
                           .context = 512,
                           .policy = {.sinks = 4, .window = 128}};
    stage_rig rig;
    stage_rig_open(&rig, &o, gguf, kernels);
    printf("kernels %s\n", kernels->name);
    check_continuation(&rig, golden);
    check_perplexity(&rig, golden);
    stage_rig_close(&rig);
    json_decref(golden);
    sl_gguf_close(gguf);
    return 0;
}
