/* launch/eval/cmd_eval_ruler.c - `sluice eval ruler`: long-context tasks under the full cache
 * and then, where that solves half of them, under every policy. Each policy at each rate is a
 * run: an engine of its own over the same ranks, which is asked the same prompts. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launch/eval/eval_commands.h"
#include "launch/eval/eval_prompts.h"
#include "launch/eval/eval_requests.h"
#include "launch/eval/eval_ruler_report.h"
#include "launch/eval/eval_ruler_scores.h"
#include "launch/eval/eval_ruler_tasks.h"
#include "launch/json/json_object.h"
#include "launch/output/report.h"
#include "runtime/base/append.h"
#include "runtime/base/log.h"
#include "runtime/gate/policy.h"

enum { RUNS_MAX = 1 + 8 * SL_COUNTS_MAX };

typedef struct {
    const sl_settings *settings; /* as given */
    sl_settings *runs;           /* [scores.n_runs], the full cache's first */
    sl_ruler_scores scores;
    uint32_t n_begun; /* runs */

    /* On rank 0, of the run under way. */
    const sl_tokenizer *tokenizer;
    sl_policy policy;
    sl_tokens filler;         /* of all runs */
    sl_ruler_prompt *prompts; /* [cells][trials]: those under way */
    uint64_t next, n_done, n_asked;
    sl_progress progress;
} evaluation;

static sl_ruler_run *run_of(const evaluation *e) { return &e->scores.runs[e->n_begun - 1]; }

static uint64_t n_all(const evaluation *e)
{
    return (uint64_t)sl_ruler_cells(&e->scores) * e->scores.n_trials;
}

/* ---- requests ---- */

/* Prompts and questions become the request's. */
static sl_request *request_of(const evaluation *e, sl_ruler_prompt *prompt)
{
    sl_request *request = calloc(1, sizeof *request);
    if (!request) return NULL;
    bool is_scored = prompt->n_answer == 0;
    bool parts = e->policy.whole_prompts || sl_policy_at_prompt_end(e->policy.kind);
    request->line = e->next; /* what policies draw with, so it is the same in every run */
    request->prompt = prompt->prompt.ids;
    request->n_prompt = prompt->prompt.n;
    request->tails = prompt->tails;
    prompt->prompt = (sl_tokens){0};
    prompt->tails = NULL;
    request->n_choices = prompt->n_tails > 0 ? prompt->n_tails : 1;
    request->max_tokens = prompt->n_answer;
    request->score_from = prompt->score_from;
    request->n_policy_prompt = is_scored && parts ? prompt->score_from : 0;
    request->sampling = (sl_sampling){
        .repetition_penalty = 1, .top_p = 1, .n_logprobs = is_scored ? 0 : -1};
    return request;
}

/* A prompt's place and how deep it lies, in eighths. */
static void note_place(const sl_ruler_prompt *prompt, const sl_ruler_trial *trial,
                       sl_ruler_result *result)
{
    bool nowhere = prompt->at == SIZE_MAX;
    result->phase = nowhere
                        ? SL_RULER_ALL
                        : sl_ruler_bucket((double)(prompt->at % SL_RULER_PHASE), SL_RULER_PHASE);
    result->depth = nowhere ? SL_RULER_ALL : sl_ruler_bucket(trial->depth, 1);
}

static sl_status make_request(evaluation *e, uint32_t cell, uint32_t t, sl_request **request_out)
{
    const sl_ruler_scores *s = &e->scores;
    const sl_ruler_task *task = sl_ruler_cell_task(s, cell);
    sl_ruler_trial trial = sl_ruler_trial_of(task, sl_ruler_cell_length(s, cell), e->settings->seed,
                                             t, s->n_trials);
    sl_ruler_source source = {.tokenizer = e->tokenizer, .filler = &e->filler};
    sl_ruler_prompt *prompt = &e->prompts[e->next];
    sl_status status = sl_ruler_prompt_make(task, &source, &trial, prompt);
    if (status != SL_OK) return status;
    note_place(prompt, &trial, &run_of(e)->cells[cell].trials[t]);
    sl_request *request = request_of(e, prompt);
    if (!request) return SL_ERR_MEMORY;
    status = sl_request_bind(request);
    if (status != SL_OK) {
        sl_request_free(request);
        return status;
    }
    *request_out = request;
    return SL_OK;
}

static sl_status next(void *context, sl_request **request_out)
{
    evaluation *e = context;
    uint32_t n = e->scores.n_trials;
    while (e->next < n_all(e) && !run_of(e)->cells[e->next / n].was_run) e->next += n;
    if (e->next == n_all(e)) return SL_END;
    sl_status status = make_request(e, (uint32_t)(e->next / n), (uint32_t)(e->next % n),
                                    request_out);
    if (status == SL_OK) e->next++;
    return status;
}

