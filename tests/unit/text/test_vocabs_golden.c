/* tests/unit/text/test_vocabs_golden.c - ids of Llama 2 and 3, Qwen 2 and Phi 3 vocabularies equal
 * llama.cpp's and the libraries', and conversations equal the models' own templates
 * (tests/golden/tokenizer/README.md). Needs SLUICE_TEST_VOCABS, the folder that
 * tests/golden/tokenizer/fetch_vocabs.sh prints; for books SLUICE_TEST_DATA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/clock.h"
#include "runtime/base/read_file.h"
#include "runtime/text/chat.h"
#include "runtime/text/tokenizer.h"
#include "tests/support/golden_rows.h"

enum { GENERATED_BYTES = 1 << 20, PIECE_MAX = 1 << 12, STRINGS_MAX = 256, CANNOT_RUN = 77 };
enum { N_VOCABS = 4 };
static const char *const NAMES[N_VOCABS] = {"llama-bpe", "qwen2", "llama-spm", "phi-3"};

static const char *folder;
static sl_gguf *ggufs[N_VOCABS];
static sl_tokenizer *tokenizers[N_VOCABS];

static sl_tokenizer *named(const json_t *name)
{
    for (int i = 0; i < N_VOCABS; i++)
        if (strcmp(NAMES[i], json_string_value(name)) == 0) return tokenizers[i];
    fail_msg("no vocabulary '%s'", json_string_value(name));
    return NULL;
}

static void test_hard_strings(void **state)
{
    (void)state;
    for (int i = 0; i < N_VOCABS; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s.jsonl", NAMES[i]);
        golden_each_row(name, 80, golden_check_text, tokenizers[i]);
    }
}

/* ---- a mixed megabyte: make_vocabs.py has the same ---- */

typedef struct {
    json_t *rows[STRINGS_MAX];
    size_t n;
    uint64_t state;
} source;

static uint64_t below(source *s, uint64_t limit)
{
    s->state = s->state * 6364136223846793005U + 1442695040888963407U;
    return (s->state >> 33) % limit;
}

static void keep_row(const json_t *row, void *context)
{
    source *s = context;
    assert_true(s->n < STRINGS_MAX);
    s->rows[s->n++] = json_incref(json_object_get(row, "text"));
}

static size_t put_point(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(0xF00 >> n | c);
    return n;
}

static size_t put_piece(source *s, const json_t *ranges, char *out)
{
    if (below(s, 4) == 0) {
        const json_t *text = s->rows[below(s, s->n)];
        memcpy(out, json_string_value(text), json_string_length(text));
        return json_string_length(text);
    }
    const json_t *range = json_array_get(ranges, below(s, json_array_size(ranges)));
    uint32_t low = (uint32_t)json_integer_value(json_array_get(range, 0));
    uint32_t high = (uint32_t)json_integer_value(json_array_get(range, 1));
    size_t n = 0;
    for (uint64_t left = 1 + below(s, 8); left > 0; left--)
        n += put_point(low + (uint32_t)below(s, high - low + 1), out + n);
    return n;
}

static char *generate(const json_t *ranges, size_t *n_out)
{
    source s = {.state = 1};
    golden_each_row("llama-bpe.jsonl", 80, keep_row, &s);
    char *text = malloc(GENERATED_BYTES + PIECE_MAX);
    size_t n = 0;
    while (n < GENERATED_BYTES) n += put_piece(&s, ranges, text + n);
    for (size_t i = 0; i < s.n; i++) json_decref(s.rows[i]);
    *n_out = n;
    return text;
}

static void check_generated(const json_t *row, void *context)
{
    (void)context;
    const char *name = json_string_value(json_object_get(row, "vocab"));
    size_t n;
    char *text = generate(json_object_get(row, "ranges"), &n);
    assert_int_equal(n, json_integer_value(json_object_get(row, "bytes")));
    golden_check_long(json_object_get(row, "generated"), name, named(json_object_get(row, "vocab")),
                      text, n, SL_SPECIAL_AS_TEXT);
    free(text);
}

static void test_generated_megabyte(void **state)
{
    (void)state;
    golden_each_row("mixed.jsonl", N_VOCABS, check_generated, NULL);
}

static void check_books(const json_t *row, void *data)
{
    const char *name;
    json_t *texts = json_object_get(row, "texts"), *book;
    json_object_foreach(texts, name, book)
    {
        size_t bytes = (size_t)json_integer_value(json_object_get(book, "bytes"));
        char *text = golden_read(data, name, bytes);
        golden_check_long(book, name, named(json_object_get(row, "vocab")), text, bytes,
                          SL_SPECIAL_AS_TEXT);
        free(text);
    }
}

