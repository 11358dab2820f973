/* runtime/base/encoding.c - see encoding.h. Without a mark, two characters of ASCII with zeros
 * between them tell: no UTF-8 of JSON begins so. */
#include "runtime/base/encoding.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/log.h"

size_t sl_encoding_mark(const char *text, size_t bytes)
{
    static const char mark[] = "\xEF\xBB\xBF";
    return bytes >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
}

/* The name that iconv has for it; NULL: nothing but UTF-8 is likely. */
static const char *other_encoding(const uint8_t *b, size_t bytes)
{
    if (bytes >= 4 && memcmp(b, "\xFF\xFE\0\0", 4) == 0) return "UTF-32";
    if (bytes >= 4 && memcmp(b, "\0\0\xFE\xFF", 4) == 0) return "UTF-32";
    if (bytes >= 2 && (memcmp(b, "\xFF\xFE", 2) == 0 || memcmp(b, "\xFE\xFF", 2) == 0))
        return "UTF-16";
    static const struct {
        const char *name;
        size_t bytes;
        uint8_t there[8]; /* where bytes are not zero */
    } forms[] = {
        {"UTF-16LE", 4, {1, 0, 1, 0}},
        {"UTF-16BE", 4, {0, 1, 0, 1}},
        {"UTF-32LE", 8, {1, 0, 0, 0, 1, 0, 0, 0}},
        {"UTF-32BE", 8, {0, 0, 0, 1, 0, 0, 0, 1}},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t n = 0;
        while (n < forms[i].bytes && n < bytes && (b[n] != 0) == forms[i].there[n]) n++;
        if (n == forms[i].bytes) return forms[i].name;
    }
    return NULL;
}

sl_status sl_encoding_check(const char *path, const char *text, size_t bytes)
{
    const char *name = other_encoding((const uint8_t *)text, bytes);
    if (!name) return SL_OK;
    sl_error("%s is %.6s, give UTF-8: iconv -f %s -t UTF-8 OLD > NEW", path, name, name);
    return SL_ERR_FORMAT;
}

sl_status sl_encoding_check_file(const char *path)
{
    char text[8];
    FILE *file = fopen(path, "rb");
    if (!file) return SL_OK;
    const size_t bytes = fread(text, 1, sizeof text, file);
    fclose(file);
    return sl_encoding_check(path, text, bytes);
}
