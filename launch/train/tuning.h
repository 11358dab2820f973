/* launch/train/tuning.h - gates, and if wanted a LoRA adapter, tuned through the frozen model: what
 * train cpt and train sft have in common. A round is so many texts a rank, each read at several
 * rates; gradients of all ranks are added up, and every rank takes the same step. Refuses to know
 * where texts come from. */
#ifndef SL_TUNING_H
#define SL_TUNING_H

#include "launch/setup/local_stage.h"
#include "launch/train/train_records.h"
#include "launch/train/train_run.h"
#include "runtime/train/cpt.h"

typedef struct sl_tuning sl_tuning;

/* Texts of a command. */
typedef struct {
    /* Open what the settings name; model, sinks and window are known. Errors are logged. */
    sl_status (*open)(sl_tuning *t);
    uint64_t (*hash)(const sl_tuning *t);
    /* Text `number`: ids are lent until the next. */
    void (*take)(sl_tuning *t, sl_piece_kind kind, uint64_t number, sl_cpt_text *text_out);
    uint64_t (*n_held_out)(const sl_tuning *t);
    const char *(*name)(const sl_tuning *t, uint64_t number);
    void (*close)(sl_tuning *t);
} sl_tuning_texts;

struct sl_tuning {
    const char *phase; /* for the log: "cpt", "sft" */
    const sl_tuning_texts *texts;
    uint32_t batch;     /* texts that a rank reads in a round */
    sl_lora_shape lora; /* rank 0: none */

    sl_train_job job; /* rank 0 alone has a log */
    sl_train_run run;
    sl_local_stage stage; /* for its weights */
    sl_cpt *cpt;
    void *storage;
    size_t storage_bytes;
    uint32_t window, sinks;
    char lora_path[4096];      /* of the adapter */
    uint64_t lora_hash;        /* of what rank 0 wrote there; 0: nothing */
    double kept;               /* of held-out text, at the last of the rates */
    sl_train_records *records; /* of train sft */
};

const sl_gate *sl_tuning_gate(const sl_tuning *tuning);

/* Check what both commands ask of settings; --rates-each that was not given becomes 2, or 1 of one
 * rate. SL_ERR_OPTION, logged. `command`: for messages. */
sl_status sl_tuning_settings(sl_settings *settings, const char *command);
/* Run it, from opening ranks to the files that were made; the members above job are set. Returns
 * the exit code. */
int sl_tuning_run(const sl_settings *settings, sl_tuning *tuning);

#endif
