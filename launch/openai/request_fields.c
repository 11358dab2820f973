/* launch/openai/request_fields.c - every parameter of a request's body that is honoured has a row
 * in the table of numbers, or a name in the list below it; what others know is
 * request_vocabulary.c's. Knows the ranges we can honour; no tokens but those of logit_bias and
 * stop_token_ids, no prompt. */
#include "launch/openai/request_fields.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/openai/request_json.h"
#include "launch/openai/request_vocabulary.h"
#include "runtime/base/log.h"

enum { COMPLETION = SL_URL_COMPLETIONS, CHAT = SL_URL_CHAT, BOTH = SL_URL_BOTH };
typedef enum { REAL, WHOLE } number_kind;
typedef enum { FROM, ABOVE } lower_bound;

enum {
    TEMPERATURE,
    TOP_P,
    MIN_P,
    PRESENCE_PENALTY,
    FREQUENCY_PENALTY,
    REPETITION_PENALTY,
    TOP_K,
    N,
    BEST_OF,
    LOGPROBS,
    TOP_LOGPROBS,
    MAX_TOKENS,
    MAX_COMPLETION_TOKENS,
    N_PREDICT,
    MIN_TOKENS,
    TRUNCATE_PROMPT_TOKENS,
    REPEAT_PENALTY,
    REPEAT_LAST_N,
    N_NUMBERS
};

enum { NOT_GIVEN = -3 };

/* Defaults below the range say "not given". Any length may be asked for: it is cut to what the
 * context has room for. The repetition penalty multiplies logits, which must stay finite. */
static const struct {
    const char *name;
    unsigned known;
    number_kind kind;
    lower_bound lower;
    double min, max, fallback;
} numbers[N_NUMBERS] = {
    [TEMPERATURE] = {"temperature", BOTH, REAL, FROM, 0, 2, 1},
    [TOP_P] = {"top_p", BOTH, REAL, ABOVE, 0, 1, 1},
    [MIN_P] = {"min_p", BOTH, REAL, FROM, 0, 1, 0},
    [PRESENCE_PENALTY] = {"presence_penalty", BOTH, REAL, FROM, -2, 2, 0},
    [FREQUENCY_PENALTY] = {"frequency_penalty", BOTH, REAL, FROM, -2, 2, 0},
    [REPETITION_PENALTY] = {"repetition_penalty", BOTH, REAL, FROM, 1e-6, 1e6, 1},
    [TOP_K] = {"top_k", BOTH, WHOLE, FROM, -1, INT32_MAX, 0},
    [N] = {"n", BOTH, WHOLE, FROM, 1, SL_CHOICES_MAX, 1},
    [BEST_OF] = {"best_of", BOTH, WHOLE, FROM, 1, SL_CHOICES_MAX, 0},
    [LOGPROBS] = {"logprobs", COMPLETION, WHOLE, FROM, 0, SL_TOP_LOGPROBS_MAX, -1},
    [TOP_LOGPROBS] = {"top_logprobs", CHAT, WHOLE, FROM, 0, SL_TOP_LOGPROBS_MAX, 0},
    [MAX_TOKENS] = {"max_tokens", BOTH, WHOLE, FROM, 0, 1e15, -1},
    [MAX_COMPLETION_TOKENS] = {"max_completion_tokens", BOTH, WHOLE, FROM, 0, 1e15, -1},
    [N_PREDICT] = {"n_predict", BOTH, WHOLE, FROM, -2, 1e15, NOT_GIVEN},
    [MIN_TOKENS] = {"min_tokens", BOTH, WHOLE, FROM, 0, INT32_MAX, 0},
    [TRUNCATE_PROMPT_TOKENS] = {"truncate_prompt_tokens", BOTH, WHOLE, FROM, -1, 1e15, 0},
    [REPEAT_PENALTY] = {"repeat_penalty", BOTH, REAL, FROM, 1e-6, 1e6, 1},
    [REPEAT_LAST_N] = {"repeat_last_n", BOTH, WHOLE, FROM, -1, 1e15, 64},
};

/* Read elsewhere. */
static const struct {
    const char *name;
    unsigned known;
} others[] = {
    {"tools", CHAT},      {"chat_template_kwargs", CHAT},
    {"model", BOTH},      {"prompt", COMPLETION},
    {"messages", CHAT},   {"echo", COMPLETION},
    {"stop", BOTH},       {"logprobs", CHAT},
    {"seed", BOTH},       {"stop_token_ids", BOTH},
    {"logit_bias", BOTH}, {"ignore_eos", BOTH},
};

