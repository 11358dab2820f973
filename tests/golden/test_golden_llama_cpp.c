/* tests/golden/test_golden_llama_cpp.c - the log-probability of each next token against llama.cpp's
 * (llama_cpp/README.md), both with attention in f32.
 *
 * Every architecture, in f32, over 3,000 tokens. Then with each step of its plan changed or left
 * out: were Sluice so, this test would fail.
 * Every type of weights: what quantized activations cost Sluice, against what they cost llama.cpp,
 * which is told in the golden. Both are measured from llama.cpp on the same weights in f32. */
#include "tests/golden/golden.h"
#include "tests/support/seeded.h"
#include "tests/support/synth_options.h"

enum { N_ARCHITECTURES = 5, N_TYPES = 15, TYPE_IDS = 400 };
enum { IDS_MAX = 3000, CHANGED_IDS = 512, WIDTH_MAX = 512, STEP_NAME_BYTES = 96 };
static const double allowed = 0.02, allowed_of_types = 1.5;

static int32_t ids[IDS_MAX];
static float expected[IDS_MAX];
static const sl_kernels *kernels; /* a set whose attention is in f32 */

/* ---- one run ---- */

/* A step of the plan is changed by one of these. */
typedef struct {
    char name[STEP_NAME_BYTES];
    void (*shape)(sl_model_shape *shape);
    const sl_layer_tensor *tensor; /* a norm or bias that is left out of all layers */
    void (*weights)(sl_weights *weights);
    bool keys_later; /* are turned as if they were one token later */
} step;

static uint32_t later_heads; /* of calls of sl_rope_apply with so many heads */

/* The linker calls the first sl_rope_apply, and puts the second in its place. */
void plain_rope_apply(const sl_rope_table *table, const float *cos_sin, size_t n_heads,
                      size_t head_dim, float *x) __asm__("__real_sl_rope_apply");
void changed_rope_apply(const sl_rope_table *table, const float *cos_sin, size_t n_heads,
                        size_t head_dim, float *x) __asm__("__wrap_sl_rope_apply");

void changed_rope_apply(const sl_rope_table *table, const float *cos_sin, size_t n_heads,
                        size_t head_dim, float *x)
{
    float one[WIDTH_MAX];
    plain_rope_apply(table, cos_sin, n_heads, head_dim, x);
    if (n_heads != later_heads) return;
    sl_rope_angles(table, 1, one);
    for (uint32_t i = 0; i < table->dim; i++) one[i] /= (float)table->magnitude;
    plain_rope_apply(table, one, n_heads, head_dim, x);
}

static void change_shape(const void *changes, sl_model_shape *shape)
{
    const step *s = changes;
    if (s->shape) s->shape(shape);
    later_heads = s->keys_later ? shape->n_kv_heads : 0;
}

/* A layer can do without any but the two norms of what enters attention and FFN: those lose their
 * gains. */
static void leave_out(const sl_layer_tensor *tensor, sl_layer_weights *layer)
{
    static float ones[WIDTH_MAX];
    const float **place = (const float **)((char *)layer + tensor->offset);
    for (int i = 0; i < WIDTH_MAX; i++) ones[i] = 1;
    *place = tensor->set == SL_TENSORS_TRANSFORMER ? ones : NULL;
}

static void change_weights(const void *changes, sl_weights *weights)
{
    const step *s = changes;
    if (s->weights) s->weights(weights);
    for (uint32_t i = 0; s->tensor && i < weights->layer_end; i++)
        leave_out(s->tensor, &weights->layers[i]);
}

/* The mean difference to what is expected of ids [n]; `changed` may be NULL. */
static double mean_off(const sl_gguf *gguf, uint32_t n, const step *changed)
{
    static sl_token_result results[IDS_MAX];
    stage_rig_options o = {.n_stages = 1,
                           .threads = 1,
                           .rows_max = 256,
                           .spans_max = 1,
                           .controls_max = 1,
                           .sequences_max = 1,
                           .context = IDS_MAX,
                           .policy = {.sinks = 4, .window = 128},
                           .change_shape = changed ? change_shape : NULL,
                           .change_weights = changed ? change_weights : NULL,
                           .changes = changed};
    stage_rig rig;
    later_heads = 0;
    stage_rig_open(&rig, &o, gguf, kernels);
    uint32_t n_results = golden_prompt(&rig, ids, n, 1, 0, results);
    stage_rig_close(&rig);
    REQUIRE(n_results == n, "%u results of %u tokens", n_results, n);
    double sum = 0;
    for (uint32_t i = 0; i + 1 < n; i++) {
        REQUIRE(results[i].token == ids[i + 1], "another token was scored");
        sum += fabs((double)results[i].logprob - (double)expected[i]);
    }
    return sum / (n - 1);
}

