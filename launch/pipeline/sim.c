/* launch/pipeline/sim.c - see sim.h. Each turn steps every live rank at the same virtual time, in
 * an order that the seed shuffles, then jumps to the time at which something is due next. */
#include "launch/pipeline/sim.h"

#include <stdlib.h>
#include <xxhash.h>

#include "comm/transport/comm_sim.h"
#include "launch/pipeline/model_placement.h"
#include "launch/pipeline/rank_assembly.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

typedef struct {
    sl_comm *comm;
    sl_assembly built;
    sl_work *work; /* being computed, done at work_done_ns */
    int64_t work_done_ns, compute_ns;
    bool lost;
} sim_rank;

typedef struct {
    const sl_sim_options *options;
    sl_comm_net *net;
    sim_rank *ranks;
    sl_plan plan;
    sl_feeder feeder;
    int64_t now_ns;
    uint64_t draws; /* random numbers drawn so far */
} sim;

/* Heartbeats and deadlines are checked once a tick. A message that is due but not taken (its rank
 * has stopped, or has no room) is offered again after the retry time. */
static const int64_t TICK_NS = 50 * SL_MS, RETRY_NS = SL_MS;

static int64_t virtual_clock(void *context) { return ((const sim *)context)->now_ns; }

/* Uniform in [least, most]. */
static int64_t draw(sim *s, int64_t least, int64_t most)
{
    uint64_t number = s->draws++;
    uint64_t bits = XXH3_64bits_withSeed(&number, sizeof number, s->options->seed);
    return least + (int64_t)(bits % (uint64_t)(most - least + 1));
}

/* ---- building ---- */

static sl_status open_rank(sim *s, int r)
{
    const sl_sim_options *o = s->options;
    sl_comm_options comm = {.heartbeat_ns = SL_SECOND, .sim_net = s->net, .sim_rank = r};
    sl_status status = sl_comm_open("sim", &comm, &s->ranks[r].comm);
    if (status != SL_OK) return status;
    sl_assembly_options options = {
        .rank = (uint32_t)r,
        .plan = &s->plan,
        .gguf = o->gguf,
        .shape = o->shape,
        .kernels = o->kernels,
        .tokenizer = o->tokenizer,
        .threads = 1,
        .chunk = o->chunk,
        .sequences = o->sequences,
        .context = o->context,
        .expected_tokens = o->expected_tokens,
        .policy = o->policy,
        .gate = o->gate,
        .lora = o->lora,
        .watch = o->watch,
        .codec = (sl_codec_kind)o->codec,
        .silence_max_ns = o->silence_max_ns,
        .comm = s->ranks[r].comm,
        .clock = virtual_clock,
        .clock_context = s,
    };
    status = sl_assembly_open(&options, &s->ranks[r].built);
    if (status != SL_OK) return status;
    sl_frame_limits limits = sl_assembly_frame_limits(&options);
    return sl_comm_start(s->ranks[r].comm, sl_rank_message_bytes_max(&limits), s->now_ns);
}

static void make_plan(sim *s, sl_plan_rank *ranks)
{
    const sl_sim_options *o = s->options;
    sl_model_placement placement;
    sl_plan_init((uint32_t)o->ranks, ranks, &s->plan);
    sl_model_placement_init(o->gguf, o->shape, o->lora, o->ranks, &o->policy, o->sequences,
                            o->kernels->kv[SL_KV_F16]->page_bytes(o->shape->head_dim), &placement);
    sl_placement_split(&placement.options, o->context, &s->plan);
    for (int r = 0; r < o->ranks; r++) {
        ranks[r].keep = o->keep;
        ranks[r].n_pages = ranks[r].n_paged_heads * o->head_pages;
    }
}

static sl_status open_sim(sim *s, const sl_port *port)
{
    const sl_sim_options *o = s->options;
    sl_plan_rank *plan_ranks = calloc((size_t)o->ranks, sizeof *plan_ranks);
    s->ranks = calloc((size_t)o->ranks, sizeof *s->ranks);
    s->plan.ranks = plan_ranks;
    if (!s->ranks || !plan_ranks) return SL_ERR_MEMORY;
    make_plan(s, plan_ranks);
    sl_comm_net_options net = {.ranks = o->ranks,
                               .seed = o->seed,
                               .delay_min_ns = o->delay_min_ns,
                               .delay_max_ns = o->delay_max_ns};
    sl_status status = sl_comm_net_open(&net, &s->net);
    for (int r = 0; r < o->ranks && status == SL_OK; r++) status = open_rank(s, r);
    sl_feeder_init(&s->feeder, port, &s->options->watch, s->ranks[0].built.driver, 0);
    return status;
}

