/* tests/unit/text/test_tokenizer.c - what must hold for any vocabulary, on one made on the spot:
 * round trips of any bytes, streams of whole characters, time that does not explode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/clock.h"
#include "runtime/text/pretokenizer.h"
#include "tests/support/encode_time.h"
#include "tests/support/seeded.h"
#include "tests/support/tiny_model_group.h"

enum { ROUNDS = 2000, TEXT_BYTES_MAX = 200 };

static void test_any_bytes_come_back(void **state)
{
    (void)state;
    seeded random = seeded_from(4);
    for (int round = 0; round < ROUNDS; round++) {
        char text[TEXT_BYTES_MAX];
        size_t n = seeded_below(&random, TEXT_BYTES_MAX), at = 0;
        for (size_t i = 0; i < n; i++) text[i] = (char)seeded_bits(&random);
        sl_tokens ids = {0};
        assert_seeded(&random, sl_tokenizer_encode(model.tokenizer, text, n, SL_SPECIAL_AS_TEXT,
                                                   &ids) == SL_OK);
        for (size_t i = 0; i < ids.n; i++) {
            sl_text piece = sl_tokenizer_piece(model.tokenizer, ids.ids[i]);
            assert_seeded(&random, piece.bytes <= n - at);
            assert_seeded(&random, memcmp(text + at, piece.data, piece.bytes) == 0);
            at += piece.bytes;
        }
        assert_seeded(&random, at == n);
        sl_tokens_free(&ids);
    }
}

/* Bytes of the character at s, or 0: Unicode's table 3-7, by decoding and encoding. */
static size_t character(const uint8_t *s, size_t n)
{
    size_t length = s[0] < 0x80       ? 1
                    : s[0] >> 5 == 6  ? 2
                    : s[0] >> 4 == 14 ? 3
                    : s[0] >> 3 == 30 ? 4
                                      : 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (length == 0 || length > n) return 0;
    uint32_t point = length == 1 ? s[0] : s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (s[i] >> 6 != 2) return 0;
        point = point << 6 | (s[i] & 0x3f);
    }
    bool surrogate = point >= 0xd800 && point < 0xe000;
    return point < least[length] || point > 0x10ffff || surrogate ? 0 : length;
}

/* Could these n bytes be the start of a character? Tried with every end there is. */
static bool starts_character(const uint8_t *s, size_t n)
{
    uint8_t whole[4] = {0};
    memcpy(whole, s, n);
    for (size_t length = n + 1; length <= 4; length++) {
        for (unsigned next = 0x80; next < 0xc0; next++) {
            memset(whole + n, 0x80, 4 - n);
            whole[n] = (uint8_t)next;
            if (character(whole, length) == length) return true;
        }
    }
    return false;
}

/* The lossy whole decoding: each longest start of a character that fails is one U+FFFD. */
static size_t lossy(const uint8_t *s, size_t n, char *out)
{
    size_t written = 0;
    for (size_t at = 0; at < n;) {
        size_t length = character(s + at, n - at), broken = 1;
        if (length > 0) {
            memcpy(out + written, s + at, length);
            written += length;
            at += length;
            continue;
        }
        while (broken < 3 && at + broken < n && starts_character(s + at, broken + 1)) broken++;
        memcpy(out + written, "\xef\xbf\xbd", 3);
        written += 3;
        at += broken;
    }
    return written;
}

static void test_streams_of_whole_characters(void **state)
{
    (void)state;
    enum { IDS = 60 };
    seeded random = seeded_from(5);
    size_t room = sl_tokenizer_decode_bytes_max(model.tokenizer);
    char *stream = malloc(room * (IDS + 1)), *whole = malloc(room * (IDS + 1)),
         *bytes = malloc(room * IDS);
    for (int round = 0; round < ROUNDS; round++) {
        sl_decode_state decode = {0};
        size_t n_stream = 0, n_bytes = 0;
        for (int i = 0; i < IDS; i++) {
            /* mostly bytes that characters of several are made of */
            int32_t id = seeded_below(&random, 4) == 0
                             ? (int32_t)seeded_below(&random, TINY_VOCAB)
                             : tiny_byte((unsigned char)(0x80 + seeded_below(&random, 0x80)));
            size_t n = sl_tokenizer_decode(model.tokenizer, &decode, id, stream + n_stream);
            assert_seeded(&random, n <= room);
            for (size_t at = 0, length; at < n; at += length) {
                length = character((uint8_t *)stream + n_stream + at, n - at);
                assert_seeded(&random, length > 0); /* no half characters */
            }
            n_stream += n;
            if (sl_tokenizer_is_control(model.tokenizer, id)) continue;
            sl_text piece = sl_tokenizer_piece(model.tokenizer, id);
            memcpy(bytes + n_bytes, piece.data, piece.bytes);
            n_bytes += piece.bytes;
        }
        n_stream += sl_tokenizer_decode_end(&decode, stream + n_stream);
        size_t n_whole = lossy((uint8_t *)bytes, n_bytes, whole);
        assert_seeded(&random, n_whole == n_stream && memcmp(stream, whole, n_whole) == 0);
    }
    free(stream);
    free(whole);
    free(bytes);
}

