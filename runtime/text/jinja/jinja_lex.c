/* runtime/text/jinja/jinja_lex.c - see jinja_lex.h. The rules are those of jinja2/lexer.py 3.1, by
 * hand instead of by regular expressions. */
#include "runtime/text/jinja/jinja_lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/utf8.h"
#include "runtime/text/jinja/jinja_error.h"

/* ---- places ---- */

static bool stands(const sl_jinja_lexer *l, size_t at, const char *what)
{
    const size_t n = strlen(what);
    return at <= l->bytes && n <= l->bytes - at && memcmp(l->text + at, what, n) == 0;
}

static char char_at(const sl_jinja_lexer *l, size_t at)
{
    return at < l->bytes ? l->text[at] : '\0';
}

/* Go on to `to`, counting lines. */
static void advance(sl_jinja_lexer *l, size_t to)
{
    for (size_t i = l->at; i < to; i++) l->line += l->text[i] == '\n';
    if (to > l->at) l->line_starts = l->text[to - 1] == '\n';
    l->at = to;
}

static size_t skip_blanks(const sl_jinja_lexer *l, size_t at)
{
    for (size_t n; (n = sl_utf8_blank_bytes(l->text + at, l->bytes - at)) > 0;) at += n;
    return at;
}

static sl_jinja_text text_between(const sl_jinja_lexer *l, size_t from, size_t to)
{
    return (sl_jinja_text){.data = l->text + from, .bytes = to - from};
}

__attribute__((format(printf, 2, 3))) static sl_jinja_token fail(sl_jinja_lexer *l,
                                                                 const char *format, ...)
{
    va_list words;
    va_start(words, format);
    sl_jinja_error_say(l->error, l->line, format, words);
    va_end(words);
    l->bytes = l->at; /* nothing comes after it */
    l->state = SL_JINJA_IN_TEXT;
    return (sl_jinja_token){.kind = SL_JINJA_T_ERROR, .line = l->line};
}

static sl_jinja_token token(const sl_jinja_lexer *l, sl_jinja_token_kind kind, sl_jinja_text text)
{
    return (sl_jinja_token){.kind = kind, .line = l->line, .text = text};
}

