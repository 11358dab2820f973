/* launch/pipeline/engine.c - see engine.h. Opening goes in steps that each rank does alone (model, split,
 * plan; then load), with an agreement after each. */
#include "launch/pipeline/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "launch/machine/cores.h"
#include "launch/machine/memory.h"
#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "launch/machine/version.h"
#include "launch/pipeline/memory_plan.h"
#include "launch/pipeline/page_budget.h"
#include "launch/pipeline/parts.h"
#include "launch/pipeline/placing.h"
#include "launch/setup/model_check.h"
#include "launch/setup/policy_choice.h"
#include "launch/setup/retention.h"
#include "runtime/base/append.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/text/utf8.h"

enum { EXPECTED_TOKENS = 512 }; /* an answer; longer ones make room by restarts */

/* For the last records of a job that fails. */
static const int64_t LAST_WORDS_NS = 2 * SL_SECOND;
/* For what would explain a job that is refused. */
static const int64_t VERDICT_WAIT_NS = 5 * SL_SECOND;

enum { MODEL_NAME_BYTES = 256 };

struct sl_engine {
    sl_settings settings;
    const sl_service *service;
    sl_comm *comm;
    bool failed_alone; /* not agreed with the other ranks: the job is aborted */
    sl_port port;      /* rank 0 */
    sl_status begun;   /* rank 0: of the service; SL_AGAIN until then */
    sl_status failure; /* rank 0: what serving ended with */
    int code;          /* rank 0's exit code, on all ranks */

    sl_gguf *gguf;
    char model_name[MODEL_NAME_BYTES];
    sl_model_shape shape;
    sl_gate_file *gate_file; /* NULL: none */
    sl_policy policy;
    sl_tokenizer *tokenizer;
    sl_chat *chat;
    const sl_kernels *kernels;
    sl_kv_type kv;
    sl_codec_kind codec;
    int threads;
    int *cpus;  /* [threads] they are pinned to, or NULL */
    bool spins; /* they have a core each */
    uint32_t context;
    uint32_t *first_layer;                  /* [ranks + 1] */
    uint32_t *rank_heads;                   /* [ranks] */
    uint64_t *rank_pages;                   /* [ranks] */
    double *rank_keep;                      /* [ranks] expected retention */
    uint64_t *rank_limits;                  /* [ranks] as sl_hello has them */
    double layer_keep[SL_SPLIT_LAYERS_MAX]; /* expected retention */
    uint64_t job_bytes;                     /* of this job's lines and requests; rank 0 */
    uint64_t planned_bytes;
    sl_parts parts;
    uint64_t model_hash;
    sl_model_check *check; /* NULL until weights are loaded */
    int64_t ready_ns, ended_ns;
};

static int rank_of(const sl_engine *engine) { return sl_comm_rank(engine->comm); }
int sl_engine_ranks(const sl_engine *engine) { return sl_comm_ranks(engine->comm); }
const sl_tokenizer *sl_engine_tokenizer(const sl_engine *engine) { return engine->tokenizer; }
const sl_chat *sl_engine_chat(const sl_engine *engine) { return engine->chat; }
uint32_t sl_engine_context(const sl_engine *engine) { return engine->context; }
uint64_t sl_engine_text_bytes_max(const sl_engine *engine)
{
    return (uint64_t)engine->context * sl_tokenizer_decode_bytes_max(engine->tokenizer);
}
const char *sl_engine_model_name(const sl_engine *engine) { return engine->model_name; }
uint32_t sl_engine_sequences(const sl_engine *engine) { return engine->settings.sequences; }
sl_codec_kind sl_engine_codec(const sl_engine *engine) { return engine->codec; }
uint32_t sl_engine_first_layer(const sl_engine *engine, int rank)
{
    return engine->first_layer[rank];
}
const sl_model_shape *sl_engine_shape(const sl_engine *engine) { return &engine->shape; }
const char *sl_engine_kernels(const sl_engine *engine) { return engine->kernels->name; }

const char *sl_engine_kv(const sl_engine *engine)
{
    SL_ASSERT(engine->kernels);
    return engine->kernels->kv[engine->kv]->name;
}
int sl_engine_threads(const sl_engine *engine) { return engine->threads; }
const sl_kernels *sl_engine_kernel_set(const sl_engine *engine) { return engine->kernels; }

