/* launch/eval/eval_ruler_hidden.c - tasks that hide sentences in a text and ask for what they say:
 * RULER's needles and variable tracking, and several questions over one text. Each sentence stands
 * at the end of one of the text's, in a slot of its own, all at the depth of the trial in their
 * slots and at its phase. */
#include <stdio.h>
#include <stdlib.h>

#include "launch/eval/eval_prompts.h"
#include "launch/eval/eval_ruler_make.h"
#include "launch/eval/eval_ruler_words.h"

enum { HIDDEN_MAX = 5, TEXT_BYTES = 512, DRAW_ASKED = 2, BEGIN_TOKENS = 16 };

/* As long as a sentence that tells a number, without the number. */
static const char SENTENCE[] = " The secret number of the brave otter is";

/* Sentences, in the order of the text. */
typedef struct {
    uint32_t n, asked; /* the one whose position counts */
    sl_tokens sentences[HIDDEN_MAX];
} hidden;

static void free_hidden(hidden *h)
{
    for (uint32_t i = 0; i < h->n; i++) sl_tokens_free(&h->sentences[i]);
}

static sl_status hide(const sl_ruler_source *source, hidden *h, const char *text)
{
    return sl_prompt_add_text(source->tokenizer, text, &h->sentences[h->n++]);
}

/* The text up to `end`, going on where it was cut; what is before it ends with a sentence, for
 * which a few tokens are passed over. */
static sl_status add_filler(const sl_ruler_source *source, const int32_t **ids, size_t end,
                            sl_tokens *out)
{
    size_t n = end - out->n;
    size_t to = sl_sentence_after(source->tokenizer, *ids, n + SL_SENTENCE_TOKENS, n);
    sl_status status = sl_tokens_append(out, *ids + to - n, n);
    *ids += to;
    return status;
}

/* Fill the prompt up to `end`. */
static sl_status add_body(const sl_ruler_source *source, const sl_ruler_trial *trial,
                          const hidden *h, size_t end, sl_ruler_prompt *out)
{
    const int32_t *ids = sl_ruler_filler_part(source, trial);
    size_t begin = out->prompt.n + BEGIN_TOKENS;
    sl_status status = begin < end ? SL_OK : SL_ERR_OPTION;
    for (uint32_t i = 0; status == SL_OK && i < h->n; i++) {
        const sl_tokens *sentence = &h->sentences[i];
        size_t first = begin + i * (end - begin) / h->n, at;
        size_t after = begin + (i + 1) * (end - begin) / h->n;
        if (after < first + sentence->n) return SL_ERR_OPTION;
        if (!sl_ruler_place(trial, first, after - sentence->n, &at)) return SL_ERR_OPTION;
        status = add_filler(source, &ids, at, &out->prompt);
        if (status == SL_OK) status = sl_tokens_append(&out->prompt, sentence->ids, sentence->n);
        if (i == h->asked) out->at = at;
    }
    return status == SL_OK ? sl_tokens_append(&out->prompt, ids, end - out->prompt.n) : status;
}

/* A prompt that ends with `question`; the sentences are freed. form: what stands in an answer
 * before each thing expected. */
static sl_status ask(const sl_ruler_source *source, const sl_ruler_trial *trial, hidden *h,
                     const char *question, const char *form, sl_ruler_prompt *out)
{
    sl_tokens asked = {0};
    size_t end;
    sl_status status = sl_ruler_answer_room(source, form, out);
    if (status == SL_OK) status = sl_prompt_add_text(source->tokenizer, question, &asked);
    if (status == SL_OK) status = sl_ruler_body_end(trial, out, asked.n, 0, &end);
    if (status == SL_OK) status = add_body(source, trial, h, end, out);
    if (status == SL_OK) status = sl_tokens_append(&out->prompt, asked.ids, asked.n);
    sl_tokens_free(&asked);
    free_hidden(h);
    return status;
}

/* Name and number i of the trial, as a sentence. */
static sl_status hide_number(const sl_ruler_source *source, const sl_ruler_trial *trial, uint32_t i,
                             hidden *h)
{
    char name[SL_RULER_WORD_BYTES], number[SL_RULER_WORD_BYTES], text[TEXT_BYTES];
    sl_ruler_name(trial->seed, i, name);
    sl_ruler_number(trial->seed, i, number);
    snprintf(text, sizeof text, " The secret number of the %s is %s.", name, number);
    return hide(source, h, text);
}

static void expect_number(const sl_ruler_trial *trial, uint32_t i, sl_ruler_prompt *out)
{
    char number[SL_RULER_WORD_BYTES];
    sl_ruler_number(trial->seed, i, number);
    sl_ruler_expect(out, number);
}

/* ---- needles ---- */

/* One of n names is asked for. */
static sl_status ask_for_one(const sl_ruler_source *source, const sl_ruler_trial *trial, uint32_t n,
                             sl_ruler_prompt *out)
{
    char name[SL_RULER_WORD_BYTES], question[TEXT_BYTES];
    hidden h = {.asked = (uint32_t)(sl_ruler_draw(trial->seed, DRAW_ASKED) % n)};
    sl_status status = SL_OK;
    for (uint32_t i = 0; status == SL_OK && i < n; i++) status = hide_number(source, trial, i, &h);
    expect_number(trial, h.asked, out);
    sl_ruler_name(trial->seed, h.asked, name);
    snprintf(question, sizeof question, "\n\nThe secret number of the %s is", name);
    if (status == SL_OK) return ask(source, trial, &h, question, "", out);
    free_hidden(&h);
    return status;
}

