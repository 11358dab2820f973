/* tests/support/synth_gguf.h - a random model of any shape, equal on every machine.
 * Weights are seeded and scaled so that activations stay near 1 and logits are lively: the best
 * token is mostly clear of the second. The vocabulary is byte-level with ChatML specials, so
 * any text can be tokenized and `sluice` runs on the file end to end. */
#ifndef SL_TEST_SYNTH_GGUF_H
#define SL_TEST_SYNTH_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/gguf/gguf_writer.h"
#include "runtime/gguf/tensor_type.h"

typedef enum { SYNTH_TIED, SYNTH_UNTIED } synth_tie;
typedef enum { SYNTH_UNBIASED, SYNTH_BIASED } synth_bias;

/* ARCHITECTURE.rope.scaling.* and rope_freqs.weight; all zero: none of them. */
typedef struct {
    const char *type; /* NULL: no key */
    float factor;     /* 0: no key */
    uint32_t context; /* original_context_length; 0: no key */
    bool llama3_keys; /* low_freq_factor 1, high_freq_factor 4 */
    bool freqs;       /* the tensor, divisors from 1 to 8 */
} synth_rope;

/* Quantized types need the width (and FFN width, and heads x head_dim) in whole blocks;
 * the vocabulary needs SYNTH_VOCAB_MIN tokens (synth_vocab.h). */
typedef struct {
    uint64_t seed;
    const char *architecture; /* NULL: llama; one that synth_architecture_known() */
    uint32_t layers, width, ffn, heads, kv_heads, head_dim, vocab, context;
    float rope_base;
    uint32_t window, window_pattern;              /* gemma3: of sliding layers; 0: no keys */
    uint32_t attention_type, ffn_type, head_type; /* of matrices; head: embedding and output */
    uint32_t vector_type; /* of norms, biases and rope_freqs: F32, F16 or BF16 */
    synth_tie tie;
    synth_bias bias;   /* of every linear map of a layer; qwen2 has some anyway */
    uint32_t key_bias; /* 0, or how large some of the keys' biases are: Qwen2.5's reach hundreds */
    synth_rope rope;
    uint32_t parts; /* of the files it is saved in; 0: one that is not split */
} synth_shape;

bool synth_architecture_known(const char *name);

/* A small one: 4 layers, width 96, 6 heads, 2 KV heads of 16, 512 tokens, Q4_1 and Q8_0. */
synth_shape synth_shape_default(void);

/* Add all keys and tensors, to one file. Asserts the shape is possible. */
void synth_gguf_put(const synth_shape *shape, sl_gguf_writer *w);
/* Save it as `path`; a split one as NAME-00001-of-00003.gguf and so on, for a path of NAME.gguf,
 * with as many tensors in each part, and the keys of llama.cpp's gguf-split. */
void synth_gguf_save(const synth_shape *shape, const char *path);

#endif