static void test_specials(void **state)
{
    (void)state;
    static const char text[] = "a<|im_end|>b";
    sl_tokens parsed = {0}, plain = {0};
    assert_int_equal(sl_tokenizer_encode(model.tokenizer, text, 12, SL_SPECIAL_PARSED, &parsed),
                     SL_OK);
    assert_int_equal(sl_tokenizer_encode(model.tokenizer, text, 12, SL_SPECIAL_AS_TEXT, &plain),
                     SL_OK);
    assert_int_equal(parsed.n, 3);
    assert_int_equal(parsed.ids[1], TINY_IM_END);
    for (size_t i = 0; i < plain.n; i++)
        assert_false(sl_tokenizer_is_control(model.tokenizer, plain.ids[i]));
    assert_int_equal(sl_tokenizer_special_id(model.tokenizer, "<|im_start|>"), TINY_IM_START);
    assert_int_equal(sl_tokenizer_special_id(model.tokenizer, "a"), -1);
    assert_true(sl_tokenizer_ends(model.tokenizer, TINY_IM_END) &&
                sl_tokenizer_ends(model.tokenizer, TINY_ENDOFTEXT) &&
                !sl_tokenizer_ends(model.tokenizer, TINY_IM_START));
    assert_int_equal(sl_tokenizer_piece(model.tokenizer, -1).bytes, 0);
    assert_int_equal(sl_tokenizer_piece(model.tokenizer, TINY_VOCAB).bytes, 0);
    sl_tokens_free(&parsed);
    sl_tokens_free(&plain);
}

/* A megabyte that is one piece, or all bad UTF-8, or all pieces of one byte. */
static void test_time_is_near_linear(void **state)
{
    (void)state;
    static const char *const units[] = {"a", "ta", " ",        "\n",   "\xff", "\xe4\xbd\xa0",
                                        "1", "<",  "\xe2\x82", "a\xff"};
    check_encode_time(model.tokenizer, units, sizeof units / sizeof *units);
}

/* ---- splitting ---- */

typedef struct {
    char text[TEXT_BYTES_MAX];
    size_t n_pieces, n_bytes;
} pieces;

static sl_status add_piece(void *context, const char *piece, size_t bytes)
{
    pieces *p = context;
    if (p->n_bytes + bytes < TEXT_BYTES_MAX / 2) {
        strncat(p->text, piece, bytes);
        strcat(p->text, "|");
    }
    p->n_pieces++;
    p->n_bytes += bytes;
    return SL_OK;
}

static const char *const RULES[] = {"gpt-2",        "smollm",         "llama-bpe", "qwen2",
                                    "seed-coder",   "tekken",         "gpt-4o",    "viking",
                                    "deepseek-llm", "deepseek-coder", "minicpm5"};
enum { N_RULES = sizeof RULES / sizeof *RULES };
typedef sl_status (*open_call)(sl_text rule_name, sl_pretokenizer **pretokenizer_out);
static const open_call OPENS[] = {sl_pretokenizer_open, sl_pretokenizer_open_interpreted};

/* What is no UTF-8 stands alone, and what is before it ends as a text does. */
static void test_bytes_that_are_no_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *split;
    } cases[] = {
        {"a\xff\xfe"
         "b c",
         "a|\xff\xfe|b| c|"},
        {"a  \xff  a", "a|  |\xff| | a|"},
        {"\xe2\x82"
         "a\xe2\x82",
         "\xe2\x82|a|\xe2\x82|"},
        {"a\xed\xa0\x80!\xf4\x90\x80\x80", "a|\xed\xa0\x80|!|\xf4\x90\x80\x80|"},
        {"\xc0\xaf 1\xe2\x82\xac", "\xc0\xaf| 1|\xe2\x82\xac|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int how = 0; how < 2; how++) {
            sl_pretokenizer *rule;
            pieces got = {0};
            assert_int_equal(OPENS[how]((sl_text){"gpt-2", 5}, &rule), SL_OK);
            assert_int_equal(
                sl_pretokenizer_run(rule, cases[i].text, strlen(cases[i].text), add_piece, &got),
                SL_OK);
            assert_string_equal(got.text, cases[i].split);
            sl_pretokenizer_close(rule);
        }
    }
}