static void test_books(void **state)
{
    (void)state;
    char data[GOLDEN_PATH_BYTES / 2];
    if (!getenv("SLUICE_TEST_DATA")) {
        print_message("SLUICE_TEST_DATA is not set: books are not compared\n");
        skip();
    }
    snprintf(data, sizeof data, "%s/text", getenv("SLUICE_TEST_DATA"));
    golden_each_row("mixed.jsonl", N_VOCABS, check_books, data);
}

/* ---- splitting rules of other models ---- */

/* The vocabulary of Llama 3 with the rule in the place of its own: a text's length and the text. */
static uint8_t *with_rule(const char *rule, size_t *n_out)
{
    static const char key[] = "tokenizer.ggml.pre\x08\0\0\0\x09\0\0\0\0\0\0\0llama-bpe";
    char path[GOLDEN_PATH_BYTES];
    snprintf(path, sizeof path, "%s/ggml-vocab-llama-bpe.gguf", folder);
    char *file;
    size_t n, before = sizeof key - 1 - 9 - sizeof(uint64_t);
    assert_int_equal(sl_read_file(path, &file, &n), SL_OK);
    const char *found = memmem(file, n, key, sizeof key - 1);
    assert_non_null(found);
    const char *rest = found + sizeof key - 1;
    uint64_t rule_bytes = strlen(rule);
    uint8_t *out = malloc(n + rule_bytes);
    size_t at = (size_t)(found - file) + before;
    memcpy(out, file, at);
    memcpy(out + at, &rule_bytes, sizeof rule_bytes);
    at += sizeof rule_bytes;
    memcpy(out + at, rule, rule_bytes);
    memcpy(out + at + rule_bytes, rest, n - (size_t)(rest - file));
    *n_out = n - 9 + rule_bytes;
    free(file);
    return out;
}

static void check_rule(const json_t *row, void *context)
{
    const char *rule = json_string_value(json_object_get(row, "rule"));
    size_t n;
    uint8_t *file = with_rule(rule, &n);
    sl_gguf *gguf;
    sl_tokenizer *tokenizer;
    assert_int_equal(sl_gguf_open_memory(file, n, rule, &gguf), SL_OK);
    assert_int_equal(sl_tokenizer_open(gguf, &tokenizer), SL_OK);
    assert_int_equal(sl_tokenizer_adds_bos(tokenizer),
                     json_boolean_value(json_object_get(row, "adds_bos")));
    golden_check_long(row, rule, tokenizer, context,
                      (size_t)json_integer_value(json_object_get(row, "bytes")),
                      SL_SPECIAL_AS_TEXT);
    sl_tokenizer_close(tokenizer);
    sl_gguf_close(gguf);
    free(file);
}

static void keep_ranges(const json_t *row, void *context)
{
    json_t **ranges = context;
    if (!*ranges) *ranges = json_incref(json_object_get(row, "ranges"));
}

static void test_rules(void **state)
{
    (void)state;
    json_t *ranges = NULL;
    golden_each_row("mixed.jsonl", N_VOCABS, keep_ranges, &ranges);
    size_t n;
    char *text = generate(ranges, &n);
    golden_each_row("rules.jsonl", 23, check_rule, text);
    free(text);
    json_decref(ranges);
}

/* ---- conversations ---- */

static void check_chat(const json_t *row, const sl_chat *chat)
{
    sl_chat_message messages[GOLDEN_MESSAGES_MAX];
    size_t n = golden_messages(row, messages);
    const json_t *ids = json_object_get(row, "ids");
    sl_tokens got = {0};
    char what[128];
    sl_jinja_error error;
    snprintf(what, sizeof what, "%.60s", n ? messages[0].content.data : "");
    sl_status status = sl_chat_encode(chat, messages, n, &got, &error);
    /* null: Jinja refuses it, or leaves a message out in silence */
    if (!json_is_null(ids) && status != SL_OK) fail_msg("%s: %s", what, error.text);
    if (!json_is_null(ids)) golden_assert_ids(what, ids, &got);
    sl_tokens_free(&got);
}

