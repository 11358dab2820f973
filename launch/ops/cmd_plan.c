/* launch/ops/cmd_plan.c - `sluice plan`: which host would hold what, without starting anything;
 * beside the split that gives every rank as many layers. */
#include <stdio.h>
#include <stdlib.h>

#include "launch/json/json_object.h"
#include "launch/machine/memory.h"
#include "launch/machine/process.h"
#include "launch/ops/ops_commands.h"
#include "launch/output/report.h"
#include "launch/pipeline/model_placement.h"
#include "launch/pipeline/placement_reason.h"
#include "launch/pipeline/rank_assembly.h"
#include "launch/setup/hostfile.h"
#include "launch/setup/model_setup.h"
#include "launch/setup/rank0_command.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/base/plain.h"
#include "sched/head_pages.h"

enum { CONTEXT_MAX = 1 << 24 };

typedef struct {
    const sl_settings *settings;
    sl_model_setup setup;
    uint32_t context;
    sl_host *hosts;
    size_t n_hosts;
    int ranks;
    const sl_host *host_of[SL_SPLIT_LAYERS_MAX];
    double keep[SL_SPLIT_LAYERS_MAX];
    sl_model_placement placement;
    uint64_t memory[SL_SPLIT_LAYERS_MAX]; /* of each rank; UINT64_MAX: not known */
    uint64_t beside[SL_SPLIT_LAYERS_MAX]; /* all but weights and cache */
} planning;

/* A split with what it gives. */
typedef struct {
    sl_plan plan;
    sl_plan_rank ranks[SL_SPLIT_LAYERS_MAX];
    uint32_t largest; /* rank */
    uint32_t longest; /* context it holds under the limits */
} outcome;

/* ---- what is given ---- */

static sl_status open_hosts(planning *p)
{
    sl_status status = sl_hostfile_read(p->settings->hosts, &p->hosts, &p->n_hosts);
    if (status != SL_OK) return status;
    for (size_t h = 0; h < p->n_hosts; h++)
        for (uint32_t slot = 0; slot < p->hosts[h].slots; slot++) {
            if ((uint32_t)p->ranks == p->setup.shape.n_layers || p->ranks == SL_SPLIT_LAYERS_MAX) {
                sl_error("%s has slots for more ranks than the model has layers, %u",
                         p->settings->hosts, p->setup.shape.n_layers);
                return SL_ERR_OPTION;
            }
            p->host_of[p->ranks++] = &p->hosts[h];
        }
    return SL_OK;
}

/* Bytes of a rank beside weights and the cache that placement counts, with layers split evenly: it
 * hardly depends on the split. What a process has when it starts is taken from this one, which has
 * no MPI in it; the job's own lines are not known. */
static void find_beside(planning *p)
{
    sl_plan_rank ranks[SL_SPLIT_LAYERS_MAX];
    sl_plan even;
    const sl_settings *s = p->settings;
    sl_plan_init((uint32_t)p->ranks, ranks, &even);
    sl_placement_even(&p->placement.options, &even);
    for (uint32_t r = 0; r < even.n_ranks; r++) {
        sl_assembly_options options = {
            .rank = r,
            .plan = &even,
            .gguf = p->setup.gguf,
            .shape = &p->setup.shape,
            .kernels = p->setup.kernels,
            .kv = p->setup.kv,
            .tokenizer = p->setup.tokenizer,
            .threads = s->threads ? (int)s->threads : 1,
            .chunk = s->chunk,
            .sequences = s->sequences,
            .context = p->context,
            .policy = p->setup.policy,
            .gate = sl_model_setup_policy_gate(&p->setup),
            .lora = &p->setup.lora,
        };
        sl_memory_needs n = sl_assembly_memory_needs(&options, p->ranks > 1 ? "mpi" : "self");
        p->beside[r] = sl_memory_used_bytes() + n.fixed - sl_assembly_ring_bytes(&options) +
                       n.messages + n.stacks;
    }
}

static void find_memory(planning *p)
{
    for (int r = 0; r < p->ranks; r++) {
        const sl_host *host = p->host_of[r];
        p->memory[r] = host->memory > 0          ? host->memory / host->slots
                       : p->settings->memory > 0 ? p->settings->memory
                                                 : UINT64_MAX;
    }
}

/* A plan without layers, with each rank's limit. */
static void limit_plan(const planning *p, outcome *o)
{
    sl_plan_init((uint32_t)p->ranks, o->ranks, &o->plan);
    for (uint32_t r = 0; r < o->plan.n_ranks; r++)
        if (p->memory[r] != UINT64_MAX)
            o->ranks[r].limit_bytes = sl_saturating_sub_u64(p->memory[r], p->beside[r]);
}