bool sl_jinja_lex_init(sl_jinja_lexer *l, sl_jinja_memory *memory, sl_jinja_error *error,
                       const char *text, size_t bytes)
{
    char *copy = sl_jinja_take(memory, bytes + 1);
    if (!copy) return false;
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\r' && i + 1 < bytes && text[i + 1] == '\n') continue;
        copy[n++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (n > 0 && copy[n - 1] == '\n') n--; /* keep_trailing_newline is not set */
    *l = (sl_jinja_lexer){
        .memory = memory, .error = error, .text = copy, .bytes = n, .line = 1, .line_starts = true};
    return true;
}

/* ---- text, comments, raw ---- */

/* Jinja's trim_blocks: a newline behind a block or comment goes with it. */
typedef enum { TRIMS_NOTHING, TRIMS_NEWLINE } trimming;

/* The end of a tag's mark at `at`, of which blanks or a newline go with it: "-%}", "+%}", "%}". 0:
 * it does not stand there. */
static size_t mark_end(const sl_jinja_lexer *l, size_t at, const char *mark, trimming trims)
{
    const char sign = char_at(l, at);
    const bool is_signed = (sign == '-' || sign == '+') && stands(l, at + 1, mark);
    if (!is_signed && !stands(l, at, mark)) return 0;
    const size_t end = at + (is_signed ? 1 : 0) + 2;
    if (is_signed) return sign == '-' ? skip_blanks(l, end) : end;
    return trims == TRIMS_NEWLINE && char_at(l, end) == '\n' ? end + 1 : end;
}

/* The place after "{%", a sign, and `word`, where a mark is to follow; 0: something else stands
 * there. */
static size_t after_word(const sl_jinja_lexer *l, size_t at, const char *word)
{
    if (!stands(l, at, "{%")) return 0;
    at += 2;
    if (char_at(l, at) == '-' || char_at(l, at) == '+') at++;
    at = skip_blanks(l, at);
    return stands(l, at, word) ? skip_blanks(l, at + strlen(word)) : 0;
}

/* Where the next tag begins, or the end. */
static size_t find_tag(const sl_jinja_lexer *l)
{
    for (size_t at = l->at; at + 1 < l->bytes; at++)
        if (l->text[at] == '{' && l->text[at + 1] != '\0' && strchr("{%#", l->text[at + 1]))
            return at;
    return l->bytes;
}

/* The text up to a tag without what the tag takes: all blanks before "-", those of its line before
 * a block or comment. */
static sl_jinja_text strip_before(const sl_jinja_lexer *l, size_t tag)
{
    const sl_jinja_text text = text_between(l, l->at, tag);
    const char sign = char_at(l, tag + 2);
    if (sign == '-') return sl_jinja_strip(text, SL_JINJA_RIGHT, NULL);
    if (sign == '+' || char_at(l, tag + 1) == '{') return text;
    const char *newline = memrchr(text.data, '\n', text.bytes);
    if (!newline && !l->line_starts) return text;
    const size_t kept = newline ? (size_t)(newline - text.data) + 1 : 0;
    const sl_jinja_text line = sl_jinja_slice(text, kept, text.bytes - kept);
    return sl_jinja_strip(line, SL_JINJA_LEFT, NULL).bytes == 0 ? sl_jinja_slice(text, 0, kept)
                                                                : text;
}

/* A comment begins here. False: it has no end. */
static bool skip_comment(sl_jinja_lexer *l)
{
    size_t at = l->at + 2;
    if (char_at(l, at) == '-' || char_at(l, at) == '+') at++;
    for (size_t end; at < l->bytes; at++) {
        if ((end = mark_end(l, at, "#}", TRIMS_NEWLINE)) == 0) continue;
        advance(l, end);
        return true;
    }
    return false;
}

/* "{% raw %}" ended at `body`: what stands up to "{% endraw %}". */
static sl_jinja_token lex_raw(sl_jinja_lexer *l, size_t body)
{
    advance(l, body);
    for (size_t at = body; at < l->bytes; at++) {
        const size_t word_end = l->text[at] == '{' ? after_word(l, at, "endraw") : 0;
        const size_t end = word_end ? mark_end(l, word_end, "%}", TRIMS_NEWLINE) : 0;
        if (end == 0) continue;
        const sl_jinja_token data = token(l, SL_JINJA_T_DATA, strip_before(l, at));
        advance(l, end);
        return data;
    }
    return fail(l, "'raw' has no 'endraw'");
}

static sl_jinja_token open_tag(sl_jinja_lexer *l)
{
    const bool block = l->text[l->at + 1] == '%';
    const char sign = char_at(l, l->at + 2);
    const size_t raw_word = block ? after_word(l, l->at, "raw") : 0;
    const size_t raw = raw_word && char_at(l, raw_word) != '+'
                           ? mark_end(l, raw_word, "%}", TRIMS_NOTHING)
                           : 0;
    if (raw) return lex_raw(l, raw);
    const sl_jinja_token tag = token(l, block ? SL_JINJA_T_BLOCK_BEGIN : SL_JINJA_T_PRINT_BEGIN,
                                     text_between(l, l->at, l->at + 2));
    l->state = block ? SL_JINJA_IN_BLOCK : SL_JINJA_IN_PRINT;
    advance(l, l->at + (sign == '-' || sign == '+' ? 3 : 2));
    return tag;
}

static sl_jinja_token lex_text(sl_jinja_lexer *l)
{
    while (l->at < l->bytes) {
        const size_t tag = find_tag(l);
        const sl_jinja_text text = tag < l->bytes ? strip_before(l, tag)
                                                  : text_between(l, l->at, tag);
        if (text.bytes > 0) {
            const sl_jinja_token data = token(l, SL_JINJA_T_DATA, text);
            advance(l, tag);
            return data;
        }
        advance(l, tag);
        if (tag == l->bytes) break;
        if (l->text[tag + 1] != '#') return open_tag(l);
        if (!skip_comment(l)) return fail(l, "a comment has no end");
    }
    return token(l, SL_JINJA_T_END, text_between(l, l->at, l->at));
}

/* ---- numbers ---- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* After the digits that begin here, which may have "_" between them. */
static size_t after_digits(const sl_jinja_lexer *l, size_t at, int base)
{
    for (;; at++) {
        const char c = char_at(l, at);
        const bool digit = base == 16 ? is_digit(c) || (c != '\0' && strchr("abcdefABCDEF", c))
                                      : is_digit(c);
        const char next = char_at(l, at + 1);
        if (!digit && !(c == '_' && (is_digit(next) || base == 16))) return at;
    }
}

static size_t after_exponent(const sl_jinja_lexer *l, size_t at)
{
    if (char_at(l, at) != 'e' && char_at(l, at) != 'E') return at;
    const char sign = char_at(l, at + 1);
    const size_t digits = at + (sign == '+' || sign == '-' ? 2 : 1);
    return is_digit(char_at(l, digits)) ? after_digits(l, digits, 10) : at;
}

static sl_jinja_token lex_number(sl_jinja_lexer *l)
{
    const char *const bases = "xXoObB";
    const char mark = char_at(l, l->at) == '0' ? char_at(l, l->at + 1) : '\0';
    const char *found = mark != '\0' ? strchr(bases, mark) : NULL;
    const int base = !found ? 10 : found - bases < 2 ? 16 : found - bases < 4 ? 8 : 2;
    const size_t begin = l->at + (found ? 2 : 0);
    size_t end = after_digits(l, begin, base);
    bool whole = true;
    if (base == 10 && (l->at == 0 || l->text[l->at - 1] != '.')) {
        size_t more = end;
        if (char_at(l, end) == '.' && is_digit(char_at(l, end + 1)))
            more = after_digits(l, end + 1, 10);
        more = after_exponent(l, more);
        whole = more == end;
        end = more;
    }
    char digits[64], *rest = NULL;
    size_t n = 0;
    for (size_t i = begin; i < end && n + 1 < sizeof digits; i++)
        if (l->text[i] != '_') digits[n++] = l->text[i];
    digits[n] = '\0';
    errno = 0;
    sl_jinja_token t = token(l, SL_JINJA_T_NUMBER, text_between(l, l->at, end));
    t.value = whole ? sl_jinja_integer(strtoll(digits, &rest, base))
                    : sl_jinja_float(strtod(digits, &rest));
    if (n == 0 || n + 1 == sizeof digits || *rest || (whole && errno != 0))
        return fail(l, "the number '%.*s' cannot be read", SL_JINJA_SHOWN(t.text));
    advance(l, end);
    return t;
}

/* ---- strings ---- */

static uint32_t hex_digits(sl_jinja_text text, size_t at, size_t n, bool *ok)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t code = 0;
    *ok = n <= text.bytes - at;
    for (size_t i = at; *ok && i < at + n; i++) {
        const char c = text.data[i];
        const char *digit = c != '\0' ? strchr(digits, c >= 'A' ? c | 32 : c) : NULL;
        *ok = digit != NULL;
        if (digit) code = code << 4 | (uint32_t)(digit - digits);
    }
    return code;
}

