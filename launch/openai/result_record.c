/* launch/openai/result_record.c - a request's record, in OpenAI's shape, and what a record already
 * written tells. Keys come out in the order they are put in. Memory running out anywhere makes one
 * NULL that travels up: an object and an array give up what they hold when an item is NULL. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/json/json_object.h"
#include "launch/openai/openai.h"
#include "launch/openai/reasoning.h"
#include "launch/openai/request_json.h"
#include "runtime/base/log.h"

enum { FLOAT_DIGITS = 9, HASH_CHARS = 17 };

/* JSON has no infinity: OpenAI writes -9999 for what cannot be. */
static json_t *pack_logprob(float logprob)
{
    if (isfinite(logprob)) return json_real(logprob);
    return isnan(logprob) ? json_null() : json_real(logprob < 0 ? -9999.0 : 9999.0);
}

/* --- tokens --- */

/* A token alone as a text: as it is when it is UTF-8, else "bytes:\xe2\x80", as OpenAI does, so
 * that two halves of characters stay two different keys. The same for NUL, which jansson writes
 * in a key but does not read. */
static json_t *pack_token(const sl_tokenizer *tokenizer, int32_t id)
{
    const sl_text piece = sl_tokenizer_piece(tokenizer, id);
    const char *data = piece.bytes > 0 ? piece.data : "";
    json_t *whole = memchr(data, '\0', piece.bytes) ? NULL : json_stringn(data, piece.bytes);
    if (whole) return whole;

    static const char prefix[] = "bytes:";
    char *shown = malloc(sizeof prefix + 4 * piece.bytes);
    if (!shown) return NULL;
    char *end = stpcpy(shown, prefix);
    for (size_t i = 0; i < piece.bytes; i++)
        end += sprintf(end, "\\x%02x", (unsigned)(unsigned char)piece.data[i]);
    json_t *escaped = json_string(shown);
    free(shown);
    return escaped;
}

/* As numbers, each of which jansson would keep in 48 bytes: equal ones are one value here. */
typedef struct {
    json_t *values[256];
} byte_values;

static json_t *pack_bytes(const sl_tokenizer *tokenizer, int32_t id, byte_values *shared)
{
    const sl_text piece = sl_tokenizer_piece(tokenizer, id);
    json_t *bytes = json_array();
    for (size_t i = 0; bytes && i < piece.bytes; i++) {
        json_t **value = &shared->values[(unsigned char)piece.data[i]];
        if (!*value) *value = json_integer((unsigned char)piece.data[i]);
        bytes = sl_json_append(bytes, json_incref(*value));
    }
    return bytes;
}

/* Completions' shape: four lists, one item a token. */
typedef struct {
    json_t *tokens, *logprobs, *tops, *offsets;
} token_lists;

/* The best and, as OpenAI does, the token itself: {"text": logprob, ...}. */
static json_t *pack_best(const sl_tokenizer *tokenizer, int32_t id, const sl_token_detail *detail)
{
    json_t *best = json_object();
    for (uint32_t i = 0; best && i <= detail->n_top; i++) {
        const bool itself = i == detail->n_top;
        json_t *name = pack_token(tokenizer, itself ? id : detail->top[i].token);
        const char *key = name ? json_string_value(name) : "";
        json_t *value = pack_logprob(itself ? detail->logprob : detail->top[i].logprob);
        if (!name || !value || json_object_set(best, key, value) != 0) {
            json_decref(best);
            best = NULL;
        }
        json_decref(value);
        json_decref(name);
    }
    return best;
}

/* `detail` NULL: nothing precedes the token, so it has no probability. */
static void list_token(token_lists *lists, const sl_tokenizer *tokenizer, int32_t id,
                       const sl_token_detail *detail, size_t offset)
{
    lists->tokens = sl_json_append(lists->tokens, pack_token(tokenizer, id));
    lists->logprobs = sl_json_append(lists->logprobs,
                                     detail ? pack_logprob(detail->logprob) : json_null());
    lists->tops = sl_json_append(lists->tops,
                                 detail ? pack_best(tokenizer, id, detail) : json_null());
    lists->offsets = sl_json_append(lists->offsets, json_integer((json_int_t)offset));
}

/* A text and, when log-probabilities are told, the characters before each of its tokens. */
typedef struct {
    char *data;
    size_t bytes, *chars_before;
} token_text;

