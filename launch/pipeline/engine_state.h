/* launch/pipeline/engine_state.h - what the files of the engine share, hidden from all others.
 *
 * engine_open.c opens the model and loads this rank's layers; engine_plan.c splits the layers and
 * plans memory; engine_agree.c compares with the other ranks; engine_serve.c runs it all, serves
 * and ends. */
#ifndef SL_ENGINE_STATE_H
#define SL_ENGINE_STATE_H

#include "launch/pipeline/engine.h"
#include "launch/pipeline/rank_assembly.h"
#include "launch/setup/model_check.h"
#include "launch/setup/model_setup.h"
#include "sched/placement.h"

enum { SL_MODEL_NAME_BYTES = 256 };

struct sl_engine {
    sl_settings settings;
    const sl_service *service;
    sl_comm *comm;

    /* The model and what runs with it. */
    sl_model_setup model; /* rank 0 alone opens tokenizer and chat template */
    char model_name[SL_MODEL_NAME_BYTES];
    sl_codec_kind codec;
    uint32_t context;

    /* This rank's threads. */
    int threads;
    int *cpus;  /* [threads] that they are pinned to, or NULL */
    bool spins; /* they have a core each */

    sl_plan plan;                           /* the same on all ranks once they have agreed */
    double layer_keep[SL_SPLIT_LAYERS_MAX]; /* expected retention */

    /* What this rank planned and loaded. */
    uint64_t job_bytes; /* of this job's lines and requests; rank 0 */
    uint64_t planned_bytes;
    sl_assembly assembly;
    uint64_t model_hash;
    sl_model_check *check; /* NULL until weights are loaded */

    /* Serving. */
    sl_port port;      /* rank 0 */
    sl_status begun;   /* rank 0: what the service's begin returned; SL_AGAIN until then */
    sl_status failure; /* rank 0: what serving ended with */
    bool failed_alone; /* the error is not agreed with the other ranks: the job is aborted */
    int code;          /* rank 0's exit code, on all ranks */
    int64_t ready_ns, ended_ns;
};

int sl_engine_rank(const sl_engine *engine);
/* The gate that the policy uses, or NULL. */
const sl_gate *sl_engine_policy_gate(const sl_engine *engine);
const sl_kv_layout *sl_engine_kv_layout(const sl_engine *engine);
sl_assembly_options sl_engine_assembly_options(const sl_engine *engine);

#endif
