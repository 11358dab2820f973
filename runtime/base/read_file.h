/* runtime/base/read_file.h - a whole file, or stdin, in memory. */
#ifndef SL_READ_FILE_H
#define SL_READ_FILE_H

#include <stddef.h>

#include "runtime/base/status.h"

/* `path` "-" is stdin. On SL_OK the caller frees *text_out, which ends with a zero beyond its
 * bytes. SL_ERR_FILE, SL_ERR_MEMORY: logged. */
sl_status sl_read_file(const char *path, char **text_out, size_t *bytes_out);
/* The same of a text that must be UTF-8, without its byte order mark; SL_ERR_FORMAT: it is
 * UTF-16. */
sl_status sl_read_text(const char *path, char **text_out, size_t *bytes_out);
/* The same of at most bytes_max bytes. SL_ERR_OPTION, not logged: there are more. */
sl_status sl_read_text_within(const char *path, size_t bytes_max, char **text_out,
                              size_t *bytes_out);

#endif