/* ---- answers ---- */

static sl_status score_answers(const evaluation *e, const sl_request *request, double *score_out)
{
    const sl_ruler_prompt *prompt = &e->prompts[request->line];
    char *said[SL_RULER_ASKED_MAX] = {0};
    sl_status status = SL_OK;
    for (uint32_t i = 0; status == SL_OK && i < request->n_choices; i++) {
        size_t bytes;
        said[i] = sl_request_choice_text(request, &request->choices[i], e->tokenizer, &bytes);
        if (!said[i]) status = SL_ERR_MEMORY;
        if (said[i])
            sl_debug("%s: '%s' for '%s'",
                     sl_ruler_cell_task(&e->scores, (uint32_t)(request->line / e->scores.n_trials))
                         ->name,
                     said[i], prompt->expected[i]);
    }
    if (status == SL_OK) *score_out = sl_ruler_score(prompt, (const char *const *)said);
    for (uint32_t i = 0; i < SL_RULER_ASKED_MAX; i++) free(said[i]);
    return status;
}

static sl_status score(const evaluation *e, const sl_request *request, double *score_out)
{
    sl_status status = sl_eval_request_check(request);
    if (status != SL_OK) return status;
    if (request->max_tokens > 0) return score_answers(e, request, score_out);
    status = sl_eval_request_nll(request, score_out);
    *score_out /= (double)(request->n_prompt - request->score_from);
    return status;
}

static sl_status done(void *context, sl_request *request)
{
    evaluation *e = context;
    uint32_t n = e->scores.n_trials;
    sl_ruler_cell *cell = &run_of(e)->cells[request->line / n];
    sl_status status = score(e, request, &cell->trials[request->line % n].score);
    uint64_t most = 0;
    for (uint32_t i = 0; i < request->n_choices; i++) {
        const sl_choice *choice = &request->choices[i];
        cell->seen += choice->seen;
        cell->kept += choice->kept;
        if (choice->cache_bytes > most) most = choice->cache_bytes;
    }
    cell->cache_bytes += most;
    e->n_done++;
    sl_ruler_prompt_fini(&e->prompts[request->line]);
    sl_request_free(request);
    return status;
}

static void on_progress(void *context, const sl_driver_progress *progress, int64_t elapsed_ns)
{
    evaluation *e = context;
    sl_eval_requests_progress(&e->progress, e->n_done, e->n_asked, progress, elapsed_ns);
}

/* ---- a run ---- */

static uint64_t job_bytes(void *context, const sl_engine *engine)
{
    enum { LIST_ITEM_BYTES = 16 };
    const evaluation *e = context;
    uint64_t at_once = 2 * (uint64_t)sl_engine_sequences(engine) + 1;
    uint64_t tokens = sl_engine_context(engine);
    uint64_t each = tokens * (sizeof(int32_t) + sizeof(sl_token_detail)) +
                    (uint64_t)SL_RULER_EXPECTED_MAX * SL_RULER_EXPECTED_BYTES;
    struct stat file; /* a token is a byte at least */
    bool has_text = e->settings->text && stat(e->settings->text, &file) == 0;
    uint64_t text = has_text ? (uint64_t)file.st_size : tokens;
    uint64_t encoding = (text + LIST_ITEM_BYTES * tokens) * (2 + SL_ENCODE_BYTES);
    return at_once * each + encoding + n_all(e) * sizeof *e->prompts +
           sl_ruler_scores_bytes(&e->scores);
}

static sl_status make_filler(evaluation *e)
{
    const sl_settings *s = e->settings;
    if (s->text) return sl_filler_read(s->text, e->tokenizer, &e->filler);
    size_t n = sl_ruler_filler_tokens(sl_counts_most(&s->lengths));
    return sl_ruler_noise(e->tokenizer, n, &e->filler);
}

static sl_status make_room(evaluation *e)
{
    e->prompts = calloc(n_all(e), sizeof *e->prompts);
    return e->prompts ? make_filler(e) : SL_ERR_MEMORY;
}

/* Say which of the tasks this run asks; the first asks all. */
static void choose_cells(evaluation *e)
{
    uint32_t n = 0, all = sl_ruler_cells(&e->scores);
    const sl_ruler_run *run = run_of(e);
    for (uint32_t cell = 0; cell < all; cell++) {
        run->cells[cell].was_run = e->n_begun == 1 || sl_ruler_cell_runs(&e->scores, cell);
        n += run->cells[cell].was_run;
    }
    e->next = e->n_done = 0;
    e->n_asked = (uint64_t)n * e->scores.n_trials;
    if (run->keep > 0)
        sl_info("policy %s, --keep %g: %u of %u tasks and lengths", run->policy, run->keep, n, all);
    else
        sl_info("policy %s: %u of %u tasks and lengths", run->policy, n, all);
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    evaluation *e = context;
    e->n_begun++;
    e->policy = *sl_engine_policy(engine);
    e->tokenizer = sl_engine_tokenizer(engine);
    sl_status status = e->prompts ? SL_OK : make_room(e);
    if (status != SL_OK) return status;
    choose_cells(e);
    sl_progress_init(&e->progress);
    *port_out = (sl_port){.context = e, .next = next, .done = done};
    return SL_OK;
}

