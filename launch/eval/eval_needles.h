/* launch/eval/eval_needles.h - things to find again in a long text: what is hidden, where, how it
 * is asked for, and whether it was found. Completion prompts, since that is what small models do
 * best: the text, a fact somewhere in it, and behind the text the beginning of the fact's sentence
 * again. */
#ifndef SL_EVAL_NEEDLES_H
#define SL_EVAL_NEEDLES_H

#include "runtime/text/tokenizer.h"

typedef enum {
    SL_NEEDLE_FACT,   /* one word: a person's favourite colour */
    SL_NEEDLE_DIGITS, /* a number of 7 digits */
    SL_NEEDLE_KEY,    /* 64 hexadecimal characters */
    SL_NEEDLE_COPY,   /* 48 tokens of the text itself, from the first 16 before them */
} sl_needle_kind;
enum { SL_NEEDLE_KINDS = 4, SL_NEEDLE_TEXT_BYTES = 1024 };
const char *sl_needle_name(sl_needle_kind kind); /* static storage */

typedef struct {
    sl_needle_kind kind;
    uint32_t n_tokens; /* of the prompt */
    double depth;      /* 0 .. 1, how far into the text it lies */
    uint64_t seed;     /* whom it is about, what it says, which part of the filler is around it */
} sl_needle;

/* The prompt, needle->n_tokens ids appended to *prompt_out, from a tokenized filler; what should
 * follow it, zero-terminated, in expected_out [SL_NEEDLE_TEXT_BYTES], and tokens enough to say it.
 * SL_ERR_OPTION, logged: a prompt too short for the needle, or a filler shorter than the prompt.
 * SL_ERR_MEMORY. */
sl_status sl_needle_make(const sl_needle *needle, const sl_tokenizer *tokenizer,
                         const sl_tokens *filler, sl_tokens *prompt_out, char *expected_out,
                         uint32_t *n_answer_out);

/* Leading bytes of `expected` that `said` begins with, blanks in front left out. All: it was found.
 * A word that goes on in `said` is another word: one less. */
size_t sl_needle_found(const char *expected, const char *said);

#endif
