/* launch/engine.h - a model ready to serve requests over all ranks: what `batch`, `run` and `eval`
 * share. Opening is collective: ranks agree after every fallible step, so they fail together. */
#ifndef SL_ENGINE_H
#define SL_ENGINE_H

#include "launch/loop.h"
#include "launch/settings.h"
#include "runtime/model/chat.h"

typedef struct sl_engine sl_engine;

/* The transport of this process: "mpi" when a launcher started it, else "self". */
const char *sl_engine_transport(void);

/* Start the transport, open the model, split its
 * layers by bytes, plan memory, take it, load. Logged; *engine_out is set as soon as there are
 * peers to tell, also on error: end it with sl_engine_end. */
sl_status sl_engine_open(const sl_settings *settings, sl_engine **engine_out);

int sl_engine_rank(const sl_engine *engine);
int sl_engine_ranks(const sl_engine *engine);
const sl_tokenizer *sl_engine_tokenizer(const sl_engine *engine); /* rank 0; else NULL */
const sl_chat *sl_engine_chat(const sl_engine *engine); /* rank 0; NULL: unknown template */
uint32_t sl_engine_context(const sl_engine *engine);
uint32_t sl_engine_sequences(const sl_engine *engine);
uint64_t sl_engine_model_hash(const sl_engine *engine);
sl_codec_kind sl_engine_codec(const sl_engine *engine);

/* All ranks tell how something that only some do went; all get the same answer: the first bad
 * status, logged where it happened. Between open and run. */
sl_status sl_engine_agree(sl_engine *engine, sl_status status);

/* Serve until the port ends (rank 0) or the stop frame passes (others). `port` and `on_token_call`
 * (may be NULL) on rank 0 only. */
typedef struct {
    void (*call)(void *context, const sl_request *request, uint32_t choice, int32_t token);
    void *context;
} sl_on_token;
sl_status sl_engine_run(sl_engine *engine, const sl_port *port, const sl_on_token *on_token_call);

/* After a run that ended well, on rank 0. */
typedef struct {
    sl_driver_progress progress;
    double seconds; /* since weights were ready */
    uint32_t ranks;
    const sl_ledger_row *ledger; /* [ranks], lent */
    const uint32_t *first_layer; /* [ranks + 1], lent */
} sl_engine_report;
void sl_engine_report_get(const sl_engine *engine, sl_engine_report *report_out);

/* Close (status SL_OK), or end the whole job with the status's exit code. Returns the exit code.
 * NULL is fine. */
int sl_engine_end(sl_engine *engine, sl_status status);

/* Exit codes, documented in the README. */
enum {
    SL_EXIT_OK = 0,
    SL_EXIT_BUG = 1,
    SL_EXIT_USAGE = 2,
    SL_EXIT_SOME_FAILED = 3,
    SL_EXIT_INPUT = 4,        /* a file is missing, malformed or not supported */
    SL_EXIT_MEMORY = 5,       /* does not fit; nothing was started */
    SL_EXIT_INTERRUPTED = 75, /* run the same command again to go on */
};
int sl_exit_code(sl_status status);

#endif
