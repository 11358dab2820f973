/* runtime/text/pretokenizer.c - see pretokenizer.h. The only file that knows PCRE2. Told of a text
 * that may not be UTF-8, its interpreter checks all the rest at every match: quadratic. So texts
 * are cut into what is UTF-8 and what is not first, and it checks nothing.
 * White space is spelled out as Unicode's White_Space: PCRE2's \s also takes U+180E, which Unicode
 * dropped in 6.3 and the models' own tokenizers do not take. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/text/pretokenizer.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/append.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/base/utf8.h"

#define SPACES \
    "\\t-\\r " \
    "\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define BLANK  "[" SPACES "]"
#define BLANKS BLANK "+(?![^" SPACES "])|" BLANK "+"
#define GPT2   "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACES "\\p{L}\\p{N}]+|" BLANKS

/* Llama 3 and those after it differ in what a word is, how many digits go together, and what may
 * follow punctuation. Their contractions fold case as Unicode does: 's also matches U+017F after an
 * apostrophe. */
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BEFORE_WORD  "[^\\r\\n\\p{L}\\p{N}]?"
#define TIKTOKEN(words, digits, after) \
    words "|" digits "| ?[^" SPACES "\\p{L}\\p{N}]+" after "|" BLANK "*[\\r\\n]+|" BLANKS
#define WORD   CONTRACTIONS "|" BEFORE_WORD "\\p{L}+"
#define LLAMA3 TIKTOKEN(WORD, "\\p{N}{1,3}", "[\\r\\n]*")
#define QWEN2  TIKTOKEN(WORD, "\\p{N}", "[\\r\\n]*")

/* A word is capitals, then small letters: "camelCase" is two. As in llama.cpp, which knows only the
 * case of ASCII: every other letter goes with both, and a mark such as a vowel sign with none. The
 * models' own tokenizers know all, so they keep together what this cuts at marks. */
#define CAPITALS "[^\\P{L}a-z]"
#define SMALLS   "[^\\P{L}A-Z]"
#define CASED_WORD(after) \
    BEFORE_WORD CAPITALS "*" SMALLS "+" after "|" BEFORE_WORD CAPITALS "+" SMALLS "*" after
#define TEKKEN TIKTOKEN(CASED_WORD(""), "\\p{N}", "[\\r\\n/]*")
#define GPT4O  TIKTOKEN(CASED_WORD(CONTRACTIONS "?"), "\\p{N}{1,3}", "[\\r\\n/]*")

/* Letters that have a case, but for the scripts that its own list leaves out; punctuation of
 * ASCII, its full-width forms, quotation marks; all from U+800 to the end of its ideographs, and
 * Hangul. */
#define DEEPSEEK_LETTERS                                                                  \
    "[^\\P{L&}\\x{560}-\\x{588}\\x{10C7}-\\x{10FF}\\x{1C80}-\\x{1C88}\\x{2D00}-\\x{2D2D}" \
    "\\x{A790}-\\x{AB68}\\x{10570}-\\x{105BC}\\x{16E40}-\\x{1DF1E}]+"
#define DEEPSEEK_MARKS \
    "[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3001}\\x{3002}]+"
#define DEEPSEEK_CJK                                                               \
    "[\\x{800}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}" \
    "\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{9FA5}\\x{AC00}-\\x{D7FF}]+"

/* Looked for where blanks begin alone: elsewhere each of a run would be tried as the first. */
#define LAST_BLANKS "(?<!" BLANK ")" BLANK "+\\z"

enum { STEPS_MAX = 6 };

typedef struct {
    const char *names; /* of models that split alike, commas between */
    const char *steps[STEPS_MAX];
    sl_split_traits traits;
} rule;

