/* launch/openai/request_line.c - see request_line.h and openai.h. Clients join results to requests
 * by custom_id, so it is read by a scanner of its own, which asks far less of a line than a parser
 * does: broken escapes, NaN, duplicate keys, too deep a nesting or a missing end leave the id
 * readable. On what jansson takes, both read the same id (fuzz_jsonl.c). */
#include "launch/openai/request_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/openai/request_json.h"
#include "runtime/base/utf8.h"

/* What jansson takes, and the same as a chat template's values: an object with its table, a member
 * with its key, any other value in its place in an array, a string beside its text. One of the
 * copies is the line with its surrogates mended. */
enum {
    OBJECT_BYTES = 256,
    MEMBER_BYTES = 256,
    ITEM_BYTES = 96,
    STRING_BYTES = 128,
    COPIES = 5,
    LINE_BYTES = 1 << 18
};

/* An id of more bytes is none: what is made of it is within LINE_BYTES. */
enum { ID_BYTES_MAX = 1 << 15 };

size_t sl_request_json_bytes(const char *line, size_t bytes)
{
    size_t total = LINE_BYTES + COPIES * bytes;
    bool in_string = false;
    for (size_t i = 0; i < bytes; i++) {
        switch (line[i]) {
        case '"':
            in_string = !in_string;
            total += in_string ? STRING_BYTES : 0;
            break;
        case '\\': i += in_string; break; /* what follows is part of the string */
        case '{':
        case '[': total += in_string ? 0 : OBJECT_BYTES; break;
        case ':': total += in_string ? 0 : MEMBER_BYTES; break;
        case ',': total += in_string ? 0 : ITEM_BYTES; break;
        default: break;
        }
    }
    return total;
}

/* --- escapes --- */

/* The UTF-16 unit of the escape \uXXXX at `at`; -1: there is none. */
static int32_t unit_at(const char *text, size_t bytes, size_t at)
{
    if (at + 6 > bytes || text[at] != '\\' || text[at + 1] != 'u') return -1;
    int32_t unit = 0;
    for (size_t i = at + 2; i < at + 6; i++) {
        const char c = text[i];
        int32_t digit = -1;
        if (c >= '0' && c <= '9') digit = c - '0';
        if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
        if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
        if (digit < 0) return -1;
        unit = 16 * unit + digit;
    }
    return unit;
}

static bool is_high(int32_t unit) { return unit >= 0xD800 && unit <= 0xDBFF; }
static bool is_low(int32_t unit) { return unit >= 0xDC00 && unit <= 0xDFFF; }

/* The next escape \uXXXX from `at` that is one half of a character without its other half. `bytes`:
 * there is none. Escapes stand in strings only, so all of the line is looked through as one. */
static size_t next_lone(const char *line, size_t bytes, size_t at)
{
    while (at < bytes) {
        const char *escape = memchr(line + at, '\\', bytes - at);
        if (!escape) return bytes;
        at = (size_t)(escape - line);
        const int32_t unit = unit_at(line, bytes, at);
        if (is_low(unit)) return at;
        if (is_high(unit)) {
            if (!is_low(unit_at(line, bytes, at + 6))) return at;
            at += 12;
        } else {
            at += 2;
        }
    }
    return bytes;
}

/* A copy of the line with U+FFFD for each lone surrogate; NULL when memory is out. */
static char *mend_surrogates(const char *line, size_t bytes, size_t first)
{
    char *mended = malloc(bytes);
    if (!mended) return NULL;
    memcpy(mended, line, bytes);
    static const char escape[6] = {'\\', 'u', 'f', 'f', 'f', 'd'};
    for (size_t at = first; at < bytes; at = next_lone(line, bytes, at + sizeof escape))
        memcpy(mended + at, escape, sizeof escape);
    return mended;
}

/* --- the line as JSON --- */

