/* runtime/text/piece_text.c - see piece_text.h. */
#include "runtime/text/piece_text.h"

#include <string.h>

/* GPT-2: 33-126, 161-172, 174-255 are themselves, the rest are 256, 257 ... */
static bool is_itself(int byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
}

void sl_printable_map_init(sl_printable_map *map)
{
    memset(map->bytes, 0xFF, sizeof map->bytes);
    int next = 256;
    for (int byte = 0; byte < 256; byte++)
        map->bytes[is_itself(byte) ? byte : next++] = (int16_t)byte;
}

/* One character of at most two UTF-8 bytes; all of the printable form are. */
static size_t take_character(sl_text text, size_t at, uint32_t *out)
{
    uint8_t first = (uint8_t)text.data[at];
    if (first < 0x80) {
        *out = first;
        return 1;
    }
    if ((first & 0xE0) != 0xC0 || at + 1 >= text.bytes) return 0;
    *out = (uint32_t)(first & 0x1F) << 6 | ((uint8_t)text.data[at + 1] & 0x3F);
    return 2;
}

bool sl_piece_from_printable(sl_text text, const sl_printable_map *map, char *out, size_t *n_out)
{
    size_t n = 0;
    for (size_t at = 0, length; at < text.bytes; at += length) {
        uint32_t character;
        length = take_character(text, at, &character);
        if (length == 0 || character >= SL_PRINTABLE_MAX || map->bytes[character] < 0) return false;
        out[n++] = (char)map->bytes[character];
    }
    *n_out = n;
    return true;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789ABCDEFabcdef";
    const char *found = c ? strchr(digits, c) : NULL;
    if (!found) return -1;
    int value = (int)(found - digits);
    return value < 16 ? value : value - 6;
}

bool sl_piece_from_hex(sl_text text, char *out, size_t *n_out)
{
    if (text.bytes != 6 || memcmp(text.data, "<0x", 3) != 0 || text.data[5] != '>') return false;
    int high = hex_digit(text.data[3]), low = hex_digit(text.data[4]);
    if (high < 0 || low < 0) return false;
    *out = (char)(16 * high + low);
    *n_out = 1;
    return true;
}

static const char SPACE_MARK[] = "\xE2\x96\x81";

size_t sl_piece_space_mark(const char *data, size_t n)
{
    size_t bytes = sizeof SPACE_MARK - 1;
    return n >= bytes && memcmp(data, SPACE_MARK, bytes) == 0 ? bytes : 0;
}

void sl_piece_from_spaces(sl_text text, char *out, size_t *n_out)
{
    size_t n = 0;
    for (size_t at = 0; at < text.bytes;) {
        size_t mark = sl_piece_space_mark(text.data + at, text.bytes - at);
        out[n++] = mark ? ' ' : text.data[at];
        at += mark ? mark : 1;
    }
    *n_out = n;
}
