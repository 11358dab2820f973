/* tests/support/synth_vocab.h - a byte-level BPE vocabulary of any size, with ChatML. */
#ifndef SL_TEST_SYNTH_VOCAB_H
#define SL_TEST_SYNTH_VOCAB_H

#include <stdint.h>

#include "tests/support/gguf_writer.h"

enum { SYNTH_SPECIALS = 3, SYNTH_VOCAB_MIN = SYNTH_SPECIALS + 256 };

/* Add the tokenizer.* keys: ids 0 <|endoftext|>, 1 <|im_start|>, 2 <|im_end|>, then the 256
 * bytes, then one merged token (a letter or space and letters) for each further id. */
void synth_vocab_put(gguf_writer *w, uint32_t vocab);

#endif