#define N_ROWS(table) (sizeof(table) / sizeof *(table))

/* --- unknown fields --- */

void sl_request_warn_unknown(const sl_request_reader *reader, const char *where, const char *name)
{
    sl_request_warnings *warnings = reader->warnings;
    if (!warnings || warnings->n > SL_REQUEST_WARNINGS_MAX) return;
    const uint64_t hash = XXH3_64bits_withSeed(name, strlen(name),
                                               XXH3_64bits(where, strlen(where)));
    for (uint32_t i = 0; i < warnings->n; i++)
        if (warnings->names[i] == hash) return;
    if (warnings->n == SL_REQUEST_WARNINGS_MAX) {
        warnings->n++;
        sl_warn("job: further unknown fields are ignored in silence");
        return;
    }
    warnings->names[warnings->n++] = hash;

    char shown[64] = "";
    for (size_t i = 0; name[i] && i < sizeof shown - 1; i++)
        shown[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    sl_warn("job: ignoring the unknown field '%s' of %s", shown, where);
}

void sl_request_warn_unknown_of(const sl_request_reader *reader, json_t *object,
                                const char *const *known, const char *where)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const char *const *name = known;
        while (*name && strcmp(*name, key) != 0) name++;
        if (!*name && !json_is_null(value)) sl_request_warn_unknown(reader, where, key);
    }
}

size_t sl_request_context_bytes(const sl_request_reader *reader)
{
    return ((size_t)reader->context + 1) * sl_tokenizer_decode_bytes_max(reader->tokenizer);
}

bool sl_request_fits_context(const sl_request_reader *reader, size_t bytes, const char *param,
                             sl_request *request)
{
    if (bytes < sl_request_context_bytes(reader)) return true;
    sl_request_fail(request, 400, "context_length_exceeded", param,
                    "'%s' has %zu bytes of text, which cannot fit in the context of %u tokens",
                    param, bytes, reader->context);
    return false;
}

static bool is_honoured(const char *name, unsigned here)
{
    for (size_t i = 0; i < N_NUMBERS; i++)
        if ((numbers[i].known & here) && strcmp(name, numbers[i].name) == 0) return true;
    for (size_t i = 0; i < N_ROWS(others); i++)
        if ((others[i].known & here) && strcmp(name, others[i].name) == 0) return true;
    return false;
}

/* ---- names that were meant to be another ---- */

enum { NAME_BYTES = 40 };

/* Lower case, without the marks between words: maxTokens and max-tokens are max_tokens. */
static size_t plain_name(const char *name, char out[NAME_BYTES])
{
    size_t n = 0;
    for (; *name && n < NAME_BYTES - 1; name++)
        if (*name != '_' && *name != '-') out[n++] = (char)tolower((unsigned char)*name);
    out[n] = '\0';
    return n;
}

/* Whether two names are the same but for one character too many, too few, wrong, or two
 * exchanged. */
static bool is_slip(const char *name, const char *meant)
{
    char a[NAME_BYTES], b[NAME_BYTES];
    size_t n = plain_name(name, a), m = plain_name(meant, b), same = 0, end = 0;
    if (m < 4 || strlen(name) >= NAME_BYTES) return false; /* short ones are near anything */
    while (same < n && same < m && a[same] == b[same]) same++;
    while (end < n - same && end < m - same && a[n - 1 - end] == b[m - 1 - end]) end++;
    size_t left = n - same - end, meant_left = m - same - end;
    bool exchanged = left == 2 && meant_left == 2 && a[same] == b[same + 1] &&
                     a[same + 1] == b[same];
    return (left <= 1 && meant_left <= 1) || exchanged;
}

/* The honoured field that `name` is a slip of; NULL: none. */
static const char *meant_by(const char *name, unsigned here)
{
    for (size_t i = 0; i < N_NUMBERS; i++)
        if ((numbers[i].known & here) && is_slip(name, numbers[i].name)) return numbers[i].name;
    for (size_t i = 0; i < N_ROWS(others); i++)
        if ((others[i].known & here) && is_slip(name, others[i].name)) return others[i].name;
    return NULL;
}

/* What nobody knows is ignored with a warning, unless it is a slip: the answer would be of another
 * length or heat than was asked for. */
static void judge_unknown(const sl_request_reader *reader, const char *name, unsigned here,
                          sl_request *request)
{
    const char *meant = meant_by(name, here);
    if (!meant)
        sl_request_warn_unknown(reader, request->chat ? "chat completions" : "completions", name);
    else
        sl_request_fail(request, 400, "unknown_parameter", name, "'%s' is not known: is it '%s'?",
                        name, meant);
}

