/* runtime/stage/layer_context.c - see layer_context.h. */
#include "runtime/stage/layer_context.h"

uint32_t sl_layer_query_group(const sl_model_shape *shape)
{
    return shape->n_heads / shape->n_kv_heads;
}

uint32_t sl_layer_block_tokens(const sl_model_shape *shape)
{
    uint32_t tokens = SL_QUERY_ROWS / sl_layer_query_group(shape);
    return tokens > 0 ? tokens : 1;
}

sl_softmax *sl_layer_row_state(const sl_layer_context *c, uint32_t head, size_t row)
{
    return c->shared.row_state + (head * c->rows_max + row) * sl_layer_query_group(c->shape);
}

uint32_t sl_layer_prompt_tokens(const sl_layer_context *context, const sl_span *span)
{
    return context->admission->sequences[span->sequence].n_prompt;
}

bool sl_layer_prunes_at_prompt_end(const sl_layer_context *context)
{
    return sl_policy_at_prompt_end(context->admission->options.policy.kind);
}

/* Of linear maps. */
static sl_activations take_input(const sl_kernels *kernels, sl_arena *arena, size_t rows,
                                 size_t width)
{
    sl_activations input = sl_activations_take(arena, rows, width);
    if (kernels->round) input.bf16 = sl_arena_array(arena, uint16_t, rows * width);
    return input;
}

static void init_rope(sl_layer_context *context, uint32_t kind, sl_arena *arena)
{
    const sl_rope *rope = &context->shape->kinds[kind].rope;
    sl_rope_table *table = &context->ropes[kind];
    if (rope->dim == 0) return;
    table->frequency = sl_arena_array(arena, double, rope->dim / 2);
    if (table->frequency) sl_rope_table_fill(rope, context->weights->rope_freqs, table);
    context->shared.cos_sin[kind] = sl_arena_array(arena, float, context->rows_max * rope->dim);
}

void sl_layer_context_init(sl_layer_context *context, const sl_frame_limits *limits,
                           sl_arena *arena)
{
    const sl_model_shape *s = context->shape;
    size_t rows = limits->rows_max, heads_width = (size_t)s->n_heads * s->head_dim;
    size_t kv_width = (size_t)s->n_kv_heads * s->head_dim;
    size_t query_rows = (size_t)sl_layer_block_tokens(s) * sl_layer_query_group(s);
    size_t partials = (size_t)context->decode_max * s->n_kv_heads *
                      sl_cache_decode_runs_max(context->cache) * sl_layer_query_group(s);

    context->rows_max = rows;
    sl_layer_scratch *shared = &context->shared;
    shared->q = sl_arena_array(arena, float, rows *heads_width);
    shared->k = sl_arena_array(arena, float, rows *kv_width);
    shared->v = sl_arena_array(arena, float, rows *kv_width);
    for (uint32_t kind = 0; kind < s->n_kinds; kind++) init_rope(context, kind, arena);
    shared->normed = take_input(context->kernels, arena, rows, s->width);
    shared->attended = take_input(context->kernels, arena, rows, heads_width);
    shared->hidden = take_input(context->kernels, arena, rows, s->ffn_width);
    if (context->lora)
        shared->reduced = sl_arena_array(arena, float, rows * context->lora->reduced_max);
    shared->run_state = sl_arena_array(arena, sl_softmax, partials);
    shared->run_acc = sl_arena_array(arena, float, partials * s->head_dim);
    shared->decode_spans = sl_arena_array(arena, uint32_t, context->decode_max);
    shared->keep = sl_arena_array(arena, uint8_t, rows * s->n_kv_heads);
    if (sl_admission_scores_keys(context->admission))
        shared->key_scores = sl_arena_array(arena, float, rows * s->n_kv_heads);
    bool at_prompt_end = sl_layer_prunes_at_prompt_end(context);
    if (at_prompt_end) shared->row_state = sl_arena_array(arena, sl_softmax, rows * s->n_heads);
    context->kept = sl_arena_array(arena, uint64_t,
                                   (size_t)context->cache->options.n_layers * s->n_kv_heads);

    context->own = sl_arena_array(arena, sl_thread_scratch, context->threads);
    for (int i = 0; i < context->threads; i++) {
        sl_thread_scratch own = {0};
        own.tiles = sl_arena_array(arena, sl_kv_tile, context->cache->tiles_max);
        own.visible = sl_arena_array(arena, sl_slots, context->cache->tiles_max * query_rows);
        own.q = sl_arena_array(arena, float, query_rows * s->head_dim);
        own.acc = sl_arena_array(arena, float, query_rows * s->head_dim);
        own.state = sl_arena_array(arena, sl_softmax, query_rows);
        if (at_prompt_end) {
            own.scores = sl_arena_array(arena, float, query_rows *SL_PAGE_TOKENS);
            own.smoothed = sl_arena_array(arena, float, context->cache->options.context);
            own.survives = sl_arena_array(arena, uint8_t, context->cache->options.context);
        }
        if (context->own) context->own[i] = own;
    }
}

sl_activations sl_layer_input(const sl_layer_context *c, const sl_activations *all, size_t n_rows)
{
    sl_activations in = *all;
    in.n_rows = n_rows;
    in.n_bf16 = c->kernels->round ? n_rows - c->shared.n_decode : 0;
    return in;
}

/* x: [n_heads][head_dim], one row's. */
static void finish_heads(const sl_layer_context *c, const float *norm, const sl_rope_table *rope,
                         const float *cos_sin, size_t n_heads, float *x)
{
    size_t head_dim = c->shape->head_dim;
    if (norm) c->kernels->rmsnorm(x, norm, n_heads, head_dim, c->shape->rms_eps, x);
    if (cos_sin) sl_rope_apply(rope, cos_sin, n_heads, head_dim, x);
}

void sl_layer_finish_heads(const sl_layer_context *c, uint32_t layer, size_t begin, size_t end)
{
    const sl_model_shape *s = c->shape;
    const sl_layer_scratch *b = &c->shared;
    const sl_layer_weights *w = &c->weights->layers[layer];
    uint8_t kind = s->kind_of[c->layer_begin + layer];
    const sl_rope_table *rope = &c->ropes[kind];
    for (size_t row = begin; row < end; row++) {
        const float *cos_sin = b->cos_sin[kind] ? b->cos_sin[kind] + row * rope->dim : NULL;
        finish_heads(c, w->q_norm, rope, cos_sin, s->n_heads,
                     b->q + row * s->n_heads * s->head_dim);
        finish_heads(c, w->k_norm, rope, cos_sin, s->n_kv_heads,
                     b->k + row * s->n_kv_heads * s->head_dim);
    }
}

void sl_layer_queries(const sl_layer_context *c, uint32_t head, size_t row, size_t n, float *out)
{
    const sl_model_shape *s = c->shape;
    size_t group_width = (size_t)sl_layer_query_group(s) * s->head_dim,
           width = (size_t)s->n_heads * s->head_dim;
    for (size_t t = 0; t < n; t++) {
        const float *from = c->shared.q + (row + t) * width + head * group_width;
        for (size_t i = 0; i < group_width; i++)
            out[t * group_width + i] = from[i] * s->attention_scale;
    }
}
