/* launch/cmd_run.c - `sluice run`: one prompt, its continuation on stdout as it is generated. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/commands.h"
#include "launch/engine.h"
#include "launch/read_file.h"
#include "launch/report.h"
#include "runtime/base/log.h"

static const char USAGE[] = "-m MODEL (-p TEXT | -f FILE)";
static const char ABOUT[] = "Complete one prompt; only the continuation goes to stdout.\v"
                            "  sluice run -m model.gguf -p 'Once upon a time' -n 64\n"
                            "  sluice run -m model.gguf --chat -f question.txt --temperature 0.7\n"
                            "  mpirun -n 3 sluice run -m model.gguf -f long.txt -n 100 -v";

typedef struct {
    sl_request *request; /* given to the driver once, then back here */
    const sl_tokenizer *tokenizer;
    bool given, stream;
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

static void on_token(void *context, const sl_request *request, uint32_t choice, int32_t token)
{
    (void)request, (void)choice;
    run *r = context;
    if (!r->stream) return;
    fwrite(r->text, 1, sl_tokenizer_decode(r->tokenizer, &r->decode, token, r->text), stdout);
    fflush(stdout);
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
    if (!s->chat) {
        status = sl_tokenizer_encode_prompt(tokenizer, text, bytes, &tokens);
    } else if (sl_engine_chat(engine)) {
        sl_chat_message message = {{"user", 4}, {text, bytes}};
        status = sl_chat_encode(sl_engine_chat(engine), &message, 1, &tokens);
    } else {
        sl_error("%s", sl_chat_unknown_text());
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
    request->max_tokens = s->n_tokens < room ? s->n_tokens : room;
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
    json_t *value = json_pack("{s:s%, s:o, s:s, s:i, s:o}", "text", text ? text : "",
                              text ? bytes : 0, "tokens", ids, "finish_reason",
                              choice->finish == SL_FINISH_STOP ? "stop" : "length", "prompt_tokens",
                              (int)request->n_prompt, "report", sl_report_json(report));
    free(text);
    return sl_report_print(value);
}

static sl_status finish(const sl_settings *s, const sl_engine *engine, run *r)
{
    const sl_request *request = r->request;
    if (!request) return SL_ERR_JOB;
    if (request->error.http_status != 0) {
        sl_error("%s", request->error.message);
        return SL_ERR_REQUEST;
    }
    sl_engine_report report;
    sl_engine_report_get(engine, &report);
    if (s->verbose) sl_report_tell(&report);
    if (s->json) return print_json(request, r->tokenizer, &report);
    fwrite(r->text, 1, sl_tokenizer_decode_end(&r->decode, r->text), stdout);
    putchar('\n');
    if (fflush(stdout) == 0) return SL_OK;
    sl_error("cannot write to stdout: %s", strerror(errno));
    return SL_ERR_FILE;
}

int sl_cmd_run(int argc, char **argv)
{
    sl_settings settings;
    sl_status status = sl_settings_parse(SL_COMMAND_RUN, USAGE, ABOUT, argc, argv, &settings);
    if (status != SL_OK) return sl_exit_code(status);
    settings.sequences = 1;
    if ((settings.prompt != NULL) == (settings.file != NULL)) {
        sl_error("run needs one prompt: -p TEXT or -f FILE");
        return SL_EXIT_USAGE;
    }

    sl_engine *engine = NULL;
    run r = {.stream = !settings.json};
    status = sl_engine_open(&settings, &engine);
    bool first = status == SL_OK && sl_engine_rank(engine) == 0;
    if (status == SL_OK) {
        if (first) {
            r.tokenizer = sl_engine_tokenizer(engine);
            r.text = malloc(sl_tokenizer_decode_bytes_max(r.tokenizer));
            status = r.text ? make_request(&settings, engine, &r.request) : SL_ERR_MEMORY;
        }
        status = sl_engine_agree(engine, status);
    }
    if (status == SL_OK) {
        sl_port port = {.context = &r, .next = next, .done = done};
        sl_on_token token = {on_token, &r};
        status = sl_engine_run(engine, first ? &port : NULL, first ? &token : NULL);
    }
    if (status == SL_OK && first) status = finish(&settings, engine, &r);
    sl_request_free(r.request);
    free(r.text);
    return sl_engine_end(engine, status);
}
