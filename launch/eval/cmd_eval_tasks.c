/* launch/eval/cmd_eval_tasks.c - `sluice eval tasks`: multiple choice by the likelihood of the
 * answers. Every answer to every question is a request that generates nothing and scores its
 * answer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/eval/eval_commands.h"
#include "launch/eval/eval_questions.h"
#include "launch/eval/eval_requests.h"
#include "launch/json/json_object.h"
#include "launch/output/report.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"

enum { CONTEXT_DEFAULT = 1024 };

typedef struct {
    const char *path;
    sl_eval_records asked;
    double (*scores)[SL_EVAL_CHOICES_MAX]; /* [asked.n] as they are compared */
    size_t n_right, n_long;                /* answered right; beyond the context, and not asked */
} task_file;

typedef struct {
    const sl_settings *settings;
    sl_eval_asking asking;
    uint32_t context;
    task_file *tasks; /* [n_tasks] */
    uint32_t n_tasks;
    uint32_t task, answer; /* what is asked next */
    size_t record;
    uint64_t n_requests, n_done;
    sl_policy policy;
    sl_progress progress;
} evaluation;

/* ---- reading ---- */

/* Cuts paths at its commas; they are lent to e. */
static sl_status read_tasks(evaluation *e, char *paths)
{
    size_t n = 1;
    for (const char *at = paths; (at = strchr(at, ',')); at++) n++;
    e->tasks = calloc(n, sizeof *e->tasks);
    if (!e->tasks) return SL_ERR_MEMORY;
    for (const char *path; (path = strsep(&paths, ","));) {
        task_file *t = &e->tasks[e->n_tasks++];
        t->path = path;
        sl_status status = sl_eval_records_read(t->path, e->settings->limit, &t->asked);
        if (status != SL_OK) return status;
        t->scores = calloc(t->asked.n, sizeof *t->scores);
        if (!t->scores) return SL_ERR_MEMORY;
        if (e->asking.n_shots >= t->asked.n) {
            sl_error("--shots %u: %s has %zu questions to take them from", e->asking.n_shots,
                     t->path, t->asked.n - 1);
            return SL_ERR_OPTION;
        }
        for (size_t i = 0; i < t->asked.n; i++) e->n_requests += t->asked.records[i].n_answers;
    }
    return SL_OK;
}

static void free_tasks(evaluation *e)
{
    for (uint32_t i = 0; i < e->n_tasks; i++) {
        sl_eval_records_free(&e->tasks[i].asked);
        free(e->tasks[i].scores);
    }
    free(e->tasks);
}

/* ---- asking ---- */

/* What is asked next; what is scored begins with the answer. */
static sl_status make_request(const evaluation *e, sl_request *request)
{
    sl_tokens tokens = {0};
    size_t n_question;
    sl_status status = sl_eval_question_encode(&e->asking, &e->tasks[e->task].asked, e->record,
                                               e->answer, &tokens, &n_question);
    request->prompt = tokens.ids;
    request->n_prompt = tokens.n;
    request->n_choices = 1;
    request->score_from = n_question;
    request->n_policy_prompt = sl_policy_at_prompt_end(e->policy.kind) ? n_question : 0;
    request->sampling = (sl_sampling){.repetition_penalty = 1, .top_p = 1, .n_logprobs = 0};
    return status == SL_OK && tokens.n <= e->context ? sl_request_bind(request) : status;
}

/* Where a request's line says its answer goes. */
static uint64_t line_of(uint32_t task, size_t record, uint32_t answer)
{
    return ((uint64_t)task << 48) + ((uint64_t)record << 8) + answer;
}

static void go_on(evaluation *e)
{
    const sl_eval_records *asked = &e->tasks[e->task].asked;
    if (++e->answer < asked->records[e->record].n_answers) return;
    e->answer = 0;
    if (++e->record < asked->n) return;
    e->record = 0;
    e->task++;
}

static sl_status next(void *context, sl_request **request_out)
{
    evaluation *e = context;
    while (e->task < e->n_tasks) {
        task_file *t = &e->tasks[e->task];
        sl_request *request = calloc(1, sizeof *request);
        if (!request) return SL_ERR_MEMORY;
        request->line = line_of(e->task, e->record, e->answer);
        sl_status status = make_request(e, request);
        bool fits = status == SL_OK && request->n_prompt <= e->context;
        if (!fits) sl_request_free(request);
        if (status != SL_OK) return status;
        if (!fits) { /* none of its answers counts */
            t->scores[e->record][0] = NAN;
            e->n_requests--;
        }
        go_on(e);
        if (!fits) continue;
        *request_out = request;
        return SL_OK;
    }
    return SL_END;
}

static void take_score(evaluation *e, uint64_t line, double log_likelihood)
{
    task_file *t = &e->tasks[line >> 48];
    size_t record = line >> 8 & 0xffffffffff;
    uint32_t answer = line & 0xff;
    /* added, so that a question left out, not a number, stays so */
    t->scores[record][answer] += sl_eval_question_score(&e->asking, &t->asked.records[record],
                                                        answer, log_likelihood);
}

