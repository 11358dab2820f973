/* launch/eval/eval_ruler_text.c - tasks that ask for the text itself: how a passage goes on that
 * stood before, and how likely its later half is. */
#include <ctype.h>
#include <string.h>

#include "launch/eval/eval_prompts.h"
#include "launch/eval/eval_ruler_make.h"

enum { COPY_HEAD = 32, COPY_TAIL = 48, RUN_WORDS = 6 };

static const char *skip(const char *text, bool blanks)
{
    while (*text && (isspace((unsigned char)*text) != 0) == blanks) text++;
    return text;
}

/* The end of up to six whole words, with a blank behind each, and how many they are; NULL: of
 * none. */
static char *run_end(char *at, int *n_words_out)
{
    char *end = NULL;
    for (*n_words_out = 0; *n_words_out < RUN_WORDS; ++*n_words_out) {
        char *after = (char *)skip(skip(end ? end : at, true), false);
        if (!*after || after - at >= SL_RULER_EXPECTED_BYTES) break;
        end = after;
    }
    return end;
}

/* What is expected of a copy: the passage in runs of six words each, without words that it
 * begins or ends inside of, and without a shorter run at the end if there is another. */
static void expect_runs(char *text, sl_ruler_prompt *out)
{
    int n_words;
    char *at = (char *)skip(skip(text, false), true), *end;
    while (out->n_expected < SL_RULER_EXPECTED_MAX && (end = run_end(at, &n_words))) {
        if (n_words < RUN_WORDS && out->n_expected > 0) break;
        *end = '\0';
        sl_ruler_expect(out, at);
        at = (char *)skip(end + 1, true);
    }
    if (out->n_expected == 0) sl_ruler_expect(out, text); /* a text without words */
}

sl_status sl_ruler_make_copy(const sl_ruler_source *source, const sl_ruler_trial *trial,
                             sl_ruler_prompt *out)
{
    enum { PASSAGE = COPY_HEAD + COPY_TAIL };
    char text[SL_RULER_EXPECTED_MAX * SL_RULER_EXPECTED_BYTES];
    const int32_t *ids = sl_ruler_filler_part(source, trial);
    sl_tokens again = {0};
    size_t first = out->prompt.n, end, at, bytes = 0;
    out->n_answer = COPY_TAIL;
    sl_status status = sl_prompt_add_text(source->tokenizer, "\n\n", &again);
    if (status == SL_OK)
        status = sl_ruler_body_end(trial, out, again.n + COPY_HEAD, (size_t)2 * PASSAGE, &end);
    if (status == SL_OK && !sl_ruler_place(trial, first, end - PASSAGE, &at))
        status = SL_ERR_OPTION;
    if (status == SL_OK) {
        /* The passage is a sentence's beginning. */
        ids = ids + sl_sentence_after(source->tokenizer, ids, trial->n_tokens, at - first) -
              (at - first);
        const int32_t *passage = ids + (at - first);
        status = sl_tokens_append(&out->prompt, ids, end - first);
        if (status == SL_OK) status = sl_tokens_append(&out->prompt, again.ids, again.n);
        if (status == SL_OK) status = sl_tokens_append(&out->prompt, passage, COPY_HEAD);
        for (size_t i = COPY_HEAD; i < PASSAGE; i++) {
            sl_text piece = sl_tokenizer_piece(source->tokenizer, passage[i]);
            if (bytes + piece.bytes >= sizeof text) break;
            memcpy(text + bytes, piece.data, piece.bytes);
            bytes += piece.bytes;
        }
        text[bytes] = '\0';
        out->at = at;
        expect_runs(text, out);
    }
    sl_tokens_free(&again);
    return status;
}

sl_status sl_ruler_make_likelihood(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                   sl_ruler_prompt *out)
{
    size_t n = trial->n_tokens - out->prompt.n;
    out->score_from = trial->n_tokens / 2;
    return sl_tokens_append(&out->prompt, sl_ruler_filler_part(source, trial), n);
}