static json_t *pack_lists(const sl_request *request, const sl_choice *choice,
                          const sl_tokenizer *tokenizer, const token_text *prompt,
                          const token_text *text)
{
    SL_ASSERT(!request->echo || request->prompt_details);
    token_lists lists = {json_array(), json_array(), json_array(), json_array()};
    for (size_t i = 0; request->echo && i < request->n_prompt; i++)
        list_token(&lists, tokenizer, request->prompt[i],
                   i > 0 ? &request->prompt_details[i] : NULL, prompt->chars_before[i]);
    const size_t before = sl_request_chars(prompt->data, prompt->bytes);
    /* Tokens of a stop string, which the text has no more, stand at its end. */
    const size_t chars = sl_request_chars(text->data, text->bytes);
    for (size_t i = 0; i < choice->n_tokens; i++) {
        const size_t offset = text->chars_before[i] < chars ? text->chars_before[i] : chars;
        list_token(&lists, tokenizer, choice->tokens[i], &choice->details[i], before + offset);
    }
    sl_json_object object = sl_json_begin();
    sl_json_set_item(&object, "tokens", lists.tokens);
    sl_json_set_item(&object, "token_logprobs", lists.logprobs);
    sl_json_set_item(&object, "top_logprobs", lists.tops);
    sl_json_set_item(&object, "text_offset", lists.offsets);
    return sl_json_end(&object);
}

/* Chat's shape: one object a token, begun here. */
static sl_json_object begin_token(const sl_tokenizer *tokenizer, int32_t id, float logprob,
                                  byte_values *shared)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_item(&object, "token", pack_token(tokenizer, id));
    sl_json_set_item(&object, "logprob", pack_logprob(logprob));
    sl_json_set_item(&object, "bytes", pack_bytes(tokenizer, id, shared));
    return object;
}

static json_t *pack_tops(const sl_token_detail *detail, const sl_tokenizer *tokenizer,
                         byte_values *shared)
{
    json_t *tops = json_array();
    for (uint32_t i = 0; tops && i < detail->n_top; i++) {
        const sl_token_logprob *top = &detail->top[i];
        sl_json_object object = begin_token(tokenizer, top->token, top->logprob, shared);
        tops = sl_json_append(tops, sl_json_end(&object));
    }
    return tops;
}

static json_t *pack_content(const sl_choice *choice, const sl_tokenizer *tokenizer)
{
    byte_values shared = {{NULL}};
    json_t *content = json_array();
    for (size_t i = 0; content && i < choice->n_tokens; i++) {
        const sl_token_detail *detail = &choice->details[i];
        sl_json_object object = begin_token(tokenizer, choice->tokens[i], detail->logprob, &shared);
        sl_json_set_item(&object, "top_logprobs", pack_tops(detail, tokenizer, &shared));
        content = sl_json_append(content, sl_json_end(&object));
    }
    for (int byte = 0; byte < 256; byte++) json_decref(shared.values[byte]);
    return json_pack("{s:o, s:n}", "content", content, "refusal");
}

/* --- choices --- */

static const char *finish_text(const sl_choice *choice)
{
    return choice->finish == SL_FINISH_STOP ? "stop" : "length";
}

/* What was thought is no part of the content: vLLM and llama.cpp tell it beside it. */
static json_t *pack_message(const sl_request *request, const sl_choice *choice,
                            const sl_tokenizer *tokenizer)
{
    size_t bytes;
    char *text = sl_request_choice_text(request, choice, tokenizer, &bytes);
    if (!text) return NULL;
    const sl_answer answer = sl_answer_split(request->thought, (sl_text){text, bytes});
    sl_json_object message = sl_json_begin();
    sl_json_set_text(&message, "role", "assistant");
    sl_json_set_item(&message, "content", json_stringn(answer.content.data, answer.content.bytes));
    if (answer.reasoning.bytes > 0)
        sl_json_set_item(&message, "reasoning_content",
                         json_stringn(answer.reasoning.data, answer.reasoning.bytes));
    sl_json_set_item(&message, "refusal", json_null());
    free(text);
    return sl_json_end(&message);
}

static json_t *pack_chat_choice(const sl_request *request, const sl_choice *choice, size_t index,
                                const sl_tokenizer *tokenizer)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_count(&object, "index", index);
    sl_json_set_item(&object, "message", pack_message(request, choice, tokenizer));
    sl_json_set_item(&object, "logprobs",
                     choice->details ? pack_content(choice, tokenizer) : json_null());
    sl_json_set_text(&object, "finish_reason", finish_text(choice));
    return sl_json_end(&object);
}

static bool find_tokens(const sl_tokenizer *tokenizer, sl_text_place place, const int32_t *ids,
                        size_t n, token_text *text)
{
    text->chars_before = calloc(n + 1, sizeof *text->chars_before);
    if (!text->chars_before) return false;
    size_t bytes;
    char *uncut = sl_request_text(tokenizer, place, ids, n, text->chars_before, &bytes);
    free(uncut);
    return uncut != NULL;
}