static sl_status open_plan(planning *p)
{
    const sl_settings *s = p->settings;
    p->setup = (sl_model_setup){.model = s->model, .settings = s};
    sl_status status = sl_model_setup_open(&p->setup, SL_SETUP_TOKENIZER);
    if (status == SL_OK) status = sl_model_setup_open(&p->setup, SL_SETUP_SHAPE);
    if (status == SL_OK && p->setup.shape.n_layers > SL_SPLIT_LAYERS_MAX) {
        sl_error("%s: %u layers, supported are up to %d", s->model, p->setup.shape.n_layers,
                 SL_SPLIT_LAYERS_MAX);
        status = SL_ERR_UNSUPPORTED;
    }
    if (status == SL_OK)
        status = sl_model_setup_open(&p->setup, SL_SETUP_KV | SL_SETUP_LORA | SL_SETUP_POLICY);
    if (status == SL_OK) status = sl_model_setup_expect(&p->setup, p->keep);
    if (status == SL_OK) status = open_hosts(p);
    if (status != SL_OK) return status;
    p->context = s->context ? s->context : p->setup.shape.context;
    sl_model_placement_init(
        p->setup.gguf, &p->setup.shape, &p->setup.lora, p->ranks, &p->setup.policy, s->sequences,
        p->setup.kernels->kv[p->setup.kv]->page_bytes(p->setup.shape.head_dim), &p->placement);
    for (uint32_t i = 0; i < p->setup.shape.n_layers; i++)
        p->placement.keep[i] = sl_head_retention_with_margin(p->keep[i]);
    find_beside(p);
    find_memory(p);
    return SL_OK;
}

static void close_plan(planning *p)
{
    free(p->hosts);
    sl_model_setup_close(&p->setup);
}

/* ---- what comes of it ---- */

static bool is_limited(const planning *p)
{
    for (int r = 0; r < p->ranks; r++)
        if (p->memory[r] != UINT64_MAX) return true;
    return false;
}

static void judge(const planning *p, outcome *o)
{
    const sl_placement_options *options = &p->placement.options;
    o->largest = sl_placement_largest_rank(options, p->context, &o->plan);
    o->longest = is_limited(p) ? sl_placement_longest(options, &o->plan, CONTEXT_MAX) : 0;
}

static void print_split(const planning *p, const char *name, const outcome *o)
{
    printf(
        "%s\nrank  host              layers  weights MB   cache MB  beside MB   total MB   limit "
        "MB\n",
        name);
    for (uint32_t r = 0; r < (uint32_t)p->ranks; r++) {
        sl_placement_rank held = sl_placement_of(&p->placement.options, p->context, &o->plan, r);
        uint32_t first = o->ranks[r].first_layer;
        uint64_t total = held.weights + held.cache + p->beside[r];
        char layers[24], limit[24] = "-";
        sl_plain_room host;
        snprintf(layers, sizeof layers, "%u-%u", first, first + o->ranks[r].n_layers - 1);
        if (p->memory[r] != UINT64_MAX)
            snprintf(limit, sizeof limit, "%.1f", sl_megabytes(p->memory[r]));
        printf("%4u  %-16.16s %7s  %10.1f %10.1f %10.1f %10.1f %10s%s\n", r,
               sl_plain_string(p->host_of[r]->name, &host), layers, sl_megabytes(held.weights),
               sl_megabytes(held.cache), sl_megabytes(p->beside[r]), sl_megabytes(total), limit,
               total > p->memory[r] ? "  too much" : "");
    }
}

static void print_plan(const planning *p, const outcome *planned, const outcome *even,
                       uint32_t longest_of_all, uint64_t excess)
{
    char reason[SL_PLACEMENT_REASON_BYTES];
    sl_placement_reason(&p->placement.options, p->context, &planned->plan, excess, reason,
                        sizeof reason);
    print_split(p, "planned", planned);
    print_split(p, "as many layers on each", even);
    printf("%s\n", reason);
    if (is_limited(p))
        printf(
            "longest context of %u sequences under the limits: %u as planned, %u split evenly, %u "
            "when planned for it\n",
            p->settings->sequences, planned->longest, even->longest, longest_of_all);
}

