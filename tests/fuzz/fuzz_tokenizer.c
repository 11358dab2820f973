/* tests/fuzz/fuzz_tokenizer.c - the input is a text after one byte. When that is 255 the text is
 * repeated until it is long: time that grows with the square of the length then meets -timeout. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

enum { LONG = 255, LONG_BYTES = 1 << 15, WORDS_VOCAB = SYNTH_VOCAB_MIN + 1500 };

/* A vocabulary of few merges, one of many under each splitting rule, and one of SentencePiece. */
static const char *const RULES[] = {"gpt-2", "smollm", "llama-bpe",
                                    "qwen2", "tekken", "deepseek-llm"};
enum { N_RULES = sizeof RULES / sizeof *RULES };
static tiny_model digits;
static sl_tokenizer *words[N_RULES], *sentences;

/* The writer's file and its gguf stay: tokens point into them. */
static sl_tokenizer *open_writer(sl_gguf_writer *w)
{
    size_t n_bytes;
    uint8_t *file = sl_gguf_writer_encode(w, &n_bytes);
    sl_gguf_writer_fini(w);
    sl_gguf *gguf;
    sl_tokenizer *tokenizer;
    SL_ASSERT(sl_gguf_open_memory(file, n_bytes, "vocabulary", &gguf) == SL_OK);
    SL_ASSERT(sl_tokenizer_open(gguf, &tokenizer) == SL_OK);
    return tokenizer;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    tiny_model_open(TINY_WITHOUT_BOS, &digits);
    for (int i = 0; i < N_RULES; i++) {
        sl_gguf_writer w = {0};
        synth_vocab_put_rule(&w, WORDS_VOCAB, RULES[i]);
        words[i] = open_writer(&w);
    }
    sl_gguf_writer w = {0};
    synth_spm spm;
    synth_spm_init(&spm);
    synth_spm_put(&w, &spm);
    sentences = open_writer(&w);
    return 0;
}

static bool is_utf8(const char *text, size_t bytes)
{
    json_t *string = json_stringn(text, bytes);
    json_decref(string);
    return string != NULL;
}

/* The tokens' bytes are the text: both vocabularies have a token for every byte. */
static void check_pieces(const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                         const sl_tokens *ids)
{
    size_t at = 0;
    for (size_t i = 0; i < ids->n; i++) {
        SL_ASSERT(ids->ids[i] >= 0 && ids->ids[i] < sl_tokenizer_n_tokens(tokenizer));
        sl_text piece = sl_tokenizer_piece(tokenizer, ids->ids[i]);
        SL_ASSERT(piece.bytes > 0 && piece.bytes <= bytes - at);
        SL_ASSERT(memcmp(text + at, piece.data, piece.bytes) == 0);
        at += piece.bytes;
    }
    SL_ASSERT(at == bytes);
}

/* What a stream tells is UTF-8 after every token, and the text itself when it was one. */
static void check_stream(const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                         const sl_tokens *ids, bool whole)
{
    size_t room = sl_tokenizer_decode_bytes_max(tokenizer), n = 0;
    sl_decode_state state = {.begins = true};
    char *out = malloc((ids->n + 1) * room);
    SL_ASSERT(out);
    for (size_t i = 0; i < ids->n; i++) {
        size_t written = sl_tokenizer_decode(tokenizer, &state, ids->ids[i], out + n);
        SL_ASSERT(written <= room && is_utf8(out + n, written));
        n += written;
    }
    size_t written = sl_tokenizer_decode_end(&state, out + n);
    SL_ASSERT(is_utf8(out + n, written));
    n += written;
    if (whole) SL_ASSERT(n == bytes && memcmp(out, text, n) == 0);
    free(out);
}

static void check(const sl_tokenizer *tokenizer, const char *text, size_t bytes)
{
    sl_tokens as_text = {0}, parsed = {0};
    SL_ASSERT(sl_tokenizer_encode(tokenizer, text, bytes, SL_SPECIAL_AS_TEXT, &as_text) == SL_OK);
    check_pieces(tokenizer, text, bytes, &as_text);
    check_stream(tokenizer, text, bytes, &as_text, is_utf8(text, bytes));
    for (size_t i = 0; i < as_text.n; i++)
        SL_ASSERT(!sl_tokenizer_is_control(tokenizer, as_text.ids[i]));
    SL_ASSERT(sl_tokenizer_encode(tokenizer, text, bytes, SL_SPECIAL_PARSED, &parsed) == SL_OK);
    check_pieces(tokenizer, text, bytes, &parsed); /* a special token's bytes are its name */
    sl_tokens_free(&as_text);
    sl_tokens_free(&parsed);
}

/* U+2581 comes back as the space it stands for, and a special token has a space behind it. */
static void check_sentences(const char *text, size_t bytes)
{
    sl_tokens as_text = {0}, parsed = {0};
    bool whole = is_utf8(text, bytes) && !memmem(text, bytes, "\xe2\x96\x81", 3) &&
                 !memmem(text, bytes, "<|u|>", 5);
    SL_ASSERT(sl_tokenizer_encode(sentences, text, bytes, SL_SPECIAL_AS_TEXT, &as_text) == SL_OK);
    check_stream(sentences, text, bytes, &as_text, whole);
    SL_ASSERT(sl_tokenizer_encode(sentences, text, bytes, SL_SPECIAL_PARSED, &parsed) == SL_OK);
    check_stream(sentences, text, bytes, &parsed, false);
    sl_tokens_free(&as_text);
    sl_tokens_free(&parsed);
}

static void check_long(const char *text, size_t bytes)
{
    size_t times = LONG_BYTES / bytes + 1;
    char *repeated = malloc(bytes * times);
    sl_tokens ids = {0};
    SL_ASSERT(repeated);
    for (size_t i = 0; i < times; i++) memcpy(repeated + i * bytes, text, bytes);
    for (int i = 0; i < N_RULES; i++) {
        ids.n = 0;
        SL_ASSERT(sl_tokenizer_encode(words[i], repeated, bytes * times, SL_SPECIAL_PARSED, &ids) ==
                  SL_OK);
        check_pieces(words[i], repeated, bytes * times, &ids);
    }
    SL_ASSERT(sl_tokenizer_encode(sentences, repeated, bytes * times, SL_SPECIAL_PARSED, &ids) ==
              SL_OK);
    sl_tokens_free(&ids);
    free(repeated);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const char *text = (const char *)data + 1;
    check(digits.tokenizer, text, size - 1);
    for (int i = 0; i < N_RULES; i++) check(words[i], text, size - 1);
    check_sentences(text, size - 1);
    if (data[0] == LONG) check_long(text, size - 1);
    return 0;
}