static const rule RULES[] = {
    {"gpt-2, a.x-4.0, mellum, trillion", {GPT2}, {0}},
    {"smollm, minerva-7b, refact", {"\\p{N}", GPT2}, {0}}, /* each digit alone, then as GPT-2 */
    {"llama-bpe, llama-v3, llama3, falcon3, midm-2.0, pixtral",
     {LLAMA3},
     {.whole_pieces = true, .adds_bos = true}},
    {"smaug-bpe", {LLAMA3}, {0}},
    {"minicpm5", {"\\p{N}{1,3}", LLAMA3}, {.whole_pieces = true}},
    {"qwen2, deepseek-r1-qwen, f2llmv2, kormo, megrez", {QWEN2}, {0}},
    {"seed-coder", {TIKTOKEN(WORD, "\\p{N}", "")}, {0}},
    {"tekken", {TEKKEN}, {.whole_pieces = true, .adds_bos = true}},
    {"gpt-4o", {GPT4O}, {0}},
    {"viking",
     {" ?[^" SPACES "(|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+",
      "\\p{N}"},
     {0}},
    {"deepseek-llm",
     {"[\\r\\n]", BLANK "?" DEEPSEEK_LETTERS, BLANK "?" DEEPSEEK_MARKS, LAST_BLANKS, DEEPSEEK_CJK,
      "\\p{N}+"},
     {0}},
    {"deepseek-coder",
     {"[\\r\\n]", BLANK "?\\p{L}+", BLANK "?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"},
     {0}},
};
enum { N_RULES = sizeof RULES / sizeof *RULES };

struct sl_pretokenizer {
    const rule *rule;
    pcre2_code *steps[STEPS_MAX];
    size_t n_steps;
    pcre2_match_context *limits;
};

static sl_status compile(const char *pattern, bool jit, pcre2_code **out)
{
    int error;
    PCRE2_SIZE at;
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &error,
                                     &at, NULL);
    if (!code) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(error, text, sizeof text);
        sl_error("splitting rule, at %zu: %s", (size_t)at, (const char *)text);
        return SL_ERR_UNSUPPORTED;
    }
    if (jit) pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* where there is no JIT, it interprets */
    *out = code;
    return SL_OK;
}

static bool names_none(sl_text name) { return name.bytes == 0 || sl_text_is(name, "default"); }

static bool is_one_of(sl_text name, const char *names)
{
    for (size_t n; *names; names += n + strspn(names + n, ", ")) {
        n = strcspn(names, ",");
        if (n == name.bytes && memcmp(names, name.data, n) == 0) return true;
    }
    return false;
}

static sl_status unknown_rule(sl_text name)
{
    char known[512];
    size_t n = 0;
    for (int i = 0; i < N_RULES; i++)
        sl_append(known, sizeof known, &n, "%s%s", i ? ", " : "", RULES[i].names);
    sl_error("splitting rule '%.*s' (tokenizer.ggml.pre) is not supported; there are: %s%s",
             (int)sl_plain_prefix(name.data, name.bytes, 40), name.data, known,
             names_none(name) ? ". The file does not say how its model splits text: convert the "
                                "model again with a newer converter"
                              : "");
    return SL_ERR_UNSUPPORTED;
}

static sl_status open_rule(sl_text rule_name, bool jit, sl_pretokenizer **pretokenizer_out)
{
    const rule *found = NULL;
    for (int i = 0; i < N_RULES && !found; i++)
        if (is_one_of(rule_name, RULES[i].names)) found = &RULES[i];
    if (!found) return unknown_rule(rule_name);
    sl_pretokenizer *s = calloc(1, sizeof *s);
    if (!s) return SL_ERR_MEMORY;
    s->rule = found;
    s->limits = pcre2_match_context_create(NULL);
    if (!s->limits) {
        sl_pretokenizer_close(s);
        return SL_ERR_MEMORY;
    }
    /* It counts steps back, one for each byte in a run of white space; the rules take no more. */
    pcre2_set_match_limit(s->limits, UINT32_MAX);
    for (size_t i = 0; i < STEPS_MAX && found->steps[i]; i++) {
        sl_status status = compile(found->steps[i], jit, &s->steps[i]);
        if (status != SL_OK) {
            sl_pretokenizer_close(s);
            return status;
        }
        s->n_steps++;
    }
    *pretokenizer_out = s;
    return SL_OK;
}

sl_status sl_pretokenizer_open(sl_text rule_name, sl_pretokenizer **pretokenizer_out)
{
    return open_rule(rule_name, true, pretokenizer_out);
}

