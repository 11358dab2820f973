/* launch/train/train_records.c - see train_records.h. */
#include "launch/train/train_records.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/train/train_messages.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/base/read_file.h"
#include "runtime/base/skipped.h"

enum { HELD_OUT_SHARE = 16, WRONG_BYTES = 512 };

/* Of a file's tokens. */
typedef struct {
    size_t begin;
    uint32_t n, n_prompt;
} place;

typedef struct {
    const char *path;
    sl_tokens tokens;
    place *records;
    size_t n, n_learned; /* of all; the first are learned from */
} record_file;

struct sl_train_records {
    sl_train_records_options options;
    const sl_tokenizer *tokenizer;
    const sl_chat *chat; /* NULL: none */
    char *paths;         /* options.paths, cut at its commas */
    uint32_t n;
    record_file files[SL_TRAIN_RECORD_FILES_MAX];
};

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
    sl_text instruction = sl_train_json_text(object, "instruction"),
            input = sl_train_json_text(object, "input");
    c->answer = sl_train_json_text(object, "output");
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

static sl_status encode_prompt(const sl_train_records *r, const conversation *c, sl_tokens *out,
                               char *wrong)
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

static void check_lengths(const sl_train_records *r, const place *p, char *wrong)
{
    const sl_train_records_options *o = &r->options;
    if (p->n == p->n_prompt)
        snprintf(wrong, WRONG_BYTES, "an empty answer");
    else if (p->n > o->longest)
        snprintf(wrong, WRONG_BYTES, "%u tokens, more than %u", p->n, o->longest);
    else if (p->n < o->shortest)
        snprintf(wrong, WRONG_BYTES, "%u tokens, less than %u: nothing leaves the window", p->n,
                 o->shortest);
    else if (p->n_prompt < o->shortest_prompt)
        snprintf(wrong, WRONG_BYTES, "a prompt of %u tokens, less than %u", p->n_prompt,
                 o->shortest_prompt);
}

/* What is wrong with the record goes to wrong [WRONG_BYTES], which is "" else. */
static sl_status add_record(const sl_train_records *r, const json_t *object, record_file *f,
                            char *wrong)
{
    conversation c = {.n = 0};
    const json_t *messages = json_object_get(object, "messages");
    snprintf(wrong, WRONG_BYTES, "%s",
             messages ? take_messages(messages, &c) : take_instruction(object, &c));
    place p = {.begin = f->tokens.n};
    sl_tokens tokens = {0};
    sl_status status = *wrong ? SL_OK : encode_prompt(r, &c, &tokens, wrong);
    p.n_prompt = (uint32_t)tokens.n;
    if (status == SL_OK && !*wrong)
        status = sl_tokenizer_encode(r->tokenizer, c.answer.data, c.answer.bytes,
                                     SL_SPECIAL_AS_TEXT, &tokens);
    free(c.joined);
    if (status == SL_OK && !*wrong && sl_tokenizer_eos(r->tokenizer) >= 0)
        status = sl_tokens_add(&tokens, sl_tokenizer_eos(r->tokenizer));
    p.n = (uint32_t)tokens.n;
    if (status == SL_OK && !*wrong) check_lengths(r, &p, wrong);
    if (status == SL_OK && !*wrong) status = sl_tokens_append(&f->tokens, tokens.ids, tokens.n);
    sl_tokens_free(&tokens);
    if (status == SL_OK && !*wrong) f->records[f->n++] = p;
    return status;
}

/* ---- files ---- */

static sl_status add_or_skip(const sl_train_records *r, const json_t *object, uint64_t number,
                             record_file *f, sl_skipped *skipped)
{
    char wrong[WRONG_BYTES];
    sl_status status = add_record(r, object, f, wrong);
    if (status == SL_OK && *wrong) sl_skip(skipped, number, wrong);
    return status;
}

static sl_status make_room(record_file *f, size_t n)
{
    f->records = calloc(n + 1, sizeof *f->records);
    return f->records ? SL_OK : SL_ERR_MEMORY;
}

static sl_status read_array(const sl_train_records *r, const char *text, size_t bytes,
                            record_file *f)
{
    json_error_t error;
    json_t *array = json_loadb(text, bytes, 0, &error);
    if (!array) {
        sl_error("%s, line %d: %s", f->path, error.line, error.text);
        return SL_ERR_OPTION;
    }
    sl_skipped skipped = {.path = f->path, .part = "record"};
    sl_status status = make_room(f, json_array_size(array));
    for (size_t i = 0; status == SL_OK && i < json_array_size(array); i++)
        status = add_or_skip(r, json_array_get(array, i), i, f, &skipped);
    sl_skipped_end(&skipped);
    json_decref(array);
    return status;
}

static size_t count_lines(const char *text, size_t bytes)
{
    size_t n = 1;
    for (size_t i = 0; i < bytes; i++) n += text[i] == '\n';
    return n;
}

