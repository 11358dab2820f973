/* tests/fuzz/fuzz_gate.c - the input is a gate file: read, and, when it is one and small, its gates
 * score a few tokens, so that every weight it claims to have is used. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/gate/gate_forward.h"
#include "tests/fuzz/fuzz.h"

enum { TOKENS = 8, WIDTH_MAX = 128, LAYERS_MAX = 4 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return 0;
}

typedef struct {
    float x[TOKENS * WIDTH_MAX], scale[TOKENS * WIDTH_MAX / 32], sum[TOKENS * WIDTH_MAX / 32];
    int16_t sum_16[TOKENS * WIDTH_MAX / 16];
    int8_t q[TOKENS * WIDTH_MAX];
} inputs;

/* One layer's gate over tokens in one span. */
typedef struct {
    sl_gates *gates;
    uint32_t layer;
    const sl_activations *a;
} scoring;

static void score(void *context, sl_member me)
{
    const scoring *s = context;
    sl_gates *gates = s->gates;
    const sl_kernels *kernels = gates->options.kernels;
    sl_linear maps[SL_GATE_MAPS_MAX];
    size_t n_maps = sl_gates_maps(gates, s->layer, maps);
    sl_linear_quantize(kernels, s->a, 0, s->a->n_rows);
    sl_linear_run(kernels, me, s->a, maps, n_maps);
    sl_team_barrier(me);
    sl_span span = {.kind = SL_SPAN_PROMPT, .n_tokens = TOKENS};
    uint32_t delay = sl_gates_score_prompt(gates, me, s->layer, &span, TOKENS);
    SL_ASSERT(delay < gates->options.window);
}

static void score_all(const sl_gate *gate)
{
    static inputs in;
    for (size_t i = 0; i < sizeof in.x / sizeof *in.x; i++) in.x[i] = (float)(i % 7) - 3;
    sl_activations a = {.n_rows = TOKENS,
                        .width = gate->model_width,
                        .x = in.x,
                        .q = in.q,
                        .scale = in.scale,
                        .sum = in.sum,
                        .sum_16 = in.sum_16};
    sl_gate_options options = {.gate = gate,
                               .kernels = sl_kernels_named("ref"),
                               .layer_end = gate->n_layers,
                               .window = 3,
                               .sequences_max = 1,
                               .context = TOKENS,
                               .rows_max = TOKENS,
                               .threads = 1};
    sl_gates gates;
    sl_arena arena;
    void *storage;
    sl_arena_init(&arena, NULL, 0);
    sl_gates_init(&gates, &options, &arena);
    size_t bytes = arena.used_bytes;
    SL_ASSERT(sl_storage_take(bytes, "gates", &storage) == SL_OK);
    sl_arena_init(&arena, storage, bytes);
    sl_gates_init(&gates, &options, &arena);
    sl_team *team;
    SL_ASSERT(sl_team_open(&(sl_team_options){.threads = 1}, &team) == SL_OK);
    for (uint32_t i = 0; i < gate->n_layers; i++)
        sl_team_run(team, score, &(scoring){&gates, i, &a});
    sl_team_close(team);
    sl_storage_release(storage, bytes);
}

/* What a reader relies on. */
static void check(const sl_gate *gate)
{
    SL_ASSERT(gate->n_layers > 0 && gate->window > 0 && !isnan(gate->threshold));
    for (uint32_t i = 0; i < gate->n_layers; i++) {
        const sl_gate_shape *s = &gate->layers[i].shape;
        SL_ASSERT(s->heads <= SL_GATE_HEADS_MAX && s->width <= SL_GATE_WIDTH_MAX);
        SL_ASSERT(s->span == SL_GATE_ABSENT || gate->layers[i].x.data);
        SL_ASSERT((s->hidden > 0) == (gate->layers[i].out.data != NULL));
        SL_ASSERT((s->heads > 0) == (gate->layers[i].q.data != NULL));
    }
    for (uint32_t i = 0; i < gate->n_calibration; i++)
        SL_ASSERT(gate->calibration[i].window > 0 && gate->calibration[i].keep <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sl_gguf *gguf;
    sl_gate_file *file;
    uint8_t *aligned = aligned_alloc(64, (size + 64) / 64 * 64); /* as a mapping is */
    SL_ASSERT(aligned);
    memcpy(aligned, data, size);
    if (sl_gguf_open_memory(aligned, size, "fuzz", &gguf) == SL_OK) {
        if (sl_gate_file_read(gguf, &file) == SL_OK) {
            const sl_gate *gate = sl_gate_file_gate(file);
            check(gate);
            bool small = gate->n_layers <= LAYERS_MAX && gate->model_width <= WIDTH_MAX &&
                         gate->model_width % 32 == 0 && gate->n_kv_heads <= 16;
            if (small) score_all(gate);
            sl_gate_file_close(file);
        }
        sl_gguf_close(gguf);
    }
    free(aligned);
    return 0;
}
