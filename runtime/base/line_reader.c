/* runtime/base/line_reader.c - getc_unlocked into a buffer that doubles up to its bound. */
#include "runtime/base/line_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/encoding.h"
#include "runtime/base/log.h"

void sl_line_reader_init(sl_line_reader *reader, FILE *file, size_t bytes_max)
{
    *reader = (sl_line_reader){.file = file, .bytes_max = bytes_max};
}

void sl_line_reader_fini(sl_line_reader *reader) { free(reader->line); }

static sl_status make_room(sl_line_reader *reader)
{
    size_t capacity = reader->capacity ? 2 * reader->capacity : 1 << 14;
    char *line = realloc(reader->line, capacity);
    if (!line) {
        sl_error("no memory for a line of %zu bytes", capacity);
        return SL_ERR_MEMORY;
    }
    reader->line = line;
    reader->capacity = capacity;
    return SL_OK;
}

sl_status sl_line_reader_next(sl_line_reader *reader, const char **line_out, size_t *bytes_out,
                              bool *whole_out)
{
    size_t n = 0;
    int c;
    while ((c = getc_unlocked(reader->file)) != EOF) {
        reader->offset++;
        if (c == '\n') break;
        if (n == reader->bytes_max) continue;
        if (n == reader->capacity && make_room(reader) != SL_OK) return SL_ERR_MEMORY;
        reader->line[n++] = (char)c;
    }
    if (ferror(reader->file)) {
        sl_error("cannot read line %llu: %s", (unsigned long long)reader->number + 1,
                 strerror(errno));
        return SL_ERR_FILE;
    }
    if (c == EOF && n == 0) return SL_END;
    reader->number++;
    if (whole_out) *whole_out = c == '\n';
    const char *line = reader->line ? reader->line : "";
    const size_t mark = reader->number == 1 ? sl_encoding_mark(line, n) : 0;
    *line_out = line + mark;
    *bytes_out = n - mark;
    return SL_OK;
}
