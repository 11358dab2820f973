/* launch/pipeline/engine_state.c - what can be asked of an engine. */
#include "launch/pipeline/engine_state.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"

enum { EXPECTED_TOKENS = 512 }; /* an answer; longer ones make room by restarts */

int sl_engine_rank(const sl_engine *engine) { return sl_comm_rank(engine->comm); }

const sl_gate *sl_engine_policy_gate(const sl_engine *engine)
{
    return sl_model_setup_policy_gate(&engine->model);
}

const sl_kv_layout *sl_engine_kv_layout(const sl_engine *engine)
{
    return engine->model.kernels->kv[engine->model.kv];
}

sl_assembly_options sl_engine_assembly_options(const sl_engine *engine)
{
    const sl_engine *e = engine;
    const sl_settings *s = &e->settings;
    return (sl_assembly_options){
        .rank = (uint32_t)sl_engine_rank(e),
        .plan = &e->plan,
        .gguf = e->model.gguf,
        .shape = &e->model.shape,
        .kernels = e->model.kernels,
        .kv = e->model.kv,
        .tokenizer = e->model.tokenizer,
        .threads = e->threads,
        .cpus = e->cpus,
        .spins = e->spins,
        .chunk = s->chunk,
        .sequences = s->sequences,
        .context = e->context,
        .expected_tokens = EXPECTED_TOKENS,
        .policy = e->model.policy,
        .gate = sl_engine_policy_gate(e),
        .lora = &e->model.lora,
        .compared_rows = e->service->compared_rows,
        .flags = s->keep_out != NULL,
        .codec = e->codec,
        .silence_max_ns = (int64_t)(s->peer_timeout_s * (double)SL_SECOND),
        .planned_bytes = e->planned_bytes,
        .comm = e->comm,
        .clock = sl_clock_read,
        .watch = e->service->watch,
        .profile = sl_engine_rank(e) == 0 ? e->service->profile : NULL,
    };
}

int sl_engine_ranks(const sl_engine *engine) { return sl_comm_ranks(engine->comm); }

const sl_gguf *sl_engine_gguf(const sl_engine *engine) { return engine->model.gguf; }
const sl_tokenizer *sl_engine_tokenizer(const sl_engine *engine) { return engine->model.tokenizer; }

const sl_chat *sl_engine_chat(const sl_engine *engine) { return engine->model.chat; }

uint32_t sl_engine_context(const sl_engine *engine) { return engine->context; }

uint64_t sl_engine_text_bytes_max(const sl_engine *engine)
{
    return (uint64_t)engine->context * sl_tokenizer_decode_bytes_max(engine->model.tokenizer);
}

const char *sl_engine_model_name(const sl_engine *engine) { return engine->model_name; }

uint32_t sl_engine_sequences(const sl_engine *engine) { return engine->settings.sequences; }

sl_codec_kind sl_engine_codec(const sl_engine *engine) { return engine->codec; }

uint32_t sl_engine_first_layer(const sl_engine *engine, int rank)
{
    return engine->plan.ranks[rank].first_layer;
}

const sl_model_shape *sl_engine_shape(const sl_engine *engine) { return &engine->model.shape; }

const char *sl_engine_kernels(const sl_engine *engine) { return engine->model.kernels->name; }

const char *sl_engine_kv(const sl_engine *engine)
{
    SL_ASSERT(engine->model.kernels);
    return sl_engine_kv_layout(engine)->name;
}

int sl_engine_threads(const sl_engine *engine) { return engine->threads; }

const sl_kernels *sl_engine_kernel_set(const sl_engine *engine) { return engine->model.kernels; }

sl_team_options sl_engine_team(const sl_engine *engine)
{
    return (sl_team_options){
        .threads = engine->threads, .spins = engine->spins, .cpus = engine->cpus};
}

uint64_t sl_engine_model_hash(const sl_engine *engine) { return engine->model_hash; }

uint64_t sl_engine_chat_template_hash(const sl_engine *engine)
{
    return engine->model.chat_template_hash;
}

const char *sl_engine_template_date(const sl_engine *engine)
{
    return engine->model.settings->template_date;
}

sl_status sl_engine_model_verdict(const sl_engine *engine)
{
    return sl_model_check_ready(engine->check);
}

uint64_t sl_engine_gate_hash(const sl_engine *engine)
{
    return sl_engine_policy_gate(engine) ? sl_gate_file_hash(engine->model.gate_file) : 0;
}

const sl_lora *sl_engine_lora(const sl_engine *engine) { return &engine->model.lora; }

const sl_policy *sl_engine_policy(const sl_engine *engine) { return &engine->model.policy; }

const sl_driver_progress *sl_engine_progress(const sl_engine *engine)
{
    return sl_driver_progress_now(engine->assembly.driver);
}

void sl_engine_report_get(const sl_engine *engine, sl_engine_report *report_out)
{
    *report_out = (sl_engine_report){
        .progress = *sl_driver_progress_now(engine->assembly.driver),
        .seconds = (double)(engine->ended_ns - engine->ready_ns) / SL_SECOND,
        .plan = &engine->plan,
        .ledger = sl_rank_ledger(engine->assembly.rank),
        .shape = &engine->model.shape,
        .heads = sl_driver_heads(engine->assembly.driver),
        .page_bytes = sl_engine_kv_layout(engine)->page_bytes(engine->model.shape.head_dim),
        .context = engine->context,
        .sequences = engine->settings.sequences,
        .policy = engine->model.policy,
        .unverified = sl_model_check_unverified(engine->check),
    };
}
