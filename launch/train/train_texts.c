/* launch/train/train_texts.c - see train_texts.h. */
#include "launch/train/train_texts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/train/train_messages.h"
#include "runtime/base/encoding.h"
#include "runtime/base/file.h"
#include "runtime/base/line_reader.h"
#include "runtime/base/log.h"
#include "runtime/base/read_file.h"
#include "runtime/base/skipped.h"

enum { LINE_BYTES_MAX = 16 << 20, HELD_OUT_SHARE = 16 };

static const char REPEAT[] = "\n\nRepeat the passage above, word for word:\n\n";

typedef struct {
    const char *path;
    sl_tokens tokens;
    size_t held_out; /* tokens from here on are */
} text;

struct sl_train_texts {
    sl_train_texts_options options;
    const sl_tokenizer *tokenizer;
    const sl_chat *chat;
    char *paths; /* options.paths, cut at its commas */
    uint32_t n;
    text texts[SL_TRAIN_TEXTS_MAX];
    sl_tokens repeat; /* the order to repeat */
};

/* ---- lines ---- */

/* "" when all is well, else what is wrong with the line. SL_ERR_MEMORY. */
static sl_status add_messages(const sl_train_texts *t, const json_t *messages, sl_tokens *out,
                              sl_jinja_error *error, const char **wrong_out)
{
    sl_chat_message all[SL_TRAIN_MESSAGES_MAX];
    size_t n = json_array_size(messages);
    if (!t->chat) *wrong_out = "messages, and the model has no chat template";
    if (n == 0 || n > SL_TRAIN_MESSAGES_MAX) *wrong_out = "no messages, or too many";
    if (**wrong_out) return SL_OK;
    *wrong_out = sl_train_messages_take(messages, all);
    if (**wrong_out) return SL_OK;
    sl_status status = sl_chat_encode(t->chat, all, n, out, error);
    if (status == SL_ERR_REQUEST) *wrong_out = error->text;
    return status == SL_ERR_REQUEST ? SL_OK : status;
}

static sl_status add_line(const sl_train_texts *t, const char *line, size_t bytes, sl_tokens *out,
                          sl_jinja_error *error, const char **wrong_out)
{
    json_t *object = json_loadb(line, bytes, 0, NULL);
    sl_text plain = sl_train_json_text(object, "text");
    const json_t *messages = json_object_get(object, "messages");
    sl_status status = SL_OK;
    *wrong_out = "";
    if (!object)
        *wrong_out = "no JSON";
    else if (plain.data)
        status = sl_tokenizer_encode_whole(t->tokenizer, plain.data, plain.bytes,
                                           SL_SPECIAL_AS_TEXT, out);
    else if (messages)
        status = add_messages(t, messages, out, error, wrong_out);
    else
        *wrong_out = "neither \"text\" nor \"messages\"";
    json_decref(object);
    return status;
}

static sl_status read_lines(const sl_train_texts *t, const char *path, sl_tokens *out)
{
    sl_status status = sl_encoding_check_file(path);
    if (status != SL_OK) return status;
    FILE *file = fopen(path, "rb");
    if (!file) return sl_file_error("open", path);
    sl_line_reader reader;
    sl_line_reader_init(&reader, file, LINE_BYTES_MAX);
    const char *line, *wrong;
    size_t bytes;
    sl_jinja_error error;
    sl_skipped skipped = {.path = path, .part = "line"};
    while ((status = sl_line_reader_next(&reader, &line, &bytes, NULL)) == SL_OK) {
        if (bytes == 0) continue;
        status = add_line(t, line, bytes, out, &error, &wrong);
        if (status != SL_OK) break;
        if (*wrong) sl_skip(&skipped, reader.number, wrong);
    }
    sl_skipped_end(&skipped);
    sl_line_reader_fini(&reader);
    fclose(file);
    return status == SL_END ? SL_OK : status;
}

/* ---- files ---- */

static bool is_jsonl(const char *path)
{
    size_t n = strlen(path);
    return n > 6 && strcmp(path + n - 6, ".jsonl") == 0;
}

static sl_status read_plain(const sl_train_texts *t, const char *path, sl_tokens *out)
{
    char *bytes;
    size_t n;
    sl_status status = sl_read_file(path, &bytes, &n);
    if (status != SL_OK) return status;
    status = sl_tokenizer_encode_whole(t->tokenizer, bytes, n, SL_SPECIAL_AS_TEXT, out);
    free(bytes);
    return status;
}