/* What is known and asks for what we cannot do is an error. */
static void check_others(const sl_request_reader *reader, json_t *body, sl_request *request)
{
    const unsigned here = request->chat ? CHAT : COMPLETION;
    const char *name, *why;
    json_t *value;
    json_object_foreach(body, name, value)
    {
        if (is_honoured(name, here)) continue;
        if (!sl_request_vocabulary_has(name, here, value, &why))
            judge_unknown(reader, name, here, request);
        else if (why)
            sl_request_fail(request, 400, "unsupported_value", name, "'%s' is not supported: %s",
                            name, why);
    }
}

/* --- one kind of field each --- */

static double read_number(const json_t *body, size_t row, double max, sl_request *request)
{
    const char *name = numbers[row].name;
    const double min = numbers[row].min;
    const json_t *field = sl_request_json_field(body, name);
    if (!field) return numbers[row].fallback;

    int64_t whole;
    if (!json_is_number(field) ||
        (numbers[row].kind == WHOLE && !sl_request_json_integer(field, &whole))) {
        sl_request_fail(request, 400, "invalid_type", name, "'%s' must be %s number", name,
                        numbers[row].kind == WHOLE ? "a whole" : "a");
        return numbers[row].fallback;
    }
    const double value = json_number_value(field);
    const bool above = numbers[row].lower == ABOVE;
    /* The sampler sees floats, and 1e-60 is then not above 0. */
    if (value < min || value > max || (above && (float)value <= (float)min)) {
        sl_request_fail(request, 400, "invalid_value", name,
                        "'%s' must be %s %g and at most %g, got %g", name,
                        above ? "above" : "at least", min, max, value);
        return numbers[row].fallback;
    }
    return value;
}

static bool read_bool(const json_t *body, const char *name, sl_request *request)
{
    const json_t *field = sl_request_json_field(body, name);
    if (field && !json_is_boolean(field))
        sl_request_fail(request, 400, "invalid_type", name, "'%s' must be true or false", name);
    return json_is_true(field);
}

static uint64_t read_seed(const json_t *body, sl_request *request)
{
    const json_t *field = sl_request_json_field(body, "seed");
    if (!field) return XXH3_64bits(request->custom_id, strlen(request->custom_id));
    int64_t seed;
    if (sl_request_json_integer(field, &seed)) return (uint64_t)seed;
    /* Beyond 64 bits JSON integers reach us rounded to a double: any of its bits will do. */
    const double real = json_is_real(field) ? json_real_value(field) : NAN;
    if (real != floor(real))
        sl_request_fail(request, 400, "invalid_type", "seed", "'seed' must be a whole number");
    return XXH3_64bits(&real, sizeof real);
}

static sl_status read_stops(const json_t *body, sl_request *request)
{
    const json_t *field = sl_request_json_field(body, "stop");
    if (!field) return SL_OK;
    const size_t n = json_is_array(field) ? json_array_size(field) : 1;
    if (n > SL_STOPS_MAX) {
        sl_request_fail(request, 400, "invalid_value", "stop",
                        "'stop' has %zu strings; %d are possible", n, SL_STOPS_MAX);
        return SL_OK;
    }
    request->stop_bytes = malloc((size_t)SL_STOPS_MAX * SL_STOP_BYTES_MAX);
    if (!request->stop_bytes) return SL_ERR_MEMORY;
    char *next = request->stop_bytes;
    for (size_t i = 0; i < n; i++) {
        const json_t *stop = json_is_array(field) ? json_array_get(field, i) : field;
        const size_t bytes = json_string_length(stop); /* 0 for what is no string */
        if (bytes < 1 || bytes > SL_STOP_BYTES_MAX) {
            sl_request_fail(request, 400, "invalid_value", "stop",
                            "'stop' must be a string of 1 to %d bytes, or an array of such",
                            SL_STOP_BYTES_MAX);
            return SL_OK;
        }
        memcpy(next, json_string_value(stop), bytes);
        request->stops[request->n_stops++] = (sl_text){next, bytes};
        next += bytes;
    }
    return SL_OK;
}

/* A token id as an object's key: digits only. -1: it is none of this vocabulary. */
static int32_t parse_token(const char *key, int32_t n_tokens)
{
    int64_t id = 0;
    const char *c = key;
    for (; *c >= '0' && *c <= '9' && id < n_tokens; c++) id = 10 * id + (*c - '0');
    return c > key && *c == '\0' && id < n_tokens ? (int32_t)id : -1;
}

