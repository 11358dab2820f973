/* launch/pipeline/engine_plan.c - see engine_plan.h. */
#include "launch/pipeline/engine_plan.h"

#include "launch/machine/memory.h"
#include "launch/pipeline/memory_plan.h"
#include "launch/pipeline/model_placement.h"
#include "launch/pipeline/placement_reason.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "sched/head_pages.h"

/* What each layer is expected to keep: everything when requests are compared with one that keeps
 * all, else as settings, gate or policy say. */
static sl_status expect_retention(sl_engine *e)
{
    if (e->service->compared_rows == 0) return sl_model_setup_expect(&e->model, e->layer_keep);
    for (uint32_t i = 0; i < e->model.shape.n_layers; i++) e->layer_keep[i] = 1;
    return SL_OK;
}

sl_status sl_engine_plan_check(sl_engine *e)
{
    uint32_t n = e->model.shape.n_layers;
    int ranks = sl_engine_ranks(e);
    if (n > SL_SPLIT_LAYERS_MAX) {
        sl_error("%s: %u layers, supported are up to %d", e->settings.model, n,
                 SL_SPLIT_LAYERS_MAX);
        return SL_ERR_UNSUPPORTED;
    }
    if ((uint32_t)ranks > n) {
        sl_error("%d ranks for a model of %u layers: start at most %u", ranks, n, n);
        return SL_ERR_OPTION;
    }
    return expect_retention(e);
}

/* ---- the split ---- */

/* What the layers with pages of a rank keep on average. */
static double mean_keep(const sl_engine *e, const sl_plan_rank *rank)
{
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t i = rank->first_layer; i < rank->first_layer + rank->n_layers; i++) {
        if (sl_sliding_window(&e->model.shape, i)) continue;
        sum += e->layer_keep[i];
        n++;
    }
    return n > 0 ? sum / n : 1;
}

static void expect_ranks(sl_engine *e)
{
    for (uint32_t r = 0; r < e->plan.n_ranks; r++)
        e->plan.ranks[r].keep = mean_keep(e, &e->plan.ranks[r]);
}

/* By weights and expected caches, within the limits that are known so far. Returns by how many
 * bytes a rank is beyond its limit. */
static uint64_t split_layers(sl_engine *e, sl_model_placement *p)
{
    sl_model_placement_init(e->model.gguf, &e->model.shape, &e->model.lora, sl_engine_ranks(e),
                            &e->model.policy, e->settings.sequences,
                            sl_engine_kv_layout(e)->page_bytes(e->model.shape.head_dim), p);
    for (uint32_t i = 0; i < e->model.shape.n_layers; i++)
        p->keep[i] = sl_head_retention_with_margin(e->layer_keep[i]);
    uint64_t excess = sl_placement_split(&p->options, e->context, &e->plan);
    expect_ranks(e);
    return excess;
}

void sl_engine_plan_split(sl_engine *e)
{
    sl_model_placement p;
    uint64_t excess = split_layers(e, &p);
    if (sl_engine_rank(e) != 0 || e->plan.n_ranks == 1) return;
    char reason[SL_PLACEMENT_REASON_BYTES];
    sl_placement_reason(&p.options, e->context, &e->plan, excess, reason, sizeof reason);
    sl_info("%s", reason);
}

/* ---- memory ---- */

/* What this rank may take beside what it has taken already. */
static sl_memory_limits memory_limits(const sl_engine *e)
{
    uint64_t used = sl_memory_used_bytes(), memory = e->settings.memory;
    uint64_t share = sl_memory_available_bytes() / 5 * 4 / (uint64_t)sl_comm_ranks_on_host(e->comm);
    sl_memory_limits limits = {.allowed = share,
                               .source = "80% of the host's free memory, shared by its ranks",
                               .data = sl_limit_data(),
                               .address = sl_limit_address()};
    if (memory > 0) {
        limits.allowed = sl_saturating_sub_u64(memory, used);
        limits.source = "--memory";
    }
    return limits;
}

/* All that this rank will take, with the split as it is. */
static sl_memory_needs memory_needs(sl_engine *e)
{
    sl_assembly_options assembly = sl_engine_assembly_options(e);
    sl_memory_needs needs = sl_assembly_memory_needs(&assembly, sl_comm_kind(e->comm));
    needs.in_use = sl_memory_used_bytes();
    needs.job = e->job_bytes;
    return needs;
}

/* A first split that knows no limits says what everything else takes, which hardly depends on the
 * split. */
void sl_engine_plan_limits(sl_engine *e)
{
    int rank = sl_engine_rank(e);
    if (rank == 0 && e->service->job_bytes)
        e->job_bytes = e->service->job_bytes(e->service->context, e);
    sl_model_placement p;
    split_layers(e, &p);
    sl_memory_needs n = memory_needs(e);
    sl_memory_limits limits = memory_limits(e);
    sl_assembly_options assembly = sl_engine_assembly_options(e);
    uint64_t rings = sl_assembly_ring_bytes(&assembly);
    uint64_t beside = n.messages + n.stacks + n.job + sl_saturating_sub_u64(n.fixed, rings);
    e->plan.ranks[rank].limit_bytes = sl_saturating_sub_u64(sl_memory_limits_left(&limits), beside);
}

sl_status sl_engine_plan_memory(sl_engine *e)
{
    sl_memory_needs needs = memory_needs(e);
    sl_memory_limits limits = memory_limits(e);
    sl_memory_plan plan;
    sl_status status = sl_memory_plan_make(&needs, &limits, &plan);
    if (status != SL_OK) return status;
    e->plan.ranks[sl_engine_rank(e)].n_pages = plan.n_pages;
    e->planned_bytes = plan.total;
    return SL_OK;
}