sl_status sl_ruler_make_single(const sl_ruler_source *source, const sl_ruler_trial *trial,
                               sl_ruler_prompt *out)
{
    return ask_for_one(source, trial, 1, out);
}

sl_status sl_ruler_make_multikey(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                 sl_ruler_prompt *out)
{
    return ask_for_one(source, trial, 4, out);
}

sl_status sl_ruler_make_multivalue(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                   sl_ruler_prompt *out)
{
    enum { VALUES = 4 };
    char name[SL_RULER_WORD_BYTES], number[SL_RULER_WORD_BYTES], text[TEXT_BYTES];
    hidden h = {0};
    sl_status status = SL_OK;
    sl_ruler_name(trial->seed, 0, name);
    for (uint32_t i = 0; status == SL_OK && i < VALUES; i++) {
        sl_ruler_number(trial->seed, i, number);
        snprintf(text, sizeof text, " A secret number of the %s is %s.", name, number);
        status = hide(source, &h, text);
        sl_ruler_expect(out, number);
    }
    snprintf(
        text, sizeof text,
        "\n\nThe four secret numbers of the %s, each in a sentence: A secret number of the %s is",
        name, name);
    if (status == SL_OK) return ask(source, trial, &h, text, SENTENCE, out);
    free_hidden(&h);
    return status;
}

sl_status sl_ruler_make_multiquery(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                   sl_ruler_prompt *out)
{
    enum { NAMES = 4 };
    char names[NAMES][SL_RULER_WORD_BYTES], text[TEXT_BYTES];
    hidden h = {0};
    sl_status status = SL_OK;
    for (uint32_t i = 0; status == SL_OK && i < NAMES; i++) {
        status = hide_number(source, trial, i, &h);
        expect_number(trial, i, out);
        sl_ruler_name(trial->seed, i, names[i]);
    }
    snprintf(text, sizeof text,
             "\n\nThe secret numbers of the %s, the %s, the %s and the %s, each in a sentence: "
             "The secret number of the %s is",
             names[0], names[1], names[2], names[3], names[0]);
    if (status == SL_OK) return ask(source, trial, &h, text, SENTENCE, out);
    free_hidden(&h);
    return status;
}

/* ---- variable tracking ---- */

/* The first variable has the value, each other is set to the one before it. */
sl_status sl_ruler_make_tracking(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                 sl_ruler_prompt *out)
{
    char value[SL_RULER_WORD_BYTES], name[SL_RULER_WORD_BYTES], text[TEXT_BYTES];
    char before[SL_RULER_WORD_BYTES + 4];
    hidden h = {0};
    sl_status status = SL_OK;
    sl_ruler_number(trial->seed, 0, value);
    snprintf(before, sizeof before, "%s", value);
    for (uint32_t i = 0; status == SL_OK && i < HIDDEN_MAX; i++) {
        sl_ruler_variable(trial->seed, i, name);
        snprintf(text, sizeof text, " VAR %s = %s.", name, before);
        status = hide(source, &h, text);
        sl_ruler_expect(out, name);
        snprintf(before, sizeof before, "VAR %s", name);
    }
    snprintf(text, sizeof text, "\n\nThe five variables that have the value %s are: VAR", value);
    if (status == SL_OK) return ask(source, trial, &h, text, " VAR", out);
    free_hidden(&h);
    return status;
}

/* ---- several questions ---- */

/* The question about name i: what is read after the text, and then answered. */
static sl_status add_question(const sl_ruler_source *source, const sl_ruler_trial *trial,
                              uint32_t i, sl_ruler_prompt *out)
{
    char name[SL_RULER_WORD_BYTES], text[TEXT_BYTES];
    sl_ruler_name(trial->seed, i, name);
    snprintf(text, sizeof text, "\n\nThe secret number of the %s is", name);
    expect_number(trial, i, out);
    return sl_prompt_add_text(source->tokenizer, text, &out->tails[out->n_tails++]);
}

sl_status sl_ruler_make_questions(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                  sl_ruler_prompt *out)
{
    hidden h = {0};
    sl_status status = SL_OK;
    size_t longest = 0, end;
    out->tails = calloc(SL_RULER_ASKED_MAX, sizeof *out->tails);
    if (!out->tails) return SL_ERR_MEMORY;
    for (uint32_t i = 0; status == SL_OK && i < SL_RULER_ASKED_MAX; i++) {
        status = hide_number(source, trial, i, &h);
        if (status == SL_OK) status = add_question(source, trial, i, out);
        if (out->tails[i].n > longest) longest = out->tails[i].n;
    }
    if (status == SL_OK) status = sl_ruler_answer_room(source, "", out);
    if (status == SL_OK) status = sl_ruler_body_end(trial, out, longest, 0, &end);
    if (status == SL_OK) status = add_body(source, trial, &h, end, out);
    free_hidden(&h);
    return status;
}
