/* launch/pipeline/engine.h - the front door of launch/pipeline: a model ready to serve requests
 * over all ranks, for `batch`, `run`, `eval` and `bench`.
 *
 * The room owns everything between a request and its result: the split of layers over ranks, each
 * rank's memory, the driver that makes frames on rank 0, and the loop that moves and computes
 * them. It knows no job files and no command: requests come from a port (feeder.h), and results go
 * back to it.
 *
 * Opening is collective: ranks agree after every step that can fail, so they fail together. An
 * engine lives while sl_engine_serve runs, and so does all that its getters lend. Which file does
 * what is said in engine_state.h. */
#ifndef SL_ENGINE_H
#define SL_ENGINE_H

#include "launch/machine/process.h"
#include "launch/options/settings.h"
#include "launch/pipeline/loop.h"
#include "runtime/text/chat.h"

typedef struct sl_engine sl_engine;

/* What a command does with an engine. All calls are made on rank 0 only. */
typedef struct {
    void *context;
    /* Called before anything is opened: checks what the command was given. May be NULL. */
    sl_status (*check)(void *context);
    /* Called when the model is open and memory is planned: bytes that this job's lines and requests
     * will take. */
    uint64_t (*job_bytes)(void *context, const sl_engine *engine);
    /* Called when the model is loaded: says where requests come from. After an error, logged,
     * `end` is not called. */
    sl_status (*begin)(void *context, sl_engine *engine, sl_port *port_out);
    /* Called if begin succeeded, with how serving went; returns that, or what went wrong since. */
    sl_status (*end)(void *context, const sl_engine *engine, sl_status status);
    /* Set when there are error records: the exit code says so. NULL: there are never any. */
    const bool *some_failed;
    sl_watch watch;
    /* The same on all ranks: how many distributions requests are compared by, at most (stage.h). If
     * there are any, some requests keep all, so memory is planned for that. */
    uint32_t compared_rows;
    /* Check that all ranks have the same model before serving, not beside it: for measurements. */
    bool verify_first;
    sl_profile *profile; /* of this rank's stage, or NULL */
} sl_service;

/* Start the transport, open the model, split its layers by bytes, plan memory, take it, load; serve
 * until the port ends; close. Returns the process's exit code; a job that failed has been ended on
 * all ranks with it. Everything that goes wrong has been logged. */
int sl_engine_serve(const sl_settings *settings, const sl_service *service);
/* The same with each of n settings in turn, over the same ranks: an engine each, opened when the
 * one before it has closed, so `begin` and `end` are called once for each. The first that does
 * not end well is the last. They differ in nothing that messages between ranks depend on:
 * SL_ERR_OPTION, logged, where a gate that reads prompts in one piece comes after a policy that
 * does not. */
int sl_engine_serve_each(const sl_settings *settings, size_t n, const sl_service *service);

int sl_engine_ranks(const sl_engine *engine);
const sl_tokenizer *sl_engine_tokenizer(const sl_engine *engine);
const sl_chat *sl_engine_chat(const sl_engine *engine); /* NULL: unknown template */
uint32_t sl_engine_context(const sl_engine *engine);
/* A longer text has more tokens than the context, however it is cut into them. */
uint64_t sl_engine_text_bytes_max(const sl_engine *engine);
uint32_t sl_engine_sequences(const sl_engine *engine);
const sl_gguf *sl_engine_gguf(const sl_engine *engine); /* the model's file */
const sl_model_shape *sl_engine_shape(const sl_engine *engine);
const char *sl_engine_kernels(const sl_engine *engine); /* the set's name */
const char *sl_engine_kv(const sl_engine *engine);      /* the type of the cache */
/* What this rank's team of threads is made of. */
sl_team_options sl_engine_team(const sl_engine *engine);
const sl_kernels *sl_engine_kernel_set(const sl_engine *engine);
int sl_engine_threads(const sl_engine *engine);
const sl_driver_progress *sl_engine_progress(const sl_engine *engine);
/* The model's general.name, or its file's: UTF-8, lent. */
const char *sl_engine_model_name(const sl_engine *engine);
uint64_t sl_engine_model_hash(const sl_engine *engine);
/* On rank 0. SL_OK: all ranks loaded the same; SL_AGAIN: not known yet, so what is generated may
 * be of a damaged model; SL_ERR_FORMAT: they did not. */
sl_status sl_engine_model_verdict(const sl_engine *engine);
uint64_t sl_engine_gate_hash(const sl_engine *engine);  /* 0: the policy uses none */
const sl_lora *sl_engine_lora(const sl_engine *engine); /* lent; n 0: none */
/* Of --chat-template; 0: the model's own is used. */
uint64_t sl_engine_chat_template_hash(const sl_engine *engine);
/* What --template-date says, lent; NULL: nothing. */
const char *sl_engine_template_date(const sl_engine *engine);
const sl_policy *sl_engine_policy(const sl_engine *engine);
sl_codec_kind sl_engine_codec(const sl_engine *engine);
uint32_t sl_engine_first_layer(const sl_engine *engine, int rank);

/* After serving ended well, on rank 0. */
typedef struct {
    sl_driver_progress progress;
    double seconds;               /* since weights were ready */
    const sl_plan *plan;          /* lent */
    const sl_ledger_row *ledger;  /* of each rank, lent */
    uint64_t own_peak_bytes;      /* of rank 0, if it has grown since its ledger row */
    const sl_model_shape *shape;  /* lent */
    const sl_head_account *heads; /* [n_layers][n_kv_heads], lent: kept, and the most pages */
    uint64_t page_bytes;
    uint32_t context, sequences; /* of the slots, whose rings stand beside pages */
    sl_policy policy;
    const char *unverified; /* why not all that ranks loaded could be compared, or NULL */
} sl_engine_report;
void sl_engine_report_get(const sl_engine *engine, sl_engine_report *report_out);

#endif
