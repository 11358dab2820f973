/* launch/openai/request_parse.c - a line of a job becomes a request: the envelope, the prompt as
 * token ids, and how long the result may grow. Parameters are request_fields.c's. Trusts nothing in
 * the line: jansson bounds its depth and checks its UTF-8, everything else is checked here. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/openai/request_fields.h"
#include "launch/openai/request_json.h"
#include "launch/openai/request_line.h"
#include "launch/openai/request_messages.h"
#include "runtime/base/numbers.h"

enum { CUSTOM_ID_BYTES_MAX = 512, MODEL_BYTES_MAX = 512, COMPLETION_TOKENS_DEFAULT = 16 };

/* Else the line is refused, and its record has the id all the same. */
static bool is_usable_id(const json_t *id)
{
    if (json_is_number(id)) return true;
    const size_t bytes = json_string_length(id);
    return bytes >= 1 && bytes <= CUSTOM_ID_BYTES_MAX && strlen(json_string_value(id)) == bytes;
}

/* --- completion prompts --- */

static sl_status copy_ids(const sl_tokenizer *tokenizer, const json_t *ids, sl_request *request,
                          sl_tokens *out)
{
    const size_t n = json_array_size(ids);
    out->ids = malloc((n ? n : 1) * sizeof *out->ids);
    if (!out->ids) return SL_ERR_MEMORY;
    out->capacity = n ? n : 1;
    for (; out->n < n; out->n++) {
        int64_t id;
        if (!sl_request_json_integer(json_array_get(ids, out->n), &id) || id < 0 ||
            id >= sl_tokenizer_n_tokens(tokenizer)) {
            sl_request_fail(request, 400, "invalid_value", "prompt",
                            "item %zu of 'prompt' is no token id: they are whole numbers from 0 "
                            "to %d",
                            out->n, sl_tokenizer_n_tokens(tokenizer) - 1);
            return SL_OK;
        }
        out->ids[out->n] = (int32_t)id;
    }
    return SL_OK;
}

/* Only the end of a text that is truncated matters: it is not tokenized from further back than the
 * longest tokens could need. */
static sl_text cut_text(const sl_request_reader *reader, const json_t *prompt)
{
    sl_text text = {json_string_value(prompt), json_string_length(prompt)};
    const size_t most = sl_request_context_bytes(reader);
    if (text.bytes <= most) return text;
    const char *start = text.data + (text.bytes - most);
    while ((*start & 0xC0) == 0x80) start++; /* JSON has been checked to be UTF-8 */
    return (sl_text){start, (size_t)(text.data + text.bytes - start)};
}

static sl_status read_text(const sl_request_reader *reader, const json_t *prompt,
                           const sl_request_lengths *wanted, sl_request *request, sl_tokens *out)
{
    sl_text text = {json_string_value(prompt), json_string_length(prompt)};
    if (wanted->truncate != 0)
        text = cut_text(reader, prompt);
    else if (!sl_request_fits_context(reader, text.bytes, "prompt", request))
        return SL_OK;
    return sl_tokenizer_encode_whole(reader->tokenizer, text.data, text.bytes, SL_SPECIAL_PARSED,
                                     out);
}

/* A list of texts or of lists of ids: a prompt each. */
static bool holds_prompts(const json_t *prompt)
{
    const json_t *first = json_array_get(prompt, 0);
    return json_is_string(first) || json_is_array(first);
}

static size_t count_prompts(const json_t *body, const sl_request *request)
{
    const json_t *prompt = request->chat ? NULL : sl_request_json_field(body, "prompt");
    return holds_prompts(prompt) ? json_array_size(prompt) : 1;
}

