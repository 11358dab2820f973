/* tests/golden/test_golden_gate.c - every kernel set against the NumPy version of the gates'
 * forward pass, at every token of every layer (gate/README.md). The gate files were written by
 * another program, so reading them is tried too.
 *
 * Tolerance: sums in f32 are 2e-5 off; the rest is a K or V that rounds to the next f16, which few
 * do. So the mean tells what the largest does not: it is 5e-4 when K and V are not rounded at all,
 * 5e-3 when inputs are rounded to int8 with scales of f32. */
#include "runtime/gate/gate_forward.h"
#include "tests/golden/golden.h"

enum { ROWS_MAX = 256, WIDTH_MAX = 64, SETS = 3, WINDOWS = 3, FILES = 2 };
static const char *const sets[SETS] = {"ref", "avx2", "avx512"};
static const uint32_t windows[WINDOWS] = {2, 16, 128};
static const char *const files[FILES] = {"q8_0", "f16"};
static const double one_allowed = 3e-3, mean_allowed = 2e-5;

static float x[ROWS_MAX * WIDTH_MAX];
static uint32_t n_tokens;

typedef struct {
    sl_gates *gates;
    uint32_t layer, delay;
} scoring;

/* The prompt through one layer's gate, in one span, by a thread of a team. */
static void score(void *context, sl_member me)
{
    scoring *s = context;
    sl_gates *gates = s->gates;
    static float scale[ROWS_MAX * WIDTH_MAX / SL_BLOCK], sum[ROWS_MAX * WIDTH_MAX / SL_BLOCK];
    static int16_t sum_16[2 * ROWS_MAX * WIDTH_MAX / SL_BLOCK];
    static int8_t q[ROWS_MAX * WIDTH_MAX];
    sl_linear maps[SL_GATE_MAPS_MAX];
    sl_activations a = {.n_rows = n_tokens,
                        .width = gates->options.gate->model_width,
                        .x = x,
                        .q = q,
                        .scale = scale,
                        .sum = sum,
                        .sum_16 = sum_16};
    size_t n_maps = sl_gates_maps(gates, s->layer, maps);
    if (me.thread == 0) sl_linear_quantize(gates->options.kernels, &a, 0, n_tokens);
    sl_team_barrier(me);
    sl_linear_run(gates->options.kernels, me, &a, maps, n_maps);
    sl_team_barrier(me);
    sl_span span = {.kind = SL_SPAN_PROMPT, .n_tokens = n_tokens};
    uint32_t delay = sl_gates_score_prompt(gates, me, s->layer, &span, n_tokens);
    if (me.thread == 0) s->delay = delay;
}

typedef struct {
    const char *what;
    double worst, sum;
    uint32_t n;
} comparison;

/* Of a layer: [kv_head][token]. */
static void compare(comparison *c, sl_team *team, sl_gates *gates, uint32_t layer,
                    const float *expected)
{
    scoring s = {.gates = gates, .layer = layer};
    sl_team_run(team, score, &s);
    uint32_t delay = s.delay, rows_max = gates->options.rows_max;
    for (uint32_t head = 0; head < gates->options.gate->n_kv_heads; head++)
        for (uint32_t t = 0; t < n_tokens; t++) {
            float want = expected[head * n_tokens + t];
            float got = t + delay < n_tokens ? gates->logits[head * rows_max + t + delay] : NAN;
            if (isnan(want) && isnan(got)) continue;
            double off = fabs((double)got - (double)want);
            REQUIRE(off <= one_allowed, "%s, layer %u, KV head %u, token %u: %g, expected %g",
                    c->what, layer, head, t, (double)got, (double)want);
            if (off > c->worst) c->worst = off;
            c->sum += off;
            c->n++;
        }
}

static void compare_all(const sl_gate *gate, const sl_kernels *kernels, uint32_t window,
                        const float *expected, const char *what)
{
    sl_gate_options options = {.gate = gate,
                               .kernels = kernels,
                               .layer_end = gate->n_layers,
                               .window = window,
                               .sequences_max = 1,
                               .context = n_tokens,
                               .rows_max = n_tokens,
                               .threads = 2};
    sl_gates gates;
    sl_team *team;
    sl_arena arena;
    void *storage;
    sl_arena_init(&arena, NULL, 0);
    sl_gates_init(&gates, &options, &arena);
    size_t bytes = arena.used_bytes;
    REQUIRE(sl_storage_take(bytes, "gates", &storage) == SL_OK, "no memory");
    sl_arena_init(&arena, storage, bytes);
    sl_gates_init(&gates, &options, &arena);
    REQUIRE(sl_team_open(&(sl_team_options){.threads = 2}, &team) == SL_OK, "no threads");
    comparison c = {.what = what};
    for (uint32_t i = 0; i < gate->n_layers; i++)
        compare(&c, team, &gates, i, expected + i * gate->n_kv_heads * n_tokens);
    double mean = c.sum / c.n;
    printf("%-18s %u logits, off by %.6f at most, %.7f on average\n", what, c.n, c.worst, mean);
    REQUIRE(mean <= mean_allowed, "%s: off by %g on average", what, mean);
    sl_team_close(team);
    sl_storage_release(storage, bytes);
}

static void compare_file(const char *folder, const char *name, const sl_gate *gate)
{
    static float expected[16 * 3 * ROWS_MAX];
    size_t n = (size_t)gate->n_layers * gate->n_kv_heads * n_tokens;
    for (int i = 0; i < WINDOWS * SETS; i++) {
        char what[64], file[32];
        const sl_kernels *kernels = sl_kernels_named(sets[i % SETS]);
        uint32_t window = windows[i / SETS];
        snprintf(file, sizeof file, "%s.w%u.f32", name, window);
        size_t n_found = golden_floats(folder, file, expected, sizeof expected / sizeof *expected);
        REQUIRE(n_found == n, "%s holds %zu floats, expected %zu", file, n_found, n);
        snprintf(what, sizeof what, "%s W %u %s", name, window, sets[i % SETS]);
        if (kernels) compare_all(gate, kernels, window, expected, what);
    }
}

int main(int argc, char **argv)
{
    REQUIRE(argc == 2, "usage: test_golden_gate FOLDER");
    for (int i = 0; i < FILES; i++) {
        char path[4096];
        sl_gate_file *file;
        snprintf(path, sizeof path, "%s/%s.gguf", argv[1], files[i]);
        REQUIRE(sl_gate_file_open(path, &file) == SL_OK, "%s is refused", path);
        const sl_gate *gate = sl_gate_file_gate(file);
        REQUIRE(gate->model_hash == 0xfedcba9876543210U && gate->threshold == 0.25F &&
                    gate->keep == 0.5F && gate->sinks == 4 && gate->window == 128 &&
                    !strcmp(gate->model_name, "no model"),
                "%s is read as something else", path);
        REQUIRE(gate->model_width == WIDTH_MAX, "%s: width %u", path, gate->model_width);
        n_tokens = (uint32_t)(golden_floats(argv[1], "x.f32", x, ROWS_MAX * WIDTH_MAX) / WIDTH_MAX);
        compare_file(argv[1], files[i], gate);
        sl_gate_file_close(file);
    }
    return 0;
}
