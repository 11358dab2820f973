/* tests/support/synth_vocab.h - a byte-level BPE vocabulary of any size, with ChatML, and a small
 * one as SentencePiece has it. */
#ifndef SL_TEST_SYNTH_VOCAB_H
#define SL_TEST_SYNTH_VOCAB_H

#include <stdint.h>

#include "runtime/gguf/gguf_writer.h"

enum { SYNTH_SPECIALS = 3, SYNTH_VOCAB_MIN = SYNTH_SPECIALS + 256 };

/* Add the tokenizer.* keys: ids 0 <|endoftext|>, 1 <|im_start|>, 2 <|im_end|>, then the 256
 * bytes, then one merged token (a letter or space and letters) for each further id. */
void synth_vocab_put(sl_gguf_writer *w, uint32_t vocab);
/* The same under another splitting rule than "smollm". */
void synth_vocab_put_rule(sl_gguf_writer *w, uint32_t vocab, const char *rule);

/* The other model, "llama": ids 0 <unk>, 1 <s>, 2 </s>, 3 <|u|> (user defined), then the 256 bytes
 * from SYNTH_SPM_BYTES on, the space and some letters and words. */
enum { SYNTH_SPM_UNKNOWN, SYNTH_SPM_BOS, SYNTH_SPM_EOS, SYNTH_SPM_USER, SYNTH_SPM_BYTES };
enum { SYNTH_SPM_WORDS = SYNTH_SPM_BYTES + 256, SYNTH_SPM_VOCAB = SYNTH_SPM_WORDS + 18 };
/* Texts, types and scores of its tokens, to be changed and put. */
typedef struct {
    const char *texts[SYNTH_SPM_VOCAB];
    int32_t types[SYNTH_SPM_VOCAB];
    float scores[SYNTH_SPM_VOCAB];
    char bytes[256][8]; /* what some texts point into */
} synth_spm;
void synth_spm_init(synth_spm *spm);
void synth_spm_put(sl_gguf_writer *w, const synth_spm *spm);

#endif
