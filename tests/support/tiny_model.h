/* tests/support/tiny_model.h - tiny_gguf.h's file, opened. In a header, so that the library of test
 * support needs no room. */
#ifndef SL_TEST_TINY_MODEL_H
#define SL_TEST_TINY_MODEL_H

#include <stdlib.h>

#include "runtime/base/log.h"
#include "runtime/gguf/gguf.h"
#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"
#include "tests/support/tiny_gguf.h"

typedef struct {
    uint8_t *bytes;
    sl_gguf *gguf;
    sl_tokenizer *tokenizer;
    sl_chat *chat;
} tiny_model;

static inline void tiny_model_open(tiny_bos bos, tiny_model *model)
{
    size_t n_bytes;
    model->bytes = tiny_gguf_make(bos, &n_bytes);
    SL_ASSERT(sl_gguf_open_memory(model->bytes, n_bytes, "tiny", &model->gguf) == SL_OK);
    SL_ASSERT(sl_tokenizer_open(model->gguf, &model->tokenizer) == SL_OK);
    SL_ASSERT(sl_chat_open(model->gguf, model->tokenizer, &model->chat) == SL_OK && model->chat);
}

static inline void tiny_model_close(tiny_model *model)
{
    sl_chat_close(model->chat);
    sl_tokenizer_close(model->tokenizer);
    sl_gguf_close(model->gguf);
    free(model->bytes);
}

#endif