static bool take_texts(const sl_request *request, const sl_choice *choice,
                       const sl_tokenizer *tokenizer, token_text *prompt, token_text *text)
{
    const size_t n_echoed = request->echo ? request->n_prompt : 0;
    prompt->data = sl_request_text(tokenizer, SL_TEXT_BEGINS, request->prompt, n_echoed, NULL,
                                   &prompt->bytes);
    text->data = sl_request_choice_text(request, choice, tokenizer, &text->bytes);
    if (!prompt->data || !text->data) return false;
    return !choice->details ||
           (find_tokens(tokenizer, SL_TEXT_BEGINS, request->prompt, n_echoed, prompt) &&
            find_tokens(tokenizer, SL_TEXT_CONTINUES, choice->tokens, choice->n_tokens, text));
}

static json_t *pack_joined(const token_text *first, const token_text *second)
{
    const size_t bytes = first->bytes + second->bytes;
    char *joined = malloc(bytes + 1);
    if (!joined) return NULL;
    memcpy(joined, first->data, first->bytes);
    memcpy(joined + first->bytes, second->data, second->bytes);
    json_t *value = json_stringn(joined, bytes);
    free(joined);
    return value;
}

static json_t *pack_completion_choice(const sl_request *request, const sl_choice *choice,
                                      size_t index, const sl_tokenizer *tokenizer)
{
    token_text prompt = {0}, text = {0};
    json_t *packed = NULL;
    if (take_texts(request, choice, tokenizer, &prompt, &text)) {
        json_t *logprobs = choice->details ? pack_lists(request, choice, tokenizer, &prompt, &text)
                                           : json_null();
        sl_json_object object = sl_json_begin();
        sl_json_set_count(&object, "index", index);
        sl_json_set_item(&object, "text", pack_joined(&prompt, &text));
        sl_json_set_item(&object, "logprobs", logprobs);
        sl_json_set_text(&object, "finish_reason", finish_text(choice));
        packed = sl_json_end(&object);
    }
    free(prompt.data);
    free(prompt.chars_before);
    free(text.data);
    free(text.chars_before);
    return packed;
}

/* --- records --- */

/* What was kept of the eligible tokens, all layers and KV heads together, and the most bytes its
 * cache took on all ranks; pages that choices share count for each. */
static json_t *pack_cache(const sl_request *request)
{
    uint64_t seen = 0, kept = 0, bytes = 0;
    for (; request; request = request->also)
        for (uint32_t i = 0; i < request->n_choices; i++) {
            seen += request->choices[i].seen;
            kept += request->choices[i].kept;
            bytes += request->choices[i].cache_bytes;
        }
    return json_pack("{s:f, s:I}", "retention", seen > 0 ? (double)kept / (double)seen : 1.0,
                     "cache_bytes", (json_int_t)bytes);
}

static json_t *pack_usage(const sl_request *request)
{
    const uint64_t n_generated = sl_request_generated(request);
    uint64_t n_prompt = 0;
    for (const sl_request *r = request; r; r = r->also) n_prompt += r->n_prompt;
    sl_json_object usage = sl_json_begin();
    sl_json_set_count(&usage, "prompt_tokens", n_prompt);
    sl_json_set_count(&usage, "completion_tokens", n_generated);
    sl_json_set_count(&usage, "total_tokens", n_prompt + n_generated);
    sl_json_set_item(&usage, "sluice", pack_cache(request));
    return sl_json_end(&usage);
}

static json_t *pack_choices(const sl_request *request, const sl_tokenizer *tokenizer)
{
    size_t index = 0; /* prompt by prompt */
    json_t *choices = json_array();
    for (const sl_request *r = request; r; r = r->also) {
        for (size_t i = 0; choices && i < r->n_choices; i++, index++) {
            const sl_choice *choice = &r->choices[i];
            json_t *packed = r->chat ? pack_chat_choice(r, choice, index, tokenizer)
                                     : pack_completion_choice(r, choice, index, tokenizer);
            choices = sl_json_append(choices, packed);
        }
    }
    return choices;
}

static json_t *pack_body(const sl_request *request, const sl_tokenizer *tokenizer, int64_t created,
                         const char *hash)
{
    sl_json_object body = sl_json_begin();
    sl_json_set_item(&body, "id",
                     json_sprintf("%s%s", request->chat ? "chatcmpl-" : "cmpl-", hash));
    sl_json_set_text(&body, "object", request->chat ? "chat.completion" : "text_completion");
    sl_json_set_integer(&body, "created", created);
    sl_json_set_text(&body, "model", request->model ? request->model : "");
    sl_json_set_item(&body, "choices", pack_choices(request, tokenizer));
    sl_json_set_item(&body, "usage", pack_usage(request));
    return sl_json_end(&body);
}

