/* launch/eval_records.c - see eval_records.h. */
#include "launch/eval_records.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "launch/read_file.h"
#include "runtime/base/log.h"

static const char FORMAT[] = "Answer format:";

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* `text` with its first `was` as choice [bytes]: malloc'd. */
static char *with_choice(const char *text, const char *was, const char *choice, size_t bytes)
{
    const char *at = strstr(text, was);
    size_t before = (size_t)(at - text), after = strlen(at + strlen(was));
    char *out = malloc(before + bytes + after + 1);
    if (!out) return NULL;
    memcpy(out, text, before);
    memcpy(out + before, choice, bytes);
    memcpy(out + before + bytes, at + strlen(was), after + 1);
    return out;
}

/* Answers from "a/b/c"; what is wrong with them, or "". */
static const char *take_answers(const char *format, const char *output, const char *answer,
                                sl_eval_record *record)
{
    bool found = false;
    for (const char *at = format;;) {
        size_t bytes = strcspn(at, "/");
        size_t own = bytes;
        while (own > 0 && isspace((unsigned char)at[own - 1])) own--;
        if (own == 0) return "an empty choice in \"Answer format:\"";
        if (record->n_answers == SL_EVAL_CHOICES_MAX) return "more than 8 choices";
        if (own == strlen(answer) && memcmp(at, answer, own) == 0) {
            record->right = record->n_answers;
            found = true;
        }
        char *text = with_choice(output, answer, at, own);
        if (!text) return "no memory";
        record->answers[record->n_answers++] = text;
        if (!at[bytes]) break;
        at += bytes + 1;
    }
    if (record->n_answers < 2) return "fewer than two choices";
    return found ? "" : "\"answer\" is none of the choices";
}

static const char *take_record(const json_t *object, sl_eval_record *record)
{
    const char *question = text_of(object, "instruction"), *output = text_of(object, "output");
    const char *answer = text_of(object, "answer");
    if (!question || !output || !answer) return "no \"instruction\", \"output\" or \"answer\"";
    const char *format = strstr(question, FORMAT);
    if (!format) return "no \"Answer format:\" in the instruction";
    if (!*answer || !strstr(output, answer)) return "\"output\" does not tell the \"answer\"";
    format += sizeof FORMAT - 1;
    while (isspace((unsigned char)*format)) format++;
    record->question = strdup(question);
    return record->question ? take_answers(format, output, answer, record) : "no memory";
}

static void free_record(sl_eval_record *record)
{
    free(record->question);
    for (uint32_t i = 0; i < record->n_answers; i++) free(record->answers[i]);
    *record = (sl_eval_record){0};
}

static sl_status take_records(const json_t *array, const char *path, uint32_t limit,
                              sl_eval_records *out)
{
    size_t all = json_array_size(array), n = limit > 0 && limit < all ? limit : all;
    out->records = calloc(n + 1, sizeof *out->records);
    if (!out->records) return SL_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        size_t index = i * all / n;
        sl_eval_record *record = &out->records[out->n];
        const char *wrong = take_record(json_array_get(array, index), record);
        if (!*wrong) {
            out->n++;
            continue;
        }
        sl_warn("%s, record %zu is skipped: %s", path, index, wrong);
        free_record(record);
        out->n_bad++;
    }
    if (out->n > 0) return SL_OK;
    sl_error("%s has no record that can be asked", path);
    return SL_ERR_FORMAT;
}

sl_status sl_eval_records_read(const char *path, uint32_t limit, sl_eval_records *out)
{
    char *text;
    size_t bytes;
    *out = (sl_eval_records){0};
    sl_status status = sl_read_file(path, &text, &bytes);
    if (status != SL_OK) return status;
    json_error_t error;
    json_t *array = json_loadb(text, bytes, 0, &error);
    free(text);
    if (!json_is_array(array)) {
        sl_error("%s is no JSON array of records: %s", path,
                 array ? "another kind of value" : error.text);
        status = SL_ERR_FORMAT;
    } else {
        status = take_records(array, path, limit, out);
    }
    json_decref(array);
    return status;
}

void sl_eval_records_free(sl_eval_records *records)
{
    for (size_t i = 0; i < records->n; i++) free_record(&records->records[i]);
    free(records->records);
    *records = (sl_eval_records){0};
}