static void close_sim(sim *s)
{
    sl_feeder_fini(&s->feeder);
    for (int r = 0; s->ranks && r < s->options->ranks; r++) {
        sl_assembly_close(&s->ranks[r].built);
        sl_comm_close(s->ranks[r].comm);
    }
    sl_comm_net_close(s->net);
    free(s->ranks);
    free(s->plan.ranks);
}

/* ---- running ---- */

static void finish_work(sim *s, sim_rank *rank)
{
    if (!rank->work || s->now_ns < rank->work_done_ns) return;
    sl_rank_computed(rank->built.rank, rank->work);
    rank->work = NULL;
}

/* The arithmetic is done at once; its rank gets the result when the virtual time of it is over. */
static void start_work(sim *s, sim_rank *rank, sl_work *work)
{
    int64_t cost = draw(s, s->options->compute_min_ns, s->options->compute_max_ns);
    rank->compute_ns += cost;
    work->status = sl_stage_compute(rank->built.stage, &work->frame);
    sl_stage_account_get(rank->built.stage, &work->account);
    work->compute_ns = rank->compute_ns;
    work->wait_ns = s->now_ns + cost - rank->compute_ns;
    rank->work = work;
    rank->work_done_ns = s->now_ns + cost;
}

static sl_status step_rank(sim *s, int r)
{
    sim_rank *rank = &s->ranks[r];
    if (rank->lost || sl_rank_stopped(rank->built.rank)) return SL_OK;
    finish_work(s, rank);
    sl_work *work = NULL;
    sl_status status = r == 0 ? sl_feeder_step(&s->feeder, s->now_ns) : SL_OK;
    if (status == SL_OK) status = sl_rank_step(rank->built.rank, s->now_ns, &work);
    if (status == SL_OK && work) start_work(s, rank, work);
    return status;
}

static void lose_rank(sim *s)
{
    int r = s->options->lost_rank;
    if (r < 0 || s->now_ns < s->options->lost_ns || s->ranks[r].lost) return;
    s->ranks[r].lost = true;
    s->ranks[r].work = NULL;
    sl_comm_net_lose(s->net, r);
}

static bool all_stopped(const sim *s)
{
    for (int r = 0; r < s->options->ranks; r++)
        if (!sl_rank_stopped(s->ranks[r].built.rank)) return false;
    return true;
}

static int64_t next_ns(const sim *s)
{
    int64_t next = s->now_ns + TICK_NS, due = sl_comm_net_next_ns(s->net);
    if (due <= s->now_ns) due = s->now_ns + RETRY_NS;
    if (due < next) next = due;
    for (int r = 0; r < s->options->ranks; r++)
        if (s->ranks[r].work && s->ranks[r].work_done_ns < next) next = s->ranks[r].work_done_ns;
    return next;
}

static sl_status turn(sim *s, int *rank_out)
{
    lose_rank(s);
    int first = (int)draw(s, 0, s->options->ranks - 1);
    int direction = draw(s, 0, 1) ? 1 : s->options->ranks - 1;
    for (int i = 0; i < s->options->ranks; i++) {
        *rank_out = (first + i * direction) % s->options->ranks;
        sl_status status = step_rank(s, *rank_out);
        if (status != SL_OK) return status;
    }
    return SL_OK;
}

sl_status sl_sim_run(const sl_sim_options *options, const sl_port *port, sl_sim_result *result_out)
{
    sim s = {.options = options};
    sl_status status = open_sim(&s, port);
    if (status == SL_OK) {
        *result_out = (sl_sim_result){0};
        while (result_out->status == SL_OK && !all_stopped(&s)) {
            result_out->status = turn(&s, &result_out->rank);
            if (result_out->status != SL_OK) break;
            s.now_ns = next_ns(&s);
            if (s.now_ns <= options->end_ns) continue;
            sl_error("seed %llu: nothing stops the run", (unsigned long long)options->seed);
            result_out->status = SL_ERR_JOB;
        }
        result_out->virtual_ns = s.now_ns;
        result_out->packets = sl_comm_net_packets(s.net);
        result_out->restarts = sl_driver_progress_now(s.ranks[0].built.driver)->restarts;
    }
    close_sim(&s);
    return status;
}
