/* tests/unit/text/test_sentencepiece.c - the SentencePiece model on a small vocabulary worked out
 * by hand, back and forth, and hostile vocabularies. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/text/tokenizer.h"
#include "tests/support/capture.h"
#include "tests/support/encode_time.h"
#include "tests/support/seeded.h"
#include "tests/support/synth_vocab.h"

enum { W = SYNTH_SPM_WORDS, ROUNDS = 2000, TEXT_BYTES_MAX = 120 };

typedef struct {
    uint8_t *bytes;
    sl_gguf *gguf;
    sl_tokenizer *tokenizer; /* NULL: refused */
} opened;

static void open_writer(sl_gguf_writer *w, opened *o)
{
    size_t n;
    *o = (opened){.bytes = sl_gguf_writer_encode(w, &n)};
    assert_int_equal(sl_gguf_open_memory(o->bytes, n, "spm", &o->gguf), SL_OK);
    sl_tokenizer_open(o->gguf, &o->tokenizer);
    sl_gguf_writer_fini(w);
}

static void open_spm(const synth_spm *spm, opened *o)
{
    sl_gguf_writer w = {0};
    synth_spm_put(&w, spm);
    open_writer(&w, o);
}

static void close_opened(opened *o)
{
    sl_tokenizer_close(o->tokenizer);
    sl_gguf_close(o->gguf);
    free(o->bytes);
}

static int setup(void **state)
{
    static opened plain;
    synth_spm spm;
    synth_spm_init(&spm);
    open_spm(&spm, &plain);
    *state = &plain;
    return plain.tokenizer ? 0 : -1;
}

static int teardown(void **state)
{
    close_opened(*state);
    return 0;
}

#define BYTE(b) (SYNTH_SPM_BYTES + (b))