static json_t *pack_error_body(const sl_request_error *error)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "message", error->message);
    sl_json_set_text(&object, "type",
                     error->http_status < 500 ? "invalid_request_error" : "server_error");
    sl_json_set_text_or_null(&object, "param", error->param[0] ? error->param : NULL);
    sl_json_set_text(&object, "code", error->code);
    return json_pack("{s:o}", "error", sl_json_end(&object));
}

/* A token takes some bytes of text, twice while the record is put together; one whose
 * log-probability is told, and each of its alternatives, an object, and for each byte of its text a
 * place in a list and up to eleven bytes of the record, whose room doubles as it grows. */
enum { TOKEN_BYTES = 128, ENTRY_BYTES = 832, ENTRY_BYTE_BYTES = 40, RECORD_BYTES = 96 << 10 };

uint64_t sl_result_bytes(const sl_request *request, uint64_t n_tokens,
                         const sl_tokenizer *tokenizer)
{
    const int32_t n_top = request->sampling.n_logprobs;
    uint64_t n_echoed = 0;
    for (const sl_request *r = request; r && r->echo; r = r->also)
        n_echoed += (uint64_t)r->n_choices * r->n_prompt;
    const uint64_t n_entries = n_top >= 0 ? (n_tokens + n_echoed) * (uint64_t)(1 + n_top) : 0;
    const uint64_t piece = sl_tokenizer_piece_bytes_max(tokenizer);
    return RECORD_BYTES + (n_tokens + n_echoed) * (TOKEN_BYTES + 2 * piece) +
           n_entries * (ENTRY_BYTES + ENTRY_BYTE_BYTES * piece);
}

static json_t *pack_record(const sl_request *request, const sl_tokenizer *tokenizer,
                           int64_t created)
{
    const sl_request_error *error = &request->error;
    const bool failed = error->http_status != 0;
    char hash[HASH_CHARS];
    snprintf(hash, sizeof hash, "%016" PRIx64,
             (uint64_t)XXH3_64bits_withSeed(request->custom_id, strlen(request->custom_id),
                                            request->line));
    json_t *body = failed ? pack_error_body(error) : pack_body(request, tokenizer, created, hash);
    json_t *response = json_pack("{s:i, s:s, s:o}", "status_code",
                                 failed ? error->http_status : 200, "request_id", hash, "body",
                                 body);
    json_t *why = failed ? json_pack("{s:s, s:s}", "code", error->code, "message", error->message)
                         : json_null();
    sl_json_object record = sl_json_begin();
    sl_json_set_item(&record, "id", json_sprintf("batch_req_%s", hash));
    sl_json_set_text(&record, "custom_id", request->custom_id);
    sl_json_set_item(&record, "response", response);
    sl_json_set_item(&record, "error", why);
    return sl_json_end(&record);
}

char *sl_result_line(const sl_request *request, const sl_tokenizer *tokenizer, int64_t created,
                     size_t *bytes_out)
{
    json_t *record = pack_record(request, tokenizer, created);
    char *line = json_dumps(record, JSON_COMPACT | JSON_REAL_PRECISION(FLOAT_DIGITS));
    json_decref(record);
    if (!line) return NULL;
    const size_t bytes = strlen(line);
    char *ended = realloc(line, bytes + 2);
    if (!ended) {
        free(line);
        return NULL;
    }
    memcpy(ended + bytes, "\n", 2);
    *bytes_out = bytes + 1;
    return ended;
}

sl_status sl_result_read(const char *line, size_t bytes, sl_result_known *known_out)
{
    json_error_t error;
    json_t *root = json_loadb(line, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    const json_t *id = json_object_get(root, "custom_id");
    const json_t *response = json_object_get(root, "response");
    const json_t *code = json_object_get(response, "status_code");
    const json_t *why = json_object_get(root, "error");
    const bool whole = json_string_length(id) > 0 &&
                       strlen(json_string_value(id)) == json_string_length(id) &&
                       (json_is_integer(code) || json_is_null(response)) &&
                       (json_is_object(why) || (json_is_null(why) && !json_is_null(response)));
    sl_status status = SL_ERR_FORMAT;
    if (!root && json_error_code(&error) == json_error_out_of_memory) status = SL_ERR_MEMORY;
    if (whole) {
        char *custom_id = sl_request_json_copy(json_string_value(id), json_string_length(id));
        const bool failed = json_is_object(why) || json_integer_value(code) != 200;
        status = custom_id ? SL_OK : SL_ERR_MEMORY;
        if (custom_id) *known_out = (sl_result_known){custom_id, failed};
    }
    json_decref(root);
    return status;
}