static sl_status done(void *context, sl_request *request)
{
    evaluation *e = context;
    double nll = 0;
    sl_status status = sl_eval_request_nll(request, &nll);
    take_score(e, request->line, -nll);
    e->n_done++;
    sl_request_free(request);
    return status;
}

static void on_progress(void *context, const sl_driver_progress *progress, int64_t elapsed_ns)
{
    evaluation *e = context;
    sl_eval_requests_progress(&e->progress, e->n_done, e->n_requests, progress, elapsed_ns);
}

/* ---- results ---- */

/* Of equal answers the first is taken. */
static void count_right(task_file *t)
{
    for (size_t i = 0; i < t->asked.n; i++) {
        const sl_eval_record *record = &t->asked.records[i];
        uint32_t best = 0;
        bool known = true;
        for (uint32_t a = 0; a < record->n_answers; a++) {
            known = known && !isnan(t->scores[i][a]);
            if (t->scores[i][a] > t->scores[i][best]) best = a;
        }
        t->n_long += !known;
        t->n_right += known && best == record->right;
    }
}

typedef struct {
    size_t n;
    double accuracy, error; /* standard, of a binomial */
} verdict;

static verdict judge(const task_file *t)
{
    size_t n = t->asked.n - t->n_long;
    double p = n > 0 ? (double)t->n_right / (double)n : NAN;
    return (verdict){.n = n, .accuracy = p, .error = sqrt(p * (1 - p) / (double)n)};
}

static const char *name_of(const task_file *t)
{
    const char *slash = strrchr(t->path, '/');
    return slash ? slash + 1 : t->path;
}

static json_t *task_json(const task_file *t, verdict v)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "file", name_of(t));
    sl_json_set_count(&object, "asked", v.n);
    sl_json_set_count(&object, "bad", t->asked.n_bad);
    sl_json_set_count(&object, "too_long", t->n_long);
    sl_json_set_item(&object, "accuracy", sl_report_real(v.accuracy));
    sl_json_set_item(&object, "error", sl_report_real(v.error));
    return sl_json_end(&object);
}

static json_t *result_json(const evaluation *e, double accuracy, double error, json_t *tasks,
                           double retention_mean, uint64_t prompt_tokens)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_item(&object, "accuracy", sl_report_real(accuracy));
    sl_json_set_item(&object, "error", sl_report_real(error));
    sl_json_set_item(&object, "tasks", tasks);
    sl_json_set_text(&object, "form", e->settings->form);
    sl_json_set_count(&object, "shots", e->settings->shots);
    sl_json_set_text(&object, "policy", sl_policy_name(e->policy.kind));
    sl_json_set_count(&object, "sinks", e->policy.sinks);
    sl_json_set_count(&object, "window", e->policy.window);
    sl_json_set_number(&object, "retention_mean", retention_mean);
    sl_json_set_count(&object, "prompt_tokens", prompt_tokens);
    return sl_json_end(&object);
}

static sl_status print_result(evaluation *e, const sl_engine *engine)
{
    sl_engine_report report;
    sl_engine_report_get(engine, &report);
    if (e->settings->verbose) sl_report_show(&report);
    json_t *retention, *tasks = json_array();
    double kept = sl_report_retention(&report, &retention), sum = 0, squares = 0;
    json_decref(retention);
    uint32_t n_asked = 0;
    for (uint32_t i = 0; i < e->n_tasks; i++) {
        task_file *t = &e->tasks[i];
        count_right(t);
        verdict v = judge(t);
        n_asked += v.n > 0; /* a file all of whose questions are too long has no part in the mean */
        sum += v.n > 0 ? v.accuracy : 0;
        squares += v.n > 0 ? v.error * v.error : 0;
        sl_plain_room name;
        if (!e->settings->json)
            printf("%-24s %5.1f%% +- %.1f of %zu\n", sl_plain_string(name_of(t), &name),
                   100 * v.accuracy, 100 * v.error, v.n);
        json_array_append_new(tasks, task_json(t, v));
    }
    double mean = sum / n_asked, error = sqrt(squares) / n_asked;
    if (e->settings->json)
        return sl_report_print(
            result_json(e, mean, error, tasks, kept, report.progress.prompt_tokens));
    json_decref(tasks);
    printf("%-24s %5.1f%% +- %.1f; policy %s, window %u, kept %.1f%%\n", "mean of files",
           100 * mean, 100 * error, sl_policy_name(e->policy.kind), e->policy.window, 100 * kept);
    return SL_OK;
}

/* ---- serving ---- */