static sl_status read_prompt(const sl_request_reader *reader, const json_t *body,
                             const sl_request_lengths *wanted, size_t index, sl_request *request,
                             sl_tokens *out)
{
    const json_t *prompt = sl_request_json_field(body, "prompt");
    if (holds_prompts(prompt)) prompt = json_array_get(prompt, index);
    sl_status status = SL_OK;
    if (!prompt) {
        sl_request_fail(request, 400, "missing_required_parameter", "prompt",
                        "'prompt' is missing");
    } else if (json_is_string(prompt)) {
        status = read_text(reader, prompt, wanted, request, out);
        if (status == SL_OK && request->error.http_status != 0) return SL_OK;
    } else if (json_is_array(prompt)) {
        status = copy_ids(reader->tokenizer, prompt, request, out);
    } else {
        sl_request_fail(request, 400, "invalid_type", "prompt",
                        "'prompt' must be a text or an array of token ids");
    }
    if (status == SL_OK && out->n == 0)
        sl_request_fail(request, 400, "invalid_value", "prompt", "'prompt' is empty");
    return status;
}

/* --- the whole request --- */

/* What is asked for, or the default of -1: a chat may fill its room. */
static uint32_t tokens_within(const sl_request *request, int64_t wanted, size_t room)
{
    uint64_t tokens = (uint64_t)wanted;
    if (wanted < 0) tokens = request->chat ? room : COMPLETION_TOKENS_DEFAULT;
    return (uint32_t)sl_min_u64(tokens, room);
}

/* Keep the last tokens of the prompt. What fits in the context leaves room for the tokens that were
 * asked for, or for one. */
static void truncate_prompt(const sl_request_reader *reader, const sl_request_lengths *wanted,
                            sl_request *request)
{
    uint64_t keep = (uint64_t)wanted->truncate;
    if (wanted->truncate < 0) {
        const int64_t asked = wanted->max_tokens;
        const uint64_t room = asked >= 0      ? (uint64_t)asked
                              : request->chat ? 1
                                              : COMPLETION_TOKENS_DEFAULT;
        keep = room < reader->context ? reader->context - room : 1;
    }
    if (wanted->truncate == 0 || request->n_prompt <= keep) return;
    memmove(request->prompt, request->prompt + (request->n_prompt - keep),
            (size_t)keep * sizeof *request->prompt);
    request->n_prompt = (size_t)keep;
}

/* Prompt and completion share the context; `wanted` is -1 for the default. */
static void fit_context(const sl_request_reader *reader, int64_t wanted, sl_request *request)
{
    const size_t room = request->n_prompt < reader->context ? reader->context - request->n_prompt
                                                            : 0;
    const bool scores_only = wanted == 0;
    if (request->n_prompt > reader->context || (room == 0 && !scores_only)) {
        sl_request_fail(
            request, 400, "context_length_exceeded", request->chat ? "messages" : "prompt",
            "the prompt has %zu tokens, which leaves no room in the context of %u for %s",
            request->n_prompt, reader->context, scores_only ? "all of them" : "a completion");
        return;
    }
    request->max_tokens = tokens_within(request, wanted, room);
    if (request->sampling.min_tokens > request->max_tokens)
        sl_request_fail(
            request, 400, "invalid_value", "min_tokens",
            "'min_tokens' is %u, but at most %u tokens are generated: by 'max_tokens', its "
            "default, or the room that the prompt leaves",
            (unsigned)request->sampling.min_tokens, (unsigned)request->max_tokens);
}

static sl_status read_model(const sl_request_reader *reader, const json_t *body,
                            sl_request *request)
{
    const json_t *model = sl_request_json_field(body, "model");
    if (!model) {
        const char *own = reader->model ? reader->model : "";
        request->model = sl_request_json_copy(own, strlen(own));
        return request->model ? SL_OK : SL_ERR_MEMORY;
    }
    const size_t bytes = json_string_length(model);
    if (!json_is_string(model) || strlen(json_string_value(model)) != bytes) {
        sl_request_fail(request, 400, "invalid_type", "model", "'model' must be a text");
        return SL_OK;
    }
    if (bytes > MODEL_BYTES_MAX) { /* it is kept until the result is written */
        sl_request_fail(request, 400, "invalid_value", "model",
                        "'model' must be a text of at most %d bytes", MODEL_BYTES_MAX);
        return SL_OK;
    }
    request->model = sl_request_json_copy(json_string_value(model), bytes);
    return request->model ? SL_OK : SL_ERR_MEMORY;
}

