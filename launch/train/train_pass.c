/* launch/train/train_pass.c - see train_pass.h. */
#include "launch/train/train_pass.h"

#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/stage/layer.h"

/* All layers have one, or none has. */
static bool has_post_norm(const sl_gguf *gguf)
{
    return sl_gguf_find(gguf, "blk.0.post_attention_norm.weight") != NULL;
}

static sl_teacher_options teacher_options(const sl_train_pass *p)
{
    const sl_model_shape *s = &p->options.shape;
    return (sl_teacher_options){.n_heads = s->n_heads,
                                .n_kv_heads = s->n_kv_heads,
                                .head_dim = s->head_dim,
                                .width = s->width,
                                .attention_scale = s->attention_scale,
                                .has_post_norm = has_post_norm(p->options.gguf),
                                .tokens_max = p->options.tokens_max,
                                .window = p->options.window,
                                .threads = p->stage.options.threads};
}

/* A layer has attended: keep its input, and ask the teacher. */
static void keep_input_and_targets(void *context, const sl_layer_context *at, const sl_frame *frame,
                                   uint32_t layer)
{
    sl_train_pass *p = context;
    if (sl_cache_is_sliding(at->cache, layer)) return; /* it has no gate */
    size_t n = frame->n_rows, width = at->shape->width;
    const sl_layer_weights *w = &p->stage.weights.layers[layer];
    const sl_teacher_rows rows = {.n_tokens = frame->n_rows,
                                  .q = at->shared.q,
                                  .k = at->shared.k,
                                  .v = at->shared.v,
                                  .hidden = frame->hidden,
                                  .o = &w->o,
                                  .attended = at->shared.attended.x,
                                  .post_norm = w->attn_post_norm,
                                  .rms_eps = at->shape->rms_eps};
    int64_t began_ns = sl_clock_now_ns();
    memcpy(p->x + layer * n * width, at->shared.normed.x, n * width * sizeof *p->x);
    sl_teacher_score(p->teacher, &rows, p->target + (size_t)layer * at->shape->n_kv_heads * n);
    p->teacher_ns += sl_clock_now_ns() - began_ns;
}

static void take_room(sl_train_pass *p, sl_arena *arena)
{
    const sl_model_shape *s = &p->options.shape;
    size_t rows = (size_t)s->n_layers * p->options.tokens_max;
    sl_teacher_options teacher = teacher_options(p);
    sl_teacher_init(&teacher, arena, &p->teacher);
    p->x = sl_arena_array(arena, float, rows * s->width);
    p->target = sl_arena_array(arena, float, rows * s->n_kv_heads);
}

sl_status sl_train_pass_open(const sl_train_pass_options *options, sl_train_pass *pass)
{
    sl_train_pass *p = pass;
    *p = (sl_train_pass){.options = *options};
    const sl_model_shape *s = &p->options.shape;
    uint32_t pages = sl_cache_head_pages(options->window, options->tokens_max);
    p->probe = (sl_probe){.context = p, .layer = keep_input_and_targets};
    sl_stage_options stage = {.kernels = options->kernels,
                              .limits = {.rows_max = options->tokens_max,
                                         .spans_max = 1,
                                         .controls_max = 1,
                                         .ranks = 1,
                                         .width = s->width,
                                         .n_layers = s->n_layers,
                                         .n_kv_heads = s->n_kv_heads},
                              .sequences_max = 1,
                              .context = options->tokens_max,
                              .policy = {.kind = SL_POLICY_FULL,
                                         .sinks = options->sinks,
                                         .window = options->window,
                                         .keep = 1},
                              .n_pages = sl_full_heads(s, 0, s->n_layers) * pages,
                              .probe = &p->probe};
    sl_status status = sl_local_stage_open(options->gguf, NULL, s, s->n_layers, &stage,
                                           options->threads, &p->stage);
    if (status != SL_OK) return status;
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    take_room(p, &arena);
    p->storage_bytes = arena.used_bytes;
    status = sl_storage_take(p->storage_bytes, "a piece's hidden states", &p->storage);
    if (status != SL_OK) return status;
    sl_arena_init(&arena, p->storage, p->storage_bytes);
    take_room(p, &arena);
    return SL_OK;
}

void sl_train_pass_close(sl_train_pass *pass)
{
    sl_local_stage_close(&pass->stage);
    sl_storage_release(pass->storage, pass->storage_bytes);
    *pass = (sl_train_pass){0};
}

uint32_t sl_train_pass_targets(const sl_train_pass *pass, uint32_t n)
{
    sl_teacher_options teacher = teacher_options(pass);
    uint32_t end = sl_teacher_targets(&teacher, n);
    return sl_saturating_sub_u32(end, pass->options.sinks);
}

sl_status sl_train_pass_run(sl_train_pass *pass, const int32_t *tokens, uint32_t n)
{
    sl_train_pass *p = pass;
    sl_teacher_options teacher = teacher_options(p);
    sl_status status = sl_local_stage_compute(&p->stage, tokens, n);
    p->piece = (sl_warm_piece){.n_tokens = n,
                               .first = p->options.sinks,
                               .end = sl_teacher_targets(&teacher, n),
                               .x = p->x,
                               .target = p->target};
    return status;
}
