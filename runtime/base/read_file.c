/* runtime/base/read_file.c - reads until the end, so pipes work too. */
#include "runtime/base/read_file.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/encoding.h"
#include "runtime/base/log.h"

/* SL_ERR_OPTION, not logged: there is more than bytes_max. */
static sl_status read_all(FILE *file, const char *path, size_t bytes_max, char **text_out,
                          size_t *bytes_out)
{
    char *text = NULL;
    size_t n = 0, capacity = 0;
    do {
        capacity = capacity ? 2 * capacity : 1 << 16;
        char *larger = realloc(text, capacity + 1);
        if (!larger) {
            sl_error("no memory for the %zu bytes of %s", capacity, path);
            free(text);
            return SL_ERR_MEMORY;
        }
        text = larger;
        n += fread(text + n, 1, capacity - n, file);
    } while (n == capacity && n <= bytes_max);
    if (n > bytes_max) {
        free(text);
        return SL_ERR_OPTION;
    }
    if (ferror(file)) {
        sl_error("cannot read %s: %s", path, strerror(errno));
        free(text);
        return SL_ERR_FILE;
    }
    text[n] = '\0';
    *text_out = text;
    *bytes_out = n;
    return SL_OK;
}

static sl_status read_file(const char *path, size_t bytes_max, char **text_out, size_t *bytes_out)
{
    if (strcmp(path, "-") == 0) return read_all(stdin, "stdin", bytes_max, text_out, bytes_out);
    FILE *file = fopen(path, "rb");
    if (!file) {
        sl_error("cannot open %s: %s", path, strerror(errno));
        return SL_ERR_FILE;
    }
    sl_status status = read_all(file, path, bytes_max, text_out, bytes_out);
    fclose(file);
    return status;
}

sl_status sl_read_file(const char *path, char **text_out, size_t *bytes_out)
{
    return read_file(path, SIZE_MAX, text_out, bytes_out);
}

sl_status sl_read_text(const char *path, char **text_out, size_t *bytes_out)
{
    return sl_read_text_within(path, SIZE_MAX, text_out, bytes_out);
}

sl_status sl_read_text_within(const char *path, size_t bytes_max, char **text_out,
                              size_t *bytes_out)
{
    char *text;
    size_t bytes;
    sl_status status = read_file(path, bytes_max, &text, &bytes);
    if (status != SL_OK) return status;
    status = sl_encoding_check(path, text, bytes);
    if (status != SL_OK) {
        free(text);
        return status;
    }
    const size_t mark = sl_encoding_mark(text, bytes);
    memmove(text, text + mark, bytes - mark + 1); /* with the zero at its end */
    *text_out = text;
    *bytes_out = bytes - mark;
    return SL_OK;
}
