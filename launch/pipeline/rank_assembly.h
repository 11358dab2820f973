/* launch/pipeline/rank_assembly.h - all that one rank runs (weights, stage, driver, state machine),
 * built in one block of memory.
 *
 * The same calls measure the block and fill it, so what is planned, refused and used is one number.
 * The engine builds one rank of a real job, the simulator all ranks of a simulated one. */
#ifndef SL_RANK_ASSEMBLY_H
#define SL_RANK_ASSEMBLY_H

#include "launch/pipeline/memory_plan.h"
#include "launch/pipeline/rank.h"
#include "runtime/stage/stage.h"

/* What is pointed to outlives the assembly. */
typedef struct {
    uint32_t rank;
    const sl_plan *plan; /* with pages before sl_assembly_open */
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
    const sl_lora *lora;      /* NULL, or n 0: no adapters */
    uint32_t compared_rows;   /* stage.h */
    bool flags;               /* frames say which tokens were kept */
    uint32_t expected_tokens; /* driver.h */
    sl_codec_kind codec;
    int64_t silence_max_ns;
    sl_profile *profile; /* or NULL */
    uint64_t planned_bytes;
    sl_comm *comm; /* for sl_assembly_open */
    int64_t (*clock)(void *context);
    void *clock_context;
    sl_watch watch; /* rank 0 */
} sl_assembly_options;

typedef struct {
    sl_weights weights;
    sl_lora_weights lora;
    sl_team *team;
    sl_stage *stage;
    sl_driver *driver; /* rank 0, else NULL */
    sl_rank *rank;
    sl_sums sums;        /* of what was loaded */
    uint64_t hash_share; /* of the model's hash (weights.h) */
    void *storage;
    size_t storage_bytes;
} sl_assembly;

/* The bounds of every frame, and how many are under way at once, for these options. */
sl_frame_limits sl_assembly_frame_limits(const sl_assembly_options *options);
uint32_t sl_assembly_frames_max(const sl_assembly_options *options);

/* Bytes of the block with a pool of n_pages. */
size_t sl_assembly_measure(const sl_assembly_options *options, uint32_t n_pages);
/* Most pages this rank's sequences could ever ask for, and bytes of one with its bookkeeping. */
uint64_t sl_assembly_pages_wanted(const sl_assembly_options *options);
uint64_t sl_assembly_page_bytes(const sl_assembly_options *options);
/* Bytes of the rings that a rank's sequences have, which placement counts as cache. */
uint64_t sl_assembly_ring_bytes(const sl_assembly_options *options);
/* The memory that a rank will take over a transport, with this split; in_use and job are left 0. */
sl_memory_needs sl_assembly_memory_needs(const sl_assembly_options *options, const char *transport);
/* Take the block, build, and load the weights. sl_assembly_close ends it.
 * SL_ERR_MEMORY, SL_ERR_FILE: logged. */
sl_status sl_assembly_open(const sl_assembly_options *options, sl_assembly *assembly_out);
void sl_assembly_close(sl_assembly *assembly); /* all zero is fine */

#endif
