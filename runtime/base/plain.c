/* runtime/base/plain.c - see plain.h. */
#include "runtime/base/plain.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { SHOWN_BYTES = 4 }; /* of one byte, \xHH; and of the longest character */

/* The character at text[0 .. bytes): its bytes, and its number; 0: no UTF-8 (RFC 3629). */
static size_t take_character(const uint8_t *text, size_t bytes, uint32_t *out)
{
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text[0];
    size_t n = first < 0x80   ? 1
               : first < 0xc0 ? 0
               : first < 0xe0 ? 2
               : first < 0xf0 ? 3
               : first < 0xf8 ? 4
                              : 0;
    if (n == 0 || n > bytes) return 0;
    uint32_t c = n == 1 ? first : first & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (text[i] & 0x3f);
    }
    if (c < LEAST[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
    *out = c;
    return n;
}

/* Unicode 15: Bidi_Control, separators of lines, language tags, which no font shows. */
static bool is_harmless(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
    if (c == 0x61c || c == 0x200e || c == 0x200f || c == 0xfeff) return false;
    if ((c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069)) return false;
    return !(c >= 0xe0000 && c < 0xe0080);
}

/* What is seen of the beginning of a text, in out[*out_bytes]; returns the bytes it stands for. */
static size_t show(const char *text, size_t bytes, char *out, size_t *out_bytes)
{
    static const char HEX[] = "0123456789abcdef";
    uint32_t c = 0;
    size_t n = take_character((const uint8_t *)text, bytes, &c);
    if (n > 0 && is_harmless(c)) {
        memcpy(out, text, n);
        *out_bytes = n;
        return n;
    }
    uint8_t byte = (uint8_t)*text;
    memcpy(out, (char[]){'\\', 'x', HEX[byte >> 4], HEX[byte & 15]}, SHOWN_BYTES);
    *out_bytes = SHOWN_BYTES;
    return 1;
}

/* A character that commands is shown by all its bytes: those after the first are no UTF-8 alone. */
size_t sl_plain(const char *text, size_t bytes, char *out, size_t out_bytes)
{
    static const char CUT[] = "...";
    if (out_bytes < SHOWN_BYTES + sizeof CUT) {
        if (out_bytes > 0) out[0] = '\0';
        return 0;
    }
    size_t used = 0, fits = 0; /* with the three dots behind it */
    for (size_t i = 0; i < bytes;) {
        char shown[SHOWN_BYTES];
        size_t n;
        i += show(text + i, bytes - i, shown, &n);
        if (used + n >= out_bytes) {
            memcpy(out + fits, CUT, sizeof CUT);
            return fits + sizeof CUT - 1;
        }
        memcpy(out + used, shown, n);
        used += n;
        if (used + sizeof CUT <= out_bytes) fits = used;
    }
    out[used] = '\0';
    return used;
}

const char *sl_plain_in(const char *text, size_t bytes, sl_plain_room *room)
{
    sl_plain(text, bytes, room->text, sizeof room->text);
    return room->text;
}

const char *sl_plain_string(const char *text, sl_plain_room *room)
{
    return sl_plain_in(text, strlen(text), room);
}

size_t sl_plain_prefix(const char *text, size_t bytes, size_t bytes_max)
{
    if (bytes <= bytes_max) return bytes;
    size_t n = bytes_max,
           back = 0; /* to where a character begins, if text[n] is not its first byte */
    while (back < n && back < SHOWN_BYTES && ((uint8_t)text[n - back] & 0xc0) == 0x80) back++;
    return back < SHOWN_BYTES ? n - back : n;
}

void sl_plain_write(FILE *out, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        char shown[SHOWN_BYTES];
        size_t n = 1;
        bool kept = text[i] == '\n' || text[i] == '\t';
        if (kept)
            shown[0] = text[i++];
        else
            i += show(text + i, bytes - i, shown, &n);
        fwrite(shown, 1, n, out);
    }
}
