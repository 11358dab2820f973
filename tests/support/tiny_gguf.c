/* tests/support/tiny_gguf.c - a name and synth_vocab.c's vocabulary. */
#include "tests/support/tiny_gguf.h"

#include <string.h>

#include "runtime/base/log.h"

uint8_t *tiny_gguf_make(tiny_bos bos, size_t *n_bytes_out)
{
    sl_gguf_writer w = {0};
    sl_gguf_put_string(&w, "general.architecture", "llama");
    synth_vocab_put(&w, TINY_VOCAB);
    uint8_t *file = sl_gguf_writer_encode(&w, n_bytes_out);
    sl_gguf_writer_fini(&w);

    /* The vocabulary says false; a value of type bool is one byte after name and type. */
    static const char key[] = "tokenizer.ggml.add_bos_token";
    uint8_t *found = memmem(file, *n_bytes_out, key, strlen(key));
    SL_ASSERT(found);
    found[strlen(key) + sizeof(uint32_t)] = bos == TINY_WITH_BOS;
    return file;
}
