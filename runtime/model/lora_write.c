/* runtime/model/lora_write.c - writing what lora_file.c reads. */
#include <stdio.h>

#include "runtime/base/log.h"
#include "runtime/gguf/gguf_writer.h"
#include "runtime/model/lora_file.h"

/* side: "a" or "b". */
static void put(sl_gguf_writer *w, const sl_lora_update *update, const char *side,
                const sl_matrix *matrix)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s.lora_%s", update->layer,
             sl_layer_map_tensor(update->map)->suffix, side);
    SL_ASSERT(!matrix->packed);
    sl_gguf_put_tensor(w, name, matrix->type, (const uint64_t[]){matrix->n_in, matrix->n_out}, 2,
                       matrix->data, matrix->n_out * matrix->row_bytes);
}

sl_status sl_lora_file_write(const char *path, const char *architecture, float alpha,
                             const sl_lora_update *updates, size_t n)
{
    sl_gguf_writer w = {0};
    sl_gguf_put_string(&w, "general.architecture", architecture);
    sl_gguf_put_string(&w, "general.type", "adapter");
    sl_gguf_put_string(&w, "adapter.type", "lora");
    sl_gguf_put_f32(&w, "adapter.lora.alpha", alpha);
    for (size_t i = 0; i < n; i++) {
        SL_ASSERT(updates[i].pair.a.n_out == updates[i].pair.b.n_in);
        put(&w, &updates[i], "a", &updates[i].pair.a);
        put(&w, &updates[i], "b", &updates[i].pair.b);
    }
    sl_status status = sl_gguf_writer_save(&w, path);
    sl_gguf_writer_fini(&w);
    return status;
}