sl_team_options sl_engine_team(const sl_engine *engine)
{
    return (sl_team_options){
        .threads = engine->threads, .spins = engine->spins, .cpus = engine->cpus};
}
uint64_t sl_engine_model_hash(const sl_engine *engine) { return engine->model_hash; }

sl_status sl_engine_model_verdict(const sl_engine *engine)
{
    return sl_model_check_ready(engine->check);
}

/* The gate the policy asks, or NULL. */
static const sl_gate *gate_of(const sl_engine *e)
{
    return e->policy.kind == SL_POLICY_GATE ? sl_gate_file_gate(e->gate_file) : NULL;
}

uint64_t sl_engine_gate_hash(const sl_engine *engine)
{
    return gate_of(engine) ? sl_gate_file_hash(engine->gate_file) : 0;
}
const sl_policy *sl_engine_policy(const sl_engine *engine) { return &engine->policy; }

/* ---- opening: what this rank can do alone ---- */

static sl_status open_comm(sl_engine *e)
{
    sl_status status = sl_ranks_open(&e->comm);
    if (status != SL_OK) return status;
    size_t ranks = (size_t)sl_engine_ranks(e);
    e->first_layer = calloc(ranks + 1, sizeof *e->first_layer);
    e->rank_heads = calloc(ranks, sizeof *e->rank_heads);
    e->rank_pages = calloc(ranks, sizeof *e->rank_pages);
    e->rank_keep = calloc(ranks, sizeof *e->rank_keep);
    e->rank_limits = calloc(ranks, sizeof *e->rank_limits);
    bool good = e->first_layer && e->rank_heads && e->rank_pages && e->rank_keep && e->rank_limits;
    return good ? SL_OK : SL_ERR_MEMORY;
}

static sl_status check_settings(const sl_settings *s)
{
    if (!s->model) {
        sl_error("no model: give one with -m FILE.gguf");
        return SL_ERR_OPTION;
    }
    return SL_OK;
}

static sl_status check_kv(const sl_engine *e)
{
    const sl_kv_layout *layout = e->kernels->kv[e->kv];
    if (e->shape.head_dim % layout->head_dim_step == 0) return SL_OK;
    sl_error("--kv %s needs heads of a multiple of %zu wide, those of %s are %u", layout->name,
             layout->head_dim_step, e->settings.model, e->shape.head_dim);
    return SL_ERR_OPTION;
}

static sl_status open_policy(sl_engine *e)
{
    const sl_settings *s = &e->settings;
    const sl_gate *gate = NULL;
    if (s->gate) {
        sl_status status = sl_gate_file_open(s->gate, &e->gate_file);
        if (status != SL_OK) return status;
        gate = sl_gate_file_gate(e->gate_file);
        status = sl_gate_fits(gate, s->gate, e->shape.n_layers, e->shape.n_kv_heads,
                              e->shape.width);
        if (status != SL_OK) return status;
    }
    return sl_policy_choose(s, gate, rank_of(e) == 0, &e->policy);
}

static void choose_threads(sl_engine *e)
{
    int on_host = sl_comm_ranks_on_host(e->comm), wanted = (int)e->settings.threads;
    e->threads = wanted ? wanted : sl_cores_per_rank(on_host);
    e->spins = sl_cores_suffice(on_host, e->threads);
    sl_cores_tell_quota(on_host, e->threads, rank_of(e) == 0);
    e->cpus = malloc((size_t)e->threads * sizeof *e->cpus);
    bool pinned = e->cpus &&
                  sl_cores_assign(sl_comm_rank_on_host(e->comm), on_host, e->threads, e->cpus);
    if (pinned) return;
    free(e->cpus);
    e->cpus = NULL;
}

/* As results call it: what is no UTF-8 of it, and what is too long, is not there. */
static void name_model(sl_engine *e)
{
    sl_text name = {0};
    const char *path = e->settings.model, *slash = strrchr(path, '/');
    if (!sl_gguf_text(e->gguf, "general.name", &name) || name.bytes == 0) {
        name.data = slash ? slash + 1 : path;
        name.bytes = strlen(name.data);
    }
    size_t written = 0;
    for (size_t at = 0, n; at < name.bytes; at += n) {
        const uint8_t *text = (const uint8_t *)name.data + at;
        const bool whole = sl_utf8_next(text, name.bytes - at, &n) == SL_UTF8_WHOLE;
        if (!whole || *text == '\0') continue;
        if (written + n >= sizeof e->model_name) break;
        memcpy(e->model_name + written, text, n);
        written += n;
    }
    e->model_name[written] = '\0';
}

