/* runtime/text/pretokenizer.h - cuts text into the pieces within which BPE merges.
 * A rule is a list of regular expressions applied one after another: the first splits the text,
 * the next each of its pieces, and so on. A match is a piece, and so is what lies between. */
#ifndef SL_PRETOKENIZER_H
#define SL_PRETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

#include "runtime/base/status.h"
#include "runtime/gguf/gguf.h"

typedef struct sl_pretokenizer sl_pretokenizer;

/* What else a rule's name says of its models. */
typedef struct {
    bool whole_pieces; /* a piece that is itself a token is taken whole, whatever its merges */
    bool adds_bos;     /* unless the file says otherwise */
} sl_split_traits;

/* By the name in tokenizer.ggml.pre. SL_ERR_UNSUPPORTED, logged with the names there are; also for
 * no name and "default", which old converters wrote when they did not know: peers split by a guess
 * then, and warn of worse answers. */
sl_status sl_pretokenizer_open(sl_text rule_name, sl_pretokenizer **pretokenizer_out);
/* The same without PCRE2's JIT, as where a system forbids it: slower, and nothing else. */
sl_status sl_pretokenizer_open_interpreted(sl_text rule_name, sl_pretokenizer **pretokenizer_out);
const sl_split_traits *sl_pretokenizer_traits(const sl_pretokenizer *pretokenizer);
void sl_pretokenizer_close(sl_pretokenizer *pretokenizer); /* NULL is fine */

/* Call `piece` for each piece of text[bytes] in order; pieces are never empty and cover the text.
 * A run of bytes that are no UTF-8 is a piece. Stops at the first status that is not SL_OK and
 * returns it. SL_ERR_MEMORY and SL_ERR_UNSUPPORTED (PCRE2 gives up on a text), logged. Thread-safe;
 * near-linear. */
typedef sl_status (*sl_piece_call)(void *context, const char *piece, size_t bytes);
sl_status sl_pretokenizer_run(const sl_pretokenizer *pretokenizer, const char *text, size_t bytes,
                              sl_piece_call piece, void *context);

#endif
