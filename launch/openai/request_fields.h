/* launch/openai/request_fields.h - the parameters in a request's body. Between request_parse.c, which reads the
 * line and the prompt, and request_fields.c. */
#ifndef SL_JOB_FIELDS_H
#define SL_JOB_FIELDS_H

#include <jansson.h>

#include "launch/openai/openai.h"

/* The value of a field; NULL when it is absent or null, which mean the same. */
json_t *sl_job_field(const json_t *object, const char *name);
/* `value` is the string `text`, to its last byte. */
bool sl_job_is(const json_t *value, const char *text);
/* A number without fraction, however it is written. false: it is not, or beyond int64_t. */
bool sl_job_integer(const json_t *value, int64_t *out);
/* malloc'd copy with a zero after it; NULL when memory is out. */
char *sl_job_copy(const char *text, size_t bytes);

/* Warn, once a job, that `name` of `where` is ignored. */
void sl_job_warn_unknown(const sl_job_reader *reader, const char *where, const char *name);

typedef struct {
    int64_t max_tokens; /* -1: the default */
    int64_t
        truncate; /* the prompt to its last tokens: so many, -1 what fits in the context; 0 not */
} sl_job_wanted;

/* Everything in `body` but prompt, messages and model, into *request; what is wrong or cannot be
 * honoured becomes its error. request->chat and custom_id are set. SL_ERR_MEMORY. */
sl_status sl_job_fields_read(const sl_job_reader *reader, json_t *body, sl_request *request,
                             sl_job_wanted *wanted_out);

#endif
