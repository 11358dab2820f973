/* launch/eval/eval_ruler_lists.c - tasks whose text is a list: keys and values, RULER's common
 * words, and its frequent words. A list has as many items as fit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/eval/eval_prompts.h"
#include "launch/eval/eval_ruler_make.h"
#include "launch/eval/eval_ruler_words.h"

enum { ITEMS_MAX = 1 << 14 };

/* ---- lists of words ---- */

/* How a list of n items is written. */
typedef struct {
    /* Which of the seed's words each item is, in no order; their number is n. */
    void (*count)(uint16_t *items, uint32_t n);
    void (*write)(uint64_t seed, uint32_t index, uint16_t item, char *out);
    const char *question, *form; /* form: what stands in an answer before each word */
} word_list;

/* The list with n items, encoded; `out` is emptied before. */
static sl_status encode_list(const sl_ruler_source *source, const sl_ruler_trial *trial,
                             const word_list *list, uint32_t n, sl_tokens *out)
{
    enum { ITEM_BYTES = SL_RULER_WORD_BYTES + 16 };
    uint16_t *items = calloc(n, sizeof *items);
    char *text = malloc((size_t)n * ITEM_BYTES + 1);
    sl_status status = items && text ? SL_OK : SL_ERR_MEMORY;
    if (status == SL_OK) {
        size_t used = 0;
        list->count(items, n);
        sl_ruler_shuffle(trial->seed, items, n);
        for (uint32_t i = 0; i < n; i++) {
            list->write(trial->seed, i, items[i], text + used);
            used += strlen(text + used);
        }
        out->n = 0;
        status = sl_prompt_add_text(source->tokenizer, text, out);
    }
    free(items);
    free(text);
    return status;
}

/* Of the lists that have no more than n_max tokens the longest, by halving. An empty list fits. */
static sl_status add_longest(const sl_ruler_source *source, const sl_ruler_trial *trial,
                             const word_list *list, size_t n_max, uint32_t n_least, sl_tokens *out)
{
    uint32_t fits = 0, too_long = (uint32_t)(n_max < ITEMS_MAX ? n_max + 1 : ITEMS_MAX);
    sl_tokens tokens = {0};
    sl_status status = SL_OK;
    while (status == SL_OK && fits + 1 < too_long) {
        uint32_t n = fits + (too_long - fits) / 2;
        status = encode_list(source, trial, list, n, &tokens);
        if (tokens.n <= n_max)
            fits = n;
        else
            too_long = n;
    }
    if (status == SL_OK && fits < n_least) status = SL_ERR_OPTION;
    if (status == SL_OK) status = encode_list(source, trial, list, fits, &tokens);
    if (status == SL_OK) status = sl_tokens_append(out, tokens.ids, tokens.n);
    sl_tokens_free(&tokens);
    return status;
}

static sl_status make_list(const sl_ruler_source *source, const sl_ruler_trial *trial,
                           const word_list *list, uint32_t n_least, sl_ruler_prompt *out)
{
    sl_tokens asked = {0};
    size_t end;
    sl_status status = sl_ruler_answer_room(source, list->form, out);
    if (status == SL_OK) status = sl_prompt_add_text(source->tokenizer, list->question, &asked);
    if (status == SL_OK) status = sl_ruler_body_end(trial, out, asked.n, 1, &end);
    if (status == SL_OK)
        status = add_longest(source, trial, list, end - out->prompt.n, n_least, &out->prompt);
    if (status == SL_OK) status = sl_tokens_append(&out->prompt, asked.ids, asked.n);
    sl_tokens_free(&asked);
    return status;
}

/* ---- common words ---- */

/* Ten words stand ten times as often as the others, as in RULER (30 and 3). The longer the list,
 * the more often each, since there are so many words and no more. */
enum { COMMON = 10, COMMON_TIMES = 10, OTHERS_MAX = SL_RULER_NOUNS - COMMON };

static void count_common(uint16_t *items, uint32_t n)
{
    enum { EACH = OTHERS_MAX + COMMON * COMMON_TIMES };
    uint32_t times = (n + EACH - 1) / EACH, n_common = COMMON * COMMON_TIMES * times;
    for (uint32_t i = 0; i < n; i++)
        items[i] = (uint16_t)(i < n_common ? i % COMMON : COMMON + (i - n_common) / times);
}

static void write_common(uint64_t seed, uint32_t index, uint16_t item, char *out)
{
    sprintf(out, " %u. %s", index + 1, sl_ruler_noun(seed, item));
}

sl_status sl_ruler_make_common(const sl_ruler_source *source, const sl_ruler_trial *trial,
                               sl_ruler_prompt *out)
{
    enum { LEAST = COMMON * COMMON_TIMES + COMMON };
    static const word_list LIST = {count_common, write_common,
                                   "\n\nThe ten most common words of this list are: 1.", " 10."};
    for (uint32_t i = 0; i < COMMON; i++) sl_ruler_expect(out, sl_ruler_noun(trial->seed, i));
    return make_list(source, trial, &LIST, LEAST, out);
}

