/* runtime/text/template_text.h - a Jinja template in one spelling, so that those that print the
 * same can be told by the same words. It is rewritten, not understood. */
#ifndef SL_TEMPLATE_TEXT_H
#define SL_TEMPLATE_TEXT_H

#include <stddef.h>

#include "runtime/base/status.h"
#include "runtime/gguf/gguf.h"

/* The spelling: text outside of tags is an expression, {{'text'}}, after trim_blocks, lstrip_blocks
 * and "-" took their blanks; expressions that follow one another are one, a+b; strings too; strings
 * are in single quotes with \' and \\ escaped and all else as it is; x.name is x['name']; no
 * comments, and blanks only between two words.
 * On SL_OK the caller frees *out, zero-terminated. SL_ERR_UNSUPPORTED, not logged: a tag that does
 * not end or has a "{" in it, "{%+", a zero byte, or more than 256 KB. SL_ERR_MEMORY. Linear
 * time. */
sl_status sl_template_text(sl_text template, char **out);

#endif
