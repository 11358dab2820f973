/* tests/fuzz/fuzz_jsonl.c - the input is a job file and a result file at once: each of its lines is
 * read as a request, and its record written and read again; and read as a record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/openai/openai.h"
#include "launch/openai/request_line.h"
#include "runtime/base/line_reader.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

enum { CONTEXT = 100, CHOICES = 4, GENERATED = 3, LINE_BYTES_MAX = 2048 };

static tiny_model model;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    tiny_model_open(TINY_WITH_BOS, &model);
    return 0;
}

static void check_prompt(const sl_request *request)
{
    SL_ASSERT(request->n_prompt + request->max_tokens <= CONTEXT);
    SL_ASSERT(request->n_choices >= 1 && request->n_choices <= CHOICES);
    for (size_t i = 0; i < request->n_prompt; i++)
        SL_ASSERT(request->prompt[i] >= 0 &&
                  request->prompt[i] < sl_tokenizer_n_tokens(model.tokenizer));
}

static void fill_detail(const sl_request *request, size_t i, sl_token_detail *detail)
{
    detail->logprob = -(float)i;
    detail->n_top = request->sampling.n_logprobs > 0 ? (uint32_t)request->sampling.n_logprobs : 0;
    for (uint32_t j = 0; j < detail->n_top; j++)
        detail->top[j] = (sl_token_logprob){request->prompt[(i + j) % request->n_prompt], -1};
}

/* As if the model had answered with the prompt's tokens. */
static void answer(sl_request *request)
{
    SL_ASSERT(request->n_prompt > 0);
    for (size_t i = 0; request->prompt_details && i < request->n_prompt; i++)
        fill_detail(request, i, &request->prompt_details[i]);
    for (uint32_t c = 0; c < request->n_choices; c++) {
        sl_choice *choice = &request->choices[c];
        choice->finish = SL_FINISH_LENGTH;
        choice->n_tokens = request->max_tokens < GENERATED ? request->max_tokens : GENERATED;
        for (size_t i = 0; i < choice->n_tokens; i++) {
            choice->tokens[i] = request->prompt[(c + i) % request->n_prompt];
            if (choice->details) fill_detail(request, i, &choice->details[i]);
        }
    }
}

/* What is written is a record of this request, and is known again when the job is resumed. */
static void check_record(const sl_request *request)
{
    size_t bytes;
    sl_result_known known;
    char *line = sl_result_line(request, model.tokenizer, 1, &bytes);
    SL_ASSERT(line && bytes > 0 && memchr(line, '\n', bytes) == line + bytes - 1);
    SL_ASSERT(sl_result_read(line, bytes - 1, &known) == SL_OK);
    SL_ASSERT(strcmp(known.custom_id, request->custom_id) == 0);
    SL_ASSERT(known.failed == (request->error.http_status != 0));
    free(known.custom_id);
    free(line);
}

/* The job's scan knows the line by the id that its record bears; a text that the JSON has for an id
 * is that id. */
static void check_key(const sl_request *request, const char *line, size_t bytes, uint64_t number)
{
    sl_request_key key, again;
    SL_ASSERT(sl_request_line_key(line, bytes, number, &key) == SL_OK);
    SL_ASSERT(sl_request_line_key(line, bytes, number, &again) == SL_OK);
    SL_ASSERT(key.custom_id[0] && strcmp(key.custom_id, request->custom_id) == 0);
    SL_ASSERT(strcmp(key.custom_id, again.custom_id) == 0 && key.body_hash == again.body_hash);
    json_t *root = NULL;
    char why[SL_REQUEST_WHY_BYTES];
    SL_ASSERT(sl_request_line_parse(line, bytes, &root, why) != SL_ERR_MEMORY);
    const json_t *id = json_object_get(root, "custom_id");
    const size_t id_bytes = json_string_length(id);
    if (id_bytes > 0 && !memchr(json_string_value(id), '\0', id_bytes))
        SL_ASSERT(!key.made_up && strcmp(key.custom_id, json_string_value(id)) == 0);
    json_decref(root);
    free(key.custom_id);
    free(again.custom_id);
}

static void read_request(const sl_request_reader *reader, const char *line, size_t bytes,
                         uint64_t number)
{
    sl_request *request = NULL;
    SL_ASSERT(sl_request_read(reader, line, bytes, number, &request) == SL_OK);
    check_key(request, line, bytes, number);
    bool failed = request->error.http_status != 0;
    SL_ASSERT(failed == (request->choices == NULL));
    SL_ASSERT(failed == (request->error.message[0] != '\0'));
    if (!failed) {
        for (sl_request *r = request; r; r = r->also) {
            check_prompt(r);
            answer(r);
        }
    }
    check_record(request);
    sl_request_free(request);
}

static void read_record(const char *line, size_t bytes)
{
    sl_result_known known = {0};
    if (sl_result_read(line, bytes, &known) != SL_OK) return;
    SL_ASSERT(known.custom_id && known.custom_id[0]);
    free(known.custom_id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0; /* fmemopen wants a byte */
    sl_request_warnings warnings = {0};
    const sl_request_reader reader = {.tokenizer = model.tokenizer,
                                      .chat = model.chat,
                                      .context = CONTEXT,
                                      .choices_max = CHOICES,
                                      .warnings = &warnings};
    FILE *file = fmemopen((void *)data, size, "r");
    SL_ASSERT(file);
    sl_line_reader lines;
    sl_line_reader_init(&lines, file, LINE_BYTES_MAX);
    const char *line;
    size_t bytes;
    bool whole = true;
    while (sl_line_reader_next(&lines, &line, &bytes, &whole) == SL_OK) {
        SL_ASSERT(bytes <= LINE_BYTES_MAX && !memchr(line, '\n', bytes));
        /* Of its exact size, so that a sanitizer sees a byte read too far. */
        char *exact = malloc(bytes ? bytes : 1);
        SL_ASSERT(exact);
        memcpy(exact, line, bytes);
        read_request(&reader, exact, bytes, lines.number);
        read_record(exact, bytes);
        free(exact);
    }
    SL_ASSERT(lines.offset == size && whole == (data[size - 1] == '\n'));
    sl_line_reader_fini(&lines);
    fclose(file);
    return 0;
}
