/* launch/pipeline/rank_assembly.c - see rank_assembly.h. */
#include "launch/pipeline/rank_assembly.h"

#include "launch/pipeline/model_placement.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"
#include "sched/head_pages.h"

static const sl_plan_rank *own_plan(const sl_assembly_options *o)
{
    return &o->plan->ranks[o->rank];
}

/* For all the small things that are counted nowhere. */
enum { SMALL_CHANGE_BYTES = 8 << 20 };

static bool has_lora(const sl_assembly_options *o) { return o->lora && o->lora->n > 0; }

static sl_stage_options stage_options(const sl_assembly_options *o, const sl_assembly *assembly,
                                      uint32_t n_pages)
{
    return (sl_stage_options){
        .weights = &assembly->weights,
        .lora = has_lora(o) ? &assembly->lora : NULL,
        .kernels = o->kernels,
        .kv = o->kv,
        .threads = o->threads,
        .team = assembly->team,
        .limits = sl_assembly_frame_limits(o),
        .sequences_max = o->sequences,
        .context = o->context,
        .policy = o->policy,
        .gate = o->gate,
        .n_pages = n_pages,
        .compared_rows = o->compared_rows,
        .profile = o->profile,
    };
}

/* A prompt that must come in one piece may be as long as the context. */
static uint32_t chunk_of(const sl_assembly_options *options)
{
    bool whole = options->policy.whole_prompts && options->context > options->chunk;
    return whole ? options->context : options->chunk;
}

sl_frame_limits sl_assembly_frame_limits(const sl_assembly_options *options)
{
    uint32_t sequences = options->sequences, chunk = chunk_of(options);
    return (sl_frame_limits){
        .rows_max = chunk > sequences ? chunk : sequences,
        .spans_max = 2 * sequences,        /* a row each to decode, and prompts beside */
        .controls_max = 2 * sequences + 1, /* every slot closes and opens, and the pipeline stops */
        .ranks = options->plan->n_ranks,
        .width = options->shape->width,
        .n_layers = options->shape->n_layers,
        .n_kv_heads = options->shape->n_kv_heads,
        .flags = options->flags,
    };
}

/* One for each stage, one arriving and one leaving; no more than a rank may be sending at once. */
uint32_t sl_assembly_frames_max(const sl_assembly_options *options)
{
    uint32_t frames = options->plan->n_ranks + 2;
    return frames < SL_COMM_SENDS_MAX ? frames : SL_COMM_SENDS_MAX;
}

static void init_driver(const sl_assembly_options *o, sl_arena *arena, sl_driver **driver_out)
{
    if (o->rank != 0) return;
    sl_driver_options driver = {
        .limits = sl_assembly_frame_limits(o),
        .chunk = chunk_of(o),
        .sequences_max = o->sequences,
        .frames_max = sl_assembly_frames_max(o),
        .expected_tokens = o->expected_tokens,
        .policy = o->policy,
        .plan = o->plan,
        .tokenizer = o->tokenizer,
        .watch = o->watch,
    };
    sl_driver_init(&driver, arena, driver_out);
}

static sl_status load(const sl_assembly_options *o, sl_assembly *assembly)
{
    sl_status status = sl_sums_init(o->gguf, o->shape->n_layers, &assembly->sums);
    if (status != SL_OK) return status;
    /* Threads pack by turns, so pages lie near the cores of all of them. */
    sl_team_place place = sl_team_enter(assembly->team);
    status = sl_weights_load(o->gguf, &assembly->weights, assembly->team, &assembly->sums);
    sl_team_leave(&place);
    if (status == SL_OK && has_lora(o)) status = sl_lora_load(o->lora, &assembly->lora);
    if (status == SL_OK)
        assembly->hash_share = sl_weights_hash_share(&assembly->weights, &assembly->sums);
    return status;
}

/* Everything but the state machine. With a counting arena it measures, and cannot fail. The stage
 * makes its tables from weights, so those are loaded before it is made. */
static sl_status bind(const sl_assembly_options *o, uint32_t n_pages, sl_arena *arena,
                      sl_assembly *assembly)
{
    const uint32_t first = own_plan(o)->first_layer, end = first + own_plan(o)->n_layers;
    sl_weights_bind(o->gguf, o->shape, first, end, arena, &assembly->weights);
    if (has_lora(o)) sl_lora_bind(o->lora, o->shape, first, end, arena, &assembly->lora);
    sl_status status = arena->storage ? load(o, assembly) : SL_OK;
    if (status != SL_OK) return status;
    sl_stage_options stage = stage_options(o, assembly, n_pages);
    sl_stage_init(&stage, arena, &assembly->stage);
    init_driver(o, arena, &assembly->driver);
    return SL_OK;
}

size_t sl_assembly_measure(const sl_assembly_options *options, uint32_t n_pages)
{
    sl_arena arena;
    sl_assembly counted = {0};
    sl_frame_limits limits = sl_assembly_frame_limits(options);
    sl_arena_init(&arena, NULL, 0);
    (void)bind(options, n_pages, &arena, &counted); /* cannot fail */
    sl_rank_measure(&limits, sl_assembly_frames_max(options), &arena);
    return arena.used_bytes;
}

