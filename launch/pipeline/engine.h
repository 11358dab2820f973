/* launch/pipeline/engine.h - a model ready to serve requests over all ranks: what `batch`, `run`, `eval` and
 * `bench` share. Opening is collective: ranks agree after every fallible step, so they fail
 * together. */
#ifndef SL_ENGINE_H
#define SL_ENGINE_H

#include "launch/machine/process.h"
#include "launch/options/settings.h"
#include "launch/pipeline/loop.h"
#include "runtime/text/chat.h"

typedef struct sl_engine sl_engine;

/* What a command does with an engine; all of it is called on rank 0 only. */
typedef struct {
    void *context;
    /* Nothing is open yet: whether what the command was given can do at all. May be NULL. */
    sl_status (*check)(void *context);
    /* The model is open, memory is being planned: bytes this job's lines and requests will take. */
    uint64_t (*job_bytes)(void *context, const sl_engine *engine);
    /* The model is open: say where requests come from. On an error, logged, nothing is left to end. */
    sl_status (*begin)(void *context, sl_engine *engine, sl_port *port_out);
    /* Called if begin succeeded, with how serving went; returns that, or what went wrong since. */
    sl_status (*end)(void *context, const sl_engine *engine, sl_status status);
    const bool
        *some_failed; /* then there are error records, which the exit code says; NULL: none */
    sl_watch watch;
    /* On all ranks the same: distributions that requests are compared by, at most (stage.h). If any, some
     * requests keep all, so memory is planned for that. */
    uint32_t compared_rows;
    bool
        verify_first; /* that all ranks have the same model, instead of beside serving: it measures */
    sl_profile *profile; /* of this rank's stage; NULL: nobody asks */
} sl_service;

/* Start the transport, open the model, split its layers by bytes, plan memory, take it, load; serve
 * until the port ends; close. Returns the process's exit code; a job that failed has been ended on
 * all ranks with it. Everything that goes wrong has been logged. */
int sl_engine_serve(const sl_settings *settings, const sl_service *service);

int sl_engine_ranks(const sl_engine *engine);
const sl_tokenizer *sl_engine_tokenizer(const sl_engine *engine);
const sl_chat *sl_engine_chat(const sl_engine *engine); /* NULL: unknown template */
uint32_t sl_engine_context(const sl_engine *engine);
/* A longer text has more tokens than the context, however it is cut into them. */
uint64_t sl_engine_text_bytes_max(const sl_engine *engine);
uint32_t sl_engine_sequences(const sl_engine *engine);
const sl_model_shape *sl_engine_shape(const sl_engine *engine);
const char *sl_engine_kernels(const sl_engine *engine); /* the set's name */
const char *sl_engine_kv(const sl_engine *engine);      /* what --kv came to */
/* What this rank's team is made of; lent. */
sl_team_options sl_engine_team(const sl_engine *engine);
const sl_kernels *sl_engine_kernel_set(const sl_engine *engine);
int sl_engine_threads(const sl_engine *engine);
const sl_driver_progress *sl_engine_progress(const sl_engine *engine);
/* The model's general.name, or its file's: UTF-8, lent. */
const char *sl_engine_model_name(const sl_engine *engine);
uint64_t sl_engine_model_hash(const sl_engine *engine);
/* On rank 0: SL_OK, all ranks loaded the same; SL_AGAIN, not known yet: what is said may be of a damaged
 * model; SL_ERR_FORMAT: they did not. */
sl_status sl_engine_model_verdict(const sl_engine *engine);
uint64_t sl_engine_gate_hash(const sl_engine *engine); /* 0: the policy asks none */
const sl_policy *sl_engine_policy(const sl_engine *engine);
sl_codec_kind sl_engine_codec(const sl_engine *engine);
uint32_t sl_engine_first_layer(const sl_engine *engine, int rank);

/* After serving ended well, on rank 0. */
typedef struct {
    sl_driver_progress progress;
    double seconds; /* since weights were ready */
    uint32_t ranks;
    const sl_ledger_row *ledger;  /* [ranks], lent */
    uint64_t own_peak_bytes;      /* of rank 0, if it has grown since the ledger's word */
    const uint32_t *first_layer;  /* [ranks + 1], lent */
    const sl_model_shape *shape;  /* lent */
    const sl_head_account *heads; /* [n_layers][n_kv_heads], lent: kept, and the most pages */
    uint64_t page_bytes;
    sl_policy policy;
    const char *unverified; /* why not all that ranks loaded could be compared, or NULL */
} sl_engine_report;
void sl_engine_report_get(const sl_engine *engine, sl_engine_report *report_out);

#endif
