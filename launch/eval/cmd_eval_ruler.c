/* launch/eval/cmd_eval_ruler.c - `sluice eval ruler`: long-context tasks under the full cache
 * and then, where that solves half of them, under every policy. Each policy at each rate is a
 * run: an engine of its own over the same ranks, which is asked the same prompts. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launch/eval/eval_commands.h"
#include "launch/eval/eval_prompts.h"
#include "launch/eval/eval_requests.h"
#include "launch/eval/eval_ruler_choice.h"
#include "launch/eval/eval_ruler_report.h"
#include "launch/eval/eval_ruler_scores.h"
#include "launch/eval/eval_ruler_tasks.h"
#include "launch/json/json_object.h"
#include "launch/output/report.h"
#include "runtime/base/log.h"
#include "runtime/gate/policy.h"

typedef struct {
    const sl_settings *settings; /* as given */
    sl_ruler_choice choice;

    /* On rank 0. */
    sl_ruler_scores scores;
    uint32_t n_ended; /* runs that ended well: the number of the one under way */
    bool was_printed;

    /* Of the run under way. */
    const sl_tokenizer *tokenizer;
    sl_policy policy;
    sl_tokens filler;         /* of all runs */
    sl_ruler_prompt *prompts; /* [cells][trials]: those under way */
    uint64_t next, n_done, n_asked;
    sl_progress progress;
} evaluation;

static sl_ruler_run *run_of(const evaluation *e) { return &e->scores.runs[e->n_ended]; }

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

/* The caller ends the prompt, also after an error. */
static sl_status make_prompt(const evaluation *e, uint32_t cell, uint32_t t,
                             sl_ruler_trial *trial_out, sl_ruler_prompt *prompt)
{
    const sl_ruler_scores *s = &e->scores;
    const sl_ruler_task *task = sl_ruler_cell_task(s, cell);
    sl_ruler_source source = {.tokenizer = e->tokenizer, .filler = &e->filler};
    *trial_out = sl_ruler_trial_of(task, sl_ruler_cell_length(s, cell), e->settings->seed, t,
                                   s->n_trials);
    return sl_ruler_prompt_make(task, &source, trial_out, prompt);
}

static sl_status make_request(evaluation *e, uint32_t cell, uint32_t t, sl_request **request_out)
{
    sl_ruler_trial trial;
    sl_ruler_prompt *prompt = &e->prompts[e->next];
    sl_status status = make_prompt(e, cell, t, &trial, prompt);
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

/* That all that is asked for can be asked, before anything is: a task may need more than the
 * shortest length, and the longest more than the text has. */
static sl_status check_prompts(const evaluation *e)
{
    const uint32_t shortest = sl_counts_least(&e->settings->lengths);
    sl_status status = SL_OK;
    for (uint32_t cell = 0; status == SL_OK && cell < sl_ruler_cells(&e->scores); cell++) {
        const bool all = sl_ruler_cell_length(&e->scores, cell) == shortest;
        for (uint32_t t = 0; status == SL_OK && t < (all ? e->scores.n_trials : 1); t++) {
            sl_ruler_trial trial;
            sl_ruler_prompt prompt;
            status = make_prompt(e, cell, t, &trial, &prompt);
            sl_ruler_prompt_fini(&prompt);
        }
    }
    return status;
}

/* Of all runs, as the first begins. */
static sl_status make_room(evaluation *e)
{
    e->prompts = calloc(n_all(e), sizeof *e->prompts);
    if (!e->prompts) return SL_ERR_MEMORY;
    sl_status status = sl_ruler_scores_init(&e->scores);
    for (uint32_t i = 0; status == SL_OK && i < e->scores.n_runs; i++) {
        e->scores.runs[i].policy = e->choice.runs[i].policy;
        e->scores.runs[i].keep = e->choice.runs[i].keep;
    }
    if (status == SL_OK) status = make_filler(e);
    return status == SL_OK ? check_prompts(e) : status;
}

/* Say which of the tasks this run asks; the first asks all. */
static void choose_cells(evaluation *e)
{
    uint32_t n = 0, all = sl_ruler_cells(&e->scores);
    const sl_ruler_run *run = run_of(e);
    for (uint32_t cell = 0; cell < all; cell++) {
        run->cells[cell].was_run = e->n_ended == 0 || sl_ruler_cell_runs(&e->scores, cell);
        n += run->cells[cell].was_run;
    }
    e->next = e->n_done = 0;
    e->n_asked = (uint64_t)n * e->scores.n_trials;
    char name[SL_RULER_RUN_BYTES];
    sl_info("%s: %u of %u tasks and lengths", sl_ruler_run_name(run, name), n, all);
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    evaluation *e = context;
    e->policy = *sl_engine_policy(engine);
    e->tokenizer = sl_engine_tokenizer(engine);
    sl_status status = e->prompts ? SL_OK : make_room(e);
    if (status != SL_OK) return status;
    if (e->n_ended == 0 && *e->choice.left_out)
        sl_info("--keep 0, the gate's own threshold, leaves out %s", e->choice.left_out);
    choose_cells(e);
    sl_progress_init(&e->progress);
    *port_out = (sl_port){.context = e, .next = next, .done = done};
    return SL_OK;
}

static sl_status print_json(const evaluation *e, const sl_ruler_scores *ended)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_text_or_null(&object, "text", e->settings->text);
    sl_json_set_count(&object, "seed", e->settings->seed);
    sl_json_set_count(&object, "trials", ended->n_trials);
    sl_json_set_count(&object, "sinks", e->policy.sinks);
    sl_json_set_count(&object, "window", e->policy.window);
    sl_json_set_flag(&object, "complete", ended->n_runs == e->scores.n_runs);
    sl_ruler_report_json(ended, &object);
    return sl_report_print(sl_json_end(&object));
}