sl_status sl_request_line_parse(const char *line, size_t bytes, json_t **root_out,
                                char why[SL_REQUEST_WHY_BYTES])
{
    *root_out = NULL;
    const size_t needed = sl_request_json_bytes(line, bytes);
    if (needed > SL_REQUEST_JSON_BYTES_MAX) {
        snprintf(why, SL_REQUEST_WHY_BYTES,
                 "too many values: reading it would take %zu MB, at most %d are", needed >> 20,
                 SL_REQUEST_JSON_BYTES_MAX >> 20);
        return SL_ERR_FORMAT;
    }
    char *mended = NULL;
    const size_t lone = next_lone(line, bytes, 0);
    if (lone < bytes && !(mended = mend_surrogates(line, bytes, lone))) return SL_ERR_MEMORY;
    json_error_t error;
    *root_out = sl_request_json_load(mended ? mended : line, bytes, &error);
    free(mended);
    if (*root_out) return SL_OK;
    if (json_error_code(&error) == json_error_out_of_memory) return SL_ERR_MEMORY;
    snprintf(why, SL_REQUEST_WHY_BYTES, "%s", error.text);
    return SL_ERR_FORMAT;
}

/* --- the id --- */

/* Where a scan is. */
typedef struct {
    const char *at, *end;
} cursor;

/* Between the quotes. */
typedef struct {
    const char *data;
    size_t bytes;
} raw_text;

/* From an opening quote over the closing one, which is the same; false: the line ends before.
 * Single quotes are no JSON, but what Python prints of a dict has them. */
static bool skip_string(cursor *c, raw_text *out)
{
    const char quote = *c->at++;
    const char *start = c->at;
    for (; c->at < c->end; c->at++) {
        if (*c->at == '\\' && c->at + 1 < c->end) {
            c->at++;
        } else if (*c->at == quote) {
            *out = (raw_text){start, (size_t)(c->at - start)};
            c->at++;
            return true;
        }
    }
    return false;
}

static bool is_quote(char c) { return c == '"' || c == '\''; }

static void skip_spaces(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static const int32_t REPLACEMENT = 0xFFFD;

/* What the escape at `at` stands for; *n_out: the bytes it takes. An unknown one is the
 * character. */
static int32_t escaped(raw_text raw, size_t at, size_t *n_out)
{
    const int32_t unit = unit_at(raw.data, raw.bytes, at);
    *n_out = unit >= 0 ? 6 : 2;
    if (is_high(unit)) {
        const int32_t low = unit_at(raw.data, raw.bytes, at + 6);
        if (!is_low(low)) return REPLACEMENT;
        *n_out = 12;
        return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    }
    if (unit >= 0) return is_low(unit) ? REPLACEMENT : unit;
    switch (raw.data[at + 1]) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return (uint8_t)raw.data[at + 1] < 0x80 ? raw.data[at + 1] : REPLACEMENT;
    }
}

/* The text of a string, as UTF-8: at most three times its bytes. Returns its length. */
static size_t unescape(raw_text raw, char *out)
{
    size_t written = 0;
    for (size_t at = 0, n; at < raw.bytes; at += n) {
        if (raw.data[at] == '\\' && at + 1 < raw.bytes) {
            written += sl_utf8_put((uint32_t)escaped(raw, at, &n), out + written);
            continue;
        }
        const uint8_t *text = (const uint8_t *)raw.data + at;
        if (sl_utf8_next(text, raw.bytes - at, &n) == SL_UTF8_WHOLE) {
            memcpy(out + written, text, n);
            written += n;
        } else {
            written += sl_utf8_put((uint32_t)REPLACEMENT, out + written);
        }
    }
    return written;
}

/* malloc'd; *id_out stays when the text is none: empty, too long, or with a NUL. */
static sl_status take_text(raw_text raw, char **id_out)
{
    if (raw.bytes == 0 || raw.bytes > ID_BYTES_MAX) return SL_OK;
    char *id = malloc(3 * raw.bytes + 1);
    if (!id) return SL_ERR_MEMORY;
    const size_t bytes = unescape(raw, id);
    id[bytes] = '\0';
    if (strlen(id) != bytes) {
        free(id);
        return SL_OK;
    }
    free(*id_out);
    *id_out = id;
    return SL_OK;
}

/* A number is an id as it is written, if the line goes on behind it. */
static sl_status take_number(cursor *c, char **id_out)
{
    static const char chars[] = "+-.0123456789Ee";
    const char *start = c->at;
    while (c->at < c->end && memchr(chars, *c->at, sizeof chars - 1)) c->at++;
    if (c->at == c->end) return SL_OK;
    const char first = start[*start == '-']; /* within the line: *c->at is */
    if (first < '0' || first > '9') return SL_OK;
    return take_text((raw_text){start, (size_t)(c->at - start)}, id_out);
}

