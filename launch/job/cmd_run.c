/* launch/job/cmd_run.c - `sluice run`: one prompt, its continuation on stdout as it is
 * generated. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launch/job/job_commands.h"
#include "launch/json/json_object.h"
#include "launch/machine/process.h"
#include "launch/output/report.h"
#include "launch/pipeline/engine.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/base/read_file.h"

typedef struct {
    const sl_settings *settings;
    sl_request *request; /* given to the driver once, then back here */
    const sl_engine *engine;
    const sl_tokenizer *tokenizer;
    bool given, stream;
    sl_status flushed; /* of the tokens on stdout */
    size_t n_shown;    /* there */
    sl_decode_state decode;
    char *text; /* room for one decoded token */
} run;

static sl_status next(void *context, sl_request **request_out)
{
    run *r = context;
    if (r->given) return SL_END;
    *request_out = r->request;
    r->request = NULL;
    r->given = true;
    return SL_OK;
}

static sl_status done(void *context, sl_request *request)
{
    ((run *)context)->request = request;
    return SL_OK;
}

static void show(run *r, const sl_choice *choice)
{
    if (r->flushed != SL_OK) return;
    for (; r->n_shown < choice->n_tokens; r->n_shown++) {
        int32_t token = choice->tokens[r->n_shown];
        sl_report_text(r->text, sl_tokenizer_decode(r->tokenizer, &r->decode, token, r->text));
    }
    r->flushed = sl_process_flush_stdout();
}

/* Nothing before it is known that all ranks have the same model. */
static void on_token(void *context, const sl_request *request, uint32_t choice, int32_t token)
{
    (void)token;
    run *r = context;
    if (r->stream && sl_engine_model_verdict(r->engine) == SL_OK)
        show(r, &request->choices[choice]);
}

static sl_status encode_prompt(const sl_settings *s, const sl_engine *engine, sl_request *request)
{
    const sl_tokenizer *tokenizer = sl_engine_tokenizer(engine);
    char *text = NULL;
    size_t bytes;
    sl_status status = SL_OK;
    if (s->prompt) {
        text = strdup(s->prompt);
        bytes = strlen(s->prompt);
        if (!text) return SL_ERR_MEMORY;
    } else {
        status = sl_read_file(s->file, &text, &bytes);
        if (status != SL_OK) return status;
    }
    sl_tokens tokens = {0};
    if (bytes > sl_engine_text_bytes_max(engine)) {
        sl_error("the prompt's %zu bytes cannot fit in the context of %u tokens", bytes,
                 sl_engine_context(engine));
        status = SL_ERR_REQUEST;
    } else if (!s->chat) {
        status = sl_tokenizer_encode_whole(tokenizer, text, bytes, SL_SPECIAL_PARSED, &tokens);
    } else if (sl_engine_chat(engine)) {
        sl_chat_message message = {{"user", 4}, {text, bytes}};
        sl_jinja_error error;
        status = sl_chat_encode(sl_engine_chat(engine), &message, 1, &tokens, &error);
        if (status == SL_ERR_REQUEST) sl_error("%s", error.text);
    } else {
        sl_error("%s", sl_chat_missing_text());
        status = SL_ERR_UNSUPPORTED;
    }
    free(text);
    request->prompt = tokens.ids;
    request->n_prompt = tokens.n;
    return status;
}

static sl_status make_request(const sl_settings *s, const sl_engine *engine,
                              sl_request **request_out)
{
    sl_request *request = calloc(1, sizeof *request);
    if (!request) return SL_ERR_MEMORY;
    *request_out = request;
    request->score_from = SIZE_MAX;
    request->n_choices = 1;
    request->sampling = (sl_sampling){
        .temperature = (float)s->temperature,
        .top_k = (int32_t)s->top_k,
        .top_p = (float)s->top_p,
        .min_p = (float)s->min_p,
        .repetition_penalty = 1,
        .seed = s->seed,
        .n_logprobs = -1,
    };
    sl_status status = encode_prompt(s, engine, request);
    if (status != SL_OK) return status;
    uint32_t context = sl_engine_context(engine);
    if (request->n_prompt == 0 || request->n_prompt >= context) {
        sl_error("the prompt is %zu tokens, expected 1 to %u (the context less one)",
                 request->n_prompt, context - 1);
        return SL_ERR_REQUEST;
    }
    uint32_t room = context - (uint32_t)request->n_prompt;
    request->max_tokens = sl_min_u32(s->n_tokens, room);
    return sl_request_bind(request);
}