static void read_bias(const sl_request_reader *reader, const json_t *body, sl_request *request)
{
    json_t *field = sl_request_json_field(body, "logit_bias");
    if (!field) return;
    if (!json_is_object(field)) {
        sl_request_fail(request, 400, "invalid_type", "logit_bias",
                        "'logit_bias' must be an object of token ids and numbers");
        return;
    }
    if (json_object_size(field) > SL_LOGIT_BIAS_MAX) {
        sl_request_fail(request, 400, "invalid_value", "logit_bias",
                        "'logit_bias' has %zu tokens; %d are possible", json_object_size(field),
                        SL_LOGIT_BIAS_MAX);
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach(field, key, value)
    {
        const int32_t token = parse_token(key, sl_tokenizer_n_tokens(reader->tokenizer));
        const double bias = json_is_number(value) ? json_number_value(value) : NAN;
        if (token < 0 || !(bias >= -100 && bias <= 100)) {
            sl_request_fail(request, 400, "invalid_value", "logit_bias",
                            "'logit_bias' maps ids from 0 to %d to numbers from -100 to 100; "
                            "'%s' does not",
                            sl_tokenizer_n_tokens(reader->tokenizer) - 1, key);
            return;
        }
        request->sampling.bias[request->sampling.n_bias++] = (sl_logit_bias){token, (float)bias};
    }
}

static void read_stop_tokens(const sl_request_reader *reader, const json_t *body,
                             sl_request *request)
{
    const json_t *field = sl_request_json_field(body, "stop_token_ids");
    if (!field) return;
    const int32_t n_tokens = sl_tokenizer_n_tokens(reader->tokenizer);
    if (!json_is_array(field) || json_array_size(field) > SL_STOP_TOKENS_MAX) {
        sl_request_fail(request, 400, "invalid_value", "stop_token_ids",
                        "'stop_token_ids' must be an array of at most %d token ids",
                        SL_STOP_TOKENS_MAX);
        return;
    }
    for (size_t i = 0; i < json_array_size(field); i++) {
        int64_t id;
        if (!sl_request_json_integer(json_array_get(field, i), &id) || id < 0 || id >= n_tokens) {
            sl_request_fail(request, 400, "invalid_value", "stop_token_ids",
                            "item %zu of 'stop_token_ids' is no token id: they are whole numbers "
                            "from 0 to %d",
                            i, n_tokens - 1);
            return;
        }
        request->stop_tokens[request->n_stop_tokens++] = (int32_t)id;
    }
}

/* What must not be drawn before min_tokens are there: whatever would end the text. */
static void hold_ends(const sl_request_reader *reader, uint32_t min_tokens, sl_request *request)
{
    sl_sampling *sampling = &request->sampling;
    if (min_tokens == 0) return;
    sampling->min_tokens = min_tokens;
    for (uint32_t i = 0; i < request->n_stop_tokens; i++)
        sampling->ends[sampling->n_ends++] = request->stop_tokens[i];
    for (int32_t id = 0; id < sl_tokenizer_n_tokens(reader->tokenizer); id++) {
        if (!sl_tokenizer_ends(reader->tokenizer, id)) continue;
        if (sampling->n_ends == SL_ENDS_MAX) {
            sl_request_fail(request, 400, "unsupported_value", "min_tokens",
                            "'min_tokens' can hold back at most %d tokens that end a text",
                            SL_ENDS_MAX);
            return;
        }
        sampling->ends[sampling->n_ends++] = id;
    }
}

/* --- all of them --- */

static int32_t logprobs_wanted(const json_t *body, const double *values, sl_request *request)
{
    if (!request->chat) return (int32_t)values[LOGPROBS];
    if (read_bool(body, "logprobs", request)) return (int32_t)values[TOP_LOGPROBS];
    if (values[TOP_LOGPROBS] > 0)
        sl_request_fail(request, 400, "invalid_value", "top_logprobs",
                        "'top_logprobs' needs 'logprobs' to be true");
    return -1;
}

/* -1: not said. llama.cpp's n_predict is the same by another name, where -1 and -2 are all there is
 * room for. */
static int64_t max_tokens_wanted(const double *values, sl_request *request)
{
    size_t row = values[MAX_COMPLETION_TOKENS] >= 0 ? MAX_COMPLETION_TOKENS : MAX_TOKENS;
    double wanted = values[row];
    if (values[N_PREDICT] != NOT_GIVEN) {
        const double predict = values[N_PREDICT] < 0 ? numbers[row].max : values[N_PREDICT];
        if (wanted >= 0 && wanted != predict)
            sl_request_fail(request, 400, "invalid_value", "n_predict",
                            "'n_predict' and '%s' say the same and differ", numbers[row].name);
        row = N_PREDICT;
        wanted = predict;
    }
    if (wanted == 0 && !request->echo)
        sl_request_fail(request, 400, "invalid_value", numbers[row].name,
                        "'%s' must be at least 1 unless a completion's prompt is echoed",
                        numbers[row].name);
    if (wanted >= 0 && values[MIN_TOKENS] > wanted)
        sl_request_fail(request, 400, "invalid_value", "min_tokens",
                        "'min_tokens' is %g, which is more than '%s'", values[MIN_TOKENS],
                        numbers[row].name);
    return (int64_t)wanted;
}

/* llama.cpp's penalties are of its last 64 tokens unless repeat_last_n says -1, all: then they are
 * what ours are. */
static double repetition_wanted(const double *values, sl_request *request)
{
    const double ours = values[REPETITION_PENALTY], theirs = values[REPEAT_PENALTY];
    const bool all = values[REPEAT_LAST_N] == -1, is_default = values[REPEAT_LAST_N] == 64;
    const bool counts = values[PRESENCE_PENALTY] != 0 || values[FREQUENCY_PENALTY] != 0;
    if (theirs != 1 && ours != 1 && theirs != ours)
        sl_request_fail(request, 400, "invalid_value", "repeat_penalty",
                        "'repeat_penalty' and 'repetition_penalty' say the same and differ");
    else if (theirs != 1 && !all)
        sl_request_fail(request, 400, "unsupported_value", "repeat_penalty",
                        "'repeat_penalty' is supported with 'repeat_last_n' -1 only, since every "
                        "token of prompt and text counts: give that, or 'repetition_penalty'");
    else if ((ours != 1 || counts) && !all && !is_default)
        sl_request_fail(
            request, 400, "unsupported_value", "repeat_last_n",
            "'repeat_last_n' must be -1: penalties are of all tokens, not the last ones");
    return theirs != 1 ? theirs : ours;
}

static int64_t truncation_wanted(const json_t *body, const double *values, sl_request *request)
{
    const char *name = numbers[TRUNCATE_PROMPT_TOKENS].name;
    if (sl_request_json_field(body, name) && values[TRUNCATE_PROMPT_TOKENS] == 0)
        sl_request_fail(request, 400, "invalid_value", name,
                        "'%s' must be at least 1, or -1 for what fits in the context", name);
    return (int64_t)values[TRUNCATE_PROMPT_TOKENS];
}

sl_status sl_request_fields_read(const sl_request_reader *reader, json_t *body, sl_request *request,
                                 sl_request_lengths *wanted_out)
{
    const unsigned here = request->chat ? CHAT : COMPLETION;
    double values[N_NUMBERS];
    for (size_t i = 0; i < N_NUMBERS; i++) {
        const double max = i == N ? reader->choices_max : numbers[i].max;
        values[i] = numbers[i].known & here ? read_number(body, i, max, request)
                                            : numbers[i].fallback;
    }
    check_others(reader, body, request);
    if (values[BEST_OF] > 0 && values[BEST_OF] != values[N])
        sl_request_fail(request, 400, "unsupported_value", "best_of",
                        "'best_of' must equal 'n': every completion is returned");

    request->n_choices = (uint32_t)values[N];
    request->echo = !request->chat && read_bool(body, "echo", request);
    request->ignore_eos = read_bool(body, "ignore_eos", request);
    request->sampling = (sl_sampling){
        .temperature = (float)values[TEMPERATURE],
        .top_k = values[TOP_K] > 0 ? (int32_t)values[TOP_K] : 0,
        .top_p = (float)values[TOP_P],
        .min_p = (float)values[MIN_P],
        .repetition_penalty = (float)repetition_wanted(values, request),
        .presence_penalty = (float)values[PRESENCE_PENALTY],
        .frequency_penalty = (float)values[FREQUENCY_PENALTY],
        .seed = read_seed(body, request),
        .n_logprobs = logprobs_wanted(body, values, request),
    };
    request->score_from = request->echo && request->sampling.n_logprobs >= 0 ? 0 : SIZE_MAX;
    wanted_out->max_tokens = max_tokens_wanted(values, request);
    wanted_out->truncate = truncation_wanted(body, values, request);
    read_bias(reader, body, request);
    read_stop_tokens(reader, body, request);
    hold_ends(reader, (uint32_t)values[MIN_TOKENS], request);
    return read_stops(body, request);
}
