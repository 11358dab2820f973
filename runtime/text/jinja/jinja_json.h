/* runtime/text/jinja/jinja_json.h - values as JSON, as Python's json.dumps() writes them. */
#ifndef SL_JINJA_JSON_H
#define SL_JINJA_JSON_H

#include "runtime/text/jinja/jinja_context.h"

typedef struct {
    bool ascii;           /* other characters as \uXXXX */
    bool sorted;          /* keys in order */
    bool lines;           /* items on lines of their own */
    sl_jinja_text indent; /* with lines: in front of each, once a level */
    sl_jinja_text comma, colon;
} sl_jinja_json_form;

/* What is no JSON fails: undefined values, functions. */
void sl_jinja_json(sl_jinja_context *c, sl_jinja_builder *out, const sl_jinja_json_form *form,
                   sl_jinja_value value);

#endif
