/* launch/eval/eval_questions.c - see eval_questions.h. */
#include "launch/eval/eval_questions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"

sl_status sl_eval_form_find(const char *name, sl_eval_form *form_out)
{
    if (strcmp(name, "cloze") == 0) {
        *form_out = SL_EVAL_CLOZE;
    } else if (strcmp(name, "labels") == 0) {
        *form_out = SL_EVAL_LABELS;
    } else {
        sl_error("--form: '%s' is none of " SL_EVAL_FORM_NAMES, name);
        return SL_ERR_OPTION;
    }
    return SL_OK;
}

/* Shot `shot` of question `index`: evenly spaced among the others, so that none is what all depends
 * on. */
static const sl_eval_record *shot_of(const sl_eval_asking *asking, const sl_eval_records *records,
                                     size_t index, uint32_t shot)
{
    size_t step = (shot + 1) * records->n / (asking->n_shots + 1);
    return &records->records[(index + step) % records->n];
}

static sl_text text_of(const char *text) { return (sl_text){text, strlen(text)}; }

/* ---- forms ---- */

static void write_cloze(const sl_eval_record *record, FILE *stream)
{
    fprintf(stream, "Question: %s\nAnswer:", record->question);
}

static void write_labels(const sl_eval_record *record, FILE *stream)
{
    fprintf(stream, "%s\n", record->instruction);
}

/* Everything up to the answer, and how far that is. */
static size_t write_question(const sl_eval_asking *asking, const sl_eval_records *records,
                             size_t index, FILE *stream)
{
    bool cloze = asking->form == SL_EVAL_CLOZE;
    void (*write)(const sl_eval_record *, FILE *) = cloze ? write_cloze : write_labels;
    for (uint32_t i = 0; i < asking->n_shots; i++) {
        const sl_eval_record *shot = shot_of(asking, records, index, i);
        write(shot, stream);
        if (cloze) fprintf(stream, " %s\n\n", shot->answers[shot->right]);
        if (!cloze) fprintf(stream, "%s\n\n", shot->outputs[shot->right]);
    }
    write(&records->records[index], stream);
    return (size_t)ftell(stream);
}

/* Without the EOS that some files ask for: what comes next is asked. */
static sl_status encode_open(const sl_tokenizer *tokenizer, const char *text, size_t bytes,
                             sl_tokens *out)
{
    sl_status status = sl_tokenizer_encode_whole(tokenizer, text, bytes, SL_SPECIAL_PARSED, out);
    if (status == SL_OK && sl_tokenizer_adds_eos(tokenizer)) out->n--;
    return status;
}

/* The answer's tokens are those of the whole text that the question alone does not have, since what
 * stands before an answer may change how it is split. Where the answer's bytes joined the
 * question's last tokens, so that none are left, the whole text's last token is the answer's: one
 * without any would be likelier than every other. */
static sl_status encode_text(const sl_eval_asking *asking, const char *text, size_t question_bytes,
                             size_t bytes, sl_tokens *out, size_t *n_question_out)
{
    sl_tokens question = {0};
    sl_status status = encode_open(asking->tokenizer, text, question_bytes, &question);
    *n_question_out = question.n;
    sl_tokens_free(&question);
    if (status == SL_OK) status = encode_open(asking->tokenizer, text, bytes, out);
    if (out->n > 0 && *n_question_out >= out->n) *n_question_out = out->n - 1;
    return status;
}

static sl_status encode_plain(const sl_eval_asking *asking, const sl_eval_records *records,
                              size_t index, uint32_t answer, sl_tokens *out, size_t *n_question_out)
{
    const sl_eval_record *record = &records->records[index];
    char *text = NULL;
    size_t bytes;
    FILE *stream = open_memstream(&text, &bytes);
    if (!stream) return SL_ERR_MEMORY;
    size_t question_bytes = write_question(asking, records, index, stream);
    if (asking->form == SL_EVAL_CLOZE)
        fprintf(stream, " %s", record->answers[answer]);
    else
        fprintf(stream, "%s", record->outputs[answer]);
    sl_status status = fclose(stream) == 0 ? SL_OK : SL_ERR_MEMORY;
    if (status == SL_OK)
        status = encode_text(asking, text, question_bytes, bytes, out, n_question_out);
    free(text);
    return status;
}

static sl_status encode_chat(const sl_eval_asking *asking, const sl_eval_records *records,
                             size_t index, uint32_t answer, sl_tokens *out, size_t *n_question_out)
{
    const sl_eval_record *record = &records->records[index];
    size_t n = 0;
    sl_chat_message *messages = calloc(2 * (size_t)asking->n_shots + 1, sizeof *messages);
    if (!messages) return SL_ERR_MEMORY;
    for (uint32_t i = 0; i < asking->n_shots; i++) {
        const sl_eval_record *shot = shot_of(asking, records, index, i);
        messages[n++] = (sl_chat_message){text_of("user"), text_of(shot->instruction)};
        messages[n++] = (sl_chat_message){text_of("assistant"),
                                          text_of(shot->outputs[shot->right])};
    }
    messages[n++] = (sl_chat_message){text_of("user"), text_of(record->instruction)};
    sl_jinja_error error;
    sl_status status = sl_chat_encode(asking->chat, messages, n, out, &error);
    if (status == SL_ERR_REQUEST) sl_error("%s", error.text);
    free(messages);
    *n_question_out = out->n;
    if (status != SL_OK) return status;
    sl_text output = text_of(record->outputs[answer]);
    return sl_tokenizer_encode(asking->tokenizer, output.data, output.bytes, SL_SPECIAL_AS_TEXT,
                               out);
}

/* ---- a question ---- */

sl_status sl_eval_question_encode(const sl_eval_asking *asking, const sl_eval_records *records,
                                  size_t index, uint32_t answer, sl_tokens *out,
                                  size_t *n_question_out)
{
    bool chat = asking->form == SL_EVAL_LABELS && asking->chat;
    return chat ? encode_chat(asking, records, index, answer, out, n_question_out)
                : encode_plain(asking, records, index, answer, out, n_question_out);
}

double sl_eval_question_score(const sl_eval_asking *asking, const sl_eval_record *record,
                              uint32_t answer, double log_likelihood)
{
    bool by_byte = asking->form == SL_EVAL_CLOZE && record->listed;
    return by_byte ? log_likelihood / (double)strlen(record->answers[answer]) : log_likelihood;
}