static bool is_custom_id(raw_text key)
{
    static const char name[] = "custom_id";
    char text[18 * sizeof name]; /* escaped, and each byte as U+FFFD */
    if (key.bytes > 6 * (sizeof name - 1)) return false;
    const size_t bytes = unescape(key, text);
    return bytes == sizeof name - 1 && memcmp(text, name, bytes) == 0;
}

static sl_status take_value(cursor *c, char **id_out)
{
    raw_text value;
    skip_spaces(c);
    if (c->at == c->end) return SL_OK;
    if (!is_quote(*c->at)) return take_number(c, id_out);
    return skip_string(c, &value) ? take_text(value, id_out) : SL_OK;
}

/* The custom_id of the line's object, malloc'd, of several the last (as Python's json); NULL: none
 * can be read. A text before a colon is a key. */
static sl_status find_id(const char *line, size_t bytes, char **id_out)
{
    *id_out = NULL;
    cursor c = {bytes > 0 ? memchr(line, '{', bytes) : NULL, line + bytes};
    sl_status status = SL_OK;
    for (int64_t depth = 0; c.at && c.at < c.end && status == SL_OK;) {
        raw_text text;
        if (is_quote(*c.at)) {
            if (!skip_string(&c, &text)) break;
            skip_spaces(&c);
            if (depth != 1 || c.at == c.end || *c.at != ':' || !is_custom_id(text)) continue;
            c.at++;
            status = take_value(&c, id_out);
            continue;
        }
        if (*c.at == '{' || *c.at == '[') depth++;
        if ((*c.at == '}' || *c.at == ']') && --depth == 0) break;
        c.at++;
    }
    if (status != SL_OK) free(*id_out);
    return status;
}

sl_status sl_request_line_id(const char *line, size_t bytes, uint64_t number, char **id_out,
                             bool *made_up_out)
{
    char *id;
    sl_status status = find_id(line, bytes, &id);
    if (status != SL_OK) return status;
    *made_up_out = id == NULL;
    if (!id) {
        char made[64];
        snprintf(made, sizeof made, "line-%" PRIu64 " (no custom_id)", number);
        id = sl_request_json_copy(made, strlen(made));
    }
    *id_out = id;
    return id ? SL_OK : SL_ERR_MEMORY;
}

/* --- what is asked for --- */

static int hash_bytes(const char *data, size_t bytes, void *state)
{
    return XXH3_64bits_update(state, data, bytes) == XXH_OK ? 0 : -1;
}

/* The request's meaning: not how its JSON is spaced, or in which order its fields stand. */
static sl_status hash_request(const json_t *root, uint64_t *hash_out)
{
    static const char *const names[] = {"method", "url", "body"};
    const size_t flags = JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY;
    XXH3_state_t *state = XXH3_createState();
    int failed = !state || XXH3_64bits_reset(state) != XXH_OK;
    for (size_t i = 0; !failed && i < sizeof names / sizeof *names; i++) {
        const json_t *value = json_object_get(root, names[i]);
        if (value) failed = json_dump_callback(value, hash_bytes, state, flags);
        if (!failed) failed = hash_bytes("\n", 1, state);
    }
    if (!failed) *hash_out = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return failed ? SL_ERR_MEMORY : SL_OK;
}

sl_status sl_request_line_key(const char *line, size_t bytes, uint64_t number,
                              sl_request_key *key_out)
{
    char why[SL_REQUEST_WHY_BYTES];
    json_t *root;
    sl_request_key key = {.body_hash = XXH3_64bits(line, bytes)};
    sl_status status = sl_request_line_parse(line, bytes, &root, why);
    if (json_is_object(root)) status = hash_request(root, &key.body_hash);
    json_decref(root);
    if (status == SL_ERR_MEMORY) return status;
    status = sl_request_line_id(line, bytes, number, &key.custom_id, &key.made_up);
    if (status == SL_OK) *key_out = key;
    return status;
}
