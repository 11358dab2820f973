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

#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/base/utf8.h"

#define SPACES \
    "\\t-\\r " \
    "\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define GPT2                                                                            \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACES "\\p{L}\\p{N}]+|[" SPACES \
    "]+(?![^" SPACES "])|[" SPACES "]+"

/* Llama 3 and Qwen 2 differ in how many digits go together. Their contractions fold case as Unicode
 * does: 's also matches U+017F after an apostrophe. */
#define TIKTOKEN(digits)                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" SPACES \
    "\\p{L}\\p{N}]+[\\r\\n]*|[" SPACES "]*[\\r\\n]+|[" SPACES "]+(?![^" SPACES "])|[" SPACES "]+"
#define LLAMA3 TIKTOKEN("\\p{N}{1,3}")
#define QWEN2  TIKTOKEN("\\p{N}")

enum { STEPS_MAX = 3 };

typedef struct {
    const char *name;
    const char *steps[STEPS_MAX];
    sl_split_traits traits;
} rule;

static const rule RULES[] = {
    {"gpt-2", {GPT2}, {0}},
    {"smollm", {"\\p{N}", GPT2}, {0}}, /* each digit alone, then as GPT-2 */
    {"llama-bpe", {LLAMA3}, {.whole_pieces = true, .adds_bos = true}},
    {"llama-v3", {LLAMA3}, {.whole_pieces = true, .adds_bos = true}}, /* its older names */
    {"llama3", {LLAMA3}, {.whole_pieces = true, .adds_bos = true}},
    {"qwen2", {QWEN2}, {0}},
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

static bool names_none(sl_text name)
{
    return name.bytes == 0 || (name.bytes == 7 && memcmp(name.data, "default", 7) == 0);
}

static sl_status open_rule(sl_text rule_name, bool jit, sl_pretokenizer **pretokenizer_out)
{
    const rule *found = NULL;
    for (int i = 0; i < N_RULES && !found; i++)
        if (sl_text_is(rule_name, RULES[i].name)) found = &RULES[i];
    if (!found) {
        sl_error("splitting rule '%.*s' (tokenizer.ggml.pre) is not supported; there are: gpt-2, "
                 "smollm, llama-bpe, qwen2%s",
                 (int)sl_plain_prefix(rule_name.data, rule_name.bytes, 40), rule_name.data,
                 names_none(rule_name) ? ". The file does not say how its model splits text: "
                                         "convert the model again with a newer converter"
                                       : "");
        return SL_ERR_UNSUPPORTED;
    }
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