/* Memory that making tokens of the longest question takes. */
static uint64_t encode_bytes(const evaluation *e, const sl_engine *engine)
{
    uint64_t longest = 0;
    for (uint32_t i = 0; i < e->n_tasks; i++)
        for (size_t k = 0; k < e->tasks[i].asked.n; k++) {
            const sl_eval_record *record = &e->tasks[i].asked.records[k];
            uint64_t bytes = strlen(record->instruction) + strlen(record->outputs[record->right]);
            if (bytes > longest) longest = bytes;
        }
    uint64_t given = (e->asking.n_shots + 1) * longest;
    bool is_chat = e->asking.form == SL_EVAL_LABELS && sl_engine_chat(engine);
    return is_chat ? sl_chat_encode_bytes(given) : SL_ENCODE_BYTES * given;
}

static uint64_t job_bytes(void *context, const sl_engine *engine)
{
    const evaluation *e = context;
    uint64_t requests = 2 * (uint64_t)sl_engine_sequences(engine) + 1, questions = 0;
    uint64_t each = sl_engine_context(engine) * (sizeof(int32_t) + sizeof(sl_token_detail));
    for (uint32_t i = 0; i < e->n_tasks; i++)
        for (size_t k = 0; k < e->tasks[i].asked.n; k++)
            questions += 4 * strlen(e->tasks[i].asked.records[k].instruction) + 1024;
    return requests * each + questions + encode_bytes(e, engine);
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    evaluation *e = context;
    e->policy = *sl_engine_policy(engine);
    e->asking.tokenizer = sl_engine_tokenizer(engine);
    e->asking.chat = sl_engine_chat(engine);
    e->context = sl_engine_context(engine);
    if (e->asking.form == SL_EVAL_LABELS && !e->asking.chat)
        sl_info("%s; questions are asked as plain text", sl_chat_missing_text());
    sl_progress_init(&e->progress);
    *port_out = (sl_port){.context = e, .next = next, .done = done};
    return SL_OK;
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    evaluation *e = context;
    sl_progress_end(&e->progress);
    return status == SL_OK ? print_result(e, engine) : status;
}

static int eval_tasks_command(sl_settings *settings)
{
    if (!settings->tasks) {
        sl_error("eval tasks needs --tasks FILE,...");
        return SL_EXIT_USAGE;
    }
    if (settings->context == 0) settings->context = CONTEXT_DEFAULT;
    evaluation e = {.settings = settings, .asking.n_shots = settings->shots};
    if (sl_eval_form_find(settings->form, &e.asking.form) != SL_OK) return SL_EXIT_USAGE;
    sl_service service = {.context = &e,
                          .job_bytes = job_bytes,
                          .begin = begin,
                          .end = end,
                          .watch = {.context = &e, .progress = on_progress}};
    char *paths = strdup(settings->tasks);
    sl_status status = paths ? read_tasks(&e, paths) : SL_ERR_MEMORY;
    int code = status == SL_OK ? sl_engine_serve(settings, &service) : sl_exit_code(status);
    free_tasks(&e);
    free(paths);
    return code;
}

static const sl_option QUESTIONS[] = {
    {"tasks", 0, "FILE,...", NULL, "questions with several answers", SL_SETS_LIST_READ(tasks)},
    {"limit", 0, "N", "0", "records of each file, evenly spaced; 0: all",
     SL_SETS_COUNT(limit, 0, 1e9)},
    {"form", 0, "NAME", "cloze", "how they are asked: " SL_EVAL_FORM_NAMES, SL_SETS_TEXT(form)},
    {"shots", 0, "N", "0", "other questions of the file, with their answers, before each",
     SL_SETS_COUNT(shots, 0, 256)},
    {0},
};

const sl_command sl_cmd_eval_tasks = {
    .name = "eval tasks",
    .summary = "measure a model: multiple choice by likelihood",
    .usage = "-m MODEL --tasks FILE,...",
    .about =
        "Questions with several answers: the one that the model finds likeliest is taken for "
        "its answer. Files are JSON arrays of {\"instruction\": \"... question: Q Answer1: A "
        "Answer2: B Answer format: answer1/answer2\", \"output\": \"the correct answer is "
        "answer1\", \"answer\": \"answer1\"}. Form cloze asks Q alone and compares the texts A "
        "and B, per byte; form labels asks all of it, through the model's chat template, and "
        "compares outputs. With --shots prompts become long enough that policies differ at a "
        "window of 128. Questions longer than --context (1024) are counted and left out.",
    .examples = "  sluice eval tasks -m model.gguf --tasks arc_easy.json,piqa.json --limit 500\n"
                "  sluice eval tasks -m model.gguf -g gate.gguf --keep 0.25 --shots 8 --tasks "
                "arc_easy.json",
    .groups = {sl_options_model, sl_options_chat_template, QUESTIONS, sl_options_context,
               sl_options_threads, sl_options_chunk, sl_options_sequences, SL_OPTIONS_SERVING,
               sl_options_talk},
    .run = eval_tasks_command,
};
