/* runtime/stage/stage.h - a run of layers over a frame. Knows no ranks: being first means it
 * embeds, being last means it has a head and samples.
 * One thread calls it, the first of the team. All memory comes from the arena. */
#ifndef SL_STAGE_H
#define SL_STAGE_H

#include "runtime/base/team.h"
#include "runtime/cache/cache.h"
#include "runtime/frame/frame.h"
#include "runtime/gate/gate_file.h"
#include "runtime/gate/policy.h"
#include "runtime/model/lora.h"
#include "runtime/model/weights.h"
#include "runtime/stage/probe.h"
#include "runtime/stage/profile.h"

typedef struct {
    const sl_weights *weights;
    const sl_kernels *kernels;
    sl_kv_type kv; /* of the cache's pages */
    int threads;
    sl_team *team; /* of so many; a counting arena needs none */
    sl_frame_limits limits;
    uint32_t sequences_max, context;
    sl_policy policy;
    const sl_gate *gate;         /* policy SL_POLICY_GATE, else NULL */
    const sl_lora_weights *lora; /* adapters of the same layers; NULL: none */
    uint32_t n_pages;            /* of the cache's pool */
    uint32_t compared_rows; /* distributions the last stage keeps (kept_distributions.h); 0: none */
    const sl_probe *probe;  /* NULL: none */
    sl_profile *profile;    /* NULL: not measured */
} sl_stage_options;

typedef struct sl_stage sl_stage;

/* Take everything from the arena; with a counting arena it measures and *stage_out is NULL. */
void sl_stage_init(const sl_stage_options *options, sl_arena *arena, sl_stage **stage_out);

/* Apply the frame's controls, then run its spans through the layers: the first stage reads tokens,
 * others read hidden; hidden is replaced, or, on the last stage, results are filled.
 * SL_ERR_FORMAT, logged: a control or span that does not fit the sequences as they are (a peer's
 * fault, checked so that it cannot harm). Allocates nothing. */
sl_status sl_stage_compute(sl_stage *stage, sl_frame *frame);

/* What a ledger row reports of a stage, as of the last frame. */
typedef struct {
    uint64_t pages_used, pages_peak;
    uint64_t seen; /* eligible tokens so far */
    int64_t gate_ns;
} sl_stage_account;
void sl_stage_account_get(const sl_stage *stage, sl_stage_account *account_out);

#endif
