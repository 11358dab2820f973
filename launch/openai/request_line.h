/* launch/openai/request_line.h - a line of a job becomes JSON, and tells its id whether it does or
 * not. Between request_line.c and who reads requests; the rest of launch uses openai.h. */
#ifndef SL_REQUEST_LINE_H
#define SL_REQUEST_LINE_H

#include <jansson.h>

#include "launch/openai/openai.h"

enum { SL_REQUEST_WHY_BYTES = 192 };

/* The line's JSON, the caller's to decref. A lone surrogate, which Python's json writes for a text
 * that was cut inside a character, is read as U+FFFD. SL_ERR_FORMAT: it is none, `why` says why it
 * is not, and *root_out is NULL; SL_ERR_MEMORY. */
sl_status sl_request_line_parse(const char *line, size_t bytes, json_t **root_out,
                                char why[SL_REQUEST_WHY_BYTES]);

/* The id alone of sl_request_line_key: malloc'd. SL_ERR_MEMORY. */
sl_status sl_request_line_id(const char *line, size_t bytes, uint64_t number, char **id_out,
                             bool *made_up_out);

#endif