/* What all sequences are expected to fill, and the worst case for all that is under way, since the
 * driver sends a span only if every token of it could be kept. At most what keeping all takes. */
uint64_t sl_assembly_pages_wanted(const sl_assembly_options *options)
{
    const sl_assembly_options *o = options;
    sl_frame_limits limits = sl_assembly_frame_limits(o);
    uint64_t all = (uint64_t)sl_cache_head_pages(o->policy.window, o->context) + 1;
    sl_head_retention retention = {.sinks = o->policy.sinks,
                                   .window = o->policy.window,
                                   .keep = sl_head_retention_with_margin(own_plan(o)->keep)};
    uint64_t expected = (uint64_t)sl_head_pages_expected(retention, o->context) + 1;
    if (sl_policy_at_prompt_end(o->policy.kind)) {
        /* Survivors are copied before the rest is given back. */
        uint32_t copies = sl_cache_pages_for(o->policy.sinks +
                                             sl_policy_survivors(&o->policy, o->context)) +
                          1;
        all += copies;
        expected += copies;
    }
    uint64_t under_way = (uint64_t)sl_assembly_frames_max(o) *
                         (sl_cache_pages_for(limits.rows_max) + limits.spans_max);
    uint64_t head_pages = expected * o->sequences + under_way;
    if (head_pages > all * o->sequences) head_pages = all * o->sequences;
    return head_pages * own_plan(o)->n_paged_heads;
}

uint64_t sl_assembly_page_bytes(const sl_assembly_options *options)
{
    return options->kernels->kv[options->kv]->page_bytes(options->shape->head_dim) +
           2 * sizeof(uint32_t);
}

uint64_t sl_assembly_ring_bytes(const sl_assembly_options *options)
{
    const sl_assembly_options *o = options;
    const sl_plan_rank *own = own_plan(o);
    uint64_t pages = sl_model_ring_pages(o->shape, own->first_layer, own->n_layers,
                                         o->policy.window, o->context);
    return o->sequences * pages * o->shape->n_kv_heads *
           o->kernels->kv[o->kv]->page_bytes(o->shape->head_dim);
}

sl_memory_needs sl_assembly_memory_needs(const sl_assembly_options *options, const char *transport)
{
    const sl_assembly_options *o = options;
    const sl_plan_rank *own = own_plan(o);
    sl_frame_limits frames = sl_assembly_frame_limits(o);
    uint64_t weights = sl_weights_held_bytes(o->gguf, o->shape, own->first_layer,
                                             own->first_layer + own->n_layers);
    for (uint32_t i = 0; has_lora(o) && i < own->n_layers; i++)
        weights += sl_lora_layer_bytes(o->lora, o->shape, own->first_layer + i);
    uint64_t wanted = sl_assembly_pages_wanted(o);
    return (sl_memory_needs){
        .weights = weights,
        .fixed = sl_assembly_measure(o, 0) - weights,
        .messages = sl_rank_open_bytes(&frames) +
                    sl_comm_start_bytes(transport, sl_rank_message_bytes_max(&frames)),
        .stacks = (uint64_t)(o->threads + 3) * SL_THREAD_STACK_BYTES + SMALL_CHANGE_BYTES,
        .page = sl_assembly_page_bytes(o),
        .pages_wanted = wanted,
        .pages_least = wanted ? own->n_paged_heads : 0,
    };
}

sl_status sl_assembly_open(const sl_assembly_options *options, sl_assembly *assembly_out)
{
    sl_assembly *a = assembly_out;
    uint32_t n_pages = (uint32_t)own_plan(options)->n_pages;
    *a = (sl_assembly){.storage_bytes = sl_assembly_measure(options, n_pages)};
    sl_status status = sl_storage_take(a->storage_bytes, "cache, frames and scratch", &a->storage);
    if (status != SL_OK) return status;
    sl_team_options team = {
        .threads = options->threads, .spins = options->spins, .cpus = options->cpus};
    status = sl_team_open(&team, &a->team);
    if (status != SL_OK) {
        sl_assembly_close(a);
        return status;
    }
    sl_arena arena;
    sl_arena_init(&arena, a->storage, a->storage_bytes);
    status = bind(options, n_pages, &arena, a);
    sl_rank_options rank = {
        .comm = options->comm,
        .limits = sl_assembly_frame_limits(options),
        .sequences_max = options->sequences,
        .vocab = options->shape->vocab,
        .frames_max = sl_assembly_frames_max(options),
        .codec = options->codec,
        .silence_max_ns = options->silence_max_ns,
        .driver = a->driver,
        .clock = options->clock,
        .clock_context = options->clock_context,
        .planned_bytes = options->planned_bytes,
    };
    if (status == SL_OK) status = sl_rank_open(&rank, &arena, &a->rank);
    sl_arena_seal(&arena);
    if (status != SL_OK) sl_assembly_close(a);
    return status;
}

void sl_assembly_close(sl_assembly *assembly)
{
    sl_driver_fini(assembly->driver);
    sl_rank_close(assembly->rank);
    sl_team_close(assembly->team);
    sl_sums_fini(&assembly->sums);
    sl_storage_release(assembly->storage, assembly->storage_bytes);
    *assembly = (sl_assembly){0};
}
