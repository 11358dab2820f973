/* drawn_filler.h - a text of letters drawn at random, as tokens: what evaluations hide things
 * in. */
#ifndef SL_TEST_DRAWN_FILLER_H
#define SL_TEST_DRAWN_FILLER_H

#include <stdlib.h>
#include <string.h>

#include "runtime/text/tokenizer.h"
#include "tests/support/seeded.h"

/* `bytes` characters of those in `letters`; ended with sl_tokens_free. */
static inline sl_status drawn_filler(const sl_tokenizer *tokenizer, const char *letters,
                                     size_t bytes, sl_tokens *out)
{
    char *text = malloc(bytes);
    seeded random = seeded_from(1);
    assert_non_null(text);
    for (size_t i = 0; i < bytes; i++)
        text[i] = letters[seeded_below(&random, (uint32_t)strlen(letters))];
    sl_status status = sl_tokenizer_encode(tokenizer, text, bytes, SL_SPECIAL_AS_TEXT, out);
    free(text);
    return status;
}

#endif
