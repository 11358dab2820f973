/* tests/support/synth_vocab.c - merges grow breadth first: every token that starts a word or is
 * made of letters, followed by one letter, in the order of how common the letters are. */
#include "tests/support/synth_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"

enum { TOKEN_BYTES = 32, KIND_NORMAL = 1, KIND_SPECIAL = 3 };

static const char letters[] = "etaoinshrdlucmfwygpbvkxqjz";
static const char space[] = "\xc4\xa0"; /* U+0120: how GPT-2 writes byte 32 */
static const char chat_template[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}";

typedef struct {
    char (*texts)[TOKEN_BYTES];
    char (*merges)[TOKEN_BYTES];
    uint32_t n, n_merges, vocab;
} vocabulary;

static void add(vocabulary *v, const char *text)
{
    snprintf(v->texts[v->n++], TOKEN_BYTES, "%s", text);
}

/* GPT-2's alphabet: printable Latin-1 stands for itself, other bytes for U+0100 and up. */
static void add_bytes(vocabulary *v)
{
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool printable = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        unsigned point = printable ? byte : next++;
        char text[3] = {(char)point};
        if (point >= 0x80) {
            text[0] = (char)(0xc0 | point >> 6);
            text[1] = (char)(0x80 | (point & 0x3f));
        }
        add(v, text);
    }
}

/* Merges of one token with each letter, until the vocabulary is full. */
static void add_merges_of(vocabulary *v, const char *base)
{
    for (const char *letter = letters; *letter && v->n < v->vocab; letter++) {
        snprintf(v->merges[v->n_merges++], TOKEN_BYTES, "%s %c", base, *letter);
        snprintf(v->texts[v->n++], TOKEN_BYTES, "%s%c", base, *letter);
    }
}

static void add_merges(vocabulary *v)
{
    uint32_t grown = v->n;
    add_merges_of(v, space);
    for (const char *letter = letters; *letter; letter++)
        add_merges_of(v, (const char[]){*letter, 0});
    for (; v->n < v->vocab; grown++) add_merges_of(v, v->texts[grown]);
}

static void put_texts(sl_gguf_writer *w, const char *key, char (*texts)[TOKEN_BYTES], uint32_t n)
{
    const char **pointers = calloc(n + 1, sizeof *pointers);
    SL_ASSERT(pointers);
    for (uint32_t i = 0; i < n; i++) pointers[i] = texts[i];
    sl_gguf_put_strings(w, key, pointers, n);
    free(pointers);
}

static void put_kinds(sl_gguf_writer *w, uint32_t vocab)
{
    int32_t *kinds = calloc(vocab, sizeof *kinds);
    SL_ASSERT(kinds);
    for (uint32_t i = 0; i < vocab; i++) kinds[i] = i < SYNTH_SPECIALS ? KIND_SPECIAL : KIND_NORMAL;
    sl_gguf_put_i32s(w, "tokenizer.ggml.token_type", kinds, vocab);
    free(kinds);
}

void synth_vocab_put(sl_gguf_writer *w, uint32_t vocab)
{
    synth_vocab_put_rule(w, vocab, "smollm");
}

void synth_vocab_put_rule(sl_gguf_writer *w, uint32_t vocab, const char *rule)
{
    SL_ASSERT(vocab >= SYNTH_VOCAB_MIN);
    vocabulary v = {
        .texts = calloc(vocab, TOKEN_BYTES), .merges = calloc(vocab, TOKEN_BYTES), .vocab = vocab};
    SL_ASSERT(v.texts && v.merges);
    add(&v, "<|endoftext|>");
    add(&v, "<|im_start|>");
    add(&v, "<|im_end|>");
    add_bytes(&v);
    add_merges(&v);

    sl_gguf_put_string(w, "tokenizer.ggml.model", "gpt2");
    sl_gguf_put_string(w, "tokenizer.ggml.pre", rule);
    put_texts(w, "tokenizer.ggml.tokens", v.texts, v.n);
    put_kinds(w, v.n);
    put_texts(w, "tokenizer.ggml.merges", v.merges, v.n_merges);
    sl_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    sl_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 2);
    sl_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    sl_gguf_put_u32(w, "tokenizer.ggml.padding_token_id", 2);
    sl_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", false);
    sl_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", false);
    sl_gguf_put_string(w, "tokenizer.chat_template", chat_template);
    free(v.texts);
    free(v.merges);
}

/* ---- SentencePiece ---- */

enum { SPM_NORMAL = 1, SPM_UNKNOWN = 2, SPM_CONTROL = 3, SPM_USER_DEFINED = 4, SPM_BYTE = 6 };

/* Higher scores merge first: "lo" before "hel", so hello is hel+lo by way of he, lo. */
static const struct {
    const char *text;
    float score;
} spm_words[SYNTH_SPM_VOCAB - SYNTH_SPM_WORDS] = {
    {"\xe2\x96\x81", -20},
    {"a", -21},
    {"h", -22},
    {"e", -23},
    {"l", -24},
    {"o", -25},
    {"\xc3\xa9", -26},
    {"he", -1},
    {"ll", -9},
    {"lo", -2},
    {"hel", -3},
    {"hello", -4},
    {"\xe2\x96\x81hello", -5},
    {"\xe2\x96\x81"
     "a",
     -6},
    {"aa", -7},
    {"aaaa", -8},
    {"\xe2\x96\x81\xe2\x96\x81", -10},
    {"ao", -7},
};

void synth_spm_init(synth_spm *spm)
{
    static const char *const names[] = {"<unk>", "<s>", "</s>", "<|u|>"};
    static const int32_t types[] = {SPM_UNKNOWN, SPM_CONTROL, SPM_CONTROL, SPM_USER_DEFINED};
    memset(spm, 0, sizeof *spm);
    for (int i = 0; i < SYNTH_SPM_BYTES; i++) {
        spm->texts[i] = names[i];
        spm->types[i] = types[i];
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        snprintf(spm->bytes[byte], sizeof *spm->bytes, "<0x%02X>", byte);
        spm->texts[SYNTH_SPM_BYTES + byte] = spm->bytes[byte];
        spm->types[SYNTH_SPM_BYTES + byte] = SPM_BYTE;
    }
    for (int i = SYNTH_SPM_WORDS; i < SYNTH_SPM_VOCAB; i++) {
        spm->texts[i] = spm_words[i - SYNTH_SPM_WORDS].text;
        spm->scores[i] = spm_words[i - SYNTH_SPM_WORDS].score;
        spm->types[i] = SPM_NORMAL;
    }
}

void synth_spm_put(sl_gguf_writer *w, const synth_spm *spm)
{
    sl_gguf_put_string(w, "tokenizer.ggml.model", "llama");
    sl_gguf_put_string(w, "tokenizer.ggml.pre", "default");
    sl_gguf_put_strings(w, "tokenizer.ggml.tokens", spm->texts, SYNTH_SPM_VOCAB);
    sl_gguf_put_i32s(w, "tokenizer.ggml.token_type", spm->types, SYNTH_SPM_VOCAB);
    sl_gguf_put_f32s(w, "tokenizer.ggml.scores", spm->scores, SYNTH_SPM_VOCAB);
}