static sl_status print_json(const sl_request *request, const sl_tokenizer *tokenizer,
                            const sl_engine_report *report)
{
    const sl_choice *choice = &request->choices[0];
    size_t bytes;
    char *text = sl_request_choice_text(request, choice, tokenizer, &bytes);
    json_t *ids = json_array();
    for (size_t i = 0; i < choice->n_tokens; i++)
        json_array_append_new(ids, json_integer(choice->tokens[i]));
    sl_json_object object = sl_json_begin();
    sl_json_set_bytes(&object, "text", text ? text : "", text ? bytes : 0);
    sl_json_set_item(&object, "tokens", ids);
    sl_json_set_text(&object, "finish_reason",
                     choice->finish == SL_FINISH_STOP ? "stop" : "length");
    sl_json_set_count(&object, "prompt_tokens", request->n_prompt);
    sl_json_set_item(&object, "report", sl_report_json(report));
    free(text);
    return sl_report_print(sl_json_end(&object));
}

static sl_status report_result(run *r, const sl_engine *engine)
{
    if (r->request->error.http_status != 0) {
        sl_error("%s", r->request->error.message);
        return SL_ERR_REQUEST;
    }
    sl_engine_report report;
    sl_engine_report_get(engine, &report);
    if (r->settings->verbose) sl_report_show(&report);
    if (r->settings->json) return print_json(r->request, r->tokenizer, &report);
    show(r, &r->request->choices[0]);
    if (r->flushed != SL_OK) return r->flushed;
    sl_report_text(r->text, sl_tokenizer_decode_end(&r->decode, r->text));
    putchar('\n');
    return sl_process_flush_stdout();
}

static void clean_up(run *r)
{
    sl_request_free(r->request);
    free(r->text);
}

/* The prompt's text, whose room doubles as it is read, what a template makes of it, and its tokens;
 * a longer one is refused. */
static uint64_t job_bytes(void *context, const sl_engine *engine)
{
    const run *r = context;
    struct stat file;
    uint64_t most = sl_engine_text_bytes_max(engine), text = most; /* of a pipe nobody knows */
    if (r->settings->prompt)
        text = strlen(r->settings->prompt);
    else if (stat(r->settings->file, &file) == 0 && S_ISREG(file.st_mode))
        text = (uint64_t)file.st_size;
    uint64_t given = sl_min_u64(text, most);
    return 2 * text + (r->settings->chat ? sl_chat_encode_bytes(given) : SL_ENCODE_BYTES * given);
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    run *r = context;
    r->engine = engine;
    r->tokenizer = sl_engine_tokenizer(engine);
    r->text = malloc(sl_tokenizer_decode_bytes_max(r->tokenizer));
    sl_status status = r->text ? make_request(r->settings, engine, &r->request) : SL_ERR_MEMORY;
    if (status != SL_OK) clean_up(r);
    *port_out = (sl_port){.context = r, .next = next, .done = done};
    return status;
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    run *r = context;
    if (status == SL_OK) status = report_result(r, engine);
    clean_up(r);
    return status;
}

static int run_command(sl_settings *settings)
{
    settings->sequences = 1;
    if ((settings->prompt != NULL) == (settings->file != NULL)) {
        sl_error("run needs one prompt: -p TEXT or -f FILE");
        return SL_EXIT_USAGE;
    }

    run r = {.settings = settings, .stream = !settings->json};
    sl_service service = {.context = &r,
                          .job_bytes = job_bytes,
                          .begin = begin,
                          .end = end,
                          .watch = {.context = &r, .token = on_token}};
    return sl_engine_serve(settings, &service);
}

static const sl_option SAMPLING[] = {
    {"n-tokens", 'n', "N", "128", "tokens to generate at most", SL_SETS_COUNT(n_tokens, 1, 1e9)},
    {"chat", 0, NULL, NULL,
     "apply the model's chat template; what the model thinks is printed, too", SL_SETS_FLAG(chat)},
    {"temperature", 0, "X", "0", "0 takes the most likely token",
     SL_SETS_REAL(temperature, 0, 100)},
    {"top-p", 0, "X", "1", "draw from the likeliest tokens that reach X",
     SL_SETS_REAL(top_p, 0, 1)},
    {"top-k", 0, "N", "0", "draw from the N likeliest; 0 is off", SL_SETS_COUNT(top_k, 0, 1e9)},
    {"min-p", 0, "X", "0", "drop tokens below X times the likeliest", SL_SETS_REAL(min_p, 0, 1)},
    {0},
};

const sl_command sl_cmd_run = {
    .name = "run",
    .summary = "complete one prompt, text on stdout",
    .usage = "-m MODEL (-p TEXT | -f FILE)",
    .about = "Complete one prompt; only the continuation goes to stdout.",
    .examples = "  sluice run -m model.gguf -p 'Once upon a time' -n 64\n"
                "  sluice run -m model.gguf --chat -f question.txt --temperature 0.7\n"
                "  mpirun -n 3 sluice run -m model.gguf -f long.txt -n 100 -v",
    .groups = {sl_options_model, sl_options_chat_template, sl_options_prompt, SAMPLING,
               sl_options_seed, sl_options_context, sl_options_threads, sl_options_chunk,
               SL_OPTIONS_SERVING, sl_options_talk},
    .run = run_command,
};
