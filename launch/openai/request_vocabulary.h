/* launch/openai/request_vocabulary.h - the fields of a request's body that peers know and that are
 * not honoured here: OpenAI's, vLLM's, llama.cpp's server's, SGLang's, TGI's, Ollama's. */
#ifndef SL_REQUEST_VOCABULARY_H
#define SL_REQUEST_VOCABULARY_H

#include <jansson.h>
#include <stdbool.h>

enum { SL_URL_COMPLETIONS = 1, SL_URL_CHAT = 2, SL_URL_BOTH = 3 }; /* where a field is known */

/* `name` is a known field of a body for `where` (one of the above). NULL in *why_out: with this
 * value it asks for nothing that would change the result; else why it cannot be honoured,
 * static. */
bool sl_request_vocabulary_has(const char *name, unsigned where, const json_t *value,
                               const char **why_out);

#endif
