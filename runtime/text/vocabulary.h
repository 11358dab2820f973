/* runtime/text/vocabulary.h - what a GGUF says of its tokens: their bytes, their kinds, which ones
 * begin and end a text. Knows nothing of how texts are cut. Plain fields, read only after open;
 * the tokenizer is its only user. */
#ifndef SL_VOCABULARY_H
#define SL_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"
#include "runtime/gguf/gguf.h"
#include "runtime/text/text_table.h"

typedef enum { SL_VOCABULARY_PRINTABLE, SL_VOCABULARY_SENTENCEPIECE } sl_vocabulary_form;

enum {
    SL_TOKEN_SPECIAL = 1, /* matched whole in raw text, never made by merges */
    SL_TOKEN_CONTROL = 2, /* no part of the text: matched only where special tokens are parsed */
    SL_TOKEN_BYTE = 4,    /* SentencePiece's <0x0A>: never made by merges */
    SL_TOKEN_ENDS = 8,    /* generation ends here */
    SL_TOKEN_STRIPS = 16, /* white space that follows is no part of the text */
    SL_TOKEN_SHOWN = 32,  /* decoded though it is a control token */
};

enum { SL_TOKEN_BYTES_MAX = 256 }; /* of a special token, and of any of SentencePiece's */

typedef struct {
    const sl_gguf *gguf;
    int32_t n_tokens;
    sl_text *pieces;           /* [n_tokens] bytes of each; special ones their name */
    char *bytes;               /* what the others point into */
    uint8_t *marks;            /* [n_tokens] SL_TOKEN_* */
    sl_text_table ordinary;    /* tokens that merges make, by their bytes */
    sl_text_table specials;    /* special tokens by name */
    int32_t *sorted;           /* special tokens in the order of their bytes */
    uint32_t begin[257];       /* sorted[begin[b]] is the first of byte b or more */
    int32_t byte_ids[256];     /* the token of one byte, or -1 */
    int32_t bos, eos, unknown; /* -1: none */
    size_t piece_bytes_max;
} sl_vocabulary;

/* Start from {0}. The gguf must outlive it. On error call sl_vocabulary_fini as after success.
 * SL_ERR_FORMAT, logged; SL_ERR_MEMORY. */
sl_status sl_vocabulary_init(sl_vocabulary *v, const sl_gguf *gguf, sl_vocabulary_form form);
void sl_vocabulary_fini(sl_vocabulary *v);

/* The longest special token that text[bytes > 0] starts with, or -1. Control tokens count only
 * within the first control_bytes. O(log of their number) for each byte that some special token has
 * in common with the text. */
int32_t sl_vocabulary_special_at(const sl_vocabulary *v, const char *text, size_t bytes,
                                 size_t control_bytes);

/* Log "FILE: tokenizer: WHAT: 'TEXT'". Returns SL_ERR_FORMAT. */
sl_status sl_vocabulary_bad(const sl_gguf *gguf, const char *what, sl_text text);

#endif
