/* tests/support/tiny_gguf.h - the smallest model a tokenizer and a chat template can be opened
 * from: a complete GGUF v3 without tensors. Ids: synth_vocab.h. */
#ifndef SL_TEST_TINY_GGUF_H
#define SL_TEST_TINY_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "tests/support/synth_vocab.h"

enum { TINY_VOCAB = SYNTH_VOCAB_MIN + 41 }; /* 41 merges */
enum { TINY_ENDOFTEXT = 0, TINY_IM_START = 1, TINY_IM_END = 2 };

/* The token of one byte. */
static inline int32_t tiny_byte(unsigned char byte) { return SYNTH_SPECIALS + byte; }

typedef enum { TINY_WITHOUT_BOS, TINY_WITH_BOS } tiny_bos;

/* With BOS, <|im_start|> belongs before a prompt. The caller frees the bytes. */
uint8_t *tiny_gguf_make(tiny_bos bos, size_t *n_bytes_out);

#endif
