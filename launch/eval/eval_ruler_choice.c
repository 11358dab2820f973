/* launch/eval/eval_ruler_choice.c - see eval_ruler_choice.h. */
#include "launch/eval/eval_ruler_choice.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/append.h"
#include "runtime/base/log.h"
#include "runtime/gate/gate_file.h"
#include "runtime/gate/policy.h"

enum { RUNS_MAX = 1 + 8 * SL_COUNTS_MAX };

typedef struct {
    const sl_settings *settings; /* as given */
    sl_ruler_choice *out;
    size_t left_out_used;
} choosing;

/* Call take(c, word, bytes) for each word of a list with commas between, as long as it says
 * SL_OK. */
static sl_status each_word(choosing *c, const char *list,
                           sl_status (*take)(choosing *c, const char *word, size_t bytes))
{
    sl_status status = SL_OK;
    for (const char *at = list; status == SL_OK && *at;) {
        size_t bytes = strcspn(at, ", ");
        if (bytes > 0) status = take(c, at, bytes);
        at += bytes + (at[bytes] != '\0');
    }
    return status;
}

/* ---- tasks ---- */

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

static sl_status take_task(choosing *c, const char *word, size_t bytes)
{
    const sl_ruler_task *task = sl_ruler_task_named(word, bytes);
    if (!task) return refuse_task(word, bytes);
    if (task->needs_text && !c->settings->text) {
        sl_error("the task %s needs --text FILE", task->name);
        return SL_ERR_OPTION;
    }
    for (uint32_t i = 0; i < c->out->n_tasks; i++)
        if (c->out->tasks[i] == task) return SL_OK;
    c->out->tasks[c->out->n_tasks++] = task;
    return SL_OK;
}

/* Those named, or all that can be done. */
static sl_status take_tasks(choosing *c)
{
    if (!c->settings->tasks) {
        for (uint32_t i = 0; i < SL_RULER_TASKS; i++)
            if (c->settings->text || !sl_ruler_tasks[i].needs_text)
                c->out->tasks[c->out->n_tasks++] = &sl_ruler_tasks[i];
        return SL_OK;
    }
    sl_status status = each_word(c, c->settings->tasks, take_task);
    if (status != SL_OK || c->out->n_tasks > 0) return status;
    sl_error("--tasks names none of " SL_RULER_TASK_NAMES);
    return SL_ERR_OPTION;
}

/* ---- runs ---- */

static void add_run(choosing *c, sl_policy_kind kind, double keep)
{
    sl_settings *run = &c->out->runs[c->out->n_runs++];
    *run = *c->settings;
    run->policy = sl_policy_name(kind);
    run->keep = keep;
    run->same_visible = true;
    run->context = sl_counts_most(&run->lengths);
}

/* At each rate; 0, a gate's own threshold, is for the policy gate alone. */
static void add_rates(choosing *c, sl_policy_kind kind)
{
    const sl_rates *rates = &c->settings->rates;
    for (uint32_t i = 0; i < rates->n; i++) {
        if (rates->items[i] > 0 || kind == SL_POLICY_GATE)
            add_run(c, kind, rates->items[i]);
        else
            sl_append(c->out->left_out, sizeof c->out->left_out, &c->left_out_used, "%s%s",
                      c->left_out_used > 0 ? ", " : "", sl_policy_name(kind));
    }
}

/* The full cache is there already, and nothing twice. */
static sl_status take_policy(choosing *c, const char *word, size_t bytes)
{
    char *name = strndup(word, bytes);
    sl_policy_kind kind;
    sl_status status = name ? sl_policy_named("--policies", name, &kind) : SL_ERR_MEMORY;
    free(name);
    if (status != SL_OK) return status;
    if (kind == SL_POLICY_GATE && !c->settings->gate) {
        sl_error("--policies gate needs a gate file: give one with -g FILE.gguf");
        return SL_ERR_OPTION;
    }
    for (uint32_t i = 0; i < c->out->n_runs; i++)
        if (strcmp(c->out->runs[i].policy, sl_policy_name(kind)) == 0) return SL_OK;
    if (sl_policy_has_rate(kind))
        add_rates(c, kind);
    else
        add_run(c, kind, 0);
    return SL_OK;
}

static sl_status take_policies(choosing *c)
{
    const char *named = c->settings->policies;
    const char *all = c->settings->gate ? "gate, random, streaming, keynorm, keydiff, snapkv, h2o"
                                        : "random, streaming, keynorm, keydiff, snapkv, h2o";
    c->out->runs = calloc(RUNS_MAX, sizeof *c->out->runs);
    if (!c->out->runs) return SL_ERR_MEMORY;
    add_run(c, SL_POLICY_FULL, 0);
    sl_status status = each_word(c, named ? named : all, take_policy);
    if (status != SL_OK || c->out->n_runs > 1 || c->left_out_used == 0) return status;
    sl_error("--keep 0 is a gate's own threshold, and leaves nothing to ask %s at: give a rate "
             "above 0, too",
             c->out->left_out);
    return SL_ERR_OPTION;
}

static sl_status check_rates(const sl_settings *s)
{
    for (uint32_t i = 0; i < s->rates.n && !s->gate; i++) {
        if (s->rates.items[i] > 0) continue;
        sl_error("--keep 0 is a gate's own threshold: give a gate file with -g FILE.gguf, or a "
                 "rate above 0");
        return SL_ERR_OPTION;
    }
    return SL_OK;
}

static sl_status take_chunk(const choosing *c)
{
    bool is_asked = false;
    for (uint32_t i = 0; i < c->out->n_runs; i++)
        is_asked = is_asked || strcmp(c->out->runs[i].policy, sl_policy_name(SL_POLICY_GATE)) == 0;
    if (!is_asked) return SL_OK;
    sl_gate_file *file;
    sl_status status = sl_gate_file_open(c->settings->gate, &file);
    if (status != SL_OK) return status;
    for (uint32_t i = 0; sl_gate_has_prompt_span(sl_gate_file_gate(file)) && i < c->out->n_runs;
         i++)
        c->out->runs[i].chunk = c->out->runs[i].context;
    sl_gate_file_close(file);
    return SL_OK;
}

sl_status sl_ruler_choose(const sl_settings *settings, sl_ruler_choice *out)
{
    *out = (sl_ruler_choice){0};
    choosing c = {.settings = settings, .out = out};
    sl_status status = take_tasks(&c);
    if (status == SL_OK) status = check_rates(settings);
    if (status == SL_OK) status = take_policies(&c);
    return status == SL_OK ? take_chunk(&c) : status;
}

void sl_ruler_choice_fini(sl_ruler_choice *choice)
{
    free(choice->runs);
    *choice = (sl_ruler_choice){0};
}
