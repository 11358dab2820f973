/* launch/openai/request_messages.h - the conversation of a chat request: its messages, tools and
 * what it says to the template itself, checked, and printed by the model's chat template. */
#ifndef SL_REQUEST_MESSAGES_H
#define SL_REQUEST_MESSAGES_H

#include <jansson.h>

#include "launch/openai/openai.h"

/* Append the prompt's ids to *out, and set request->thought. What is wrong with the body, of a line
 * of so many bytes, or with its template, becomes the request's error. SL_ERR_MEMORY. */
sl_status sl_request_messages_read(const sl_request_reader *reader, const json_t *body,
                                   size_t line_bytes, sl_request *request, sl_tokens *out);
/* Memory that this may take: what the template makes, and its tokens. */
size_t sl_request_messages_bytes(const sl_request_reader *reader, size_t line_bytes);

#endif
