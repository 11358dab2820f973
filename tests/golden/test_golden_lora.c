/* tests/golden/test_golden_lora.c - log-probabilities with LoRA adapters against llama.cpp's
 * (llama_cpp/README.md), which has read the same files. Then without each of the adapters' maps in
 * turn, with one of an adapter's sides changed, and without any: were Sluice so, this test would
 * fail. */
#include <unistd.h>

#include "tests/golden/golden.h"
#include "tests/support/made_lora.h"
#include "tests/support/synth_options.h"

enum { N_LORAS = 2, IDS = 512 };
static const double allowed = 0.02;

static int32_t ids[IDS];
static float expected[IDS];
static const sl_kernels *kernels;

/* A map that is left out of all layers; SL_LAYER_MAPS: none. */
static void leave_out(const void *changes, sl_lora_weights *lora)
{
    const sl_layer_map *map = changes;
    for (uint32_t i = 0; *map < SL_LAYER_MAPS && i < lora->layer_end; i++)
        lora->layers[i].maps[*map] = (sl_low_rank){0};
}

static double mean_off(const sl_gguf *gguf, const sl_lora *lora, sl_layer_map left_out)
{
    static sl_token_result results[IDS];
    stage_rig_options o = {.n_stages = 1,
                           .threads = 1,
                           .rows_max = 256,
                           .spans_max = 1,
                           .controls_max = 1,
                           .sequences_max = 1,
                           .context = IDS,
                           .policy = {.sinks = 4, .window = 128},
                           .lora = lora,
                           .change_lora = lora ? leave_out : NULL,
                           .changes = &left_out};
    stage_rig rig;
    stage_rig_open(&rig, &o, gguf, kernels);
    uint32_t n = golden_prompt(&rig, ids, IDS, 1, 0, results);
    stage_rig_close(&rig);
    REQUIRE(n == IDS, "%u results", n);
    double sum = 0;
    for (uint32_t i = 0; i + 1 < IDS; i++)
        sum += fabs((double)results[i].logprob - (double)expected[i]);
    return sum / (IDS - 1);
}

/* Make the golden's adapter again, as a file. */
static void add_adapter(const json_t *golden, const sl_gguf *gguf, const sl_model_shape *shape,
                        sl_lora *lora)
{
    static made_lora made;
    char path[] = "/tmp/sluice-golden-lora-XXXXXX", type[16], maps[16], found[32];
    char *end;
    sl_text architecture;
    char architecture_name[32];
    const char *words = json_string_value(json_object_get(golden, "make_lora"));
    REQUIRE(words, "not what make_lora is told");
    made_lora_options o = {.strength = 0.5F, .type = MADE_LORA_MIXED};
    o.seed = strtoull(words, &end, 10);
    o.rank = (uint32_t)strtoul(end, &end, 10);
    const float alpha = strtof(end, &end);
    size_t type_bytes = strcspn(end + 1, " ");
    snprintf(type, sizeof type, "%.*s", (int)type_bytes, end + 1);
    snprintf(maps, sizeof maps, "%s", end + 1 + type_bytes + 1);
    REQUIRE(!strcmp(type, "mixed") || sl_type_named(type, &o.type), "no type %s", type);
    o.maps = strcmp(maps, "all") ? MADE_LORA_ATTENTION : MADE_LORA_ALL;
    REQUIRE(sl_gguf_text(gguf, "general.architecture", &architecture), "no architecture");
    snprintf(architecture_name, sizeof architecture_name, "%.*s", (int)architecture.bytes,
             architecture.data);
    int file = mkstemp(path);
    REQUIRE(file >= 0 && close(file) == 0, "no file %s", path);
    made_lora_open(&made, &o, shape);
    REQUIRE(sl_lora_file_write(path, architecture_name, alpha, made.updates, made.n) == SL_OK &&
                sl_lora_add(lora, path, (float)golden_number(golden, "scale"), gguf, shape) ==
                    SL_OK,
            "the adapter was not written or read");
    made_lora_close(&made);
    unlink(path);
    snprintf(found, sizeof found, "%016llx",
             (unsigned long long)sl_lora_file_hash(lora->items[lora->n - 1].file));
    const char *hash = json_string_value(json_object_get(golden, "hash"));
    REQUIRE(!strcmp(found, hash), "another adapter (%s) than the golden's (%s)", found, hash);
}

static void compare(const char *folder, const char *name, const json_t *golden)
{
    synth_model model;
    synth_shape shape = synth_shape_default();
    sl_model_shape read;
    sl_lora lora = {.n = 0};
    char file[64], *made = strdup(json_string_value(json_object_get(golden, "make_model")));
    synth_options_parse_line(made, &shape);
    synth_model_open(&model, &shape);
    free(made);
    REQUIRE(sl_model_shape_read(model.gguf, &read) == SL_OK, "%s was refused", name);
    const json_t *adapters = json_object_get(golden, "adapters");
    for (size_t i = 0; i < json_array_size(adapters); i++)
        add_adapter(json_array_get(adapters, i), model.gguf, &read, &lora);
    snprintf(file, sizeof file, "%s.f32", name);
    REQUIRE(golden_floats(folder, file, expected, IDS - 1) == IDS - 1, "%s: too short", file);

    double off = mean_off(model.gguf, &lora, SL_LAYER_MAPS);
    printf("%s: off by %.6f on average\n", name, off);
    REQUIRE(off <= allowed, "%s: off by %.6f, allowed are %g", name, off, allowed);
    for (int map = 0; map < SL_LAYER_MAPS; map++) {
        off = mean_off(model.gguf, &lora, (sl_layer_map)map);
        printf("%s:   without %-18s %.4f\n", name, sl_layer_map_tensor((sl_layer_map)map)->suffix,
               off);
        REQUIRE(off > allowed, "%s: a map that is left out would not be seen", name);
    }
    off = mean_off(model.gguf, NULL, SL_LAYER_MAPS);
    printf("%s:   without adapters %.4f\n", name, off);
    REQUIRE(off > allowed, "%s: no adapter would not be seen", name);
    lora.items[0].scale *= 1.25F;
    off = mean_off(model.gguf, &lora, SL_LAYER_MAPS);
    printf("%s:   another scale %.4f\n", name, off);
    REQUIRE(off > allowed, "%s: another scale would not be seen", name);
    sl_lora_close(&lora);
    synth_model_close(&model);
}

int main(int argc, char **argv)
{
    REQUIRE(argc == 2, "usage: test_golden_lora FOLDER");
    kernels = golden_f32_kernels();
    golden_drawn_ids(ids, IDS);
    const char *name;
    json_t *goldens = golden_load(argv[1], "models"), *golden;
    json_t *loras = json_object_get(goldens, "loras");
    REQUIRE(json_object_size(loras) == N_LORAS, "goldens of %zu", json_object_size(loras));
    json_object_foreach(loras, name, golden) compare(argv[1], name, golden);
    json_decref(goldens);
    return 0;
}
