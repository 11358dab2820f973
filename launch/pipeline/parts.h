/* launch/pipeline/parts.h - the parts of one rank (weights, stage, driver, state machine) in one block of
 * memory: measured and bound by the same calls, so what is planned, refused and used is one
 * number. The engine builds one rank of a real job, the simulator all of a simulated one. */
#ifndef SL_PARTS_H
#define SL_PARTS_H

#include "launch/pipeline/memory_plan.h"
#include "launch/pipeline/rank.h"
#include "runtime/stage/stage.h"
#include "sched/placement.h"

/* What is pointed to outlives the parts. */
typedef struct {
    int rank, ranks;
    const sl_gguf *gguf;
    const sl_model_shape *shape;
    const sl_kernels *kernels;
    sl_kv_type kv;
    const sl_tokenizer *tokenizer; /* rank 0 */
    int threads;
    const int *cpus; /* [threads] to pin them to, or NULL */
    bool spins;      /* there is a core for each (team.h) */
    uint32_t chunk, sequences, context;
    sl_policy policy;
    const sl_gate *gate;      /* policy SL_POLICY_GATE, else NULL */
    uint32_t compared_rows;   /* stage.h */
    bool flags;               /* frames tell who was kept */
    uint32_t expected_tokens; /* driver.h */
    sl_codec_kind codec;
    int64_t silence_max_ns;
    const uint32_t *first_layer; /* [ranks + 1] */
    const uint32_t *rank_heads;  /* [ranks] layers * KV heads */
    const uint64_t *rank_pages;  /* [ranks] of every pool; filled in before sl_parts_open */
    const double *rank_keep;     /* [ranks] of eligible tokens, expected to be kept there */
    sl_profile *profile;         /* or NULL */
    uint64_t planned_bytes;
    sl_comm *comm; /* for sl_parts_open */
    int64_t (*clock)(void *context);
    void *clock_context;
    sl_watch watch; /* rank 0 */
} sl_parts_options;

typedef struct {
    sl_weights weights;
    sl_team *team;
    sl_stage *stage;
    sl_driver *driver; /* rank 0, else NULL */
    sl_rank *rank;
    sl_sums sums;        /* of what was loaded */
    uint64_t hash_share; /* of the model's hash (weights.h) */
    void *storage;
    size_t storage_bytes;
} sl_parts;

/* What a split is made of (sched/placement.h), with what the model says of it filled in. */
typedef struct {
    sl_placement_options options; /* points into what follows */
    uint64_t layer_weights[SL_SPLIT_LAYERS_MAX];
    double keep[SL_SPLIT_LAYERS_MAX]; /* 1 */
} sl_parts_placement;

/* At most SL_SPLIT_LAYERS_MAX layers, and no more ranks than layers. No limits. */
void sl_parts_placement_init(const sl_gguf *gguf, const sl_model_shape *shape, int ranks,
                             const sl_policy *policy, uint32_t sequences, uint64_t page_bytes,
                             sl_parts_placement *out);

/* Bounds of every frame, and how many are under way, for these options. */
sl_frame_limits sl_parts_limits(const sl_parts_options *options);
uint32_t sl_parts_frames_max(const sl_parts_options *options);

/* Bytes of the block with a pool of n_pages. */
size_t sl_parts_measure(const sl_parts_options *options, uint32_t n_pages);
/* Most pages this rank's sequences could ever ask for, and bytes of one with its bookkeeping. */
uint64_t sl_parts_pages_wanted(const sl_parts_options *options);
uint64_t sl_parts_page_bytes(const sl_parts_options *options);
/* Bytes of the rings that a rank's sequences have, which placement counts as cache. */
uint64_t sl_parts_ring_bytes(const sl_parts_options *options);
/* What a rank will take over a transport, with the split as it is; in_use and job are left 0. */
sl_memory_needs sl_parts_needs(const sl_parts_options *options, const char *transport);
/* Take the block, build, and load the weights; ended with sl_parts_close. SL_ERR_MEMORY, SL_ERR_FILE:
 * logged. */
sl_status sl_parts_open(const sl_parts_options *options, sl_parts *parts_out);
void sl_parts_close(sl_parts *parts); /* all zero is fine */

#endif
