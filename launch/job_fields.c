/* launch/job_fields.c - every parameter of a request's body has one row in one of the tables here,
 * or a name in the last. Knows OpenAI's words and the ranges we can honour; no tokens but those of
 * logit_bias, no prompt. */
#include "launch/job_fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "runtime/base/log.h"

enum { COMPLETION = 1, CHAT = 2, BOTH = 3 }; /* where a field is known */
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
    N_NUMBERS
};

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
    [BEST_OF] = {"best_of", COMPLETION, WHOLE, FROM, 1, SL_CHOICES_MAX, 0},
    [LOGPROBS] = {"logprobs", COMPLETION, WHOLE, FROM, 0, SL_TOP_LOGPROBS_MAX, -1},
    [TOP_LOGPROBS] = {"top_logprobs", CHAT, WHOLE, FROM, 0, SL_TOP_LOGPROBS_MAX, 0},
    [MAX_TOKENS] = {"max_tokens", BOTH, WHOLE, FROM, 0, 1e15, -1},
    [MAX_COMPLETION_TOKENS] = {"max_completion_tokens", BOTH, WHOLE, FROM, 0, 1e15, -1},
};

static bool is_empty(const json_t *value)
{
    return json_is_false(value) || (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

static bool is_no_choice(const json_t *value)
{
    return sl_job_is(value, "none") || sl_job_is(value, "auto");
}

static bool is_text_format(const json_t *value)
{
    return sl_job_is(json_object_get(value, "type"), "text");
}

static bool is_text_only(const json_t *value)
{
    return json_array_size(value) == 1 && sl_job_is(json_array_get(value, 0), "text");
}

/* What cannot be honoured, unless its value asks for nothing. */
static const struct {
    const char *name;
    bool (*asks_nothing)(const json_t *value);
    const char *why;
} unsupported[] = {
    {"tools", is_empty, "tools cannot be called"},
    {"tool_choice", is_no_choice, "tools cannot be called"},
    {"functions", is_empty, "functions cannot be called"},
    {"function_call", is_no_choice, "functions cannot be called"},
    {"response_format", is_text_format, "the only format is {\"type\": \"text\"}"},
    {"stream", is_empty, "a batch has whole results only"},
    {"suffix", is_empty, "text cannot be inserted before a suffix"},
    {"modalities", is_text_only, "the only modality is [\"text\"]"},
    {"audio", is_empty, "the only modality is text"},
};

/* Read elsewhere, or without effect on the result. */
static const struct {
    const char *name;
    unsigned known;
} others[] = {
    {"model", BOTH},        {"prompt", COMPLETION},   {"messages", CHAT},
    {"echo", COMPLETION},   {"logprobs", CHAT},       {"stop", BOTH},
    {"seed", BOTH},         {"logit_bias", BOTH},     {"ignore_eos", BOTH},
    {"user", BOTH},         {"metadata", BOTH},       {"store", BOTH},
    {"service_tier", BOTH}, {"stream_options", BOTH}, {"parallel_tool_calls", BOTH},
};

#define N_ROWS(table) (sizeof(table) / sizeof *(table))

json_t *sl_job_field(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

bool sl_job_is(const json_t *value, const char *text)
{
    const size_t bytes = strlen(text);
    return json_is_string(value) && json_string_length(value) == bytes &&
           memcmp(json_string_value(value), text, bytes) == 0;
}

bool sl_job_integer(const json_t *value, int64_t *out)
{
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    const double real = json_is_real(value) ? json_real_value(value) : NAN;
    if (!(real >= -0x1p63 && real < 0x1p63) || real != floor(real)) return false;
    *out = (int64_t)real;
    return true;
}

char *sl_job_copy(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    if (!copy) return NULL;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

/* --- unknown fields --- */

void sl_job_warn_unknown(const sl_job_reader *reader, const char *where, const char *name)
{
    sl_job_warnings *warnings = reader->warnings;
    if (!warnings || warnings->n > SL_JOB_WARNINGS_MAX) return;
    const uint64_t hash = XXH3_64bits_withSeed(name, strlen(name),
                                               XXH3_64bits(where, strlen(where)));
    for (uint32_t i = 0; i < warnings->n; i++)
        if (warnings->names[i] == hash) return;
    if (warnings->n == SL_JOB_WARNINGS_MAX) {
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

static bool is_known(const char *name, unsigned here)
{
    for (size_t i = 0; i < N_NUMBERS; i++)
        if ((numbers[i].known & here) && strcmp(name, numbers[i].name) == 0) return true;
    for (size_t i = 0; i < N_ROWS(unsupported); i++)
        if (strcmp(name, unsupported[i].name) == 0) return true;
    for (size_t i = 0; i < N_ROWS(others); i++)
        if ((others[i].known & here) && strcmp(name, others[i].name) == 0) return true;
    return false;
}

/* --- one kind of field each --- */

static double read_number(const json_t *body, size_t row, double max, sl_request *request)
{
    const char *name = numbers[row].name;
    const double min = numbers[row].min;
    const json_t *field = sl_job_field(body, name);
    if (!field) return numbers[row].fallback;

    int64_t whole;
    if (!json_is_number(field) || (numbers[row].kind == WHOLE && !sl_job_integer(field, &whole))) {
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
    const json_t *field = sl_job_field(body, name);
    if (field && !json_is_boolean(field))
        sl_request_fail(request, 400, "invalid_type", name, "'%s' must be true or false", name);
    return json_is_true(field);
}

static uint64_t read_seed(const json_t *body, sl_request *request)
{
    const json_t *field = sl_job_field(body, "seed");
    if (!field) return XXH3_64bits(request->custom_id, strlen(request->custom_id));
    int64_t seed;
    if (sl_job_integer(field, &seed)) return (uint64_t)seed;
    /* Beyond 64 bits JSON integers reach us rounded to a double: any of its bits will do. */
    const double real = json_is_real(field) ? json_real_value(field) : NAN;
    if (real != floor(real))
        sl_request_fail(request, 400, "invalid_type", "seed", "'seed' must be a whole number");
    return XXH3_64bits(&real, sizeof real);
}

static sl_status read_stops(const json_t *body, sl_request *request)
{
    const json_t *field = sl_job_field(body, "stop");
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

static void read_bias(const sl_job_reader *reader, const json_t *body, sl_request *request)
{
    json_t *field = sl_job_field(body, "logit_bias");
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

static void refuse_unsupported(const json_t *body, sl_request *request)
{
    for (size_t i = 0; i < N_ROWS(unsupported); i++) {
        const char *name = unsupported[i].name;
        const json_t *field = sl_job_field(body, name);
        if (field && !unsupported[i].asks_nothing(field))
            sl_request_fail(request, 400, "unsupported_value", name, "'%s' is not supported: %s",
                            name, unsupported[i].why);
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

static int64_t max_tokens_wanted(const double *values, sl_request *request)
{
    const size_t row = values[MAX_COMPLETION_TOKENS] >= 0 ? MAX_COMPLETION_TOKENS : MAX_TOKENS;
    if (values[row] == 0 && !request->echo)
        sl_request_fail(request, 400, "invalid_value", numbers[row].name,
                        "'%s' must be at least 1 unless a completion's prompt is echoed",
                        numbers[row].name);
    return (int64_t)values[row];
}

sl_status sl_job_fields_read(const sl_job_reader *reader, json_t *body, sl_request *request,
                             int64_t *max_tokens_out)
{
    const unsigned here = request->chat ? CHAT : COMPLETION;
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        if (!is_known(key, here))
            sl_job_warn_unknown(reader, request->chat ? "chat completions" : "completions", key);
    }

    double values[N_NUMBERS];
    for (size_t i = 0; i < N_NUMBERS; i++) {
        const double max = i == N ? reader->choices_max : numbers[i].max;
        values[i] = numbers[i].known & here ? read_number(body, i, max, request)
                                            : numbers[i].fallback;
    }
    refuse_unsupported(body, request);
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
        .repetition_penalty = (float)values[REPETITION_PENALTY],
        .presence_penalty = (float)values[PRESENCE_PENALTY],
        .frequency_penalty = (float)values[FREQUENCY_PENALTY],
        .seed = read_seed(body, request),
        .n_logprobs = logprobs_wanted(body, values, request),
    };
    request->score_from = request->echo && request->sampling.n_logprobs >= 0 ? 0 : SIZE_MAX;
    *max_tokens_out = max_tokens_wanted(values, request);
    read_bias(reader, body, request);
    return read_stops(body, request);
}