static bool is_chat(const json_t *url)
{
    return sl_request_json_is(url, "/v1/chat/completions") ||
           sl_request_json_is(url, "/chat/completions");
}

/* true: the envelope holds a body for an endpoint we serve. */
static bool read_envelope(const sl_request_reader *reader, json_t *root, sl_request *request)
{
    static const char *const known[] = {"custom_id", "method", "url", "body", NULL};
    const json_t *id = sl_request_json_field(root, "custom_id");
    const json_t *url = sl_request_json_field(root, "url");
    request->chat = is_chat(url);
    if (id && !is_usable_id(id))
        sl_request_fail(request, 400, "invalid_value", "custom_id",
                        "'custom_id' must be a text of 1 to %d bytes", CUSTOM_ID_BYTES_MAX);
    if (!sl_request_json_is(sl_request_json_field(root, "method"), "POST"))
        sl_request_fail(request, 400, "invalid_value", "method", "'method' must be POST");
    if (!request->chat && !sl_request_json_is(url, "/v1/completions") &&
        !sl_request_json_is(url, "/completions"))
        sl_request_fail(request, 400, "invalid_url", "url",
                        "'url' must be /v1/completions or /v1/chat/completions, not '%s'",
                        json_is_string(url) ? json_string_value(url) : "");
    if (request->chat && !reader->chat)
        sl_request_fail(request, 400, "unsupported_value", "url", "%s", sl_chat_missing_text());
    if (!json_is_object(json_object_get(root, "body")))
        sl_request_fail(request, 400, "missing_required_parameter", "body",
                        "'body' must be an object");
    sl_request_warn_unknown_of(reader, root, known, "a line");
    return request->error.http_status == 0;
}

/* One more request for each further prompt, with the fields of the first. A seed that was given is
 * every prompt's; else equal prompts draw different texts. */
static sl_status add_prompts(const json_t *body, sl_request *request)
{
    const size_t n = count_prompts(body, request);
    if (n * request->n_choices > SL_CHOICES_MAX) {
        sl_request_fail(
            request, 400, "invalid_value", "prompt",
            "%zu prompts with 'n' %u are more than the %d choices that one line may have: "
            "give it fewer",
            n, request->n_choices, SL_CHOICES_MAX);
        return SL_OK;
    }
    sl_request *last = request;
    for (size_t i = 1; i < n; i++) {
        sl_request *r = malloc(sizeof *r);
        if (!r) return SL_ERR_MEMORY;
        *r = *request; /* nothing is bound yet */
        r->custom_id = r->model = r->stop_bytes = NULL;
        r->first = request;
        r->also = NULL;
        if (!sl_request_json_field(body, "seed")) r->sampling.seed += i * request->n_choices;
        last->also = r;
        last = r;
    }
    return SL_OK;
}

static sl_status read_body(const sl_request_reader *reader, json_t *body, size_t line_bytes,
                           sl_request *request)
{
    sl_request_lengths wanted;
    sl_status status = read_model(reader, body, request);
    if (status == SL_OK) status = sl_request_fields_read(reader, body, request, &wanted);
    if (status != SL_OK || request->error.http_status != 0) return status;

    status = add_prompts(body, request);
    size_t index = 0;
    sl_request *r = request;
    for (; r && status == SL_OK && request->error.http_status == 0; r = r->also) {
        sl_tokens prompt = {0};
        status = r->chat ? sl_request_messages_read(reader, body, line_bytes, r, &prompt)
                         : read_prompt(reader, body, &wanted, index++, r, &prompt);
        r->prompt = prompt.ids;
        r->n_prompt = prompt.n;
        if (status != SL_OK) return status;
        if (r->error.http_status == 0) truncate_prompt(reader, &wanted, r);
        if (r->error.http_status == 0) fit_context(reader, wanted.max_tokens, r);
        request->error = r->error;
    }
    if (request->error.http_status != 0) return SL_OK;
    for (r = request; r && status == SL_OK; r = r->also) status = sl_request_bind(r);
    return status;
}

