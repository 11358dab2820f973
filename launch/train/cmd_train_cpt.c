/* launch/train/cmd_train_cpt.c - `sluice train cpt`: gates tuned through the frozen model by
 * continual pre-training, on pieces of texts. */
#include "launch/machine/process.h"
#include "launch/train/train_program.h"
#include "launch/train/tuning.h"
#include "runtime/base/log.h"

enum { HELD_OUT_PIECES = 1 }; /* of each text */

/* Of a piece of n tokens, the prompt; gates that read prompts as one piece decide about no other
 * token. */
static uint32_t prompt_of(const sl_tuning *t, uint32_t n)
{
    return sl_gate_has_prompt_span(sl_tuning_gate(t)) ? n / 2 : 0;
}

static sl_status check_lengths(const sl_tuning *t)
{
    const sl_counts *lengths = &t->job.settings->lengths;
    /* one is scored, and has a next one; or a half has something to evict, the other the window */
    const uint32_t behind = t->sinks + t->window + 2,
                   least = sl_gate_has_prompt_span(sl_tuning_gate(t)) ? 2 * behind : behind;
    for (uint32_t i = 0; i < lengths->n; i++) {
        if (lengths->items[i] >= least) continue;
        sl_error("--lengths %u: in so short a piece nothing is evicted and scored behind %u sinks "
                 "and a window of %u: give %u or more",
                 lengths->items[i], t->sinks, t->window, least);
        return SL_ERR_OPTION;
    }
    return SL_OK;
}

static sl_status open_texts(sl_tuning *t)
{
    sl_status status = check_lengths(t);
    if (status != SL_OK) return status;
    return sl_train_job_open_texts(&t->job, t->job.settings->repeat_share);
}

static uint64_t hash_texts(const sl_tuning *t) { return sl_train_texts_hash(t->job.texts); }

static void take_piece(sl_tuning *t, sl_piece_kind kind, uint64_t number, sl_cpt_text *text_out)
{
    const uint32_t n = sl_train_run_length(&t->run, number / sl_train_job_ranks(&t->job));
    sl_train_job_take_piece(&t->job, kind, number, n);
    *text_out = (sl_cpt_text){.ids = t->job.tokens, .n = n, .n_prompt = prompt_of(t, n)};
}

static uint64_t n_held_out(const sl_tuning *t)
{
    return (uint64_t)sl_train_texts_n(t->job.texts) * HELD_OUT_PIECES;
}

static const char *name_of(const sl_tuning *t, uint64_t number)
{
    return sl_train_texts_name(t->job.texts, number);
}

static void close_nothing(sl_tuning *t) { (void)t; } /* the job closes texts */

int sl_train_cpt(sl_settings *settings)
{
    static const sl_tuning_texts PIECES = {.open = open_texts,
                                           .hash = hash_texts,
                                           .take = take_piece,
                                           .n_held_out = n_held_out,
                                           .name = name_of,
                                           .close = close_nothing};
    sl_tuning t = {.phase = "cpt", .texts = &PIECES, .batch = 1};
    if (sl_tuning_settings(settings, "train cpt") != SL_OK) return SL_EXIT_USAGE;
    if (!settings->text) {
        sl_error("train cpt needs texts (--text)");
        return SL_EXIT_USAGE;
    }
    return sl_tuning_run(settings, &t);
}