static sl_status read_text(const sl_train_texts *t, text *out)
{
    uint32_t longest = t->options.longest;
    sl_status status = is_jsonl(out->path) ? read_lines(t, out->path, &out->tokens)
                                           : read_plain(t, out->path, &out->tokens);
    if (status != SL_OK) return status;
    size_t n = out->tokens.n, held_out = n / HELD_OUT_SHARE;
    if (held_out < longest) held_out = longest;
    if (n < held_out + longest) {
        sl_error("%s has %zu tokens: a piece of %u, and another to hold out, do not fit", out->path,
                 n, longest);
        return SL_ERR_OPTION;
    }
    out->held_out = n - held_out;
    return SL_OK;
}

static sl_status open_all(sl_train_texts *t)
{
    char *rest = t->paths = strdup(t->options.paths);
    if (!rest) return SL_ERR_MEMORY;
    sl_status status = sl_tokenizer_encode(t->tokenizer, REPEAT, strlen(REPEAT), SL_SPECIAL_AS_TEXT,
                                           &t->repeat);
    for (const char *path; status == SL_OK && (path = strsep(&rest, ","));) {
        if (t->n == SL_TRAIN_TEXTS_MAX) {
            sl_error("more than %d texts", SL_TRAIN_TEXTS_MAX);
            return SL_ERR_OPTION;
        }
        text *next = &t->texts[t->n++];
        next->path = path;
        status = read_text(t, next);
    }
    return status;
}

sl_status sl_train_texts_open(const sl_train_texts_options *options, const sl_tokenizer *tokenizer,
                              const sl_chat *chat, sl_train_texts **texts_out)
{
    sl_train_texts *t = calloc(1, sizeof *t);
    if (!t) return SL_ERR_MEMORY;
    t->options = *options;
    t->tokenizer = tokenizer;
    t->chat = chat;
    sl_status status = open_all(t);
    if (status != SL_OK) {
        sl_train_texts_close(t);
        return status;
    }
    *texts_out = t;
    return SL_OK;
}

void sl_train_texts_close(sl_train_texts *texts)
{
    if (!texts) return;
    for (uint32_t i = 0; i < texts->n; i++) {
        sl_tokens_free(&texts->texts[i].tokens);
    }
    sl_tokens_free(&texts->repeat);
    free(texts->paths);
    free(texts);
}

/* ---- pieces ---- */

/* In [0, 1). */
static double draw(const sl_train_texts *t, uint64_t number, uint64_t what)
{
    const uint64_t key[2] = {number, what};
    return (double)(XXH3_64bits_withSeed(key, sizeof key, t->options.seed) >> 11) * 0x1p-53;
}

/* A passage, the order to repeat it, and as much of it again as fits. */
static void repeat_passage(const sl_train_texts *t, uint32_t n, int32_t *tokens)
{
    uint32_t order = (uint32_t)t->repeat.n, passage = n > order ? (n - order) / 2 : 0;
    if (passage == 0) return;
    memcpy(tokens + passage, t->repeat.ids, order * sizeof *tokens);
    memcpy(tokens + passage + order, tokens, (n - passage - order) * sizeof *tokens);
}

void sl_train_texts_piece(const sl_train_texts *texts, sl_piece_kind kind, uint64_t number,
                          uint32_t n, int32_t *tokens_out)
{
    const text *of = &texts->texts[number % texts->n];
    bool held_out = kind == SL_HELD_OUT_PIECE;
    SL_ASSERT(n > 0 && n <= texts->options.longest);
    size_t begin = held_out ? of->held_out : 0, end = held_out ? of->tokens.n : of->held_out;
    double where = held_out ? (double)(number / texts->n % 4) / 4 : draw(texts, number, 0);
    size_t start = begin + (size_t)(where * (double)(end - begin - n + 1));
    memcpy(tokens_out, of->tokens.ids + start, n * sizeof *tokens_out);
    if (!held_out && draw(texts, number, 1) < texts->options.repeat)
        repeat_passage(texts, n, tokens_out);
    if (sl_tokenizer_adds_bos(texts->tokenizer)) tokens_out[0] = sl_tokenizer_bos(texts->tokenizer);
}

const char *sl_train_texts_name(const sl_train_texts *texts, uint64_t number)
{
    const char *path = texts->texts[number % texts->n].path, *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

uint32_t sl_train_texts_n(const sl_train_texts *texts) { return texts->n; }

uint64_t sl_train_texts_hash(const sl_train_texts *texts)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < texts->n; i++) {
        const sl_tokens *tokens = &texts->texts[i].tokens;
        hash = XXH3_64bits_withSeed(tokens->ids, tokens->n * sizeof *tokens->ids, hash);
    }
    return hash;
}
