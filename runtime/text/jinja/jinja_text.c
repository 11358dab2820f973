/* runtime/text/jinja/jinja_text.c - see jinja_text.h. */
#include "runtime/text/jinja/jinja_text.h"

#include <string.h>

#include "runtime/base/utf8.h"

sl_jinja_text sl_jinja_text_own(const char *text)
{
    return (sl_jinja_text){.data = text, .bytes = strlen(text)};
}

sl_jinja_text sl_jinja_slice(sl_jinja_text text, size_t from, size_t bytes)
{
    return (sl_jinja_text){.data = text.data + from,
                           .bytes = bytes,
                           .origin = text.origin,
                           .origins = text.origins ? text.origins + from : NULL,
                           .safe = text.safe};
}

bool sl_jinja_text_equal(sl_jinja_text a, sl_jinja_text b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

bool sl_jinja_text_is(sl_jinja_text text, const char *other)
{
    return sl_jinja_text_equal(text, sl_jinja_text_own(other));
}

int sl_jinja_text_compare(sl_jinja_text a, sl_jinja_text b)
{
    const size_t common = a.bytes < b.bytes ? a.bytes : b.bytes;
    const int order = common ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* ---- characters ---- */

size_t sl_jinja_char_bytes(sl_jinja_text text, size_t at)
{
    size_t bytes;
    if ((unsigned char)text.data[at] < 0x80) return 1;
    sl_utf8_next((const uint8_t *)text.data + at, text.bytes - at, &bytes);
    return bytes;
}

size_t sl_jinja_count_chars(sl_jinja_text text)
{
    size_t n = 0;
    for (size_t at = 0; at < text.bytes; at += sl_jinja_char_bytes(text, at)) n++;
    return n;
}

size_t sl_jinja_char_place(sl_jinja_text text, size_t index)
{
    size_t at = 0;
    for (; index > 0 && at < text.bytes; index--) at += sl_jinja_char_bytes(text, at);
    return at;
}

/* ---- finding ---- */

size_t sl_jinja_find(sl_jinja_text text, sl_jinja_text part, size_t from)
{
    if (from > text.bytes || part.bytes > text.bytes - from) return SIZE_MAX;
    if (part.bytes == 0) return from;
    const char *found = memmem(text.data + from, text.bytes - from, part.data, part.bytes);
    return found ? (size_t)(found - text.data) : SIZE_MAX;
}

size_t sl_jinja_find_last(sl_jinja_text text, sl_jinja_text part)
{
    if (part.bytes > text.bytes) return SIZE_MAX;
    for (size_t at = text.bytes - part.bytes + 1; at-- > 0;)
        if (part.bytes == 0 || memcmp(text.data + at, part.data, part.bytes) == 0) return at;
    return SIZE_MAX;
}

bool sl_jinja_begins_with(sl_jinja_text text, sl_jinja_text part)
{
    return part.bytes <= text.bytes &&
           sl_jinja_text_equal(sl_jinja_slice(text, 0, part.bytes), part);
}

bool sl_jinja_ends_with(sl_jinja_text text, sl_jinja_text part)
{
    return part.bytes <= text.bytes &&
           sl_jinja_text_equal(sl_jinja_slice(text, text.bytes - part.bytes, part.bytes), part);
}

/* The bytes of the character of the set that s[bytes] begins with; 0: none. */
static size_t set_bytes(const char *s, size_t bytes, const sl_jinja_text *set)
{
    if (!set) return sl_utf8_blank_bytes(s, bytes);
    const size_t first = sl_jinja_char_bytes((sl_jinja_text){.data = s, .bytes = bytes}, 0);
    for (size_t at = 0, n; at < set->bytes; at += n) {
        n = sl_jinja_char_bytes(*set, at);
        if (n == first && memcmp(set->data + at, s, n) == 0) return n;
    }
    return 0;
}

/* The same of the character that it ends with. */
static size_t set_bytes_before(const char *s, size_t bytes, const sl_jinja_text *set)
{
    if (!set) return sl_utf8_blank_bytes_before(s, bytes);
    for (size_t n = 1; n <= 4 && n <= bytes; n++)
        if (set_bytes(s + bytes - n, n, set) == n) return n;
    return 0;
}

sl_jinja_text sl_jinja_strip(sl_jinja_text text, sl_jinja_side side, const sl_jinja_text *set)
{
    size_t from = 0, to = text.bytes, n;
    if (side & SL_JINJA_LEFT)
        while (from < to && (n = set_bytes(text.data + from, to - from, set)) > 0) from += n;
    if (side & SL_JINJA_RIGHT)
        while (from < to && (n = set_bytes_before(text.data + from, to - from, set)) > 0) to -= n;
    return sl_jinja_slice(text, from, to - from);
}

/* Bytes of the line's end that stands here; 0: none. */
static size_t line_end_bytes(sl_jinja_text text, size_t at)
{
    const uint8_t *s = (const uint8_t *)text.data + at;
    const size_t left = text.bytes - at;
    if (s[0] == '\r') return left > 1 && s[1] == '\n' ? 2 : 1;
    if ((s[0] >= '\n' && s[0] <= '\f') || (s[0] >= 0x1C && s[0] <= 0x1E)) return 1;
    if (left >= 2 && s[0] == 0xC2 && s[1] == 0x85) return 2;
    return left >= 3 && s[0] == 0xE2 && s[1] == 0x80 && (s[2] == 0xA8 || s[2] == 0xA9) ? 3 : 0;
}

bool sl_jinja_take_line(sl_jinja_text *rest, sl_jinja_text *line_out)
{
    if (rest->bytes == 0) return false;
    size_t at = 0, end = 0;
    while (at < rest->bytes && (end = line_end_bytes(*rest, at)) == 0) at++;
    *line_out = sl_jinja_slice(*rest, 0, at);
    *rest = sl_jinja_slice(*rest, at + end, rest->bytes - at - end);
    return true;
}

/* ---- building ---- */

void sl_jinja_build(sl_jinja_builder *builder, sl_jinja_memory *memory)
{
    *builder = (sl_jinja_builder){.memory = memory};
}

static bool grow_to(sl_jinja_builder *b, size_t capacity)
{
    char *data = sl_jinja_grow(b->memory, b->data, b->bytes, capacity);
    uint8_t *origins = b->origins;
    if (data && origins) origins = sl_jinja_grow(b->memory, origins, b->bytes, capacity);
    b->failed = !data || (b->origins && !origins);
    if (b->failed) return false;
    b->data = data;
    b->origins = origins;
    b->capacity = capacity;
    return true;
}

static bool make_room(sl_jinja_builder *b, size_t bytes)
{
    if (b->failed) return false;
    const bool fits = b->bytes_max == 0 || bytes <= b->bytes_max - b->bytes;
    b->failed = !fits || bytes > SIZE_MAX / 4 || b->bytes > SIZE_MAX / 4;
    if (b->failed) return false;
    return bytes <= b->capacity - b->bytes || grow_to(b, 2 * b->bytes + bytes + 16);
}

void sl_jinja_reserve(sl_jinja_builder *builder, size_t bytes)
{
    if (!builder->failed && bytes <= SIZE_MAX / 4 && bytes > builder->capacity - builder->bytes)
        grow_to(builder, builder->bytes + bytes);
}

/* What is there has one origin, what comes another: from here on each byte has its own. */
static bool become_mixed(sl_jinja_builder *b)
{
    b->origins = sl_jinja_take(b->memory, b->capacity);
    b->failed = !b->origins;
    if (b->failed) return false;
    memset(b->origins, (int)b->origin, b->bytes);
    b->origin = SL_JINJA_MIXED;
    return true;
}

void sl_jinja_add(sl_jinja_builder *b, sl_jinja_text text)
{
    if (text.bytes == 0 || !make_room(b, text.bytes)) return;
    if (b->bytes == 0 && text.origin != SL_JINJA_MIXED) b->origin = text.origin;
    if (b->origin != text.origin && !b->origins && !become_mixed(b)) return;
    if (b->origins && text.origins)
        memcpy(b->origins + b->bytes, text.origins, text.bytes);
    else if (b->origins)
        memset(b->origins + b->bytes, (int)text.origin, text.bytes);
    memcpy(b->data + b->bytes, text.data, text.bytes);
    b->bytes += text.bytes;
}

void sl_jinja_add_string(sl_jinja_builder *builder, const char *text)
{
    sl_jinja_add(builder, sl_jinja_text_own(text));
}

void sl_jinja_add_code(sl_jinja_builder *builder, uint32_t code, sl_jinja_origin origin)
{
    char bytes[4];
    const size_t n = sl_utf8_put(code, bytes);
    sl_jinja_add(builder, (sl_jinja_text){.data = bytes, .bytes = n, .origin = origin});
}

sl_jinja_text sl_jinja_built(const sl_jinja_builder *b)
{
    if (b->failed || b->bytes == 0) return (sl_jinja_text){.data = ""};
    return (sl_jinja_text){
        .data = b->data, .bytes = b->bytes, .origin = b->origin, .origins = b->origins};
}

/* ---- changing ---- */

static bool between(uint32_t code, uint32_t first, uint32_t last)
{
    return code >= first && code <= last;
}

static uint32_t to_lower(uint32_t c)
{
    if (between(c, 'A', 'Z')) return c + 32;
    if (c < 0xC0) return c;
    if ((between(c, 0xC0, 0xDE) && c != 0xD7) || (between(c, 0x391, 0x3A9) && c != 0x3A2) ||
        between(c, 0x410, 0x42F))
        return c + 32;
    return between(c, 0x400, 0x40F) ? c + 80 : c;
}

static uint32_t to_upper(uint32_t c)
{
    if (between(c, 'a', 'z')) return c - 32;
    if (c < 0xB5) return c;
    if (c == 0xB5) return 0x39C;
    if (c == 0xFF) return 0x178;
    if (c == 0x3C2) return 0x3A3;
    if ((between(c, 0xE0, 0xFE) && c != 0xF7) || between(c, 0x3B1, 0x3C9) ||
        between(c, 0x430, 0x44F))
        return c - 32;
    return between(c, 0x450, 0x45F) ? c - 80 : c;
}

static sl_jinja_origin origin_at(sl_jinja_text text, size_t at)
{
    return text.origins ? (sl_jinja_origin)text.origins[at] : text.origin;
}

static const uint32_t SHARP_S = 0xDF; /* the one letter whose upper case is two */

void sl_jinja_add_mapped(sl_jinja_builder *builder, sl_jinja_text text, sl_jinja_mapping mapping,
                         const void *context, sl_jinja_origin origin)
{
    size_t done = 0, n;
    for (size_t at = 0; at < text.bytes; at += n) {
        const uint8_t *s = (const uint8_t *)text.data + at;
        char out[SL_JINJA_MAPPED_BYTES];
        if (sl_utf8_next(s, text.bytes - at, &n) != SL_UTF8_WHOLE) continue;
        const size_t bytes = mapping(context, sl_utf8_code(s, n), out);
        if (bytes == 0) continue;
        sl_jinja_add(builder, sl_jinja_slice(text, done, at - done));
        sl_jinja_add(
            builder,
            (sl_jinja_text){.data = out,
                            .bytes = bytes,
                            .origin = origin == SL_JINJA_MIXED ? origin_at(text, at) : origin});
        done = at + n;
    }
    sl_jinja_add(builder, sl_jinja_slice(text, done, text.bytes - done));
}

static size_t map_lower(const void *context, uint32_t code, char out[SL_JINJA_MAPPED_BYTES])
{
    (void)context;
    const uint32_t other = to_lower(code);
    return other != code ? sl_utf8_put(other, out) : 0;
}

static size_t map_upper(const void *context, uint32_t code, char out[SL_JINJA_MAPPED_BYTES])
{
    (void)context;
    const uint32_t other = to_upper(code);
    if (code == SHARP_S) return (size_t)(stpcpy(out, "SS") - out);
    return other != code ? sl_utf8_put(other, out) : 0;
}

void sl_jinja_add_cased(sl_jinja_builder *builder, sl_jinja_text text, sl_jinja_case to)
{
    sl_jinja_add_mapped(builder, text, to == SL_JINJA_LOWER ? map_lower : map_upper, NULL,
                        SL_JINJA_MIXED);
}

static size_t map_html(const void *context, uint32_t code, char out[SL_JINJA_MAPPED_BYTES])
{
    static const char letters[] = "&<>'\"";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    (void)context;
    const char *found = code > 0 && code < 0x80 ? strchr(letters, (int)code) : NULL;
    return found ? (size_t)(stpcpy(out, names[found - letters]) - out) : 0;
}

void sl_jinja_add_escaped(sl_jinja_builder *builder, sl_jinja_text text)
{
    sl_jinja_add_mapped(builder, text, map_html, NULL, SL_JINJA_OWN);
}

/* As str.replace has it with nothing to be replaced: in front of each character and at the end. */
static void add_between_chars(sl_jinja_builder *builder, sl_jinja_text text, sl_jinja_text new,
                              size_t most)
{
    size_t at = 0;
    for (size_t n; most > 0 && at < text.bytes; at += n, most--) {
        n = sl_jinja_char_bytes(text, at);
        sl_jinja_add(builder, new);
        sl_jinja_add(builder, sl_jinja_slice(text, at, n));
    }
    sl_jinja_add(builder, sl_jinja_slice(text, at, text.bytes - at));
    if (most > 0) sl_jinja_add(builder, new);
}

void sl_jinja_add_replaced(sl_jinja_builder *builder, sl_jinja_text text, sl_jinja_text old,
                           sl_jinja_text new, size_t most)
{
    if (old.bytes == 0) {
        add_between_chars(builder, text, new, most);
        return;
    }
    size_t at = 0;
    for (size_t found; most > 0 && (found = sl_jinja_find(text, old, at)) != SIZE_MAX; most--) {
        sl_jinja_add(builder, sl_jinja_slice(text, at, found - at));
        sl_jinja_add(builder, new);
        at = found + old.bytes;
    }
    sl_jinja_add(builder, sl_jinja_slice(text, at, text.bytes - at));
}