/* What ended well, once: hours may have gone into it, whatever went wrong since. */
static sl_status print_result(evaluation *e)
{
    sl_ruler_scores ended = e->scores;
    ended.n_runs = e->n_ended;
    if (e->was_printed || e->n_ended == 0) return SL_OK;
    e->was_printed = true;
    char name[SL_RULER_RUN_BYTES];
    if (e->n_ended < e->scores.n_runs)
        sl_warn("%s did not end well: told are the %u of %u runs before it",
                sl_ruler_run_name(run_of(e), name), e->n_ended, e->scores.n_runs);
    if (e->settings->json) return print_json(e, &ended);
    return sl_ruler_report_print(&ended);
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    evaluation *e = context;
    sl_progress_end(&e->progress);
    if (status != SL_OK) {
        (void)print_result(e); /* `status` is what went wrong first */
        return status;
    }
    e->n_ended++;
    if (e->settings->verbose) {
        sl_engine_report report;
        sl_engine_report_get(engine, &report);
        sl_report_show(&report);
    }
    return e->n_ended == e->scores.n_runs ? print_result(e) : SL_OK;
}

/* ---- all runs ---- */

static sl_status choose(evaluation *e)
{
    const sl_settings *s = e->settings;
    sl_status status = sl_ruler_choose(s, &e->choice);
    e->scores = (sl_ruler_scores){.n_tasks = e->choice.n_tasks,
                                  .n_lengths = s->lengths.n,
                                  .n_trials = s->limit,
                                  .n_runs = e->choice.n_runs,
                                  .lengths = s->lengths.items};
    memcpy(e->scores.tasks, e->choice.tasks, sizeof e->scores.tasks);
    return status;
}

static void clean_up(evaluation *e)
{
    for (uint64_t i = 0; e->prompts && i < n_all(e); i++) sl_ruler_prompt_fini(&e->prompts[i]);
    free(e->prompts);
    sl_ruler_choice_fini(&e->choice);
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
    sl_status status = choose(&e);
    int code = status == SL_OK ? sl_engine_serve_each(e.choice.runs, e.choice.n_runs, &service)
                               : sl_exit_code(status);
    if (code != SL_EXIT_OK) (void)print_result(&e); /* a run that did not even begin */
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
    {"keep", 0, "RATE,...", "0.5,0.25,0.125,0.0625",
     "kept of tokens outside sinks and window; 0: the gate's own threshold",
     SL_SETS_REALS(rates, 0, 1)},
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
    .groups = {sl_options_model, sl_options_lora, RULER, sl_options_seed, sl_options_sinks,
               sl_options_window, sl_options_threads, sl_options_chunk, sl_options_sequences,
               sl_options_memory, sl_options_codec, sl_options_kv, sl_options_ranks,
               sl_options_talk},
    .run = eval_ruler_command,
};
