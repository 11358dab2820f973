/* tests/support/stage_rig.h - one or more stages over one GGUF, fed in turn in one process, without
 * ranks or links. In a header, so that the library of test support needs no room. */
#ifndef SL_TEST_STAGE_RIG_H
#define SL_TEST_STAGE_RIG_H

#include <stdlib.h>

#include "runtime/base/log.h"
#include "runtime/stage/stage.h"
#include "tests/support/synth_model.h"

enum { STAGE_RIG_MAX = 4 };

typedef struct {
    int n_stages; /* layers are split as evenly as can be */
    int threads;
    uint32_t rows_max, spans_max, controls_max, sequences_max, context;
    sl_kv_type kv;
    sl_policy policy;
    const sl_gate *gate; /* or NULL */
    const sl_lora *lora; /* or NULL */
    bool flags;
    /* To make another model of the file's: told `changes` once the shape was read, and once weights
     * were loaded. NULL: neither. */
    void (*change_shape)(const void *changes, sl_model_shape *shape);
    void (*change_weights)(const void *changes, sl_weights *weights);
    void (*change_lora)(const void *changes, sl_lora_weights *lora);
    const void *changes;
} stage_rig_options;

typedef struct {
    sl_model_shape shape;
    sl_frame_limits limits;
    uint32_t sequences_max;
    int n_stages;
    sl_weights weights[STAGE_RIG_MAX];
    sl_lora_weights loras[STAGE_RIG_MAX];
    sl_stage *stages[STAGE_RIG_MAX];
    sl_team *team;
    sl_frame frame; /* all stages work in its hidden rows */
    void *storage;
    size_t bytes;
} stage_rig;

static inline void stage_rig_load(stage_rig *r, const sl_gguf *gguf, uint32_t stage)
{
    sl_sums sums;
    SL_ASSERT(sl_sums_init(gguf, r->shape.n_layers, &sums) == SL_OK);
    SL_ASSERT(sl_weights_load(gguf, &r->weights[stage], r->team, &sums) == SL_OK);
    sl_sums_fini(&sums);
}

static inline void stage_rig_take(stage_rig *r, const stage_rig_options *o, const sl_gguf *gguf,
                                  const sl_kernels *kernels, sl_arena *arena)
{
    uint32_t n_layers = r->shape.n_layers, n = (uint32_t)o->n_stages;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t begin = n_layers * i / n, end = n_layers * (i + 1) / n;
        sl_weights_bind(gguf, &r->shape, begin, end, arena, &r->weights[i]);
        if (o->lora) sl_lora_bind(o->lora, &r->shape, begin, end, arena, &r->loras[i]);
        if (arena->storage) {
            stage_rig_load(r, gguf, i);
            if (o->lora) SL_ASSERT(sl_lora_load(o->lora, &r->loras[i]) == SL_OK);
            if (o->change_lora) o->change_lora(o->changes, &r->loras[i]);
            if (o->change_weights) o->change_weights(o->changes, &r->weights[i]);
        }
        uint32_t head_pages = sl_cache_head_pages(o->policy.window, o->context);
        if (sl_policy_at_prompt_end(o->policy.kind)) head_pages *= 2; /* survivors are copies */
        sl_stage_options options = {.weights = &r->weights[i],
                                    .kernels = kernels,
                                    .kv = o->kv,
                                    .threads = o->threads,
                                    .team = r->team,
                                    .limits = r->limits,
                                    .sequences_max = o->sequences_max,
                                    .context = o->context,
                                    .policy = o->policy,
                                    .gate = o->gate,
                                    .lora = o->lora ? &r->loras[i] : NULL,
                                    .n_pages = o->sequences_max * (end - begin) *
                                               r->shape.n_kv_heads * head_pages};
        sl_stage_init(&options, arena, &r->stages[i]);
    }
    sl_frame_init(&r->frame, &r->limits, SL_FRAME_WITH_HIDDEN, arena);
}

static inline void stage_rig_open(stage_rig *r, const stage_rig_options *o, const sl_gguf *gguf,
                                  const sl_kernels *kernels)
{
    *r = (stage_rig){.n_stages = o->n_stages, .sequences_max = o->sequences_max};
    SL_ASSERT(sl_model_shape_read(gguf, &r->shape) == SL_OK);
    if (o->change_shape) o->change_shape(o->changes, &r->shape);
    r->limits = (sl_frame_limits){.rows_max = o->rows_max,
                                  .spans_max = o->spans_max,
                                  .controls_max = o->controls_max,
                                  .ranks = 1,
                                  .width = r->shape.width,
                                  .n_layers = r->shape.n_layers,
                                  .n_kv_heads = r->shape.n_kv_heads,
                                  .flags = o->flags};
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    stage_rig_take(r, o, gguf, kernels, &arena);
    r->bytes = arena.used_bytes;
    SL_ASSERT(sl_storage_take(r->bytes, "stages", &r->storage) == SL_OK);
    SL_ASSERT(sl_team_open(&(sl_team_options){.threads = o->threads}, &r->team) == SL_OK);
    sl_arena_init(&arena, r->storage, r->bytes);
    stage_rig_take(r, o, gguf, kernels, &arena);
    SL_ASSERT(arena.used_bytes == r->bytes);
}

static inline void stage_rig_close(stage_rig *r)
{
    sl_team_close(r->team);
    sl_storage_release(r->storage, r->bytes);
}

/* The frame through all stages, as a legal one. */
static inline sl_status stage_rig_compute(stage_rig *r)
{
    SL_ASSERT(sl_frame_check(&r->frame, &r->limits, r->sequences_max, r->shape.vocab) == SL_OK);
    sl_status status = SL_OK;
    for (int i = 0; i < r->n_stages && status == SL_OK; i++)
        status = sl_stage_compute(r->stages[i], &r->frame);
    return status;
}

/* ---- filling the frame ---- */

static inline void stage_rig_control(stage_rig *r, sl_control_kind kind, uint32_t sequence,
                                     uint32_t parent, const sl_sampling *sampling)
{
    SL_ASSERT(r->frame.n_controls < r->limits.controls_max);
    sl_control *control = &r->frame.controls[r->frame.n_controls++];
    *control = (sl_control){
        .kind = kind, .sequence = sequence, .parent = parent, .n_prompt = UINT32_MAX};
    if (sampling) control->sampling = *sampling;
}

/* Nothing is drawn or scored unless the caller changes the span. */
static inline sl_span *stage_rig_span(stage_rig *r, sl_span_kind kind, uint32_t sequence,
                                      uint32_t position, const int32_t *tokens, uint32_t n)
{
    sl_frame *f = &r->frame;
    SL_ASSERT(f->n_spans < r->limits.spans_max && n <= r->limits.rows_max - f->n_rows);
    sl_span *span = &f->spans[f->n_spans++];
    *span = (sl_span){.kind = kind,
                      .sequence = sequence,
                      .position = position,
                      .first_row = f->n_rows,
                      .n_tokens = n,
                      .score_from = n,
                      .next_token = -1};
    for (uint32_t i = 0; i < n; i++) f->tokens[f->n_rows++] = tokens[i];
    return span;
}

#endif