/* ---- the steps of a plan ---- */

static void no_rope(sl_model_shape *s)
{
    for (uint32_t i = 0; i < s->n_kinds; i++) s->kinds[i].rope.dim = 0;
}

static void other_pairs(sl_model_shape *s)
{
    for (uint32_t i = 0; i < s->n_kinds; i++) {
        sl_rope_pairing *pairing = &s->kinds[i].rope.pairing;
        *pairing = *pairing == SL_ROPE_HALVES ? SL_ROPE_ADJACENT : SL_ROPE_HALVES;
    }
}

static void usual_base(sl_model_shape *s) { s->kinds[0].rope.base = 10000; }
static void no_scaling(sl_model_shape *s) { s->kinds[0].rope.scaling = SL_ROPE_PLAIN; }
static void one_kind(sl_model_shape *s) { memset(s->kind_of, 0, sizeof s->kind_of); }
static void pattern_moved(sl_model_shape *s) { memmove(s->kind_of, s->kind_of + 1, s->n_layers); }
static void wide_window(sl_model_shape *s) { s->kinds[1].window++; }
static void narrow_window(sl_model_shape *s) { s->kinds[1].window--; }
static void no_window(sl_model_shape *s) { s->kinds[1].window = 0; }
static void one_base(sl_model_shape *s) { s->kinds[1].rope.base = s->kinds[0].rope.base; }
static void plain_embedding(sl_model_shape *s) { s->embedding_scale = 1; }
static void other_scores(sl_model_shape *s) { s->attention_scale *= 1.4142F; }

static void other_activation(sl_model_shape *s)
{
    s->activation = s->activation == SL_SWIGLU ? SL_GEGLU : SL_SWIGLU;
}

static void no_rope_freqs(sl_weights *w) { w->rope_freqs = NULL; }

static void no_output_gains(sl_weights *w)
{
    static float ones[WIDTH_MAX];
    for (int i = 0; i < WIDTH_MAX; i++) ones[i] = 1;
    w->output_norm = ones;
}

static const step STEPS[] = {
    {.name = "no rope", .shape = no_rope},
    {.name = "other pairs of rope", .shape = other_pairs},
    {.name = "base 10,000", .shape = usual_base},
    {.name = "keys turned by one more", .keys_later = true},
    {.name = "other scale of scores", .shape = other_scores},
    {.name = "other activation", .shape = other_activation},
    {.name = "no gains of the last norm", .weights = no_output_gains},
};
static const step SCALING = {.name = "no scaling of rope", .shape = no_scaling};
static const step FREQS = {.name = "no rope_freqs", .weights = no_rope_freqs};
static const step KINDS[] = {{.name = "layers of one kind", .shape = one_kind},
                             {.name = "pattern moved by one", .shape = pattern_moved}};
static const step WINDOWS[] = {{.name = "window of one more", .shape = wide_window},
                               {.name = "window of one less", .shape = narrow_window},
                               {.name = "no window", .shape = no_window},
                               {.name = "base of full layers", .shape = one_base}};
static const step EMBEDDING = {.name = "embedding not scaled", .shape = plain_embedding};

enum { STEPS_MAX = 64 };

static uint32_t add_steps(const step *more, uint32_t n_more, uint32_t n, step *steps)
{
    REQUIRE(n + n_more <= STEPS_MAX, "more than %d steps", STEPS_MAX);
    memcpy(steps + n, more, n_more * sizeof *more);
    return n + n_more;
}

static bool has(const sl_gguf *gguf, const char *name) { return sl_gguf_find(gguf, name) != NULL; }

/* The norms and biases of a layer. */
static uint32_t add_tensors(const sl_gguf *gguf, uint32_t n, step *steps)
{
    for (int i = 0; i < SL_LAYER_TENSORS; i++) {
        const sl_layer_tensor *tensor = &sl_layer_tensors[i];
        step without = {.tensor = tensor};
        char name[STEP_NAME_BYTES];
        snprintf(name, sizeof name, "blk.0.%s", tensor->suffix);
        if (tensor->out != SL_DIM_NONE || !has(gguf, name)) continue;
        snprintf(without.name, sizeof without.name, "no %s", tensor->suffix);
        n = add_steps(&without, 1, n, steps);
    }
    return n;
}

