/* runtime/text/utf8.c - see utf8.h. */
#include "runtime/text/utf8.h"

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
