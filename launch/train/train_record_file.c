/* launch/train/train_record_file.c - see train_record_file.h. */
#include "launch/train/train_record_file.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/train/train_messages.h"
#include "runtime/base/log.h"
#include "runtime/base/skipped.h"

enum { WRONG_BYTES = 512, FIRST_ROOM = 64 };

/* ---- a record ---- */

/* A conversation that ends with what the model is to say. */
typedef struct {
    sl_chat_message messages[SL_TRAIN_MESSAGES_MAX]; /* [n] without the answer */
    size_t n;
    sl_text answer;
    char *joined; /* instruction and input, malloc'd, or NULL */
} conversation;

static const char *take_messages(const json_t *messages, conversation *c)
{
    const size_t n = json_array_size(messages);
    if (n < 2 || n > SL_TRAIN_MESSAGES_MAX) return "fewer than two messages, or too many";
    const char *wrong = sl_train_messages_take(messages, c->messages);
    if (*wrong) return wrong;
    c->n = n - 1;
    c->answer = c->messages[n - 1].content;
    return sl_text_is(c->messages[n - 1].role, "assistant") ? ""
                                                            : "the last message is not assistant's";
}

static const char *take_instruction(const json_t *object, conversation *c)
{
    const json_t *input_value = json_object_get(object, "input");
    sl_text instruction = sl_train_json_text(object, "instruction"),
            input = sl_train_json_text(object, "input");
    c->answer = sl_train_json_text(object, "output");
    if (input_value && !json_is_null(input_value) && !input.data) return "\"input\" is no text";
    if (!instruction.data || !c->answer.data)
        return "neither \"messages\" nor \"instruction\" and \"output\"";
    if (input.bytes > 0) {
        const int bytes = asprintf(&c->joined, "%s\n\n%s", instruction.data, input.data);
        if (bytes < 0) return "no memory";
        instruction = (sl_text){c->joined, (size_t)bytes};
    }
    c->messages[0] = (sl_chat_message){{"user", strlen("user")}, instruction};
    c->n = 1;
    return "";
}

static sl_status encode_prompt(const sl_train_record_reading *r, const conversation *c,
                               sl_tokens *out, char *wrong)
{
    sl_jinja_error error;
    if (r->chat) {
        sl_status status = sl_chat_encode(r->chat, c->messages, c->n, out, &error);
        if (status != SL_ERR_REQUEST) return status;
        snprintf(wrong, WRONG_BYTES, "%s", error.text);
        return SL_OK;
    }
    if (c->n > 1) {
        snprintf(wrong, WRONG_BYTES, "messages, and the model has no chat template");
        return SL_OK;
    }
    char *text;
    const sl_text instruction = c->messages[0].content;
    const int bytes = asprintf(&text, "%.*s\n", (int)instruction.bytes, instruction.data);
    if (bytes < 0) return SL_ERR_MEMORY;
    sl_status status = sl_tokenizer_encode_whole(r->tokenizer, text, (size_t)bytes,
                                                 SL_SPECIAL_AS_TEXT, out);
    if (status == SL_OK && sl_tokenizer_adds_eos(r->tokenizer)) out->n--;
    free(text);
    return status;
}

static void check_lengths(const sl_train_record_reading *r, const sl_train_record_place *p,
                          char *wrong)
{
    if (p->n > r->longest)
        snprintf(wrong, WRONG_BYTES, "%u tokens, more than %u", p->n, r->longest);
    else if (p->n < r->shortest)
        snprintf(wrong, WRONG_BYTES, "%u tokens, less than %u: nothing leaves the window", p->n,
                 r->shortest);
    else if (p->n_prompt < r->shortest_prompt)
        snprintf(wrong, WRONG_BYTES, "a prompt of %u tokens, less than %u", p->n_prompt,
                 r->shortest_prompt);
}

/* Else the model would learn to end at once. */
static bool is_blank(sl_text text)
{
    size_t n = 0;
    while (n < text.bytes && isspace((unsigned char)text.data[n])) n++;
    return n == text.bytes;
}

static void take_conversation(const json_t *object, conversation *c, char *wrong)
{
    const json_t *messages = json_object_get(object, "messages");
    snprintf(wrong, WRONG_BYTES, "%s",
             messages ? take_messages(messages, c) : take_instruction(object, c));
    if (!*wrong && is_blank(c->answer)) snprintf(wrong, WRONG_BYTES, "an empty answer");
}

