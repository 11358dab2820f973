/* launch/train/cmd_train_sft.c - `sluice train sft`: gates and a LoRA adapter tuned together
 * through the frozen model by supervised fine-tuning, on instructions and their answers. */
#include <string.h>

#include "launch/machine/process.h"
#include "launch/train/train_program.h"
#include "launch/train/tuning.h"
#include "runtime/base/log.h"

static sl_status open_records(sl_tuning *t)
{
    const sl_settings *s = t->job.settings;
    const sl_train_records_options options = {.paths = s->records,
                                              .shortest = t->sinks + t->window + 2,
                                              .longest = t->job.longest,
                                              .shortest_prompt = t->sinks + 1,
                                              .bytes_max = SL_TRAIN_RECORDS_BYTES_MAX,
                                              .seed = s->seed};
    sl_status status = sl_train_records_open(&options, t->job.setup.tokenizer, t->job.setup.chat,
                                             &t->records);
    if (status != SL_OK) return status;
    t->run.round_tokens = t->batch * sl_train_records_mean_tokens(t->records);
    return SL_OK;
}

static uint64_t hash_records(const sl_tuning *t) { return sl_train_records_hash(t->records); }

static void take_record(sl_tuning *t, sl_piece_kind kind, uint64_t number, sl_cpt_text *text_out)
{
    const sl_train_record record = sl_train_records_take(t->records, kind, number);
    *text_out = (sl_cpt_text){.ids = record.ids, .n = record.n, .n_prompt = record.n_prompt};
}

static uint64_t n_held_out(const sl_tuning *t) { return sl_train_records_n_held_out(t->records); }

static const char *name_of(const sl_tuning *t, uint64_t number)
{
    return sl_train_records_name(t->records, number);
}

static void close_records(sl_tuning *t) { sl_train_records_close(t->records); }

/* "q,v" and such. */
static sl_status read_maps(const char *text, sl_lora_shape *shape)
{
    static const char *const names[SL_LAYER_MAPS] = {
        [SL_MAP_Q] = "q",       [SL_MAP_K] = "k",   [SL_MAP_V] = "v",      [SL_MAP_O] = "o",
        [SL_MAP_GATE] = "gate", [SL_MAP_UP] = "up", [SL_MAP_DOWN] = "down"};
    for (const char *next; text; text = next) {
        const size_t n = strcspn(text, ",");
        sl_layer_map map = 0;
        next = text[n] ? text + n + 1 : NULL;
        while (map < SL_LAYER_MAPS && !sl_text_is((sl_text){text, n}, names[map])) map++;
        if (map == SL_LAYER_MAPS) {
            sl_error("--lora-maps: '%.*s' is none of q, k, v, o, gate, up, down", (int)n, text);
            return SL_ERR_OPTION;
        }
        shape->adapts[map] = true;
    }
    return SL_OK;
}

int sl_train_sft(sl_settings *settings)
{
    static const sl_tuning_texts RECORDS = {.open = open_records,
                                            .hash = hash_records,
                                            .take = take_record,
                                            .n_held_out = n_held_out,
                                            .name = name_of,
                                            .close = close_records};
    sl_tuning t = {.phase = "sft",
                   .texts = &RECORDS,
                   .batch = settings->batch,
                   .lora = {.rank = settings->lora_rank, .alpha = (float)settings->lora_alpha}};
    if (sl_tuning_settings(settings, "train sft") != SL_OK) return SL_EXIT_USAGE;
    if (!settings->records) {
        sl_error("train sft needs instructions and their answers (--records)");
        return SL_EXIT_USAGE;
    }
    if (read_maps(settings->lora_maps, &t.lora) != SL_OK) return SL_EXIT_USAGE;
    return sl_tuning_run(settings, &t);
}