/* All that this model does. */
static uint32_t list_steps(const sl_gguf *gguf, step *steps)
{
    sl_model_shape shape;
    REQUIRE(sl_model_shape_read(gguf, &shape) == SL_OK, "the shape was refused");
    uint32_t n = add_steps(STEPS, sizeof STEPS / sizeof *STEPS, 0, steps);
    if (shape.kinds[0].rope.factor > 1) n = add_steps(&SCALING, 1, n, steps);
    if (has(gguf, "rope_freqs.weight")) n = add_steps(&FREQS, 1, n, steps);
    if (shape.n_kinds > 1) n = add_steps(KINDS, sizeof KINDS / sizeof *KINDS, n, steps);
    if (shape.kinds[1].window > 0)
        n = add_steps(WINDOWS, sizeof WINDOWS / sizeof *WINDOWS, n, steps);
    if (shape.embedding_scale != 1) n = add_steps(&EMBEDDING, 1, n, steps);
    return add_tensors(gguf, n, steps);
}

/* ---- models ---- */

/* The model that a golden is of, and what is expected of it. Returns how many ids. */
static uint32_t open_model(const char *folder, const char *name, const json_t *golden,
                           synth_model *model)
{
    char file[64], found[32];
    sl_sums sums;
    char *made = strdup(json_string_value(json_object_get(golden, "make_model")));
    synth_shape shape = synth_shape_default();
    synth_options_parse_line(made, &shape);
    synth_model_open(model, &shape);
    free(made);

    REQUIRE(sl_sums_init(model->gguf, shape.layers, &sums) == SL_OK &&
                sl_sums_read(model->gguf, NULL, &sums) == SL_OK,
            "%s: no sums", name);
    snprintf(found, sizeof found, "%016llx", (unsigned long long)sl_sums_model(&sums));
    sl_sums_fini(&sums);
    const char *hash = json_string_value(json_object_get(golden, "hash"));
    REQUIRE(strcmp(found, hash) == 0,
            "%s: make_model makes another model (%s) than the golden is of (%s): see README.md",
            name, found, hash);
    snprintf(file, sizeof file, "%s.f32", name);
    return (uint32_t)golden_floats(folder, file, expected, IDS_MAX - 1) + 1;
}

static void compare_architecture(const char *folder, const char *name, const json_t *golden)
{
    synth_model model;
    step steps[STEPS_MAX];
    uint32_t n = open_model(folder, name, golden, &model);
    REQUIRE(n == IDS_MAX, "%s: the golden is of %u ids", name, n);
    double off = mean_off(model.gguf, n, NULL);
    printf("%-8s off by %.6f on average\n", name, off);
    REQUIRE(off <= allowed, "%s: off by %.6f on average, allowed are %g", name, off, allowed);

    uint32_t n_steps = list_steps(model.gguf, steps);
    for (uint32_t i = 0; i < n_steps; i++) {
        off = mean_off(model.gguf, CHANGED_IDS, &steps[i]);
        printf("%-8s   %-32s %.4f\n", name, steps[i].name, off);
        REQUIRE(off > allowed, "%s: %s would not be seen, off by %.6f on average", name,
                steps[i].name, off);
    }
    synth_model_close(&model);
}

static void compare_type(const char *folder, const char *name, const json_t *golden)
{
    synth_model model;
    uint32_t n = open_model(folder, name, golden, &model);
    REQUIRE(n == TYPE_IDS, "%s: the golden is of %u ids", name, n);
    double off = mean_off(model.gguf, n, NULL), theirs = golden_number(golden, "llama_cpp_off");
    printf("%-8s off by %.6f on average, llama.cpp by %.6f: %.2f\n", name, off, theirs,
           off / theirs);
    REQUIRE(off <= allowed_of_types * theirs, "%s: off by %.6f, allowed are %.1f times %.6f", name,
            off, allowed_of_types, theirs);
    synth_model_close(&model);
}

int main(int argc, char **argv)
{
    REQUIRE(argc == 2, "usage: test_golden_llama_cpp FOLDER");
    kernels = golden_f32_kernels();
    golden_drawn_ids(ids, IDS_MAX);

    const char *name;
    json_t *goldens = golden_load(argv[1], "models"), *golden;
    json_t *architectures = json_object_get(goldens, "architectures");
    json_t *types = json_object_get(goldens, "types");
    REQUIRE(json_object_size(architectures) == N_ARCHITECTURES &&
                json_object_size(types) == N_TYPES,
            "goldens of %zu architectures and %zu types", json_object_size(architectures),
            json_object_size(types));
    json_object_foreach(architectures, name, golden) compare_architecture(argv[1], name, golden);
    json_object_foreach(types, name, golden) compare_type(argv[1], name, golden);
    json_decref(goldens);
    return 0;
}
