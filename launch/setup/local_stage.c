/* launch/setup/local_stage.c - see local_stage.h. */
#include "launch/setup/local_stage.h"

#include <string.h>

#include "launch/machine/cores.h"
#include "runtime/base/log.h"

static bool has_any(const sl_lora *lora) { return lora && lora->n > 0; }

static sl_status load(const sl_gguf *gguf, const sl_lora *lora, sl_local_stage *local)
{
    sl_sums sums;
    sl_status status = sl_sums_init(gguf, local->weights.shape.n_layers, &sums);
    if (status == SL_OK) status = sl_weights_load(gguf, &local->weights, local->team, &sums);
    local->tensors_hash = sl_sums_tensors(&sums);
    sl_sums_fini(&sums);
    if (status == SL_OK && has_any(lora)) status = sl_lora_load(lora, &local->lora);
    return status;
}

/* Measures when the arena has no storage, and nothing can fail then. The stage makes its tables
 * from weights, so they are there before it. */
static sl_status bind(const sl_gguf *gguf, const sl_lora *lora, const sl_model_shape *shape,
                      uint32_t n_layers, sl_arena *arena, sl_local_stage *local)
{
    sl_weights_bind(gguf, shape, 0, n_layers, arena, &local->weights);
    if (has_any(lora)) sl_lora_bind(lora, shape, 0, n_layers, arena, &local->lora);
    sl_status status = arena->storage ? load(gguf, lora, local) : SL_OK;
    if (status != SL_OK) return status;
    sl_stage_init(&local->options, arena, &local->stage);
    sl_frame_init(&local->frame, &local->options.limits, SL_FRAME_WITH_HIDDEN, arena);
    return SL_OK;
}

sl_status sl_local_stage_open(const sl_gguf *gguf, const sl_lora *lora, const sl_model_shape *shape,
                              uint32_t n_layers, const sl_stage_options *options, uint32_t threads,
                              sl_local_stage *out)
{
    sl_local_stage *l = out;
    *l = (sl_local_stage){.options = *options};
    l->options.weights = &l->weights;
    l->options.lora = has_any(lora) ? &l->lora : NULL;
    l->options.threads = sl_cores_threads(threads, 1);
    sl_team_options team = {.threads = l->options.threads,
                            .spins = sl_cores_suffice(1, l->options.threads)};
    sl_status status = sl_team_open(&team, &l->team);
    if (status != SL_OK) return status;
    l->options.team = l->team;
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    (void)bind(gguf, lora, shape, n_layers, &arena, l); /* cannot fail */
    l->storage_bytes = arena.used_bytes;
    status = sl_storage_take(l->storage_bytes, "the model's stage", &l->storage);
    if (status != SL_OK) return status;
    sl_arena_init(&arena, l->storage, l->storage_bytes);
    return bind(gguf, lora, shape, n_layers, &arena, l);
}

void sl_local_stage_close(sl_local_stage *local)
{
    sl_storage_release(local->storage, local->storage_bytes);
    sl_team_close(local->team);
    *local = (sl_local_stage){0};
}

sl_status sl_local_stage_compute(sl_local_stage *local, const int32_t *tokens, uint32_t n)
{
    const sl_stage_options *o = &local->options;
    sl_frame *f = &local->frame;
    sl_frame_reset(f, 0);
    f->n_controls = f->n_spans = 1;
    f->n_rows = n;
    f->controls[0] = (sl_control){
        .kind = SL_CONTROL_OPEN, .n_prompt = n, .sampling = {.repetition_penalty = 1}};
    f->spans[0] = (sl_span){
        .kind = SL_SPAN_PROMPT, .n_tokens = n, .score_from = n, .next_token = -1};
    memcpy(f->tokens, tokens, n * sizeof *f->tokens);
    sl_status status = sl_frame_check(f, &o->limits, 1, o->weights->shape.vocab);
    if (status == SL_OK) status = sl_stage_compute(local->stage, f);
    if (status != SL_OK) return status;
    sl_frame_reset(f, 1); /* the next prompt begins with nothing of this one */
    f->n_controls = 1;
    f->controls[0] = (sl_control){.kind = SL_CONTROL_CLOSE};
    return sl_stage_compute(local->stage, f);
}