static void assert_encodes(const sl_tokenizer *t, const char *text, sl_special special,
                           const int32_t *ids, size_t n)
{
    sl_tokens got = {0};
    assert_int_equal(sl_tokenizer_encode(t, text, strlen(text), special, &got), SL_OK);
    assert_int_equal(got.n, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(got.ids[i], ids[i]);
    sl_tokens_free(&got);
}
#define ASSERT_ENCODES(t, text, special, ...)                        \
    assert_encodes(t, text, special, (const int32_t[]){__VA_ARGS__}, \
                   sizeof(const int32_t[]){__VA_ARGS__} / sizeof(int32_t))

static void test_merges_by_score(void **state)
{
    const sl_tokenizer *t = ((opened *)*state)->tokenizer;
    ASSERT_ENCODES(t, "hello", SL_SPECIAL_AS_TEXT, W + 12);
    ASSERT_ENCODES(t, " a", SL_SPECIAL_AS_TEXT, W, W + 13);
    ASSERT_ENCODES(t, "\xe2\x96\x81\x61", SL_SPECIAL_AS_TEXT, W, W + 13); /* U+2581 is a space */
    ASSERT_ENCODES(t, "aaa", SL_SPECIAL_AS_TEXT, W + 13, W + 14);
}

/* Of pairs that score the same the left one goes first, whichever has the lower id. */
static void test_equal_scores(void **state)
{
    (void)state;
    synth_spm spm;
    opened o;
    synth_spm_init(&spm);
    spm.texts[W + 16] = "oa"; /* after it comes ao, and both score -7 */
    spm.scores[W + 16] = -7;
    open_spm(&spm, &o);
    ASSERT_ENCODES(o.tokenizer, "\xc3\xa9oao", SL_SPECIAL_AS_TEXT, W, W + 6, W + 16, W + 5);
    ASSERT_ENCODES(o.tokenizer, "\xc3\xa9\x61oa", SL_SPECIAL_AS_TEXT, W, W + 6, W + 17, W + 1);
    close_opened(&o);
}

static void test_bytes(void **state)
{
    const sl_tokenizer *t = ((opened *)*state)->tokenizer;
    ASSERT_ENCODES(t, "\n", SL_SPECIAL_AS_TEXT, W, BYTE(10));
    ASSERT_ENCODES(t, "a\xe4\xbd\xa0h", SL_SPECIAL_AS_TEXT, W + 13, BYTE(0xe4), BYTE(0xbd),
                   BYTE(0xa0), W + 2);
    ASSERT_ENCODES(t, "a\xff", SL_SPECIAL_AS_TEXT, W + 13, BYTE(0xff));
    /* what spells a byte token is text */
    ASSERT_ENCODES(t, "<0x", SL_SPECIAL_AS_TEXT, W, BYTE('<'), BYTE('0'), BYTE('x'));
}

static void test_specials(void **state)
{
    const sl_tokenizer *t = ((opened *)*state)->tokenizer;
    ASSERT_ENCODES(t, "a</s>a<unk>", SL_SPECIAL_PARSED, W + 13, SYNTH_SPM_EOS, W + 13,
                   SYNTH_SPM_UNKNOWN);
    ASSERT_ENCODES(t, "<s>", SL_SPECIAL_AS_TEXT, W, BYTE('<'), BYTE('s'), BYTE('>'));
    /* user-defined tokens are text, found in both */
    ASSERT_ENCODES(t, "a<|u|>a", SL_SPECIAL_AS_TEXT, W + 13, SYNTH_SPM_USER, W + 13);
    assert_true(sl_tokenizer_is_control(t, SYNTH_SPM_UNKNOWN) &&
                sl_tokenizer_is_control(t, SYNTH_SPM_EOS) &&
                !sl_tokenizer_is_control(t, SYNTH_SPM_USER));
    assert_true(sl_tokenizer_ends(t, SYNTH_SPM_EOS)); /* ids that the file does not tell */
    assert_int_equal(sl_tokenizer_bos(t), SYNTH_SPM_BOS);
    assert_true(sl_tokenizer_adds_bos(t));
}

/* Whether the token of each of these names ends a text, in a vocabulary that has them all as
 * control tokens. */
static void check_ends(const char *const *names, size_t n, uint32_t end_bits, const char *key)
{
    enum { CONTROL = 3 };
    synth_spm spm;
    opened o;
    sl_gguf_writer w = {0};
    synth_spm_init(&spm);
    for (size_t i = 0; i < n; i++) {
        spm.texts[W + i] = names[i];
        spm.types[W + i] = CONTROL;
    }
    synth_spm_put(&w, &spm);
    if (key) sl_gguf_put_u32(&w, key, W);
    open_writer(&w, &o);
    for (size_t i = 0; i < n; i++)
        if (sl_tokenizer_ends(o.tokenizer, (int32_t)(W + i)) != (end_bits >> i & 1))
            fail_msg("%s among %zu, %s", names[i], n, key ? key : "no key");
    close_opened(&o);
}

static void test_ends(void **state)
{
    (void)state;
    static const char *const chat[] = {"<|im_start|>", "<|end|>", "<end_of_turn>", "[EOT]",
                                       "<|fim_pad|>",  "<turn|>", "<|im_end|>",    "</think>"};
    static const char *const harmony[] = {"<|start|>", "<|end|>", "<|return|>", "<|call|>"};
    static const char *const turn[] = {"<|turn|>", "<|other|>"};
    check_ends(chat, 8, 0x7E, NULL);
    check_ends(harmony, 4, 0xC, NULL); /* a message's end is not the answer's */
    check_ends(turn, 2, 0, NULL);
    check_ends(turn, 2, 1, "tokenizer.ggml.eos_token_id");
    check_ends(turn, 2, 1, "tokenizer.ggml.eot_token_id");
    check_ends(turn, 2, 1, "tokenizer.ggml.eom_token_id");
    check_ends(turn, 2, 1, "tokenizer.ggml.fim_sep_token_id");
}

/* Control tokens are no text, but those around a thought are. */
static void test_thoughts(void **state)
{
    (void)state;
    enum { CONTROL = 3 };
    static const char *const names[] = {"<think>", "</think>", "<|end|>"};
    synth_spm spm;
    opened o;
    sl_gguf_writer w = {0};
    synth_spm_init(&spm);
    for (size_t i = 0; i < 3; i++) {
        spm.texts[W + i] = names[i];
        spm.types[W + i] = CONTROL;
    }
    synth_spm_put(&w, &spm);
    open_writer(&w, &o);
    sl_decode_state decoding = {0};
    char out[64];
    size_t n = 0;
    for (int32_t id = W; id < W + 4; id++)
        n += sl_tokenizer_decode(o.tokenizer, &decoding, id, out + n);
    out[n] = 0;
    assert_string_equal(out, "<think></think>e");
    close_opened(&o);
}

/* A control token may not come to be from two parts, but ordinary ones may. */
static void test_parts(void **state)
{
    const sl_tokenizer *t = ((opened *)*state)->tokenizer;
    sl_text_part parts[] = {{{"hel", 3}, SL_SPECIAL_PARSED},  {{"lo", 2}, SL_SPECIAL_AS_TEXT},
                            {{"", 0}, SL_SPECIAL_PARSED},     {{"</", 2}, SL_SPECIAL_PARSED},
                            {{"s>", 2}, SL_SPECIAL_AS_TEXT},  {{"</s>", 4}, SL_SPECIAL_AS_TEXT},
                            {{"</s>a", 5}, SL_SPECIAL_PARSED}};
    sl_tokens got = {0};
    assert_int_equal(sl_tokenizer_encode_parts(t, parts, sizeof parts / sizeof *parts, &got),
                     SL_OK);
    const int32_t ids[] = {W + 12,    BYTE('<'), BYTE('/'), BYTE('s'),     BYTE('>'), BYTE('<'),
                           BYTE('/'), BYTE('s'), BYTE('>'), SYNTH_SPM_EOS, W + 13};
    assert_int_equal(got.n, sizeof ids / sizeof *ids);
    assert_memory_equal(got.ids, ids, sizeof ids);
    sl_tokens_free(&got);
}

static size_t decode(const sl_tokenizer *t, bool begins, const sl_tokens *ids, char *out)
{
    sl_decode_state state = {.begins = begins};
    size_t n = 0;
    for (size_t i = 0; i < ids->n; i++) n += sl_tokenizer_decode(t, &state, ids->ids[i], out + n);
    return n + sl_tokenizer_decode_end(&state, out + n);
}

static void test_back_to_text(void **state)
{
    const sl_tokenizer *t = ((opened *)*state)->tokenizer;
    seeded random = seeded_from(7);
    static const char letters[] = "ahelo \n<|u>\xc3\xa9";
    for (int round = 0; round < ROUNDS; round++) {
        char text[TEXT_BYTES_MAX], out[8 * TEXT_BYTES_MAX];
        size_t n = seeded_below(&random, TEXT_BYTES_MAX - 4), at = 0;
        while (at < n) {
            size_t i = seeded_below(&random, sizeof letters - 2);
            if (i == 11) text[at++] = letters[i]; /* whole characters */
            text[at++] = i == 11 ? letters[12] : letters[i];
        }
        sl_tokens ids = {0};
        assert_seeded(&random, sl_tokens_add(&ids, SYNTH_SPM_BOS) == SL_OK);
        assert_seeded(&random, sl_tokenizer_encode(t, text, at, SL_SPECIAL_AS_TEXT, &ids) == SL_OK);
        if (!memmem(text, at, "<|u|>", 5)) { /* what follows it gets a space of its own */
            size_t back = decode(t, true, &ids, out);
            assert_seeded(&random, back == at && memcmp(text, out, at) == 0);
            back = decode(t, false, &ids, out); /* what continues a prompt keeps its space */
            assert_seeded(&random, at == 0 || (back == at + 1 && out[0] == ' '));
        }
        sl_tokens_free(&ids);
    }
}

static void test_without_space(void **state)
{
    (void)state;
    synth_spm spm;
    opened o;
    sl_gguf_writer w = {0};
    synth_spm_init(&spm);
    synth_spm_put(&w, &spm);
    sl_gguf_put_bool(&w, "tokenizer.ggml.add_space_prefix", false);
    sl_gguf_put_bool(&w, "tokenizer.ggml.add_bos_token", false);
    open_writer(&w, &o);
    ASSERT_ENCODES(o.tokenizer, "hello a", SL_SPECIAL_AS_TEXT, W + 11, W + 13);
    assert_false(sl_tokenizer_adds_bos(o.tokenizer));
    bool begins = true;
    assert_int_equal(sl_tokenizer_text(o.tokenizer, &begins, W + 13).bytes, 2);
    close_opened(&o);
}

static void assert_whole(const sl_tokenizer *t, const char *text, sl_special special,
                         const int32_t *ids, size_t n)
{
    sl_tokens got = {0};
    assert_int_equal(sl_tokenizer_encode_whole(t, text, strlen(text), special, &got), SL_OK);
    assert_int_equal(got.n, n);
    assert_memory_equal(got.ids, ids, n * sizeof *ids);
    sl_tokens_free(&got);
}

/* BOS and EOS are added where the file asks for them and the text does not have them. */
static void test_whole_texts(void **state)
{
    synth_spm spm;
    opened o;
    sl_gguf_writer w = {0};
    synth_spm_init(&spm);
    synth_spm_put(&w, &spm);
    sl_gguf_put_bool(&w, "tokenizer.ggml.add_eos_token", true);
    open_writer(&w, &o);
    const int32_t whole[] = {SYNTH_SPM_BOS, W + 13, SYNTH_SPM_EOS};
    assert_true(sl_tokenizer_adds_eos(o.tokenizer));
    assert_whole(o.tokenizer, "a", SL_SPECIAL_PARSED, whole, 3);
    assert_whole(o.tokenizer, "<s>a</s>", SL_SPECIAL_PARSED, whole, 3);
    assert_whole(o.tokenizer, "a</s>", SL_SPECIAL_PARSED, whole, 3);
    const int32_t nothing[] = {SYNTH_SPM_BOS, SYNTH_SPM_EOS};
    assert_whole(o.tokenizer, "", SL_SPECIAL_PARSED, nothing, 2);
    const int32_t as_text[] = {SYNTH_SPM_BOS, W, BYTE('<'), BYTE('s'), BYTE('>'), SYNTH_SPM_EOS};
    assert_whole(o.tokenizer, "<s>", SL_SPECIAL_AS_TEXT, as_text, 6);
    close_opened(&o);
    const sl_tokenizer *plain = ((opened *)*state)->tokenizer; /* which says nothing of EOS */
    assert_false(sl_tokenizer_adds_eos(plain));
    assert_whole(plain, "a", SL_SPECIAL_PARSED, whole, 2);
}

/* Special tokens of all lengths, each the start of the next: the longest that counts is taken. */
static void test_specials_of_all_lengths(void **state)
{
    (void)state;
    static char runs[256][257];
    synth_spm spm;
    opened o;
    synth_spm_init(&spm);
    for (int i = 0; i < 256; i++) {
        memset(runs[i], 'x', (size_t)i + 1);
        spm.texts[BYTE(i)] = runs[i]; /* even lengths are user defined, odd ones control */
        spm.types[BYTE(i)] = i % 2 ? spm.types[SYNTH_SPM_USER] : spm.types[SYNTH_SPM_BOS];
    }
    open_spm(&spm, &o);
    ASSERT_ENCODES(o.tokenizer, runs[255], SL_SPECIAL_AS_TEXT, BYTE(255));
    for (int i = 2; i < 255; i += 2) {
        ASSERT_ENCODES(o.tokenizer, runs[i], SL_SPECIAL_PARSED, BYTE(i));
        ASSERT_ENCODES(o.tokenizer, runs[i], SL_SPECIAL_AS_TEXT, BYTE(i - 1), W, SYNTH_SPM_UNKNOWN);
    }
    close_opened(&o);
}

/* Phi-3's special tokens swallow the white space that follows. */
static void test_phi3(void **state)
{
    (void)state;
    synth_spm spm;
    opened o;
    sl_gguf_writer w = {0};
    synth_spm_init(&spm);
    synth_spm_put(&w, &spm);
    sl_gguf_put_string(&w, "general.name", "My PHI-3 tuned");
    open_writer(&w, &o);
    ASSERT_ENCODES(o.tokenizer, "</s> \n a<|u|>\t<s> a", SL_SPECIAL_PARSED, SYNTH_SPM_EOS, W + 13,
                   SYNTH_SPM_USER, SYNTH_SPM_BOS, W, W + 13);
    close_opened(&o);
}

static void test_without_bytes(void **state)
{
    (void)state;
    synth_spm spm;
    opened o;
    synth_spm_init(&spm);
    for (int i = 0; i < 256; i++) spm.types[SYNTH_SPM_BYTES + i] = 1;
    open_spm(&spm, &o);
    ASSERT_ENCODES(o.tokenizer, "a\nh", SL_SPECIAL_AS_TEXT, W + 13, SYNTH_SPM_UNKNOWN, W + 2);
    /* one for a character, not for each of its bytes */
    ASSERT_ENCODES(o.tokenizer, "a\xe4\xbd\xa0h", SL_SPECIAL_AS_TEXT, W + 13, SYNTH_SPM_UNKNOWN,
                   W + 2);
    close_opened(&o);
    /* also when only some of its bytes have a token */
    synth_spm_init(&spm);
    spm.types[BYTE(0xbd)] = 1;
    open_spm(&spm, &o);
    ASSERT_ENCODES(o.tokenizer, "a\xe4\xbd\xa0h", SL_SPECIAL_AS_TEXT, W + 13, SYNTH_SPM_UNKNOWN,
                   W + 2);
    close_opened(&o);
}

static void test_without_a_space_token(void **state)
{
    (void)state;
    synth_spm spm;
    opened o;
    synth_spm_init(&spm);
    spm.texts[W] = "x";
    open_spm(&spm, &o);
    ASSERT_ENCODES(o.tokenizer, "o \xe2\x96\x81", SL_SPECIAL_AS_TEXT, BYTE(' '), W + 5, BYTE(' '),
                   BYTE(' '));
    close_opened(&o);
}

/* ---- hostile files ---- */

static void assert_refused(sl_gguf_writer *w, const char *word)
{
    capture c;
    char log[1024];
    opened o;
    capture_begin(&c);
    open_writer(w, &o);
    capture_end(&c, log, sizeof log);
    assert_null(o.tokenizer);
    if (!strstr(log, word)) fail_msg("'%s' is not in: %s", word, log);
    close_opened(&o);
}

static void assert_spm_refused(const synth_spm *spm, const char *word)
{
    sl_gguf_writer w = {0};
    synth_spm_put(&w, spm);
    assert_refused(&w, word);
}

static void test_hostile_lists(void **state)
{
    (void)state;
    synth_spm spm;
    synth_spm_init(&spm);
    for (int missing = 0; missing < 2; missing++) {
        for (int shorter = 0; shorter < 2; shorter++) {
            sl_gguf_writer w = {0};
            sl_gguf_put_string(&w, "tokenizer.ggml.model", "llama");
            sl_gguf_put_strings(&w, "tokenizer.ggml.tokens", spm.texts, SYNTH_SPM_VOCAB);
            size_t n_types = missing == 0 ? SYNTH_SPM_VOCAB - 1 : SYNTH_SPM_VOCAB;
            if (missing == 1 || shorter)
                sl_gguf_put_i32s(&w, "tokenizer.ggml.token_type", spm.types, n_types);
            if (missing == 1 && shorter)
                sl_gguf_put_f32s(&w, "tokenizer.ggml.scores", spm.scores, SYNTH_SPM_VOCAB - 1);
            assert_refused(&w, missing == 0 ? "token_type" : "scores");
        }
    }
}

/* As converters write "none": what the key says is ignored, as llama.cpp does. */
static void test_ids_of_no_token(void **state)
{
    (void)state;
    synth_spm spm;
    synth_spm_init(&spm);
    sl_gguf_writer w = {0};
    synth_spm_put(&w, &spm);
    sl_gguf_put_u32(&w, "tokenizer.ggml.bos_token_id", SYNTH_SPM_VOCAB);
    sl_gguf_put_u32(&w, "tokenizer.ggml.eot_token_id", UINT32_MAX);
    opened o;
    open_writer(&w, &o);
    assert_non_null(o.tokenizer);
    assert_int_equal(sl_tokenizer_bos(o.tokenizer), 1);
    close_opened(&o);
}

static void test_hostile_tokens(void **state)
{
    (void)state;
    char long_text[400];
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    synth_spm spm;
    synth_spm_init(&spm);
    spm.scores[W] = NAN;
    assert_spm_refused(&spm, "not a number");
    synth_spm_init(&spm);
    spm.texts[W] = long_text;
    assert_spm_refused(&spm, "256 bytes");
    synth_spm_init(&spm);
    spm.texts[SYNTH_SPM_USER] = long_text;
    assert_spm_refused(&spm, "256 bytes");
    static const char *const wrong[] = {"<0x0>", "<0x0G>", "<0x00", "", "<0x000>"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        synth_spm_init(&spm);
        spm.texts[SYNTH_SPM_BYTES] = wrong[i];
        assert_spm_refused(&spm, "<0x0A>");
    }
    /* strange, but harmless: all the same, empty, infinite scores, bad UTF-8 */
    synth_spm_init(&spm);
    for (int i = W + 7; i < SYNTH_SPM_VOCAB; i++) {
        spm.texts[i] = i % 3 == 0 ? "" : i % 3 == 1 ? "aa" : "\xa9\xc3";
        spm.scores[i] = i % 2 ? INFINITY : -INFINITY;
    }
    opened o;
    open_spm(&spm, &o);
    ASSERT_ENCODES(o.tokenizer, "haa", SL_SPECIAL_AS_TEXT, W, W + 2, W + 8);
    close_opened(&o);
}

/* Small files that would take much memory. */
static void test_hostile_sizes(void **state)
{
    (void)state;
    static char runs[256][257];
    synth_spm spm;
    synth_spm_init(&spm);
    for (int i = 0; i < 256; i++) {
        memset(runs[i], 'a', (size_t)i + 1);
        spm.texts[BYTE(i)] = runs[i];
        spm.types[BYTE(i)] = spm.types[W];
    }
    assert_spm_refused(&spm, "ways to cut a token");
    size_t n = (1 << 20) + 1;
    const char **texts = calloc(n, sizeof *texts);
    for (size_t i = 0; i < n; i++) texts[i] = "a";
    sl_gguf_writer w = {0};
    sl_gguf_put_string(&w, "tokenizer.ggml.model", "llama");
    sl_gguf_put_strings(&w, "tokenizer.ggml.tokens", texts, n);
    assert_refused(&w, "of no sensible size");
    free(texts);
}

static void test_other_models(void **state)
{
    (void)state;
    static const char *const rules[] = {"default", "bloom", ""};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        sl_gguf_writer w = {0};
        sl_gguf_put_string(&w, "tokenizer.ggml.model", "gpt2");
        if (*rules[i]) sl_gguf_put_string(&w, "tokenizer.ggml.pre", rules[i]);
        assert_refused(&w, i == 1 ? "tekken, gpt-4o, viking" : "convert the model again");
    }
    sl_gguf_writer w = {0};
    sl_gguf_put_string(&w, "tokenizer.ggml.model", "t5");
    assert_refused(&w, "'gpt2' (byte-level BPE) and 'llama' (SentencePiece BPE)");
}

static void test_time_is_near_linear(void **state)
{
    static const char *const units[] = {"a",        "hello", " ",  "\xff",
                                        "\xe2\x96", "<",     "ao", "\xe2\x96\x81"};
    check_encode_time(((opened *)*state)->tokenizer, units, sizeof units / sizeof *units);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_by_score),
        cmocka_unit_test(test_equal_scores),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_thoughts),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_back_to_text),
        cmocka_unit_test(test_without_space),
        cmocka_unit_test(test_whole_texts),
        cmocka_unit_test(test_specials_of_all_lengths),
        cmocka_unit_test(test_phi3),
        cmocka_unit_test(test_without_bytes),
        cmocka_unit_test(test_without_a_space_token),
        cmocka_unit_test(test_hostile_lists),
        cmocka_unit_test(test_ids_of_no_token),
        cmocka_unit_test(test_hostile_tokens),
        cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_other_models),
        cmocka_unit_test(test_time_is_near_linear),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