static char *template_file(const char *name)
{
    char path[GOLDEN_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t capacity = 0;
    if (!file || getdelim(&text, &capacity, '\0', file) < 0) fail_msg("%s is missing", path);
    fclose(file);
    return text;
}

static void check_template(const json_t *row, void *context)
{
    const char *name = json_string_value(json_object_get(row, "file"));
    char *text = name ? template_file(name)
                      : strdup(json_string_value(json_object_get(row, "template")));
    golden_check_template(row, (sl_text){text, strlen(text)}, named(json_object_get(row, "vocab")),
                          check_chat, context);
    free(text);
}

static void test_conversations(void **state)
{
    (void)state;
    golden_counts counts = {0};
    golden_each_row("templates.jsonl", 33, check_template, &counts);
    assert_int_equal(counts.templates, 33);
    assert_int_equal(counts.chats, 660);
}

/* Those two files carry a template of their own. */
static void test_templates_in_files(void **state)
{
    (void)state;
    static const bool has[N_VOCABS] = {false, true, false, true};
    for (int i = 0; i < N_VOCABS; i++) {
        sl_chat *chat;
        assert_int_equal(sl_chat_open(ggufs[i], tokenizers[i], &chat), SL_OK);
        assert_int_equal(chat != NULL, has[i]);
        sl_chat_close(chat);
    }
}

/* A prompt begins with BOS once, if the file asks for it: by its kind, where it says nothing. */
static void test_bos(void **state)
{
    (void)state;
    static const int32_t bos[N_VOCABS] = {128000, -1, 1, 1};
    for (int i = 0; i < N_VOCABS; i++) {
        assert_int_equal(sl_tokenizer_adds_bos(tokenizers[i]), bos[i] >= 0);
        if (bos[i] < 0) continue;
        sl_text name = sl_tokenizer_piece(tokenizers[i], bos[i]);
        sl_tokens once = {0}, written = {0}, alone = {0};
        assert_int_equal(sl_tokenizer_encode_whole(tokenizers[i], "", 0, SL_SPECIAL_PARSED, &alone),
                         SL_OK);
        assert_int_equal(alone.n, 1);
        assert_int_equal(
            sl_tokenizer_encode_whole(tokenizers[i], "Hi", 2, SL_SPECIAL_PARSED, &once), SL_OK);
        char text[64];
        int n = snprintf(text, sizeof text, "%.*sHi", (int)name.bytes, name.data);
        assert_int_equal(
            sl_tokenizer_encode_whole(tokenizers[i], text, (size_t)n, SL_SPECIAL_PARSED, &written),
            SL_OK);
        assert_int_equal(once.ids[0], bos[i]);
        assert_true(once.n == written.n &&
                    memcmp(once.ids, written.ids, once.n * sizeof *once.ids) == 0);
        sl_tokens_free(&once);
        sl_tokens_free(&written);
        sl_tokens_free(&alone);
    }
}

/* A megabyte that is one piece, or that regular expressions could try again and again. */
static void test_long_runs(void **state)
{
    (void)state;
    static const char *const units[] = {"a", " ", "\n",  "\r\n", " \n", "\xe3\x80\x80",
                                        "1", "!", "\xff"};
    char *text = malloc(GENERATED_BYTES);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t unit = strlen(units[u]), n = GENERATED_BYTES / unit * unit;
        for (size_t i = 0; i < n; i++) text[i] = units[u][i % unit];
        text[n - 1] = 'x';
        for (int i = 0; i < N_VOCABS; i++) {
            sl_tokens got = {0};
            int64_t start = sl_clock_now_ns();
            assert_int_equal(sl_tokenizer_encode(tokenizers[i], text, n, SL_SPECIAL_AS_TEXT, &got),
                             SL_OK);
            double seconds = (double)(sl_clock_now_ns() - start) / (double)SL_SECOND;
            print_message("%s, unit %zu: %zu ids, %.3f s\n", NAMES[i], u, got.n, seconds);
            if (seconds > 20) fail_msg("%.1f s", seconds); /* sanitizers on a busy host */
            sl_tokens_free(&got);
        }
    }
    free(text);
}

int main(void)
{
    folder = getenv("SLUICE_TEST_VOCABS");
    if (!folder) {
        printf("skipped: SLUICE_TEST_VOCABS is not set: nothing to compare\n");
        return CANNOT_RUN;
    }
    for (int i = 0; i < N_VOCABS; i++) {
        char path[GOLDEN_PATH_BYTES];
        snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf", folder, NAMES[i]);
        if (sl_gguf_open(path, &ggufs[i]) != SL_OK ||
            sl_tokenizer_open(ggufs[i], &tokenizers[i]) != SL_OK)
            return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hard_strings),  cmocka_unit_test(test_generated_megabyte),
        cmocka_unit_test(test_books),         cmocka_unit_test(test_rules),
        cmocka_unit_test(test_conversations), cmocka_unit_test(test_templates_in_files),
        cmocka_unit_test(test_bos),           cmocka_unit_test(test_long_runs),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < N_VOCABS; i++) {
        sl_tokenizer_close(tokenizers[i]);
        sl_gguf_close(ggufs[i]);
    }
    return failed;
}