/* Memory that making the prompts of a line takes. */
static uint64_t prompt_bytes(const sl_request_reader *reader, const sl_request *request,
                             size_t line_bytes)
{
    if (request->chat) return sl_request_messages_bytes(reader, line_bytes);
    const size_t most = sl_request_context_bytes(reader);
    return SL_ENCODE_BYTES * (line_bytes < most ? line_bytes : most);
}

sl_status sl_request_line_plan(const sl_request_reader *reader, const char *line, size_t bytes,
                               sl_request_line_need *need_out)
{
    *need_out = (sl_request_line_need){0};
    sl_request_reader quiet = *reader;
    quiet.warnings = NULL;
    char why[SL_REQUEST_WHY_BYTES], no_id[] = "";
    json_t *root;
    sl_status status = sl_request_line_parse(line, bytes, &root, why);
    if (status != SL_OK) return status == SL_ERR_FORMAT ? SL_OK : status;
    json_t *body = json_object_get(root, "body");
    sl_request request = {.score_from = SIZE_MAX, .custom_id = no_id};
    request.chat = is_chat(json_object_get(root, "url"));
    request.n_prompt = bytes < reader->context ? bytes : reader->context;
    sl_request_lengths wanted = {0};
    if (json_is_object(body)) status = sl_request_fields_read(&quiet, body, &request, &wanted);
    if (json_is_object(body) && status == SL_OK && request.error.http_status == 0) {
        size_t n = count_prompts(body, &request);
        if (n * request.n_choices > SL_CHOICES_MAX) n = 0; /* it will be refused */
        request.max_tokens = tokens_within(&request, wanted.max_tokens, reader->context);
        const uint64_t bytes_each = sl_request_bytes(&request);
        request.n_choices *= (uint32_t)n; /* in one record */
        const uint64_t record = sl_result_bytes(
            &request, (uint64_t)request.n_choices * request.max_tokens, reader->tokenizer);
        *need_out = (sl_request_line_need){
            .request = n * bytes_each,
            .record = record < SL_RESULT_BYTES_MAX ? record : SL_RESULT_BYTES_MAX,
            .prompt = prompt_bytes(reader, &request, bytes)};
    }
    free(request.stop_bytes);
    json_decref(root);
    return status;
}

sl_status sl_request_read(const sl_request_reader *reader, const char *line, size_t bytes,
                          uint64_t number, sl_request **request_out)
{
    char why[SL_REQUEST_WHY_BYTES];
    json_t *root;
    sl_status status = sl_request_line_parse(line, bytes, &root, why);
    if (status == SL_ERR_MEMORY) return status;

    bool made_up;
    sl_request *request = calloc(1, sizeof *request);
    status = request ? sl_request_line_id(line, bytes, number, &request->custom_id, &made_up)
                     : SL_ERR_MEMORY;
    if (status != SL_OK) goto release;
    request->line = number;
    request->score_from = SIZE_MAX;
    if (!root)
        sl_request_fail(request, 400, "invalid_json", "", "line %" PRIu64 " is not JSON: %s",
                        number, why);
    else if (!json_is_object(root))
        sl_request_fail(request, 400, "invalid_json", "", "line %" PRIu64 " is not an object",
                        number);
    else if (read_envelope(reader, root, request))
        status = read_body(reader, json_object_get(root, "body"), bytes, request);
    if (status == SL_OK) *request_out = request;

release:
    if (status != SL_OK) sl_request_free(request);
    json_decref(root);
    return status;
}
