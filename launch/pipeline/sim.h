/* launch/pipeline/sim.h - a whole pipeline in one thread and virtual time, from one seed: weights,
 * arithmetic and state machines are the real ones; time and the network are simulated. A failure
 * replays from its seed. */
#ifndef SL_SIM_H
#define SL_SIM_H

#include "launch/pipeline/feeder.h"
#include "runtime/gate/gate_file.h"
#include "runtime/kernels/kernels.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"

typedef struct {
    /* the model, lent */
    const sl_gguf *gguf;
    const sl_model_shape *shape;
    const sl_kernels *kernels;
    const sl_tokenizer *tokenizer;

    int ranks;
    uint32_t chunk, sequences, context;
    sl_policy policy;
    const sl_gate *gate;      /* or NULL */
    const sl_lora *lora;      /* or NULL */
    double keep;              /* of eligible tokens, expected to be kept */
    uint32_t expected_tokens; /* driver.h */
    uint64_t head_pages;      /* pages of every pool, for each of its KV heads */
    uint32_t codec;           /* sl_codec_kind */
    sl_watch watch;

    uint64_t seed;
    int64_t delay_min_ns, delay_max_ns;     /* of a message */
    int64_t compute_min_ns, compute_max_ns; /* of a frame on one rank */
    int64_t silence_max_ns;
    int lost_rank; /* it sends and does nothing from lost_ns on; -1: none */
    int64_t lost_ns;
    int64_t end_ns; /* virtual time after which the run has hung */
} sl_sim_options;

typedef struct {
    sl_status status;   /* SL_OK: every rank stopped in order; else the first error */
    int rank;           /* whose error it was */
    int64_t virtual_ns; /* when the run ended */
    uint64_t restarts;  /* sl_driver_progress's */
    uint64_t packets;   /* messages and heartbeats */
} sl_sim_result;

/* Run until all ranks have stopped, one has an error (as in a real job, that ends it), or end_ns.
 * SL_ERR_JOB in the result: hung. SL_ERR_MEMORY: could not be set up. */
sl_status sl_sim_run(const sl_sim_options *options, const sl_port *port, sl_sim_result *result_out);

#endif