static sl_status read_lines(const sl_train_records *r, const char *text, size_t bytes,
                            record_file *f)
{
    const char *const end = text + bytes;
    sl_skipped skipped = {.path = f->path, .part = "line"};
    sl_status status = make_room(f, count_lines(text, bytes));
    for (uint64_t number = 1; status == SL_OK && text < end; number++) {
        const char *line = text, *line_end = memchr(text, '\n', (size_t)(end - text));
        if (!line_end) line_end = end;
        text = line_end + 1;
        if (line_end == line) continue;
        json_t *object = json_loadb(line, (size_t)(line_end - line), 0, NULL);
        if (object)
            status = add_or_skip(r, object, number, f, &skipped);
        else
            sl_skip(&skipped, number, "no JSON");
        json_decref(object);
    }
    sl_skipped_end(&skipped);
    return status;
}

static sl_status read_records(const sl_train_records *r, record_file *f)
{
    char *text;
    size_t bytes, first = 0;
    sl_status status = sl_read_text(f->path, &text, &bytes);
    if (status != SL_OK) return status;
    while (first < bytes && isspace((unsigned char)text[first])) first++;
    const bool is_array = first < bytes && text[first] == '[';
    status = is_array ? read_array(r, text, bytes, f) : read_lines(r, text, bytes, f);
    free(text);
    if (status != SL_OK) return status;
    if (f->n < 2) {
        sl_error("%s has %zu records that can be learned from; one is learned from, and another "
                 "held out",
                 f->path, f->n);
        return SL_ERR_OPTION;
    }
    const size_t held_out = f->n / HELD_OUT_SHARE;
    f->n_learned = f->n - (held_out > 0 ? held_out : 1);
    return SL_OK;
}

static sl_status open_all(sl_train_records *r)
{
    char *rest = r->paths = strdup(r->options.paths);
    if (!rest) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (const char *path; status == SL_OK && (path = strsep(&rest, ","));) {
        if (r->n == SL_TRAIN_RECORD_FILES_MAX) {
            sl_error("more than %d files of records", SL_TRAIN_RECORD_FILES_MAX);
            return SL_ERR_OPTION;
        }
        record_file *next = &r->files[r->n++];
        next->path = path;
        status = read_records(r, next);
    }
    return status;
}

sl_status sl_train_records_open(const sl_train_records_options *options,
                                const sl_tokenizer *tokenizer, const sl_chat *chat,
                                sl_train_records **records_out)
{
    sl_train_records *r = calloc(1, sizeof *r);
    if (!r) return SL_ERR_MEMORY;
    r->options = *options;
    r->tokenizer = tokenizer;
    r->chat = chat;
    sl_status status = open_all(r);
    if (status != SL_OK) {
        sl_train_records_close(r);
        return status;
    }
    *records_out = r;
    return SL_OK;
}

void sl_train_records_close(sl_train_records *records)
{
    if (!records) return;
    for (uint32_t i = 0; i < records->n; i++) {
        sl_tokens_free(&records->files[i].tokens);
        free(records->files[i].records);
    }
    free(records->paths);
    free(records);
}

/* ---- records ---- */

static const record_file *file_of(const sl_train_records *r, uint64_t number)
{
    return &r->files[number % r->n];
}

static size_t held_out_of(const record_file *f)
{
    const size_t n = f->n - f->n_learned;
    return n < SL_TRAIN_RECORDS_HELD_OUT_MAX ? n : SL_TRAIN_RECORDS_HELD_OUT_MAX;
}

static sl_train_record record_of(const record_file *f, size_t index)
{
    const place *p = &f->records[index];
    return (sl_train_record){f->tokens.ids + p->begin, p->n, p->n_prompt};
}

static sl_train_record take_held_out(const sl_train_records *r, uint64_t number)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const record_file *f = &r->files[i];
        const size_t n = held_out_of(f);
        if (number < n) return record_of(f, f->n_learned + number * (f->n - f->n_learned) / n);
        number -= n;
    }
    SL_ASSERT(false);
    return (sl_train_record){0};
}

sl_train_record sl_train_records_take(const sl_train_records *records, sl_piece_kind kind,
                                      uint64_t number)
{
    if (kind == SL_HELD_OUT_PIECE) return take_held_out(records, number);
    const record_file *f = file_of(records, number);
    const uint64_t drawn = XXH3_64bits_withSeed(&number, sizeof number, records->options.seed);
    return record_of(f, drawn % f->n_learned);
}

uint64_t sl_train_records_n_held_out(const sl_train_records *records)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < records->n; i++) n += held_out_of(&records->files[i]);
    return n;
}

const char *sl_train_records_name(const sl_train_records *records, uint64_t number)
{
    const char *path = file_of(records, number)->path, *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

uint32_t sl_train_records_mean_tokens(const sl_train_records *records)
{
    double sum = 0; /* of the files' means: they take turns */
    for (uint32_t i = 0; i < records->n; i++)
        sum += (double)records->files[i].tokens.n / (double)records->files[i].n;
    return (uint32_t)(sum / records->n + 0.5);
}

uint64_t sl_train_records_hash(const sl_train_records *records)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < records->n; i++) {
        const record_file *f = &records->files[i];
        hash = XXH3_64bits_withSeed(f->tokens.ids, f->tokens.n * sizeof *f->tokens.ids, hash);
        for (size_t k = 0; k < f->n; k++) {
            const uint32_t lengths[2] = {f->records[k].n, f->records[k].n_prompt};
            hash = XXH3_64bits_withSeed(lengths, sizeof lengths, hash);
        }
    }
    return hash;
}