/* The code that the escape after a backslash at `at` stands for; *n_out: its bytes, backslash
 * included. 0 bytes: it is none, and the backslash is text. */
static uint32_t escaped(sl_jinja_text text, size_t at, size_t *n_out, bool *ok)
{
    static const char letters[] = "abfnrtv\\'\"", codes[] = "\a\b\f\n\r\t\v\\'\"";
    const char c = text.data[at + 1];
    *ok = true;
    *n_out = 2;
    const char *found = c != '\0' ? strchr(letters, c) : NULL;
    if (found) return (uint32_t)codes[found - letters];
    if (c >= '0' && c <= '7') {
        uint32_t code = 0;
        size_t n = 1;
        for (; n <= 3 && at + n < text.bytes; n++) {
            const char digit = text.data[at + n];
            if (digit < '0' || digit > '7') break;
            code = code << 3 | (uint32_t)(digit - '0');
        }
        *n_out = n;
        return code;
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    *n_out = digits ? 2 + digits : 0;
    const uint32_t code = digits ? hex_digits(text, at + 2, digits, ok) : 0;
    if (code >= 0x110000 || (code >= 0xD800 && code < 0xE000)) *ok = false;
    return code;
}

/* The text between the quotes, its escapes replaced. False: one of them is wrong. */
static bool unescape(sl_jinja_text raw, sl_jinja_builder *out)
{
    size_t done = 0;
    for (size_t at = 0; at + 1 < raw.bytes;) {
        size_t n;
        bool ok = true;
        if (raw.data[at] != '\\') {
            at++;
            continue;
        }
        sl_jinja_add(out, sl_jinja_slice(raw, done, at - done));
        if (raw.data[at + 1] == '\n') { /* the line goes on in the next */
            n = 2;
        } else {
            const uint32_t code = escaped(raw, at, &n, &ok);
            if (!ok) return false;
            if (n > 0)
                sl_jinja_add_code(out, code, SL_JINJA_OWN);
            else
                sl_jinja_add(out, sl_jinja_slice(raw, at, n = 1));
        }
        done = at += n;
    }
    sl_jinja_add(out, sl_jinja_slice(raw, done, raw.bytes - done));
    return true;
}

static sl_jinja_token lex_string(sl_jinja_lexer *l)
{
    const char quote = l->text[l->at];
    size_t end = l->at + 1;
    bool escapes = false;
    for (; end < l->bytes && l->text[end] != quote; end++) {
        if (l->text[end] != '\\') continue;
        escapes = true;
        end++;
    }
    if (end >= l->bytes) return fail(l, "a string has no end");
    sl_jinja_token t = token(l, SL_JINJA_T_STRING, text_between(l, l->at + 1, end));
    if (escapes) {
        sl_jinja_builder unescaped;
        sl_jinja_build(&unescaped, l->memory);
        if (!unescape(t.text, &unescaped))
            return fail(l, "a string has an escape that is no character");
        t.text = sl_jinja_built(&unescaped);
    }
    t.value = sl_jinja_string(l->memory, t.text);
    advance(l, end + 1);
    return t;
}

/* ---- expressions ---- */

static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* Whether a bracket opens, or closes the one that is open. */
static bool balance(sl_jinja_lexer *l, char c)
{
    if (strchr("([{", c)) {
        if (l->n_brackets == SL_JINJA_BRACKETS_MAX) return false;
        l->brackets[l->n_brackets++] = c;
        return true;
    }
    if (!strchr(")]}", c)) return true;
    const char open = c == ')' ? '(' : c == ']' ? '[' : '{';
    return l->n_brackets > 0 && l->brackets[--l->n_brackets] == open;
}

static sl_jinja_token lex_operator(sl_jinja_lexer *l)
{
    static const char *const doubles[] = {"//", "**", "==", "!=", ">=", "<="};
    size_t n = 1;
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        if (stands(l, l->at, doubles[i])) n = 2;
    const char c = l->text[l->at];
    const sl_jinja_token t = token(l, SL_JINJA_T_OPERATOR, text_between(l, l->at, l->at + n));
    if (n == 1 && (c == '\0' || !strchr("+-/*%~[](){}><=.:|,;", c)))
        return fail(l, "'%c' is unexpected", c >= ' ' && c <= '~' ? c : '?');
    if (n == 1 && !balance(l, c)) return fail(l, "'%c' is unexpected", c);
    advance(l, l->at + n);
    return t;
}

static sl_jinja_token lex_expression(sl_jinja_lexer *l)
{
    const bool block = l->state == SL_JINJA_IN_BLOCK;
    advance(l, skip_blanks(l, l->at));
    if (l->at == l->bytes) return fail(l, "'%s' is missing", block ? "%}" : "}}");
    const char c = l->text[l->at];
    const size_t end = l->n_brackets > 0 ? 0
                       : block           ? mark_end(l, l->at, "%}", TRIMS_NEWLINE)
                       : c == '+'        ? 0
                                         : mark_end(l, l->at, "}}", TRIMS_NOTHING);
    if (end) {
        const sl_jinja_token t = token(l, block ? SL_JINJA_T_BLOCK_END : SL_JINJA_T_PRINT_END,
                                       text_between(l, l->at, l->at));
        l->state = SL_JINJA_IN_TEXT;
        advance(l, end);
        return t;
    }
    if (is_digit(c)) return lex_number(l);
    if (c == '\'' || c == '"') return lex_string(l);
    if (!is_word(c)) return lex_operator(l);
    size_t at = l->at;
    while (is_word(char_at(l, at))) at++;
    const sl_jinja_token name = token(l, SL_JINJA_T_NAME, text_between(l, l->at, at));
    advance(l, at);
    return name;
}

sl_jinja_token sl_jinja_lex_next(sl_jinja_lexer *l)
{
    return l->state == SL_JINJA_IN_TEXT ? lex_text(l) : lex_expression(l);
}
