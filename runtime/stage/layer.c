/* runtime/stage/layer.c - see layer.h. Each step is a loop split over the team's threads; who
 * computes a piece never changes its bits (contract 1): pieces are whole rows, columns, query
 * blocks or runs, and partial results merge in index order. */
#include "runtime/stage/layer.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/stage/attention.h"
#include "runtime/stage/prompt_end.h"

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

void sl_layer_context_init(sl_layer_context *context, const sl_frame_limits *limits,
                           sl_arena *arena)
{
    const sl_model_shape *s = context->shape;
    size_t rows = limits->rows_max, heads_width = (size_t)s->n_heads * s->head_dim;
    size_t kv_width = (size_t)s->n_kv_heads * s->head_dim;
    size_t widest = larger(larger(s->width, heads_width), s->ffn_width);
    size_t query_rows = (size_t)sl_attention_block_tokens(s) * sl_attention_group(s);
    size_t partials = (size_t)context->decode_max * s->n_kv_heads *
                      sl_cache_decode_runs_max(context->cache) * sl_attention_group(s);

    double *frequency = sl_arena_array(arena, double, s->rope.dim / 2);
    context->rope.frequency = frequency;
    if (frequency) sl_rope_table_fill(&s->rope, context->rope_freqs, &context->rope);

    context->rows_max = rows;
    sl_layer_scratch *shared = &context->shared;
    shared->normed = sl_arena_array(arena, float, rows * s->width);
    shared->attended = sl_arena_array(arena, float, rows *heads_width);
    shared->q = sl_arena_array(arena, float, rows *heads_width);
    shared->k = sl_arena_array(arena, float, rows *kv_width);
    shared->v = sl_arena_array(arena, float, rows *kv_width);
    shared->gate = sl_arena_array(arena, float, rows *larger(s->ffn_width, s->width));
    shared->up = sl_arena_array(arena, float, rows * s->ffn_width);
    shared->cos_sin = sl_arena_array(arena, float, rows * s->rope.dim);
    shared->quantized = sl_arena_array(arena, int8_t, rows * widest);
    shared->scales = sl_arena_array(arena, float, rows *widest / SL_BLOCK);
    shared->sums = sl_arena_array(arena, float, rows *widest / SL_BLOCK);
    shared->run_state = sl_arena_array(arena, sl_softmax, partials);
    shared->run_acc = sl_arena_array(arena, float, partials * s->head_dim);
    shared->decode_spans = sl_arena_array(arena, uint32_t, context->decode_max);
    shared->keep = sl_arena_array(arena, uint8_t, rows * s->n_kv_heads);
    if (sl_admission_scores_keys(context->admission))
        shared->key_scores = sl_arena_array(arena, float, rows * s->n_kv_heads);
    bool at_prompt_end = sl_prompt_end_prunes(context);
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

/* ---- linear maps, norms ---- */

static sl_activations activations_of(const sl_layer_scratch *s, const float *x, size_t n_rows,
                                     size_t width)
{
    return (sl_activations){.n_rows = n_rows,
                            .width = width,
                            .x = x,
                            .q = s->quantized,
                            .scale = s->scales,
                            .sum = s->sums};
}

static void norm_rows(const sl_layer_context *c, const float *x, const float *gain, size_t n_rows)
{
    size_t width = c->shape->width;
#pragma omp parallel for schedule(static) num_threads(c->threads)
    for (size_t row = 0; row < n_rows; row++)
        c->kernels->rmsnorm(x + row * width, gain, 1, width, c->shape->rms_eps,
                            c->shared.normed + row * width);
}

static void add_rows(const sl_layer_context *c, const float *y, size_t n_rows, float *x)
{
    size_t width = c->shape->width;
#pragma omp parallel for schedule(static) num_threads(c->threads)
    for (size_t row = 0; row < n_rows; row++)
        c->kernels->add(y + row * width, width, x + row * width);
}

/* ---- rotary embedding ---- */

void sl_layer_begin_frame(sl_layer_context *context, const sl_frame *frame)
{
    const sl_model_shape *s = context->shape;
    for (uint32_t i = 0; i < frame->n_spans; i++) {
        const sl_span *span = &frame->spans[i];
        for (uint32_t t = 0; t < span->n_tokens; t++)
            sl_rope_angles(&context->rope, span->position + t,
                           context->shared.cos_sin + (size_t)(span->first_row + t) * s->rope.dim);
    }
}

static void rotate_rows(const sl_layer_context *c, size_t n_rows)
{
    const sl_model_shape *s = c->shape;
    const sl_layer_scratch *b = &c->shared;
#pragma omp parallel for schedule(static) num_threads(c->threads)
    for (size_t row = 0; row < n_rows; row++) {
        const float *cos_sin = b->cos_sin + row * s->rope.dim;
        sl_rope_apply(b->q + row * s->n_heads * s->head_dim, s->n_heads, s->head_dim, s->rope.dim,
                      cos_sin);
        sl_rope_apply(b->k + row * s->n_kv_heads * s->head_dim, s->n_kv_heads, s->head_dim,
                      s->rope.dim, cos_sin);
    }
}

/* ---- the layer ---- */

static void feed_forward(const sl_layer_context *c, const sl_layer_weights *w, size_t n_rows,
                         float *x)
{
    const sl_layer_scratch *b = &c->shared;
    size_t ffn = c->shape->ffn_width;
    norm_rows(c, x, w->ffn_norm, n_rows);
    sl_activations in = activations_of(b, b->normed, n_rows, c->shape->width);
    sl_linear in_maps[] = {{&w->gate, w->gate_bias, b->gate}, {&w->up, w->up_bias, b->up}};
    sl_linear_run(c->kernels, c->threads, &in, SL_LINEAR_FRESH, in_maps, 2);
#pragma omp parallel for schedule(static) num_threads(c->threads)
    for (size_t row = 0; row < n_rows; row++)
        c->kernels->swiglu(b->gate + row * ffn, b->up + row * ffn, ffn, b->up + row * ffn);
    sl_activations hidden = activations_of(b, b->up, n_rows, ffn);
    sl_linear out_map = {&w->down, w->down_bias, b->gate};
    sl_linear_run(c->kernels, c->threads, &hidden, SL_LINEAR_FRESH, &out_map, 1);
    add_rows(c, b->gate, n_rows, x);
}

static void run_gate_maps(sl_layer_context *c, const sl_activations *in, uint32_t index)
{
    sl_linear maps[SL_GATE_MAPS_MAX];
    size_t n_maps = c->gates ? sl_gates_maps(c->gates, index, maps) : 0;
    if (n_maps == 0) return;
    int64_t began_ns = sl_clock_now_ns();
    sl_linear_run(c->kernels, c->threads, in, SL_LINEAR_QUANTIZED, maps, n_maps);
    c->gate_ns += sl_clock_now_ns() - began_ns;
}

void sl_layer_forward(sl_layer_context *context, const sl_layer_weights *weights, uint32_t index,
                      sl_frame *frame)
{
    const sl_layer_scratch *b = &context->shared;
    const sl_model_shape *s = context->shape;
    size_t n_rows = frame->n_rows;
    float *x = frame->hidden;

    norm_rows(context, x, weights->attn_norm, n_rows);
    sl_activations in = activations_of(b, b->normed, n_rows, s->width);
    sl_linear qkv[] = {{&weights->q, weights->q_bias, b->q},
                       {&weights->k, weights->k_bias, b->k},
                       {&weights->v, weights->v_bias, b->v}};
    sl_linear_run(context->kernels, context->threads, &in, SL_LINEAR_FRESH, qkv, 3);
    run_gate_maps(context, &in, index);
    rotate_rows(context, n_rows);
    sl_attention_run(context, frame, index);
    sl_activations attended = activations_of(b, b->attended, n_rows,
                                             (size_t)s->n_heads * s->head_dim);
    sl_linear out_map = {&weights->o, weights->o_bias, b->normed};
    sl_linear_run(context->kernels, context->threads, &attended, SL_LINEAR_FRESH, &out_map, 1);
    add_rows(context, b->normed, n_rows, x);

    feed_forward(context, weights, n_rows, x);
}
