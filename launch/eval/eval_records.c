/* launch/eval/eval_records.c - see eval_records.h. */
#include "launch/eval/eval_records.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/read_file.h"
#include "runtime/base/skipped.h"
#include "runtime/gguf/gguf.h"

static const char QUESTION[] = "question: ", FORMAT[] = "Answer format:", NO_MEMORY[] = "no memory";

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static sl_text trimmed(const char *text, size_t bytes)
{
    while (bytes > 0 && isspace((unsigned char)text[bytes - 1])) bytes--;
    while (bytes > 0 && isspace((unsigned char)*text)) text++, bytes--;
    return (sl_text){text, bytes};
}

/* `text` with its last `was` as choice: malloc'd. */
static char *with_choice(const char *text, const char *was, sl_text choice)
{
    char *out;
    const char *at = strstr(text, was);
    for (const char *next; (next = strstr(at + 1, was));) at = next;
    int bytes = asprintf(&out, "%.*s%.*s%s", (int)(at - text), text, (int)choice.bytes, choice.data,
                         at + strlen(was));
    return bytes < 0 ? NULL : out;
}

/* Choice i of "a/b/c": where it is, without white space around; 0 bytes: there is none, or nothing
 * in it. */
static sl_text choice_of(const char *format, uint32_t i)
{
    for (; i > 0 && format; i--) {
        format = strchr(format, '/');
        if (format) format++;
    }
    return format ? trimmed(format, strcspn(format, "/")) : (sl_text){"", 0};
}

/* The outputs that choices make; what is wrong with them, or "". */
static const char *take_choices(const char *format, const char *output, const char *answer,
                                sl_eval_record *record)
{
    uint32_t n = 1;
    bool found = false;
    for (const char *at = format; (at = strchr(at, '/')); at++) n++;
    if (n > SL_EVAL_CHOICES_MAX) return "more than 8 choices";
    if (n < 2) return "fewer than two choices";
    for (uint32_t i = 0; i < n; i++) {
        sl_text choice = choice_of(format, i);
        if (choice.bytes == 0) return "an empty choice in \"Answer format:\"";
        if (sl_text_is(choice, answer)) {
            record->right = i;
            found = true;
        }
        record->outputs[i] = with_choice(output, answer, choice);
        if (!record->outputs[i]) return NO_MEMORY;
        record->n_answers++;
    }
    return found ? "" : "\"answer\" is none of the choices";
}

/* "Answer1:" of the choice "answer1" in a text, as a word of its own; or NULL. */
static const char *find_label(const char *text, sl_text choice, size_t *bytes_out)
{
    char label[64];
    *bytes_out = choice.bytes + 1;
    if (*bytes_out >= sizeof label) return NULL;
    snprintf(label, sizeof label, "%.*s:", (int)choice.bytes, choice.data);
    const char *at = strcasestr(text, label);
    while (at && at > text && isalnum((unsigned char)at[-1])) at = strcasestr(at + 1, label);
    return at;
}

/* The texts of listed answers, in their order; *question_end_out: where the list begins. */
static const char *take_listed(const char *instruction, const char *format, sl_eval_record *record,
                               const char **question_end_out)
{
    size_t label_bytes;
    const char *at = find_label(instruction, choice_of(format, 0), &label_bytes);
    *question_end_out = at;
    for (uint32_t i = 0; i < record->n_answers; i++) {
        const char *text = at + label_bytes;
        bool last = i + 1 == record->n_answers;
        at = last ? strstr(text, FORMAT) : find_label(text, choice_of(format, i + 1), &label_bytes);
        if (!at) return "a choice is not among the listed answers";
        sl_text own = trimmed(text, (size_t)(at - text));
        if (own.bytes == 0) return "a listed answer is empty";
        record->answers[i] = strndup(own.data, own.bytes);
        if (!record->answers[i]) return NO_MEMORY;
    }
    return "";
}

