/* runtime/text/template_text.c - see template_text.h. Blanks outside of tags follow Jinja as the
 * `transformers` library sets it up: trim_blocks and lstrip_blocks. */
#include "runtime/text/template_text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Each byte gives at most six: ".a" is "['a']", a lone byte between tags "{{'x'}}" takes their
 * place. */
enum { TEMPLATE_BYTES_MAX = 1 << 18, GROWTH = 8, ROOM = 64 };

typedef struct {
    const char *at, *end;
    char *out;
    size_t n;
    size_t string_end; /* n just after a string's closing quote, else 0 */
    bool trims;        /* the last tag ended with "-" */
    bool after_block;  /* it was a block or a comment: it takes the line end that follows */
    bool line_starts;  /* what comes next stands at a line's beginning */
} rewriter;

static void put(rewriter *r, const char *text, size_t bytes)
{
    memcpy(r->out + r->n, text, bytes);
    r->n += bytes;
}

static void put_word(rewriter *r, const char *text) { put(r, text, strlen(text)); }

static bool ends_with(const rewriter *r, const char *text)
{
    size_t bytes = strlen(text);
    return r->n >= bytes && memcmp(r->out + r->n - bytes, text, bytes) == 0;
}

/* ---- strings ---- */

static void begin_string(rewriter *r)
{
    if (r->string_end > 0 && r->n == r->string_end + 1 && r->out[r->n - 1] == '+') {
        r->n = r->string_end - 1; /* 'a'+'b' is 'ab' */
    } else {
        put_word(r, "'");
    }
}

static void put_char(rewriter *r, char c)
{
    if (c == '\'' || c == '\\') put_word(r, "\\");
    put(r, &c, 1);
}

static void end_string(rewriter *r)
{
    put_word(r, "'");
    r->string_end = r->n;
}

/* An expression begins: it goes on from one that has just ended. */
static void begin_expression(rewriter *r)
{
    if (ends_with(r, "}}")) {
        r->n -= 2;
        put_word(r, "+");
    } else {
        put_word(r, "{{");
    }
}

static bool rewrite_string(rewriter *r)
{
    char quote = *r->at++;
    begin_string(r);
    for (; r->at < r->end && *r->at != quote; r->at++) {
        char c = *r->at;
        if (c == '\\' && r->at + 1 < r->end) {
            c = *++r->at;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
        put_char(r, c);
    }
    if (r->at == r->end) return false;
    r->at++;
    end_string(r);
    return true;
}

/* ---- text outside of tags ---- */

static bool is_blank(char c) { return isspace((unsigned char)c); }

static void rewrite_text(rewriter *r, const char *end, const char *tag_end)
{
    const char *at = r->at;
    bool tag = end < tag_end, block = tag && end[1] != '{';
    if (r->trims) {
        while (at < end && is_blank(*at)) at++;
    } else if (r->after_block && at < end && *at == '\n') {
        at++;
        r->line_starts = true;
    }
    if (tag && tag_end - end > 2 && end[2] == '-') {
        while (end > at && is_blank(end[-1])) end--;
    } else if (block) {
        const char *line = end;
        while (line > at && is_blank(line[-1]) && line[-1] != '\n') line--;
        if (line > at ? line[-1] == '\n' : r->line_starts) end = line;
    }
    if (at == end) return;
    begin_expression(r);
    begin_string(r);
    for (; at < end; at++) put_char(r, *at);
    end_string(r);
    put_word(r, "}}");
}

/* ---- tags ---- */

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

static void put_field(rewriter *r) /* .name */
{
    put_word(r, "['");
    for (r->at++; r->at < r->end && is_word(*r->at); r->at++) put(r, r->at, 1);
    put_word(r, "']");
}

/* Up to the tag's end, which is left. */
static bool rewrite_inside(rewriter *r, char closing)
{
    bool blank = false;
    while (r->end - r->at >= 2) {
        char c = *r->at, last = r->out[r->n - 1];
        if (c == closing && r->at[1] == '}') return true;
        if (c == '-' && r->end - r->at >= 3 && r->at[1] == closing && r->at[2] == '}') return true;
        if (c == '\'' || c == '"') {
            if (!rewrite_string(r)) return false;
        } else if (is_blank(c)) {
            r->at++;
            blank = true;
            continue;
        } else if (c == '.' && (is_word(last) || last == ']' || last == ')') &&
                   (isalpha((unsigned char)r->at[1]) || r->at[1] == '_')) {
            put_field(r);
        } else if (c == '{') {
            return false; /* a dictionary: its "}}" would not end the tag */
        } else {
            if (blank && is_word(c) && is_word(last)) put_word(r, " ");
            put(r, r->at++, 1);
        }
        blank = false;
    }
    return false;
}

static bool skip_comment(rewriter *r)
{
    const char *end = memmem(r->at, (size_t)(r->end - r->at), "#}", 2);
    if (!end) return false;
    r->at = end[-1] == '-' && end > r->at ? end - 1 : end;
    return true;
}

static bool rewrite_tag(rewriter *r)
{
    char kind = r->at[1];
    r->at += 2;
    if (r->at < r->end && *r->at == '+') return false;
    if (r->at < r->end && *r->at == '-') r->at++;
    if (kind == '#') {
        if (!skip_comment(r)) return false;
    } else {
        if (kind == '{') {
            begin_expression(r);
        } else {
            put_word(r, "{%");
        }
        if (!rewrite_inside(r, kind == '{' ? '}' : '%')) return false;
        put_word(r, kind == '{' ? "}}" : "%}");
    }
    r->trims = *r->at == '-';
    r->after_block = kind != '{';
    r->line_starts = false;
    r->at += r->trims ? 3 : 2;
    return true;
}

/* Where the next tag begins, or the end. */
static const char *next_tag(const rewriter *r)
{
    const char *at = r->at;
    while (r->end - at >= 2 && !(at[0] == '{' && (at[1] == '{' || at[1] == '%' || at[1] == '#')))
        at++;
    return r->end - at >= 2 ? at : r->end;
}

static bool rewrite(rewriter *r)
{
    while (r->at < r->end) {
        const char *tag = next_tag(r);
        rewrite_text(r, tag, r->end);
        r->at = tag;
        if (tag < r->end && !rewrite_tag(r)) return false;
    }
    r->out[r->n] = '\0';
    return true;
}

sl_status sl_template_text(sl_text template, char **out)
{
    if (template.bytes > TEMPLATE_BYTES_MAX || memchr(template.data, '\0', template.bytes))
        return SL_ERR_UNSUPPORTED;
    rewriter r = {.at = template.data, .end = template.data + template.bytes, .line_starts = true};
    if (template.bytes > 0 && r.end[-1] == '\n') r.end--; /* Jinja drops the last line end */
    r.out = malloc(GROWTH * template.bytes + ROOM);
    if (!r.out) return SL_ERR_MEMORY;
    if (!rewrite(&r)) {
        free(r.out);
        return SL_ERR_UNSUPPORTED;
    }
    *out = r.out;
    return SL_OK;
}
