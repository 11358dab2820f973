/* runtime/base/line_reader.h - lines of a file in bounded memory, without the byte order mark that
 * the first may begin with. */
#ifndef SL_LINE_READER_H
#define SL_LINE_READER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "runtime/base/status.h"

typedef struct {
    FILE *file;       /* the caller's */
    size_t bytes_max; /* of a line; what is beyond is skipped */
    char *line;       /* owned */
    size_t capacity;
    uint64_t number; /* of the line last read, from 1 */
    uint64_t offset; /* where the next line begins */
} sl_line_reader;

void sl_line_reader_init(sl_line_reader *reader, FILE *file, size_t bytes_max);
void sl_line_reader_fini(sl_line_reader *reader); /* the file stays open */

/* The next line without its newline, lent until the next call; *whole_out (may be NULL): it ended
 * with one. SL_END, SL_ERR_FILE (logged), SL_ERR_MEMORY. */
sl_status sl_line_reader_next(sl_line_reader *reader, const char **line_out, size_t *bytes_out,
                              bool *whole_out);

#endif
