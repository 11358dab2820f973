/* launch/train/lora_output.c - see lora_output.h. */
#include "launch/train/lora_output.h"

#include <stdio.h>
#include <stdlib.h>

#include "launch/options/written.h"
#include "launch/train/train_options.h"
#include "runtime/base/log.h"
#include "runtime/model/lora_file.h"

sl_status sl_lora_output_name(const char *gate_output, char *out, size_t out_bytes)
{
    if (sl_written_second(&sl_train_options_outputs[0], gate_output, out, out_bytes)) return SL_OK;
    sl_error("-o %s: with the adapter's ending the name is too long: give a shorter one",
             gate_output);
    return SL_ERR_OPTION;
}

static sl_matrix matrix_of(const float *numbers, size_t n_out, size_t n_in)
{
    return (sl_matrix){.data = numbers,
                       .type = SL_TYPE_F32,
                       .n_out = n_out,
                       .n_in = n_in,
                       .row_bytes = n_in * sizeof *numbers};
}

/* All that the adapter changes; returns how many. */
static size_t list_updates(const sl_lora_pass *lora, sl_lora_update *updates_out)
{
    const size_t rank = lora->shape.rank;
    size_t n = 0;
    for (uint32_t layer = 0; layer < lora->n_layers; layer++)
        for (sl_layer_map map = 0; map < SL_LAYER_MAPS; map++) {
            const sl_lora_place *place = &lora->maps[map];
            const float *numbers = lora->params + layer * lora->layer_n;
            if (place->n_in == 0) continue;
            updates_out[n++] = (sl_lora_update){
                .layer = layer,
                .map = map,
                .pair = {.a = matrix_of(numbers + place->a, rank, place->n_in),
                         .b = matrix_of(numbers + place->b, place->n_out, rank)}};
        }
    return n;
}

/* Of the file as it will be given with --lora. */
static sl_status hash_file(const char *path, const sl_gguf *model, const sl_model_shape *shape,
                           uint64_t *hash_out)
{
    sl_lora_file *file;
    sl_status status = sl_lora_file_open(path, model, shape, &file);
    if (status != SL_OK) return status;
    *hash_out = sl_lora_file_hash(file);
    sl_lora_file_close(file);
    return SL_OK;
}

sl_status sl_lora_output_write(const char *path, const sl_gguf *model, const sl_model_shape *shape,
                               const sl_lora_pass *lora, uint64_t *hash_out)
{
    char architecture[64];
    sl_text name = {"", 0};
    sl_lora_update *updates = calloc((size_t)lora->n_layers * SL_LAYER_MAPS, sizeof *updates);
    if (!updates) return SL_ERR_MEMORY;
    sl_gguf_text(model, "general.architecture", &name);
    snprintf(architecture, sizeof architecture, "%.*s", (int)name.bytes, name.data);
    sl_status status = sl_lora_file_write(path, architecture, lora->shape.alpha, updates,
                                          list_updates(lora, updates));
    free(updates);
    if (status == SL_OK) status = hash_file(path, model, shape, hash_out);
    if (status == SL_OK)
        sl_info("%s: a LoRA adapter of rank %u, hash %016llx", path, lora->shape.rank,
                (unsigned long long)*hash_out);
    return status;
}
