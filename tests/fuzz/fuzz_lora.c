/* tests/fuzz/fuzz_lora.c - the input is a LoRA adapter for a small model: read, and, when it is
 * one, loaded and applied to a row, so that every number it claims to have is used. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_lora.h"
#include "tests/support/synth_model.h"

enum { WIDTH = 32, BYTES_MAX = 1 << 22 };

static synth_model model;
static sl_model_shape shape;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    synth_shape s = fuzz_lora_model();
    synth_model_open(&model, &s);
    SL_ASSERT(sl_model_shape_read(model.gguf, &shape) == SL_OK);
    return 0;
}

/* B A x of one map, as linear.c computes it. */
static void apply(const sl_low_rank *low)
{
    const sl_kernels *kernels = sl_kernels_named("ref");
    float x[WIDTH], out[WIDTH], *reduced = calloc(low->a.n_out, sizeof *reduced);
    SL_ASSERT(reduced && low->a.n_in <= WIDTH && low->b.n_out <= WIDTH &&
              low->a.n_out == low->b.n_in);
    for (int i = 0; i < WIDTH; i++) x[i] = (float)(i % 7) - 3;
    sl_activations in = {.n_rows = 1, .width = low->a.n_in, .x = x},
                   at_rank = {.n_rows = 1, .width = low->b.n_in, .x = reduced};
    kernels->matmul[low->a.type](&low->a, &in, 0, low->a.n_out, false, reduced, low->a.n_out);
    kernels->matmul[low->b.type](&low->b, &at_rank, 0, low->b.n_out, false, out, low->b.n_out);
    free(reduced);
}

static void load(const sl_lora *lora)
{
    sl_lora_weights w;
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_lora_bind(lora, &shape, 0, shape.n_layers, &arena, &w);
    size_t bytes = arena.used_bytes;
    if (bytes > BYTES_MAX) return;
    void *storage = aligned_alloc(64, bytes);
    SL_ASSERT(storage);
    sl_arena_init(&arena, storage, bytes);
    sl_lora_bind(lora, &shape, 0, shape.n_layers, &arena, &w);
    SL_ASSERT(sl_lora_load(lora, &w) == SL_OK && w.reduced_max > 0);
    for (uint32_t layer = 0; layer < shape.n_layers; layer++)
        for (int map = 0; map < SL_LAYER_MAPS; map++)
            if (w.layers[layer].maps[map].a.data) apply(&w.layers[layer].maps[map]);
    free(storage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sl_gguf *gguf;
    sl_lora_file *file;
    uint8_t *aligned = aligned_alloc(64, (size + 64) / 64 * 64);
    SL_ASSERT(aligned);
    memcpy(aligned, data, size);
    if (sl_gguf_open_memory(aligned, size, "fuzz", &gguf) == SL_OK) {
        if (sl_lora_file_read(gguf, model.gguf, &shape, &file) == SL_OK) {
            sl_lora lora = {.n = 0};
            if (sl_lora_add_file(&lora, file, 1) == SL_OK) load(&lora);
            sl_lora_close(&lora);
        }
        sl_gguf_close(gguf);
    }
    free(aligned);
    return 0;
}
