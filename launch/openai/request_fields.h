/* launch/openai/request_fields.h - the parameters in a request's body. Between request_parse.c,
 * which reads the line and the prompt, and request_fields.c. */
#ifndef SL_REQUEST_FIELDS_H
#define SL_REQUEST_FIELDS_H

#include <jansson.h>

#include "launch/openai/openai.h"

/* Warn, once a job, that `name` of `where` is ignored. */
void sl_request_warn_unknown(const sl_request_reader *reader, const char *where, const char *name);
/* The same for the fields of `object` that are not in the list, which NULL ends. */
void sl_request_warn_unknown_of(const sl_request_reader *reader, json_t *object,
                                const char *const *known, const char *where);
/* The fewest bytes of text that cannot fit in the context, however it is cut into tokens. */
size_t sl_request_context_bytes(const sl_request_reader *reader);
/* Whether a text of so many bytes may fit; one that cannot is not even tokenized, which takes many
 * times its bytes. False: the request has its error, for this parameter. */
bool sl_request_fits_context(const sl_request_reader *reader, size_t bytes, const char *param,
                             sl_request *request);

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
