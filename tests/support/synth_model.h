/* tests/support/synth_model.h - a synthetic model's file in memory, opened. */
#ifndef SL_TEST_SYNTH_MODEL_H
#define SL_TEST_SYNTH_MODEL_H

#include <stdlib.h>

#include "runtime/base/log.h"
#include "runtime/gguf/gguf.h"
#include "tests/support/synth_gguf.h"

typedef struct {
    uint8_t *bytes;
    sl_gguf *gguf;
} synth_model;

static inline void synth_model_open(synth_model *model, const synth_shape *shape)
{
    sl_gguf_writer w = {0};
    size_t n_bytes;
    synth_gguf_put(shape, &w);
    model->bytes = sl_gguf_writer_encode(&w, &n_bytes);
    sl_gguf_writer_fini(&w);
    SL_ASSERT(sl_gguf_open_memory(model->bytes, n_bytes, "synth", &model->gguf) == SL_OK);
}

static inline void synth_model_close(synth_model *model)
{
    sl_gguf_close(model->gguf);
    free(model->bytes);
}

#endif