static sl_status open_model(sl_engine *e)
{
    const sl_settings *s = &e->settings;
    sl_status status = check_settings(s);
    if (status == SL_OK) status = sl_codec_kind_named(s->codec, &e->codec);
    if (status == SL_OK) status = sl_kernels_choose(&e->kernels);
    if (status == SL_OK) status = sl_gguf_open(s->model, &e->gguf);
    if (status == SL_OK) name_model(e);
    if (status == SL_OK) status = sl_model_shape_read(e->gguf, &e->shape);
    if (status == SL_OK) status = sl_kv_type_choose(s->kv, e->kernels, e->shape.head_dim, &e->kv);
    if (status == SL_OK) status = check_kv(e);
    if (status == SL_OK) status = open_policy(e);
    if (status == SL_OK && rank_of(e) == 0) {
        status = sl_tokenizer_open(e->gguf, &e->tokenizer);
        if (status == SL_OK) status = sl_chat_open(e->gguf, e->tokenizer, &e->chat);
        if (status == SL_OK && (uint32_t)sl_tokenizer_n_tokens(e->tokenizer) > e->shape.vocab) {
            sl_error("%s: %d tokens but an embedding of %u rows", s->model,
                     sl_tokenizer_n_tokens(e->tokenizer), e->shape.vocab);
            status = SL_ERR_FORMAT;
        }
    }
    if (status != SL_OK) return status;
    e->context = s->context ? s->context : e->shape.context;
    if (e->context > e->shape.context && rank_of(e) == 0)
        sl_warn("--context %u is beyond the %u tokens the model was trained for", e->context,
                e->shape.context);
    choose_threads(e);
    return SL_OK;
}

/* What each layer is expected to keep: all when requests are compared with one that does; else as measured
 * in an earlier run, or as the gate or policy says. A prompt that is pruned only as it ends is all there
 * until then. */
static sl_status expect_retention(sl_engine *e)
{
    const char *measured = e->settings.retention;
    if (e->service->compared_rows > 0) {
        for (uint32_t i = 0; i < e->shape.n_layers; i++) e->layer_keep[i] = 1;
        return SL_OK;
    }
    if (measured && sl_policy_at_prompt_end(e->policy.kind) && rank_of(e) == 0)
        sl_info("--policy %s ignores --retention: until a prompt ends all of it is kept",
                sl_policy_name(e->policy.kind));
    if (!measured || sl_policy_at_prompt_end(e->policy.kind)) {
        sl_policy_expect(&e->policy, gate_of(e), e->shape.n_layers, e->shape.n_kv_heads,
                         e->layer_keep);
        return SL_OK;
    }
    return sl_retention_read(measured, e->shape.n_layers, e->shape.n_kv_heads, e->layer_keep);
}

