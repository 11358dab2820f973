/* launch/pipeline/engine_open.c - see engine_open.h. Opening goes in steps that each rank does by
 * itself (model, split, plan; then load), with an agreement after each. */
#include "launch/pipeline/engine_open.h"

#include <stdlib.h>
#include <string.h>

#include "launch/machine/cores.h"
#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "launch/pipeline/engine_agree.h"
#include "launch/pipeline/engine_plan.h"
#include "runtime/base/log.h"
#include "runtime/base/utf8.h"

sl_status sl_engine_init_plan(sl_engine *e)
{
    uint32_t n_ranks = (uint32_t)sl_engine_ranks(e);
    sl_plan_rank *ranks = calloc(n_ranks, sizeof *ranks);
    if (!ranks) return SL_ERR_MEMORY;
    sl_plan_init(n_ranks, ranks, &e->plan);
    return SL_OK;
}

/* ---- the model, on this rank ---- */

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
    const sl_kv_layout *layout = sl_engine_kv_layout(e);
    if (e->model.shape.head_dim % layout->head_dim_step == 0) return SL_OK;
    sl_error("--kv %s needs heads of a multiple of %zu wide, those of %s are %u", layout->name,
             layout->head_dim_step, e->settings.model, e->model.shape.head_dim);
    return SL_ERR_OPTION;
}

static void choose_threads(sl_engine *e)
{
    int on_host = sl_comm_ranks_on_host(e->comm);
    e->threads = sl_cores_threads(e->settings.threads, on_host);
    e->spins = sl_cores_suffice(on_host, e->threads);
    sl_cores_log_quota(on_host, e->threads, sl_engine_rank(e) == 0);
    e->cpus = malloc((size_t)e->threads * sizeof *e->cpus);
    bool pinned = e->cpus &&
                  sl_cores_assign(sl_comm_rank_on_host(e->comm), on_host, e->threads, e->cpus);
    if (pinned) return;
    free(e->cpus);
    e->cpus = NULL;
}

/* As results call it. Bytes that are no UTF-8, and what is too long, are left out. */
static void name_model(sl_engine *e)
{
    sl_text name = {0};
    const char *path = e->settings.model, *slash = strrchr(path, '/');
    if (!sl_gguf_text(e->model.gguf, "general.name", &name) || name.bytes == 0) {
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

/* The embedding has a row for each token. */
static sl_status check_vocabulary(const sl_engine *e)
{
    int32_t n_tokens = sl_tokenizer_n_tokens(e->model.tokenizer);
    if ((uint32_t)n_tokens <= e->model.shape.vocab) return SL_OK;
    sl_error("%s: %d tokens but an embedding of %u rows", e->settings.model, n_tokens,
             e->model.shape.vocab);
    return SL_ERR_FORMAT;
}

static sl_status open_model(sl_engine *e)
{
    const sl_settings *s = &e->settings;
    sl_model_setup *model = &e->model;
    *model = (sl_model_setup){.model = s->model, .settings = s, .rank = sl_engine_rank(e)};
    sl_status status = check_settings(s);
    if (status == SL_OK) status = sl_codec_kind_named(s->codec, &e->codec);
    if (status == SL_OK) status = sl_model_setup_open(model, SL_SETUP_KERNELS | SL_SETUP_FILE);
    if (status == SL_OK) name_model(e);
    if (status == SL_OK) status = sl_model_setup_open(model, SL_SETUP_KV);
    if (status == SL_OK) status = check_kv(e);
    if (status == SL_OK) status = sl_model_setup_open(model, SL_SETUP_LORA | SL_SETUP_POLICY);
    if (status == SL_OK && model->rank == 0) {
        status = sl_model_setup_open(model, SL_SETUP_CHAT);
        if (status == SL_OK) status = check_vocabulary(e);
    }
    if (status != SL_OK) return status;
    e->context = s->context ? s->context : e->model.shape.context;
    if (e->context > e->model.shape.context && sl_engine_rank(e) == 0)
        sl_warn("--context %u is beyond the %u tokens the model was trained for", e->context,
                e->model.shape.context);
    choose_threads(e);
    return SL_OK;
}

/* An engine before this one may have started the transport with shorter messages. */
static sl_status check_messages(const sl_engine *e)
{
    sl_assembly_options assembly = sl_engine_assembly_options(e);
    sl_frame_limits limits = sl_assembly_frame_limits(&assembly);
    if (sl_rank_message_bytes_max(&limits) <= sl_comm_message_bytes_max(e->comm)) return SL_OK;
    sl_error("%s reads prompts in one piece, longer than the pieces of %u tokens that the policies "
             "before it read: give a --chunk of %u",
             e->settings.gate, e->settings.chunk, e->context);
    return SL_ERR_OPTION;
}

/* ---- all ranks ---- */

/* Take the memory of this rank and bring its weights there. */
static sl_status load(sl_engine *e)
{
    sl_assembly_options assembly = sl_engine_assembly_options(e);
    return sl_assembly_open(&assembly, &e->assembly);
}

sl_status sl_engine_open(sl_engine *e)
{
    sl_status status = SL_OK;
    if (sl_engine_rank(e) == 0 && e->service->check)
        status = e->service->check(e->service->context);
    if (status == SL_OK) status = open_model(e);
    if (status == SL_OK) status = check_messages(e);
    if (status == SL_OK) status = sl_engine_plan_check(e);
    if (status == SL_OK) sl_engine_plan_limits(e);
    status = sl_engine_agree(e, status); /* also tells all ranks the limits of each */
    if (status != SL_OK) return status;

    sl_engine_plan_split(e);
    status = sl_engine_agree(e, sl_engine_plan_memory(e));
    if (status != SL_OK) return status;

    status = sl_engine_agree(e, load(e));
    if (status != SL_OK) return status;
    const sl_weights *weights = &e->assembly.weights;
    sl_debug("layers %u to %u, %d threads, %s kernels, %llu pages", weights->layer_begin,
             weights->layer_end - 1, e->threads, e->model.kernels->name,
             (unsigned long long)e->plan.ranks[sl_engine_rank(e)].n_pages);
    return SL_OK;
}

/* Compare what each rank loaded with what it should be. All ranks then know the model's hash, so
 * one of them checks the gate. */
static sl_status check_here(sl_engine *e)
{
    sl_model_check_options options = {
        .comm = e->comm,
        .gguf = e->model.gguf,
        .gate = e->model.gate_file ? sl_gate_file_gguf(e->model.gate_file) : NULL,
        .lora = &e->model.lora,
        .plan = &e->plan,
        .loaded = &e->assembly.sums,
        .trust = e->settings.trust_model,
    };
    sl_status status = sl_model_check_open(&options, &e->check);
    if (status == SL_ERR_PEER || status == SL_ERR_JOB)
        sl_ranks_abort(e->comm, sl_exit_code(status)); /* no rank to agree with */
    if (status == SL_OK && sl_engine_rank(e) == 0) {
        uint64_t tensors_hash = e->model_hash - sl_gguf_header_hash(e->model.gguf);
        status = sl_model_setup_check_gate(&e->model, tensors_hash);
    }
    if (status == SL_OK && e->service->verify_first && sl_engine_rank(e) == 0)
        status = sl_model_check_wait(e->check, -1);
    return status;
}

sl_status sl_engine_check_model(sl_engine *e) { return sl_engine_agree(e, check_here(e)); }

void sl_engine_close(sl_engine *e)
{
    sl_model_check_close(e->check);
    sl_assembly_close(&e->assembly);
    sl_model_setup_close(&e->model);
    free(e->cpus);
    free(e->plan.ranks);
}