static sl_status print_result(const evaluation *e)
{
    if (!e->settings->json) {
        sl_ruler_report_print(&e->scores);
        return SL_OK;
    }
    sl_json_object object = sl_json_begin();
    sl_json_set_text_or_null(&object, "text", e->settings->text);
    sl_json_set_count(&object, "seed", e->settings->seed);
    sl_json_set_count(&object, "trials", e->scores.n_trials);
    sl_json_set_count(&object, "sinks", e->policy.sinks);
    sl_json_set_count(&object, "window", e->policy.window);
    sl_ruler_report_json(&e->scores, &object);
    return sl_report_print(sl_json_end(&object));
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    evaluation *e = context;
    sl_progress_end(&e->progress);
    if (status != SL_OK) return status;
    if (e->settings->verbose) {
        sl_engine_report report;
        sl_engine_report_get(engine, &report);
        sl_report_show(&report);
    }
    return e->n_begun == e->scores.n_runs ? print_result(e) : SL_OK;
}

/* ---- what is asked for ---- */

/* Call take(e, word, bytes) for each word of a list with commas between, as long as it says
 * SL_OK. */
static sl_status each_word(evaluation *e, const char *list,
                           sl_status (*take)(evaluation *e, const char *word, size_t bytes))
{
    sl_status status = SL_OK;
    for (const char *at = list; status == SL_OK && *at;) {
        size_t bytes = strcspn(at, ", ");
        if (bytes > 0) status = take(e, at, bytes);
        at += bytes + (at[bytes] != '\0');
    }
    return status;
}

/* Refuse a word with all that could have been said. */
static sl_status refuse_task(const char *word, size_t bytes)
{
    char names[1024];
    size_t used = 0;
    for (size_t i = 0; i < SL_RULER_TASKS; i++)
        sl_append(names, sizeof names, &used, "%s%s (%s)", i > 0 ? ", " : "",
                  sl_ruler_tasks[i].name, sl_ruler_tasks[i].asks);
    sl_error("--tasks: '%.*s' is none of these: %s", (int)bytes, word, names);
    return SL_ERR_OPTION;
}

static sl_status take_task(evaluation *e, const char *word, size_t bytes)
{
    const sl_ruler_task *task = sl_ruler_task_named(word, bytes);
    if (!task) return refuse_task(word, bytes);
    if (task->needs_text && !e->settings->text) {
        sl_error("the task %s needs --text FILE", task->name);
        return SL_ERR_OPTION;
    }
    for (uint32_t i = 0; i < e->scores.n_tasks; i++)
        if (e->scores.tasks[i] == task) return SL_OK;
    e->scores.tasks[e->scores.n_tasks++] = task;
    return SL_OK;
}

/* Those named, or all that can be done. */
static sl_status take_tasks(evaluation *e)
{
    if (e->settings->tasks) return each_word(e, e->settings->tasks, take_task);
    for (uint32_t i = 0; i < SL_RULER_TASKS; i++)
        if (e->settings->text || !sl_ruler_tasks[i].needs_text)
            e->scores.tasks[e->scores.n_tasks++] = &sl_ruler_tasks[i];
    return SL_OK;
}

static void add_run(evaluation *e, sl_policy_kind kind, double keep)
{
    sl_settings *run = &e->runs[e->scores.n_runs++];
    *run = *e->settings;
    run->policy = sl_policy_name(kind);
    run->keep = keep;
    run->same_visible = true;
    run->context = sl_counts_most(&run->lengths);
}

/* At each rate, if it has one. The full cache is there already, and nothing twice. */
static sl_status take_policy(evaluation *e, const char *word, size_t bytes)
{
    const sl_rates *rates = &e->settings->rates;
    char *name = strndup(word, bytes);
    sl_policy_kind kind;
    sl_status status = name ? sl_policy_named(name, &kind) : SL_ERR_MEMORY;
    free(name);
    if (status != SL_OK) return status;
    if (kind == SL_POLICY_GATE && !e->settings->gate) {
        sl_error("--policies gate needs a gate file: give one with -g FILE.gguf");
        return SL_ERR_OPTION;
    }
    for (uint32_t i = 0; i < e->scores.n_runs; i++)
        if (strcmp(e->runs[i].policy, sl_policy_name(kind)) == 0) return SL_OK;
    if (!sl_policy_has_rate(kind)) add_run(e, kind, 0);
    for (uint32_t i = 0; i < rates->n && sl_policy_has_rate(kind); i++)
        add_run(e, kind, rates->items[i]);
    return SL_OK;
}