/* The question and its answers, each alone; what is wrong with them, or "". */
static const char *take_texts(const char *instruction, const char *format, sl_eval_record *record)
{
    size_t label_bytes;
    const char *begin = strstr(instruction, QUESTION), *end = strstr(instruction, FORMAT);
    begin = begin && begin < end ? begin + strlen(QUESTION) : instruction;
    record->listed = find_label(begin, choice_of(format, 0), &label_bytes) != NULL;
    const char *wrong = "";
    if (record->listed) wrong = take_listed(begin, format, record, &end);
    for (uint32_t i = 0; !record->listed && i < record->n_answers; i++) {
        sl_text choice = choice_of(format, i);
        record->answers[i] = strndup(choice.data, choice.bytes);
        if (!record->answers[i]) return NO_MEMORY;
    }
    if (*wrong) return wrong;
    sl_text question = trimmed(begin, (size_t)(end - begin));
    if (question.bytes == 0) return "an empty question";
    record->question = strndup(question.data, question.bytes);
    return record->question ? "" : NO_MEMORY;
}

static const char *take_record(const json_t *object, sl_eval_record *record)
{
    const char *instruction = text_of(object, "instruction"), *output = text_of(object, "output");
    const char *answer = text_of(object, "answer");
    if (!instruction || !output || !answer) return "no \"instruction\", \"output\" or \"answer\"";
    const char *format = strstr(instruction, FORMAT);
    if (!format) return "no \"Answer format:\" in the instruction";
    if (!*answer || !strstr(output, answer)) return "\"output\" does not tell the \"answer\"";
    format += strlen(FORMAT);
    record->instruction = strdup(instruction);
    if (!record->instruction) return NO_MEMORY;
    const char *wrong = take_choices(format, output, answer, record);
    return *wrong ? wrong : take_texts(instruction, format, record);
}

static void free_record(sl_eval_record *record)
{
    free(record->instruction);
    free(record->question);
    for (uint32_t i = 0; i < SL_EVAL_CHOICES_MAX; i++) {
        free(record->outputs[i]);
        free(record->answers[i]);
    }
    *record = (sl_eval_record){0};
}

static sl_status take_records(const json_t *array, const char *path, uint32_t limit,
                              sl_eval_records *out)
{
    size_t all = json_array_size(array), n = limit > 0 && limit < all ? limit : all;
    out->records = calloc(n + 1, sizeof *out->records);
    if (!out->records) return SL_ERR_MEMORY;
    sl_skipped skipped = {.path = path, .part = "record"};
    for (size_t i = 0; i < n; i++) {
        size_t index = i * all / n;
        sl_eval_record *record = &out->records[out->n];
        const char *wrong = take_record(json_array_get(array, index), record);
        if (!*wrong) {
            out->n++;
            continue;
        }
        sl_skip(&skipped, index, wrong);
        free_record(record);
    }
    sl_skipped_end(&skipped);
    out->n_bad = skipped.n;
    if (out->n > 0) return SL_OK;
    sl_error("%s has no record that can be asked", path);
    return SL_ERR_FORMAT;
}

sl_status sl_eval_records_parse(const char *path, const char *text, size_t bytes, uint32_t limit,
                                sl_eval_records *out)
{
    *out = (sl_eval_records){0};
    sl_status status = SL_ERR_FORMAT;
    json_error_t error;
    json_t *array = json_loadb(text, bytes, 0, &error);
    if (json_is_array(array))
        status = take_records(array, path, limit, out);
    else
        sl_error("%s is no JSON array of records: %s", path,
                 array ? "another kind of value" : error.text);
    json_decref(array);
    return status;
}

sl_status sl_eval_records_read(const char *path, uint32_t limit, sl_eval_records *out)
{
    char *text;
    size_t bytes;
    *out = (sl_eval_records){0};
    sl_status status = sl_read_text(path, &text, &bytes);
    if (status != SL_OK) return status;
    status = sl_eval_records_parse(path, text, bytes, limit, out);
    free(text);
    return status;
}

void sl_eval_records_free(sl_eval_records *records)
{
    for (size_t i = 0; i < records->n; i++) free_record(&records->records[i]);
    free(records->records);
    *records = (sl_eval_records){0};
}
