/* launch/eval/eval_needles.c - see eval_needles.h. */
#include "launch/eval/eval_needles.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/eval/eval_prompts.h"
#include "runtime/base/log.h"

enum { COPY_HEAD = 16, COPY_TAIL = 48 };

static const char *const NAMES[] = {"Oskar",  "Marta", "Henrik", "Lucia",
                                    "Ingrid", "Pavel", "Amira",  "Tobias"};
static const char *const COLOURS[] = {"purple", "green",  "yellow", "orange",
                                      "brown",  "silver", "pink",   "blue"};

const char *sl_needle_name(sl_needle_kind kind)
{
    static const char *const KINDS[] = {"fact", "digits", "key", "copy"};
    return KINDS[kind];
}

static uint64_t draw(const sl_needle *needle, uint64_t what)
{
    const uint64_t key[2] = {(uint64_t)needle->kind, what};
    return XXH3_64bits_withSeed(key, sizeof key, needle->seed);
}

/* A sentence in two parts: what is asked with, and what should follow. */
static void make_sentence(const sl_needle *needle, char *asked, char *expected)
{
    const char *name = NAMES[draw(needle, 0) % 8];
    const char *what = needle->kind == SL_NEEDLE_FACT     ? "favourite colour"
                       : needle->kind == SL_NEEDLE_DIGITS ? "secret number"
                                                          : "secret key";
    snprintf(asked, SL_NEEDLE_TEXT_BYTES, "The %s of %s is", what, name);
    if (needle->kind == SL_NEEDLE_FACT)
        snprintf(expected, SL_NEEDLE_TEXT_BYTES, "%s", COLOURS[draw(needle, 1) % 8]);
    else if (needle->kind == SL_NEEDLE_DIGITS)
        snprintf(expected, SL_NEEDLE_TEXT_BYTES, "%d", 1000000 + (int)(draw(needle, 1) % 9000000));
    else
        for (uint64_t i = 0; i < 4; i++)
            snprintf(expected + 16 * i, SL_NEEDLE_TEXT_BYTES - 16 * i, "%016llx",
                     (unsigned long long)draw(needle, 1 + i));
}

/* ids of the filler from a place of the needle's own, so many of them. */
static const int32_t *part_of(const sl_needle *needle, const sl_tokens *filler, size_t n)
{
    return filler->ids + draw(needle, 9) % (filler->n - n + 1);
}

static sl_status make_hidden(const sl_needle *needle, const sl_tokenizer *tokenizer,
                             const sl_tokens *filler, sl_tokens *out, char *expected,
                             uint32_t *n_answer_out)
{
    char asked[SL_NEEDLE_TEXT_BYTES], text[3 * SL_NEEDLE_TEXT_BYTES];
    sl_tokens hidden = {0}, question = {0}, answer = {0};
    make_sentence(needle, asked, expected);
    snprintf(text, sizeof text, " %s %s.", asked, expected);
    sl_status status = sl_prompt_add_text(tokenizer, text, &hidden);
    snprintf(text, sizeof text, "\n\n%s", asked);
    if (status == SL_OK) status = sl_prompt_add_text(tokenizer, text, &question);
    snprintf(text, sizeof text, " %s", expected);
    if (status == SL_OK) status = sl_prompt_add_text(tokenizer, text, &answer);
    size_t own = out->n + hidden.n + question.n;
    if (status == SL_OK && needle->n_tokens < own + 16) {
        sl_error("a prompt of %u tokens is too short to hide %zu in", needle->n_tokens, own);
        status = SL_ERR_OPTION;
    }
    if (status == SL_OK) {
        size_t n = needle->n_tokens - own;
        const int32_t *ids = part_of(needle, filler, n);
        size_t at = sl_sentence_before(tokenizer, ids, n, (size_t)(needle->depth * (double)n));
        status = sl_tokens_append(out, ids, at);
        if (status == SL_OK) status = sl_tokens_append(out, hidden.ids, hidden.n);
        if (status == SL_OK) status = sl_tokens_append(out, ids + at, n - at);
        if (status == SL_OK) status = sl_tokens_append(out, question.ids, question.n);
    }
    *n_answer_out = (uint32_t)answer.n + 2; /* blanks */
    sl_tokens_free(&hidden);
    sl_tokens_free(&question);
    sl_tokens_free(&answer);
    return status;
}

/* Behind the text its own words again, up to where the model shall go on. */
static sl_status make_copy(const sl_needle *needle, const sl_tokenizer *tokenizer,
                           const sl_tokens *filler, sl_tokens *out, char *expected,
                           uint32_t *n_answer_out)
{
    static const char AGAIN[] = "\n\n";
    sl_tokens again = {0};
    sl_status status = sl_prompt_add_text(tokenizer, AGAIN, &again);
    size_t own = out->n + again.n + COPY_HEAD, passage = COPY_HEAD + COPY_TAIL;
    if (status == SL_OK && needle->n_tokens < own + 2 * passage) {
        sl_error("a prompt of %u tokens is too short to copy from", needle->n_tokens);
        status = SL_ERR_OPTION;
    }
    if (status == SL_OK) {
        size_t n = needle->n_tokens - own, at;
        const int32_t *ids = part_of(needle, filler, n);
        at = sl_sentence_before(tokenizer, ids, n, (size_t)(needle->depth * (double)(n - passage)));
        status = sl_tokens_append(out, ids, n);
        if (status == SL_OK) status = sl_tokens_append(out, again.ids, again.n);
        if (status == SL_OK) status = sl_tokens_append(out, ids + at, COPY_HEAD);
        size_t bytes = 0;
        for (size_t i = at + COPY_HEAD; i < at + passage; i++) {
            sl_text piece = sl_tokenizer_piece(tokenizer, ids[i]);
            if (bytes + piece.bytes >= SL_NEEDLE_TEXT_BYTES) break;
            memcpy(expected + bytes, piece.data, piece.bytes);
            bytes += piece.bytes;
        }
        expected[bytes] = '\0';
    }
    *n_answer_out = COPY_TAIL;
    sl_tokens_free(&again);
    return status;
}

sl_status sl_needle_make(const sl_needle *needle, const sl_tokenizer *tokenizer,
                         const sl_tokens *filler, sl_tokens *prompt_out, char *expected_out,
                         uint32_t *n_answer_out)
{
    if (filler->n < needle->n_tokens) {
        sl_error("the text has %zu tokens, fewer than a prompt of %u", filler->n, needle->n_tokens);
        return SL_ERR_OPTION;
    }
    sl_status status = sl_tokenizer_begin(tokenizer, prompt_out);
    if (status != SL_OK) return status;
    return needle->kind == SL_NEEDLE_COPY
               ? make_copy(needle, tokenizer, filler, prompt_out, expected_out, n_answer_out)
               : make_hidden(needle, tokenizer, filler, prompt_out, expected_out, n_answer_out);
}

static const char *skip_blanks(const char *text)
{
    while (isspace((unsigned char)*text)) text++;
    return text;
}

size_t sl_needle_found(const char *expected, const char *said)
{
    const char *e = skip_blanks(expected), *s = skip_blanks(said);
    size_t blanks = (size_t)(e - expected), n = 0;
    while (e[n] && e[n] == s[n]) n++;
    if (n > 0 && !e[n] && isalnum((unsigned char)e[n - 1]) && isalnum((unsigned char)s[n])) n--;
    return n > 0 || !*e ? n + blanks : 0;
}
