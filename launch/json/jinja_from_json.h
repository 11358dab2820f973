/* launch/json/jinja_from_json.h - JSON of a request as values of a chat template: in the order in
 * which it was written, its strings marked as given. Knows nothing of what they mean. */
#ifndef SL_JINJA_FROM_JSON_H
#define SL_JINJA_FROM_JSON_H

#include <jansson.h>

#include "runtime/text/jinja/jinja_value.h"

/* Nothing of `json` is needed afterwards. What did not fit is seen by memory->refused. */
sl_jinja_value sl_jinja_from_json(sl_jinja_memory *memory, const json_t *json);

#endif
