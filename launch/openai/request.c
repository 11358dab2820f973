/* launch/openai/request.c - the memory and the text of a request. Owns what sl_request says it
 * owns, from when it is made until its result is written; knows no JSON, no queue and no frame. */
#include "launch/openai/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/arena.h"
#include "runtime/base/log.h"

enum { SMALL_TEXTS_BYTES = 2048 + SL_STOPS_MAX * SL_STOP_BYTES_MAX };
enum { STORAGE_ALIGN = 64 }; /* what an arena asks of its storage */

typedef struct {
    sl_choice *choices;
    int32_t *tokens;
    sl_token_detail *details;
    sl_token_logprob *tops;
    size_t n_details, tops_each;
} layout;

/* One order of takes, for measuring and for binding. */
static layout lay_out(const sl_request *request, sl_arena *arena)
{
    const int32_t n_logprobs = request->sampling.n_logprobs;
    const size_t n_tokens = (size_t)request->n_choices * request->max_tokens;
    layout l = {.tops_each = n_logprobs > 0 ? (size_t)n_logprobs : 0};
    if (n_logprobs >= 0) l.n_details += n_tokens;
    if (request->score_from != SIZE_MAX) l.n_details += request->n_prompt;
    l.choices = sl_arena_array(arena, sl_choice, request->n_choices);
    l.tokens = sl_arena_array(arena, int32_t, n_tokens);
    l.details = sl_arena_array(arena, sl_token_detail, l.n_details);
    l.tops = sl_arena_array(arena, sl_token_logprob, l.n_details * l.tops_each);
    return l;
}

static size_t measure(const sl_request *request)
{
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    lay_out(request, &arena);
    return arena.used_bytes;
}

uint64_t sl_request_bytes(const sl_request *request)
{
    uint64_t bytes = 0;
    /* a list of ids doubles as it grows; beside are the id, the model's name and the stop
     * strings */
    for (; request; request = request->also)
        bytes += sizeof *request + 2 * request->n_prompt * sizeof *request->prompt +
                 SMALL_TEXTS_BYTES + measure(request);
    return bytes;
}

size_t sl_request_read_tokens(const sl_request *request, uint32_t choice)
{
    return request->n_prompt + (request->tails ? request->tails[choice].n : 0);
}

uint64_t sl_request_generated(const sl_request *request)
{
    uint64_t n = 0;
    for (; request; request = request->also)
        for (uint32_t i = 0; request->choices && i < request->n_choices; i++)
            n += request->choices[i].n_tokens;
    return n;
}

sl_status sl_request_bind(sl_request *request)
{
    SL_ASSERT(!request->memory && request->n_choices >= 1);
    sl_arena arena;
    const size_t total_bytes = measure(request);
    request->memory = aligned_alloc(STORAGE_ALIGN, total_bytes);
    if (!request->memory) {
        sl_error("cannot take %zu bytes for the results of request %s", total_bytes,
                 request->custom_id ? request->custom_id : "");
        return SL_ERR_MEMORY;
    }
    sl_arena_init(&arena, request->memory, total_bytes);
    const layout l = lay_out(request, &arena);

    for (size_t i = 0; i < l.n_details; i++) {
        l.details[i] = (sl_token_detail){0};
        if (l.tops_each > 0) l.details[i].top = l.tops + i * l.tops_each;
    }
    const bool detailed = request->sampling.n_logprobs >= 0;
    for (size_t i = 0; i < request->n_choices; i++) {
        const size_t first = i * request->max_tokens;
        l.choices[i] = (sl_choice){.tokens = l.tokens + first,
                                   .details = detailed ? l.details + first : NULL,
                                   .stop_text_end = SIZE_MAX};
    }
    request->choices = l.choices;
    if (request->score_from != SIZE_MAX)
        request->prompt_details = l.details + (l.n_details - request->n_prompt);
    return SL_OK;
}

static void free_tails(sl_request *request)
{
    for (uint32_t i = 0; request->tails && i < request->n_choices; i++)
        sl_tokens_free(&request->tails[i]);
    free(request->tails);
}

void sl_request_free(sl_request *request)
{
    if (!request) return;
    if (request->first) request = request->first;
    if (request->n_under_way > 1) {
        request->n_under_way--;
        return;
    }
    while (request) {
        sl_request *also = request->also;
        free(request->custom_id);
        free(request->model);
        free(request->prompt);
        free_tails(request);
        free(request->stop_bytes);
        free(request->memory);
        free(request);
        request = also;
    }
}

void sl_request_fail(sl_request *request, int http_status, const char *code, const char *param,
                     const char *format, ...)
{
    sl_request_error *error = &request->error;
    if (error->http_status != 0) return;
    error->http_status = http_status;
    snprintf(error->code, sizeof error->code, "%s", code);
    snprintf(error->param, sizeof error->param, "%s", param);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    /* Messages quote hostile lines, may be cut inside a character, and go to terminals. */
    for (char *c = error->message; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
}

/* --- text --- */

typedef struct {
    char *data;
    size_t bytes, capacity;
} text_buffer;

static bool text_reserve(text_buffer *text, size_t more_bytes)
{
    const size_t needed = text->bytes + more_bytes;
    if (needed <= text->capacity) return true;
    char *data = realloc(text->data, 2 * needed);
    if (!data) return false;
    *text = (text_buffer){data, text->bytes, 2 * needed};
    return true;
}

uint64_t sl_request_id_seed(const sl_request *request)
{
    if (request->first) request = request->first;
    if (request->custom_id) return XXH3_64bits(request->custom_id, strlen(request->custom_id));
    return XXH3_64bits(&request->line, sizeof request->line);
}

size_t sl_request_chars(const char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

char *sl_request_text(const sl_tokenizer *tokenizer, sl_text_place place, const int32_t *ids,
                      size_t n, size_t *chars_before_out, size_t *bytes_out)
{
    const size_t room = sl_tokenizer_decode_bytes_max(tokenizer);
    const size_t room_at_end = 3 * sizeof((sl_decode_state *)NULL)->held + 1;
    sl_decode_state state = {.begins = place == SL_TEXT_BEGINS};
    text_buffer text = {0};
    size_t chars = 0;
    for (size_t i = 0; i < n; i++) {
        if (!text_reserve(&text, room)) goto out_of_memory;
        char *piece = text.data + text.bytes;
        const size_t bytes = sl_tokenizer_decode(tokenizer, &state, ids[i], piece);
        SL_ASSERT(bytes <= room);
        if (chars_before_out) chars_before_out[i] = chars;
        chars += sl_request_chars(piece, bytes);
        text.bytes += bytes;
    }
    if (!text_reserve(&text, room_at_end)) goto out_of_memory;
    text.bytes += sl_tokenizer_decode_end(&state, text.data + text.bytes);
    text.data[text.bytes] = '\0';
    *bytes_out = text.bytes;
    return text.data;

out_of_memory:
    free(text.data);
    return NULL;
}

char *sl_request_choice_text(const sl_request *request, const sl_choice *choice,
                             const sl_tokenizer *tokenizer, size_t *bytes_out)
{
    SL_ASSERT(choice->n_tokens <= request->max_tokens);
    SL_ASSERT(!choice->ended_by_token || choice->n_tokens > 0);
    const size_t n = choice->n_tokens - (choice->ended_by_token ? 1 : 0);
    char *text = sl_request_text(tokenizer, SL_TEXT_CONTINUES, choice->tokens, n, NULL, bytes_out);
    if (text && choice->stop_text_end < *bytes_out) {
        *bytes_out = choice->stop_text_end;
        text[*bytes_out] = '\0';
    }
    return text;
}
