/* runtime/base/utf8.c - see utf8.h. */
#include "runtime/base/utf8.h"

#include <stdbool.h>

sl_utf8_kind sl_utf8_next(const uint8_t *s, size_t n, size_t *bytes_out)
{
    *bytes_out = 1;
    if (s[0] < 0x80) return SL_UTF8_WHOLE;
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4) return SL_UTF8_BROKEN;
    uint8_t low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    uint8_t high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < length; i++) {
        if (i == n) return SL_UTF8_PARTIAL;
        if (s[i] < low || s[i] > high) {
            *bytes_out = i;
            return SL_UTF8_BROKEN;
        }
        low = 0x80;
        high = 0xBF;
    }
    *bytes_out = length;
    return SL_UTF8_WHOLE;
}

uint32_t sl_utf8_code(const uint8_t *s, size_t bytes)
{
    if (bytes == 1) return s[0];
    uint32_t code = s[0] & (0x7FU >> bytes);
    for (size_t i = 1; i < bytes; i++) code = code << 6 | (s[i] & 0x3FU);
    return code;
}

size_t sl_utf8_put(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t bytes = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = bytes; i-- > 1; code >>= 6) out[i] = (char)(0x80 | (code & 0x3F));
    static const uint8_t first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(first[bytes] | code);
    return bytes;
}

size_t sl_utf8_blank_bytes(const char *text, size_t n)
{
    const uint8_t *s = (const uint8_t *)text;
    if (n >= 1 && (s[0] == ' ' || (s[0] >= '\t' && s[0] <= '\r') || (s[0] >= 0x1C && s[0] <= 0x1F)))
        return 1;
    if (n >= 2 && s[0] == 0xC2 && (s[1] == 0x85 || s[1] == 0xA0)) return 2;
    if (n < 3 || s[0] < 0xE1 || s[0] > 0xE3 || s[1] >> 6 != 2 || s[2] >> 6 != 2) return 0;
    uint32_t c = sl_utf8_code(s, 3);
    bool blank = c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
                 c == 0x202F || c == 0x205F || c == 0x3000;
    return blank ? 3 : 0;
}

size_t sl_utf8_blank_bytes_before(const char *text, size_t n)
{
    for (size_t bytes = 1; bytes <= 3 && bytes <= n; bytes++)
        if (sl_utf8_blank_bytes(text + n - bytes, bytes) == bytes) return bytes;
    return 0;
}
