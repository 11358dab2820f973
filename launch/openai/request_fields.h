/* launch/openai/request_fields.h - the parameters in a request's body. Between request_parse.c,
 * which reads the line and the prompt, and request_fields.c. */
#ifndef SL_REQUEST_FIELDS_H
#define SL_REQUEST_FIELDS_H

#include <jansson.h>

#include "launch/openai/openai.h"

/* Warn, once a job, that `name` of `where` is ignored. */
void sl_request_warn_unknown(const sl_request_reader *reader, const char *where, const char *name);

typedef struct {
    int64_t max_tokens; /* -1: the default */
    int64_t
        truncate; /* the prompt to its last tokens: so many, -1 what fits in the context; 0 not */
} sl_request_lengths;

/* Everything in `body` but prompt, messages and model, into *request; what is wrong or cannot be
 * honoured becomes its error. request->chat and custom_id are set. SL_ERR_MEMORY. */
sl_status sl_request_fields_read(const sl_request_reader *reader, json_t *body, sl_request *request,
                                 sl_request_lengths *wanted_out);

#endif