static sl_status keep_place(sl_train_record_file *f, sl_train_record_place place)
{
    if (f->n == f->capacity) {
        const size_t capacity = f->capacity ? 2 * f->capacity : FIRST_ROOM;
        sl_train_record_place *larger = realloc(f->records, capacity * sizeof *larger);
        if (!larger) return SL_ERR_MEMORY;
        f->records = larger;
        f->capacity = capacity;
    }
    f->records[f->n++] = place;
    return SL_OK;
}

/* The prompt, the answer and EOS; n_prompt of the place is set. */
static sl_status encode(const sl_train_record_reading *r, const conversation *c, sl_tokens *out,
                        sl_train_record_place *place, char *wrong)
{
    sl_status status = encode_prompt(r, c, out, wrong);
    if (status != SL_OK || *wrong) return status;
    place->n_prompt = (uint32_t)out->n;
    status = sl_tokenizer_encode(r->tokenizer, c->answer.data, c->answer.bytes, SL_SPECIAL_AS_TEXT,
                                 out);
    if (status == SL_OK && sl_tokenizer_eos(r->tokenizer) >= 0)
        status = sl_tokens_add(out, sl_tokenizer_eos(r->tokenizer));
    place->n = (uint32_t)out->n;
    if (status == SL_OK) check_lengths(r, place, wrong);
    return status;
}

/* What is wrong with the record goes to wrong [WRONG_BYTES], which is "" else. */
static sl_status add_record(const sl_train_record_reading *r, const json_t *object,
                            sl_train_record_file *f, char *wrong)
{
    conversation c = {.n = 0};
    sl_train_record_place place = {.begin = f->tokens.n};
    sl_tokens tokens = {0};
    take_conversation(object, &c, wrong);
    sl_status status = *wrong ? SL_OK : encode(r, &c, &tokens, &place, wrong);
    if (status == SL_OK && !*wrong) status = sl_tokens_append(&f->tokens, tokens.ids, tokens.n);
    if (status == SL_OK && !*wrong) status = keep_place(f, place);
    sl_tokens_free(&tokens);
    free(c.joined);
    return status;
}

/* ---- files ---- */

static sl_status add_or_skip(const sl_train_record_reading *r, const json_t *object,
                             uint64_t number, sl_train_record_file *f, sl_skipped *skipped)
{
    char wrong[WRONG_BYTES];
    sl_status status = add_record(r, object, f, wrong);
    if (status == SL_OK && *wrong) sl_skip(skipped, number, wrong);
    return status;
}

static sl_status read_array(const sl_train_record_reading *r, const char *path, const char *text,
                            size_t bytes, sl_train_record_file *f)
{
    json_error_t error;
    json_t *array = json_loadb(text, bytes, 0, &error);
    if (!array) {
        sl_error("%s, line %d: %s", path, error.line, error.text);
        return SL_ERR_OPTION;
    }
    sl_skipped skipped = {.path = path, .part = "record"};
    sl_status status = SL_OK;
    for (size_t i = 0; status == SL_OK && i < json_array_size(array); i++)
        status = add_or_skip(r, json_array_get(array, i), i, f, &skipped);
    sl_skipped_end(&skipped);
    json_decref(array);
    return status;
}

static sl_status read_lines(const sl_train_record_reading *r, const char *path, const char *text,
                            size_t bytes, sl_train_record_file *f)
{
    const char *const end = text + bytes;
    sl_skipped skipped = {.path = path, .part = "line"};
    sl_status status = SL_OK;
    for (uint64_t number = 1; status == SL_OK && text < end; number++) {
        const char *line = text, *line_end = memchr(text, '\n', (size_t)(end - text));
        if (!line_end) line_end = end;
        text = line_end + 1;
        if (line_end == line) continue;
        json_error_t error;
        json_t *object = json_loadb(line, (size_t)(line_end - line), 0, &error);
        if (object)
            status = add_or_skip(r, object, number, f, &skipped);
        else if (json_error_code(&error) == json_error_out_of_memory)
            status = SL_ERR_MEMORY;
        else
            sl_skip(&skipped, number, "no JSON");
        json_decref(object);
    }
    sl_skipped_end(&skipped);
    return status;
}

sl_status sl_train_record_file_parse(const sl_train_record_reading *reading, const char *path,
                                     const char *text, size_t bytes, sl_train_record_file *out)
{
    size_t first = 0;
    while (first < bytes && isspace((unsigned char)text[first])) first++;
    const bool is_array = first < bytes && text[first] == '[';
    *out = (sl_train_record_file){0};
    return is_array ? read_array(reading, path, text, bytes, out)
                    : read_lines(reading, path, text, bytes, out);
}

void sl_train_record_file_fini(sl_train_record_file *file)
{
    sl_tokens_free(&file->tokens);
    free(file->records);
    *file = (sl_train_record_file){0};
}