static sl_status take_policies(evaluation *e)
{
    const char *named = e->settings->policies;
    const char *all = e->settings->gate ? "gate, random, streaming, keynorm, keydiff, snapkv, h2o"
                                        : "random, streaming, keynorm, keydiff, snapkv, h2o";
    e->runs = calloc(RUNS_MAX, sizeof *e->runs);
    if (!e->runs) return SL_ERR_MEMORY;
    add_run(e, SL_POLICY_FULL, 0);
    return each_word(e, named ? named : all, take_policy);
}

static sl_status take_settings(evaluation *e)
{
    const sl_settings *s = e->settings;
    e->scores.n_trials = s->limit;
    e->scores.n_lengths = s->lengths.n;
    e->scores.lengths = s->lengths.items;
    sl_status status = take_tasks(e);
    if (status == SL_OK) status = take_policies(e);
    if (status == SL_OK && e->scores.n_tasks == 0) {
        sl_error("--tasks names none of " SL_RULER_TASK_NAMES);
        status = SL_ERR_OPTION;
    }
    if (status == SL_OK) status = sl_ruler_scores_init(&e->scores);
    for (uint32_t i = 0; status == SL_OK && i < e->scores.n_runs; i++) {
        e->scores.runs[i].policy = e->runs[i].policy;
        e->scores.runs[i].keep = e->runs[i].keep;
    }
    return status;
}

static void clean_up(evaluation *e)
{
    for (uint64_t i = 0; e->prompts && i < n_all(e); i++) sl_ruler_prompt_fini(&e->prompts[i]);
    free(e->prompts);
    free(e->runs);
    sl_tokens_free(&e->filler);
    sl_ruler_scores_fini(&e->scores);
}

static int eval_ruler_command(sl_settings *settings)
{
    evaluation e = {.settings = settings};
    sl_service service = {.context = &e,
                          .job_bytes = job_bytes,
                          .begin = begin,
                          .end = end,
                          .watch = {.context = &e, .progress = on_progress}};
    sl_status status = take_settings(&e);
    int code = status == SL_OK ? sl_engine_serve_each(e.runs, e.scores.n_runs, &service)
                               : sl_exit_code(status);
    clean_up(&e);
    return code;
}

static const sl_option RULER[] = {
    {"tasks", 0, "NAME,...", NULL, SL_RULER_TASK_NAMES " [all; copy, likelihood with --text]",
     SL_SETS_TEXT(tasks)},
    {"lengths", 0, "N,...", "1024,2048,4096,8192", "of prompts with their answers, in tokens",
     SL_SETS_COUNTS(lengths, 256, 1 << 20)},
    {"trials", 0, "N", "200", "of each task and length", SL_SETS_COUNT(limit, 1, 1e6)},
    {"text", 0, "FILE", NULL, "the text to hide things in [sentences that repeat]",
     SL_SETS_READ(text)},
    {"gate", 'g', "FILE", NULL, "Attention-Gates, for the policy gate", SL_SETS_READ(gate)},
    {"policies", 0, "NAME,...", NULL, "beside full: " SL_POLICY_NAMES " [all]",
     SL_SETS_TEXT(policies)},
    {"keep", 0, "RATE,...", "0.5,0.25,0.125,0.0625", "kept of tokens outside sinks and window",
     SL_SETS_REALS(rates, 1e-6, 1)},
    {0},
};

const sl_command sl_cmd_eval_ruler = {
    .name = "eval ruler",
    .summary = "measure policies: long-context tasks, against the full cache",
    .usage = "-m MODEL [-g GATE] [--text FILE]",
    .about =
        "RULER's tasks and a few more, completed under the full cache first and, where that "
        "solves half, under each policy at each --keep, with the same sinks and window. Told are "
        "the share of the full cache's score, with its standard error over --trials prompts, "
        "what was kept, and the worst of 8 phases: where a thing stands is swept over 256 "
        "positions, and over the text. likelihood (nats of a text's later half) counts in no "
        "mean.",
    .examples =
        "  sluice eval ruler -m model.gguf -g gate.gguf --text book.txt --lengths 1024,2048\n"
        "  sluice eval ruler -m model.gguf --policies random,snapkv --keep 0.25 --tasks single",
    .groups = {sl_options_model, RULER, sl_options_seed, sl_options_sinks, sl_options_window,
               sl_options_threads, sl_options_chunk, sl_options_sequences, sl_options_memory,
               sl_options_codec, sl_options_kv, sl_options_ranks, sl_options_talk},
    .run = eval_ruler_command,
};