/* ---- frequent words ---- */

/* Word k of the ranking stands in k^-2 of the places (RULER: alpha 2), and the first of them is
 * noise, "...". */
static void count_frequent(uint16_t *items, uint32_t n)
{
    const double zeta_2 = 1.6449340668482264; /* sum of all k^-2 */
    uint32_t used = 0;
    for (uint32_t k = 1; used < n; k++) {
        uint32_t times = (uint32_t)((double)n / zeta_2 / ((double)k * (double)k) + 0.5);
        if (times < 1) times = 1;
        for (uint32_t i = 0; i < times && used < n; i++) items[used++] = (uint16_t)(k - 1);
    }
}

static void write_frequent(uint64_t seed, uint32_t index, uint16_t item, char *out)
{
    (void)index;
    char word[SL_RULER_WORD_BYTES] = "...";
    if (item > 0) sl_ruler_coded(seed, item, word);
    sprintf(out, " %s", word);
}

sl_status sl_ruler_make_frequent(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                 sl_ruler_prompt *out)
{
    enum { ASKED = 3, LEAST = 64 };
    static const word_list LIST = {count_frequent, write_frequent,
                                   "\n\nThe three most frequent words of this text are:", ""};
    char word[SL_RULER_WORD_BYTES];
    for (uint32_t i = 1; i <= ASKED; i++) {
        sl_ruler_coded(trial->seed, i, word);
        sl_ruler_expect(out, word);
    }
    return make_list(source, trial, &LIST, LEAST, out);
}

/* ---- keys and values ---- */

/* Line i of the list. */
static sl_status encode_line(const sl_ruler_source *source, const sl_ruler_trial *trial, uint32_t i,
                             sl_tokens *out)
{
    char name[SL_RULER_WORD_BYTES], number[SL_RULER_WORD_BYTES];
    char text[2 * SL_RULER_WORD_BYTES + 4];
    sl_ruler_name(trial->seed, i, name);
    sl_ruler_number(trial->seed, i, number);
    snprintf(text, sizeof text, "\n%s: %s", name, number);
    return sl_prompt_add_text(source->tokenizer, text, out);
}

/* The key of line i again, for which there may be room up to `last`. */
static sl_status encode_key(const sl_ruler_source *source, const sl_ruler_trial *trial, uint32_t i,
                            sl_tokens *out)
{
    char name[SL_RULER_WORD_BYTES], text[SL_RULER_WORD_BYTES + 4];
    sl_ruler_name(trial->seed, i, name);
    snprintf(text, sizeof text, "\n\n%s:", name);
    return sl_prompt_add_text(source->tokenizer, text, out);
}

/* Lines as long as they end before `end`; the last that begins no later than `at` is the one asked
 * for, and the text before the list is as long as it takes to bring that one there. */
static sl_status add_lines(const sl_ruler_source *source, const sl_ruler_trial *trial, size_t at,
                           size_t end, uint32_t *asked_out, sl_ruler_prompt *out)
{
    sl_tokens lines = {0};
    size_t first = out->prompt.n, asked_at = 0, before = 0;
    sl_status status = SL_OK;
    for (uint32_t i = 0; status == SL_OK && i < SL_RULER_NAMES; i++) {
        size_t begin = lines.n;
        status = encode_line(source, trial, i, &lines);
        if (first + begin <= at) {
            *asked_out = i;
            asked_at = begin;
            before = at - first - begin;
        }
        if (first + before + lines.n <= end) continue;
        lines.n = begin;
        break;
    }
    if (status == SL_OK && (lines.n == 0 || asked_at >= lines.n)) status = SL_ERR_OPTION;
    if (status == SL_OK)
        status = sl_tokens_append(&out->prompt, sl_ruler_filler_part(source, trial), before);
    out->at = out->prompt.n + asked_at;
    if (status == SL_OK) status = sl_tokens_append(&out->prompt, lines.ids, lines.n);
    sl_tokens_free(&lines);
    return status;
}

sl_status sl_ruler_make_keyvalue(const sl_ruler_source *source, const sl_ruler_trial *trial,
                                 sl_ruler_prompt *out)
{
    enum { LINE_TOKENS = 48 }; /* or fewer, but in a vocabulary of bytes */
    char number[SL_RULER_WORD_BYTES];
    uint32_t asked = 0;
    size_t end, at;
    out->n_answer = 2 * SL_RULER_WORD_BYTES / 4;
    sl_status status = sl_ruler_body_end(trial, out, LINE_TOKENS, (size_t)2 * LINE_TOKENS, &end);
    if (status != SL_OK) return status;
    if (!sl_ruler_place(trial, out->prompt.n, end - LINE_TOKENS, &at)) return SL_ERR_OPTION;
    status = add_lines(source, trial, at, end, &asked, out);
    sl_ruler_number(trial->seed, asked, number);
    sl_ruler_expect(out, number);
    return status == SL_OK ? encode_key(source, trial, asked, &out->prompt) : status;
}