/* PCRE2's interpreter, in place of its JIT, may look at a text's rest once, not at every match. */
static void test_splitting_without_jit(void **state)
{
    (void)state;
    static const char unit[] = "ab 1, \xc3\xa9\n\xe4\xbd\xa0";
    char *text = malloc(LONG_BYTES);
    for (size_t i = 0; i < LONG_BYTES; i++) text[i] = unit[i % (sizeof unit - 1)];
    for (int i = 0; i < N_RULES; i++) {
        sl_text name = {RULES[i], strlen(RULES[i])};
        pieces got[2] = {{.n_pieces = 0}, {.n_pieces = 0}};
        for (int how = 0; how < 2; how++) {
            sl_pretokenizer *rule;
            assert_int_equal(OPENS[how](name, &rule), SL_OK);
            int64_t start = sl_clock_now_ns();
            assert_int_equal(sl_pretokenizer_run(rule, text, LONG_BYTES, add_piece, &got[how]),
                             SL_OK);
            double seconds = (double)(sl_clock_now_ns() - start) / (double)SL_SECOND;
            print_message("%s%s: %.3f s\n", RULES[i], how ? ", interpreted" : "", seconds);
            if (seconds > 20) fail_msg("%s: %.1f s", RULES[i], seconds);
            sl_pretokenizer_close(rule);
        }
        assert_int_equal(got[1].n_bytes, LONG_BYTES);
        assert_int_equal(got[0].n_pieces, got[1].n_pieces);
        assert_string_equal(got[0].text, got[1].text);
    }
    free(text);
}

/* More white space than PCRE2's own limit of steps, and what could be tried from each blank on. */
static void test_splitting_much_white_space(void **state)
{
    (void)state;
    enum { BYTES = 12 << 20 };
    static const char *const rules[] = {"gpt-2", "llama-bpe", "viking", "deepseek-llm"};
    static const char *const ends[] = {"x", "\xf0\x9f\x98\x80"};
    char *text = malloc(BYTES);
    for (size_t end = 0; end < sizeof ends / sizeof *ends; end++) {
        size_t n_end = strlen(ends[end]), n = end == 0 ? BYTES : LONG_BYTES / 4;
        memset(text, ' ', n);
        memcpy(text + n - n_end, ends[end], n_end);
        for (int i = 0; i < 8; i++) {
            const char *name = rules[i / 2];
            sl_pretokenizer *rule;
            pieces got = {0};
            assert_int_equal(OPENS[i % 2]((sl_text){name, strlen(name)}, &rule), SL_OK);
            assert_int_equal(sl_pretokenizer_run(rule, text, n, add_piece, &got), SL_OK);
            assert_int_equal(got.n_bytes, n);
            bool deepseek = strncmp(name, "deepseek", 8) == 0; /* has no piece for an emoji */
            assert_int_equal(got.n_pieces, end == 1 && deepseek ? 1 : 2);
            sl_pretokenizer_close(rule);
        }
    }
    free(text);
}

/* A long word, of one letter or of many: what is a capital is tried before
 * what is none. */
static void test_splitting_long_words(void **state)
{
    (void)state;
    enum { BYTES = 1 << 18 };
    static const char *const rules[] = {"tekken", "gpt-4o"};
    static const char *const units[] = {"a",  "A",  "aA", "Aa", "\xe4\xbd\xa0",
                                        "-A", "'s", "1",  "/\n"};
    char *text = malloc(BYTES);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t unit = strlen(units[u]), n = BYTES / unit * unit;
        for (size_t i = 0; i < n; i++) text[i] = units[u][i % unit];
        for (int i = 0; i < 4; i++) {
            const char *name = rules[i / 2];
            sl_pretokenizer *rule;
            pieces got = {0};
            assert_int_equal(OPENS[i % 2]((sl_text){name, strlen(name)}, &rule), SL_OK);
            int64_t start = sl_clock_now_ns();
            assert_int_equal(sl_pretokenizer_run(rule, text, n, add_piece, &got), SL_OK);
            double seconds = (double)(sl_clock_now_ns() - start) / (double)SL_SECOND;
            assert_int_equal(got.n_bytes, n);
            if (seconds > 20) fail_msg("%s, '%s': %.1f s", name, units[u], seconds);
            sl_pretokenizer_close(rule);
        }
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_bytes_come_back),
        cmocka_unit_test(test_streams_of_whole_characters),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_time_is_near_linear),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_splitting_without_jit),
        cmocka_unit_test(test_splitting_much_white_space),
        cmocka_unit_test(test_splitting_long_words),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