static json_t *split_json(const planning *p, const outcome *o)
{
    json_t *ranks = json_array();
    for (uint32_t r = 0; r < (uint32_t)p->ranks; r++) {
        sl_placement_rank held = sl_placement_of(&p->placement.options, p->context, &o->plan, r);
        sl_json_object rank = sl_json_begin();
        sl_json_set_text(&rank, "host", p->host_of[r]->name);
        sl_json_set_count(&rank, "first_layer", o->ranks[r].first_layer);
        sl_json_set_count(&rank, "layers", o->ranks[r].n_layers);
        sl_json_set_count(&rank, "weights_bytes", held.weights);
        sl_json_set_count(&rank, "cache_bytes", held.cache);
        sl_json_set_count(&rank, "beside_bytes", p->beside[r]);
        if (p->memory[r] != UINT64_MAX) sl_json_set_count(&rank, "limit_bytes", p->memory[r]);
        json_array_append_new(ranks, sl_json_end(&rank));
    }
    sl_json_object split = sl_json_begin();
    sl_json_set_item(&split, "ranks", ranks);
    sl_json_set_count(&split, "largest", o->largest);
    if (is_limited(p)) sl_json_set_count(&split, "longest_context", o->longest);
    return sl_json_end(&split);
}

static json_t *layer_json(const planning *p, uint32_t layer)
{
    sl_json_object object = sl_json_begin();
    uint32_t window = sl_sliding_window(&p->setup.shape, layer);
    sl_json_set_count(&object, "weights_bytes", p->placement.layer_weights[layer]);
    sl_json_set_count(&object, "cache_bytes",
                      sl_placement_cache_bytes(&p->placement.options, layer, p->context));
    if (window)
        sl_json_set_null(&object, "keep");
    else
        sl_json_set_number(&object, "keep", p->keep[layer]);
    if (window) sl_json_set_count(&object, "sliding_window", window);
    return sl_json_end(&object);
}

static json_t *layers_json(const planning *p)
{
    json_t *layers = json_array();
    for (uint32_t i = 0; i < p->setup.shape.n_layers; i++)
        json_array_append_new(layers, layer_json(p, i));
    return layers;
}

static json_t *plan_json(const planning *p, const outcome *planned, const outcome *even,
                         uint32_t longest_of_all, uint64_t excess)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_count(&object, "context", p->context);
    sl_json_set_count(&object, "sequences", p->settings->sequences);
    sl_json_set_text(&object, "policy", sl_policy_name(p->setup.policy.kind));
    sl_json_set_count(&object, "excess_bytes", excess);
    sl_json_set_item(&object, "planned", split_json(p, planned));
    sl_json_set_item(&object, "even", split_json(p, even));
    sl_json_set_item(&object, "layers", layers_json(p));
    sl_json_set_count(&object, "longest_context", longest_of_all);
    return sl_json_end(&object);
}

static sl_status plan(const sl_settings *s)
{
    planning p = {.settings = s};
    sl_status status = open_plan(&p);
    if (status == SL_OK) {
        outcome planned, even;
        const sl_placement_options *options = &p.placement.options;
        limit_plan(&p, &planned);
        limit_plan(&p, &even);
        uint64_t excess = sl_placement_split(options, p.context, &planned.plan);
        sl_placement_even(options, &even.plan);
        judge(&p, &planned);
        judge(&p, &even);
        uint32_t best = is_limited(&p)
                            ? sl_placement_longest_of_all(options, &planned.plan, CONTEXT_MAX)
                            : 0;
        if (s->json)
            status = sl_report_print(plan_json(&p, &planned, &even, best, excess));
        else
            print_plan(&p, &planned, &even, best, excess);
    }
    close_plan(&p);
    return status;
}

static int plan_command(sl_settings *settings)
{
    if (!settings->model || !settings->hosts) {
        sl_error("plan needs a model (-m FILE) and hosts (--hosts FILE)");
        return SL_EXIT_USAGE;
    }
    return sl_rank0_command_run(plan, settings);
}

static const sl_option HOSTS[] = {
    {"hosts", 0, "FILE", NULL, "hosts as mpirun takes them, with # memory=SIZE",
     SL_SETS_READ(hosts)},
    {0},
};

const sl_command sl_cmd_plan = {
    .name = "plan",
    .summary = "say which host would hold what, without starting anything",
    .usage = "-m MODEL --hosts FILE",
    .about = "Split a model's layers over hosts by their weights and by what each layer's cache is "
             "expected to keep, under each host's memory, and compare with as many layers on each. "
             "FILE is mpirun's hostfile; a comment memory=SIZE on a host's line says what it has, "
             "shared by its slots.",
    .examples = "  sluice plan -m model.gguf --hosts hosts.txt --context 8192\n"
                "  sluice plan -m model.gguf -g gate.gguf --hosts hosts.txt --retention run.json\n"
                "  a line of hosts.txt: node1 slots=2   # memory=16G\n",
    .groups = {sl_options_model, sl_options_lora, HOSTS, sl_options_context, sl_options_threads,
               sl_options_chunk, sl_options_sequences, sl_options_memory, sl_options_kv,
               sl_options_policy, sl_options_retention, sl_options_sinks, sl_options_window,
               sl_options_talk},
    .run = plan_command,
};