static sl_status check_ranks(sl_engine *e)
{
    uint32_t n = e->shape.n_layers;
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

static const sl_kv_layout *kv_layout(const sl_engine *e) { return e->kernels->kv[e->kv]; }

typedef enum { SPLIT_FREELY, SPLIT_WITHIN_LIMITS } split_kind;

/* Layers to ranks by weights and expected caches; all ranks compute the same. */
static void split_layers(sl_engine *e, split_kind kind)
{
    int ranks = sl_engine_ranks(e);
    sl_parts_placement p;
    sl_parts_placement_init(e->gguf, &e->shape, ranks, &e->policy, e->settings.sequences,
                            kv_layout(e)->page_bytes(e->shape.head_dim), &p);
    for (uint32_t i = 0; i < e->shape.n_layers; i++)
        p.keep[i] = sl_page_budget_with_margin(e->layer_keep[i]);
    if (kind == SPLIT_WITHIN_LIMITS) p.options.rank_limits = e->rank_limits;
    uint64_t excess = sl_placement_split(&p.options, e->context, e->first_layer);
    for (int r = 0; r < ranks; r++) {
        uint32_t first = e->first_layer[r], end = e->first_layer[r + 1];
        double sum = 0;
        for (uint32_t i = first; i < end; i++) sum += e->layer_keep[i];
        e->rank_heads[r] = (end - first) * e->shape.n_kv_heads;
        e->rank_keep[r] = sum / (end - first);
    }
    if (kind == SPLIT_FREELY || rank_of(e) != 0 || ranks == 1) return;
    char reason[SL_PLACING_REASON_BYTES];
    sl_placing_reason(&p.options, e->context, e->first_layer, excess, reason, sizeof reason);
    sl_info("%s", reason);
}

/* ---- memory ---- */

static sl_parts_options parts_options(sl_engine *e)
{
    const sl_settings *s = &e->settings;
    return (sl_parts_options){
        .rank = rank_of(e),
        .ranks = sl_engine_ranks(e),
        .gguf = e->gguf,
        .shape = &e->shape,
        .kernels = e->kernels,
        .kv = e->kv,
        .tokenizer = e->tokenizer,
        .threads = e->threads,
        .cpus = e->cpus,
        .spins = e->spins,
        .chunk = s->chunk,
        .sequences = s->sequences,
        .context = e->context,
        .expected_tokens = EXPECTED_TOKENS,
        .policy = e->policy,
        .gate = gate_of(e),
        .compared_rows = e->service->compared_rows,
        .flags = s->keep_out != NULL,
        .codec = e->codec,
        .silence_max_ns = (int64_t)(s->peer_timeout_s * (double)SL_SECOND),
        .first_layer = e->first_layer,
        .rank_heads = e->rank_heads,
        .rank_pages = e->rank_pages,
        .rank_keep = e->rank_keep,
        .planned_bytes = e->planned_bytes,
        .comm = e->comm,
        .clock = sl_clock_read,
        .watch = e->service->watch,
        .profile = rank_of(e) == 0 ? e->service->profile : NULL,
    };
}

/* What this rank may take beside what it has. */
static sl_memory_limits memory_limits(const sl_engine *e)
{
    uint64_t used = sl_memory_used_bytes(), memory = e->settings.memory;
    uint64_t share = sl_memory_available_bytes() / 5 * 4 / (uint64_t)sl_comm_ranks_on_host(e->comm);
    sl_memory_limits limits = {.allowed = share,
                               .source = "80% of the host's free memory, shared by its ranks",
                               .data = sl_limit_data(),
                               .address = sl_limit_address()};
    if (memory > 0) {
        limits.allowed = memory > used ? memory - used : 0;
        limits.source = "--memory";
    }
    return limits;
}

/* All that this rank will take, with the split as it is. */
static sl_memory_needs memory_needs(sl_engine *e)
{
    sl_parts_options parts = parts_options(e);
    sl_memory_needs needs = sl_parts_needs(&parts, sl_comm_kind(e->comm));
    needs.in_use = sl_memory_used_bytes();
    needs.job = e->job_bytes;
    return needs;
}

/* What weights and cache may take here, by a first split that knows no limits: how the rest depends
 * on it is little. */
static void find_limits(sl_engine *e)
{
    int rank = rank_of(e);
    if (rank == 0 && e->service->job_bytes)
        e->job_bytes = e->service->job_bytes(e->service->context, e);
    split_layers(e, SPLIT_FREELY);
    sl_memory_needs n = memory_needs(e);
    sl_memory_limits limits = memory_limits(e);
    sl_parts_options parts = parts_options(e);
    uint64_t rings = sl_parts_ring_bytes(&parts);
    uint64_t beside = n.messages + n.stacks + n.job + sl_saturating_sub_u64(n.fixed, rings);
    e->rank_limits[rank] = sl_saturating_sub_u64(sl_memory_limits_left(&limits), beside);
}

static sl_status plan_memory(sl_engine *e)
{
    sl_memory_needs needs = memory_needs(e);
    sl_memory_limits limits = memory_limits(e);
    sl_memory_plan plan;
    sl_status status = sl_memory_plan_make(&needs, &limits, &plan);
    if (status != SL_OK) return status;
    e->rank_pages[rank_of(e)] = plan.n_pages;
    e->planned_bytes = plan.total;
    return SL_OK;
}

/* Build the parts and bring the weights into memory. */
static sl_status load(sl_engine *e)
{
    sl_parts_options parts = parts_options(e);
    return sl_parts_open(&parts, &e->parts);
}

/* ---- agreeing with the other ranks ---- */

/* Everything that must be equal on all ranks, as one number. */
static uint64_t options_hash(const sl_engine *e)
{
    char text[512];
    const sl_settings *s = &e->settings;
    const sl_policy *p = &e->policy;
    size_t used = 0;
    sl_append(text, sizeof text, &used, "%u %u %u %u %u %u %u %s %s %s %.17g %.9g %d %d %g",
              s->chunk, e->context, s->sequences, p->sinks, p->window, e->shape.n_layers,
              e->service->compared_rows, s->codec, s->kv, sl_policy_name(p->kind), p->keep,
              (double)p->threshold, p->has_threshold, s->keep_out != NULL, s->peer_timeout_s);
    uint64_t gate_hash = e->gate_file ? sl_gate_file_hash(e->gate_file) : 0;
    uint64_t keep_hash = XXH3_64bits(e->layer_keep, e->shape.n_layers * sizeof *e->layer_keep);
    return XXH3_64bits(text, used) ^ gate_hash ^ keep_hash;
}

static sl_status compare_hello(const sl_engine *e, const sl_hello *mine, const sl_hello *other,
                               int rank)
{
    if (other->header_hash != mine->header_hash) {
        sl_error("rank %d on %s has another model file than %s of rank %d on %s, or one of them is "
                 "damaged: their headers differ. Copy the model again",
                 rank, other->host, e->settings.model, rank_of(e), mine->host);
        return SL_ERR_FORMAT;
    }
    if (other->options_hash != mine->options_hash) {
        sl_error(
            "rank %d on %s was started with other options, or another gate file, than rank %d on "
            "%s",
            rank, other->host, rank_of(e), mine->host);
        return SL_ERR_OPTION;
    }
    if (rank_of(e) != 0) return SL_OK;
    if (strcmp(other->build, mine->build) != 0)
        sl_warn("rank %d runs build %s, rank 0 %s", rank, other->build, mine->build);
    if (strcmp(other->kernels, mine->kernels) != 0 && !e->parts.storage) /* once: before loading */
        sl_warn("rank %d on %s computes with %s kernels, rank 0 with %s: results may differ in the "
                "last "
                "digits from a run on like CPUs (SLUICE_KERNELS forces one set)",
                rank, other->host, other->kernels, mine->kernels);
    return SL_OK;
}

/* Tell everybody how it went here, and hear how it went there: the first bad status wins. */
static sl_status agree(sl_engine *engine, sl_status status)
{
    int ranks = sl_engine_ranks(engine);
    sl_hello mine = {
        .version = SL_WIRE_VERSION, .status = status, .threads = (uint32_t)engine->threads};
    snprintf(mine.build, sizeof mine.build, "%s", sl_version());
    snprintf(mine.kernels, sizeof mine.kernels, "%s", engine->kernels ? engine->kernels->name : "");
    gethostname(mine.host, sizeof mine.host - 1);
    if (status == SL_OK) {
        mine.options_hash = options_hash(engine);
        mine.header_hash = sl_gguf_header_hash(engine->gguf);
        mine.model_hash = engine->parts.hash_share;
        mine.memory_limit = engine->rank_limits[rank_of(engine)];
        mine.pages_total = engine->rank_pages[rank_of(engine)];
        mine.planned_bytes = engine->planned_bytes;
    }
    uint8_t bytes[SL_HELLO_BYTES], *all = malloc((size_t)ranks * SL_HELLO_BYTES);
    sl_hello *hellos = calloc((size_t)ranks, sizeof *hellos);
    if (!all || !hellos) abort(); /* a few kilobytes at start-up: nothing can be said any more */
    sl_wire_encode_hello(&mine, bytes);
    sl_status agreed = sl_comm_gather(engine->comm, bytes, SL_HELLO_BYTES, all, 0);
    if (agreed != SL_OK) sl_ranks_abort(engine->comm, sl_exit_code(agreed)); /* with whom? */
    for (int r = 0; r < ranks && agreed == SL_OK; r++) {
        agreed = sl_wire_decode_hello(all + (size_t)r * SL_HELLO_BYTES, &hellos[r]);
        if (agreed == SL_OK) agreed = (sl_status)hellos[r].status; /* logged where it happened */
    }
    engine->model_hash = 0;
    for (int r = 0; r < ranks && agreed == SL_OK; r++) {
        agreed = compare_hello(engine, &mine, &hellos[r], r);
        engine->rank_limits[r] = hellos[r].memory_limit;
        engine->rank_pages[r] = hellos[r].pages_total;
        engine->model_hash += hellos[r].model_hash;
    }
    free(hellos);
    free(all);
    return agreed;
}

/* A gate is for one model's very tensors. */
static sl_status check_gate_hash(const sl_engine *e)
{
    return sl_gate_fits_hash(sl_gate_file_gate(e->gate_file), e->settings.gate,
                             e->model_hash - sl_gguf_header_hash(e->gguf), e->settings.model);
}

static sl_status open_engine(void *context)
{
    sl_engine *e = context;
    sl_status status = SL_OK;
    if (rank_of(e) == 0 && e->service->check) status = e->service->check(e->service->context);
    if (status == SL_OK) status = open_model(e);
    if (status == SL_OK) status = check_ranks(e);
    if (status == SL_OK) find_limits(e);
    status = agree(e, status); /* on each other's limits too */
    if (status != SL_OK) return status;

    split_layers(e, SPLIT_WITHIN_LIMITS);
    status = agree(e, plan_memory(e));
    if (status != SL_OK) return status;

    status = agree(e, load(e));
    if (status != SL_OK) return status;
    const sl_weights *weights = &e->parts.weights;
    sl_debug("layers %u to %u, %d threads, %s kernels, %llu pages", weights->layer_begin,
             weights->layer_end - 1, e->threads, e->kernels->name,
             (unsigned long long)e->rank_pages[rank_of(e)]);
    return SL_OK;
}

/* What each rank loaded against what it should be; then, since all know the same, the gate's word on it
 * from one of them. */
static sl_status check_here(sl_engine *e)
{
    sl_model_check_options options = {
        .comm = e->comm,
        .gguf = e->gguf,
        .gate = e->gate_file ? sl_gate_file_gguf(e->gate_file) : NULL,
        .first_layer = e->first_layer,
        .loaded = &e->parts.sums,
        .trust = e->settings.trust_model,
    };
    sl_status status = sl_model_check_open(&options, &e->check);
    if (status == SL_ERR_PEER || status == SL_ERR_JOB)
        sl_ranks_abort(e->comm, sl_exit_code(status)); /* nobody to agree with */
    if (status == SL_OK && e->gate_file && rank_of(e) == 0) status = check_gate_hash(e);
    if (status == SL_OK && e->service->verify_first && rank_of(e) == 0)
        status = sl_model_check_wait(e->check, -1);
    return status;
}

static sl_status check_model(void *context)
{
    sl_engine *e = context;
    return agree(e, check_here(e));
}

/* ---- serving and ending ---- */

static sl_status begin_service(void *context)
{
    sl_engine *e = context;
    const sl_service *service = e->service;
    bool first = rank_of(e) == 0;
    e->begun = first ? service->begin(service->context, e, &e->port) : SL_OK;
    if (e->begun ==
            SL_ERR_OPTION && /* a damaged copy makes it another job than it was: say which */
        sl_model_check_wait(e->check, VERDICT_WAIT_NS) == SL_ERR_FORMAT)
        e->begun = SL_ERR_FORMAT;
    e->port.ready = sl_model_check_ready; /* results wait until all are known to have one model */
    e->port.ready_context = e->check;
    return agree(e, e->begun);
}

static sl_status run(sl_engine *e)
{
    int busy = sl_comm_ranks_on_host(e->comm) * e->threads;
    sl_loop_options options = {
        .rank = e->parts.rank,
        .stage = e->parts.stage,
        .driver = e->parts.driver,
        .team = e->parts.team,
        .port = rank_of(e) == 0 ? &e->port : NULL,
        .watch = &e->service->watch,
        .spare_core = sl_cores_usable() > busy,
    };
    e->ready_ns = sl_clock_now_ns();
    sl_process_catch_signals(); /* until now they just end a process that is alone */
    sl_parts_options parts = parts_options(e);
    sl_frame_limits limits = sl_parts_limits(&parts);
    sl_status status = sl_comm_start(e->comm, sl_rank_message_bytes_max(&limits), e->ready_ns);
    if (status == SL_OK) status = sl_loop_run(&options);
    e->ended_ns = sl_clock_now_ns();
    e->failed_alone = status != SL_OK;
    return status;
}

/* All ranks' word on whether their files are still those that were loaded. */
static sl_status end_check(sl_engine *e)
{
    const char *unverified = sl_model_check_unverified(e->check);
    if (rank_of(e) == 0 && unverified) sl_info("model: unverified (%s)", unverified);
    return agree(e, sl_model_check_end(e->check));
}

/* Let the service end, with how serving went; rank 0's exit code is then that of all. */
static sl_status end_service(void *context)
{
    sl_engine *e = context;
    const sl_service *service = e->service;
    sl_status status = SL_OK, files = end_check(e);
    if (rank_of(e) == 0) {
        status = service->end(service->context, e, SL_OK);
        e->code = status == SL_OK && service->some_failed && *service->some_failed
                      ? SL_EXIT_SOME_FAILED
                      : sl_exit_code(status);
        if (status == SL_OK && files != SL_OK) e->code = sl_exit_code(files);
    }
    int *codes = calloc((size_t)sl_engine_ranks(e), sizeof *codes);
    if (!codes) abort(); /* four bytes a rank: nothing can be said any more */
    sl_status gathered = sl_comm_gather(e->comm, &e->code, sizeof e->code, codes, 0);
    if (gathered == SL_OK) e->code = codes[0];
    free(codes);
    return gathered == SL_OK ? status : gathered;
}

static sl_status end_failed_service(void *context)
{
    sl_engine *e = context;
    return e->service->end(e->service->context, e, e->failure);
}

/* What is finished is still written, in so much time and no more: other ranks wait for the abort, and
 * a file system that hangs may be why the job fails. The thread that computes is not waited for. */
static void end_in_failure(sl_engine *e, sl_status status)
{
    if (rank_of(e) != 0 || e->begun != SL_OK) return;
    e->failure = status;
    if (!sl_ranks_work_briefly(end_failed_service, e, LAST_WORDS_NS)) e->failed_alone = true;
}

static sl_status attend(sl_engine *e, sl_status (*work)(void *context))
{
    return sl_ranks_attend(e->comm, e->settings.peer_timeout_s, SL_SIGNAL_ENDS_JOB, work, e);
}

static sl_status serve(sl_engine *e)
{
    e->begun = SL_AGAIN;
    sl_status status = attend(e, open_engine);
    if (status == SL_OK) status = attend(e, check_model); /* threads from here inherit no pinning */
    if (status == SL_OK) status = attend(e, begin_service);
    if (status == SL_OK) status = run(e);
    if (status == SL_OK) return attend(e, end_service);
    end_in_failure(e, status);
    return status;
}

const sl_driver_progress *sl_engine_progress(const sl_engine *engine)
{
    return sl_driver_progress_now(engine->parts.driver);
}

void sl_engine_report_get(const sl_engine *engine, sl_engine_report *report_out)
{
    *report_out = (sl_engine_report){
        .progress = *sl_driver_progress_now(engine->parts.driver),
        .seconds = (double)(engine->ended_ns - engine->ready_ns) / SL_SECOND,
        .ranks = (uint32_t)sl_engine_ranks(engine),
        .ledger = sl_rank_ledger(engine->parts.rank),
        .first_layer = engine->first_layer,
        .shape = &engine->shape,
        .heads = sl_driver_heads(engine->parts.driver),
        .page_bytes = kv_layout(engine)->page_bytes(engine->shape.head_dim),
        .policy = engine->policy,
        .unverified = sl_model_check_unverified(engine->check),
    };
}

/* Close, or end the whole job with the status's exit code. */
static int end(sl_engine *e, sl_status status)
{
    int code = status == SL_OK ? e->code : sl_exit_code_stopped(status);
    if (e->comm && e->failed_alone) sl_ranks_abort(e->comm, code);
    sl_model_check_close(e->check);
    sl_parts_close(&e->parts);
    sl_chat_close(e->chat);
    sl_tokenizer_close(e->tokenizer);
    sl_gate_file_close(e->gate_file);
    sl_gguf_close(e->gguf);
    free(e->first_layer);
    free(e->cpus);
    free(e->rank_heads);
    free(e->rank_pages);
    free(e->rank_keep);
    free(e->rank_limits);
    return e->comm ? sl_ranks_close(e->comm, code) : code;
}

int sl_engine_serve(const sl_settings *settings, const sl_service *service)
{
    sl_engine engine = {.settings = *settings, .service = service};
    sl_status status = open_comm(&engine);
    if (status == SL_OK) status = serve(&engine);
    return end(&engine, status);
}