sl_status sl_pretokenizer_open_interpreted(sl_text rule_name, sl_pretokenizer **pretokenizer_out)
{
    return open_rule(rule_name, false, pretokenizer_out);
}

const sl_split_traits *sl_pretokenizer_traits(const sl_pretokenizer *pretokenizer)
{
    return &pretokenizer->rule->traits;
}

void sl_pretokenizer_close(sl_pretokenizer *pretokenizer)
{
    if (!pretokenizer) return;
    for (size_t i = 0; i < pretokenizer->n_steps; i++) pcre2_code_free(pretokenizer->steps[i]);
    pcre2_match_context_free(pretokenizer->limits);
    free(pretokenizer);
}

/* One run: a block of match data for each step, since steps nest. */
typedef struct {
    const sl_pretokenizer *pretokenizer;
    pcre2_match_data *data[STEPS_MAX];
    sl_piece_call call;
    void *context;
} run;

static sl_status no_match_room(size_t bytes)
{
    sl_error("no memory to split a text of %zu bytes", bytes);
    return SL_ERR_MEMORY;
}

static sl_status match_failed(int error, size_t at, size_t bytes)
{
    if (error == PCRE2_ERROR_NOMEMORY || error == PCRE2_ERROR_HEAPLIMIT)
        return no_match_room(bytes);
    PCRE2_UCHAR text[128];
    pcre2_get_error_message(error, text, sizeof text);
    sl_error("splitting %zu bytes of text failed at byte %zu: %s", bytes, at, (const char *)text);
    return SL_ERR_UNSUPPORTED;
}

/* text[bytes] is UTF-8. */
static sl_status split_from(run *r, size_t step, const char *text, size_t bytes)
{
    if (bytes == 0) return SL_OK;
    if (step == r->pretokenizer->n_steps) return r->call(r->context, text, bytes);
    size_t at = 0, done = 0; /* text before `done` has been handed on */
    while (at < bytes) {
        int n = pcre2_match(r->pretokenizer->steps[step], (PCRE2_SPTR)text, bytes, at,
                            PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK, r->data[step],
                            r->pretokenizer->limits);
        if (n == PCRE2_ERROR_NOMATCH) break;
        if (n < 0) return match_failed(n, at, bytes);
        const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(r->data[step]);
        sl_status status = split_from(r, step + 1, text + done, bounds[0] - done);
        if (status == SL_OK)
            status = split_from(r, step + 1, text + bounds[0], bounds[1] - bounds[0]);
        if (status != SL_OK) return status;
        at = done = bounds[1];
    }
    return split_from(r, step + 1, text + done, bytes - done);
}

/* Bytes that are UTF-8, or that are not, up to the first of the other kind. */
static size_t run_bytes(const char *text, size_t bytes, bool *utf8)
{
    size_t at = 0, n;
    for (; at < bytes; at += n) {
        sl_utf8_kind kind = sl_utf8_next((const uint8_t *)text + at, bytes - at, &n);
        if (at == 0) *utf8 = kind == SL_UTF8_WHOLE;
        if (*utf8 != (kind == SL_UTF8_WHOLE)) break;
    }
    return at;
}

static sl_status split(run *r, const char *text, size_t bytes)
{
    sl_status status = SL_OK;
    bool utf8;
    for (size_t n; bytes > 0 && status == SL_OK; text += n, bytes -= n) {
        n = run_bytes(text, bytes, &utf8);
        status = utf8 ? split_from(r, 0, text, n) : r->call(r->context, text, n);
    }
    return status;
}

sl_status sl_pretokenizer_run(const sl_pretokenizer *pretokenizer, const char *text, size_t bytes,
                              sl_piece_call piece, void *context)
{
    run r = {.pretokenizer = pretokenizer, .call = piece, .context = context};
    sl_status status = SL_OK;
    for (size_t i = 0; i < pretokenizer->n_steps; i++) {
        r.data[i] = pcre2_match_data_create(1, NULL);
        if (!r.data[i] && status == SL_OK) status = no_match_room(bytes);
    }
    if (status == SL_OK) status = split(&r, text, bytes);
    for (size_t i = 0; i < pretokenizer->n_steps; i++) pcre2_match_data_free(r.data[i]);
    return status;
}
