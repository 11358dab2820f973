/* runtime/stage/layer.c - see layer.h. Each step is a loop split over the team's threads; who
 * computes a piece never changes its bits (contract 1): pieces are whole rows, columns, query
 * blocks or runs, and partial results merge in index order. */
#include "runtime/stage/layer.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/stage/attention.h"
#include "runtime/stage/prompt_end.h"

/* Of linear maps. */
static sl_activations take_input(const sl_kernels *kernels, sl_arena *arena, size_t rows,
                                 size_t width)
{
    return (sl_activations){.width = width,
                            .bf16 = kernels->round ? sl_arena_array(arena, uint16_t, rows * width)
                                                   : NULL,
                            .x = sl_arena_array(arena, float, rows *width),
                            .q = sl_arena_array(arena, int8_t, rows * width),
                            .scale = sl_arena_array(arena, float, rows *width / SL_BLOCK),
                            .sum = sl_arena_array(arena, float, rows *width / SL_BLOCK)};
}

void sl_layer_context_init(sl_layer_context *context, const sl_frame_limits *limits,
                           sl_arena *arena)
{
    const sl_model_shape *s = context->shape;
    size_t rows = limits->rows_max, heads_width = (size_t)s->n_heads * s->head_dim;
    size_t kv_width = (size_t)s->n_kv_heads * s->head_dim;
    size_t query_rows = (size_t)sl_attention_block_tokens(s) * sl_attention_group(s);
    size_t partials = (size_t)context->decode_max * s->n_kv_heads *
                      sl_cache_decode_runs_max(context->cache) * sl_attention_group(s);

    double *frequency = sl_arena_array(arena, double, s->rope.dim / 2);
    context->rope.frequency = frequency;
    if (frequency) sl_rope_table_fill(&s->rope, context->rope_freqs, &context->rope);

    context->rows_max = rows;
    sl_layer_scratch *shared = &context->shared;
    shared->q = sl_arena_array(arena, float, rows *heads_width);
    shared->k = sl_arena_array(arena, float, rows *kv_width);
    shared->v = sl_arena_array(arena, float, rows *kv_width);
    shared->cos_sin = sl_arena_array(arena, float, rows * s->rope.dim);
    shared->normed = take_input(context->kernels, arena, rows, s->width);
    shared->attended = take_input(context->kernels, arena, rows, heads_width);
    shared->hidden = take_input(context->kernels, arena, rows, s->ffn_width);
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

/* A step of thread 0 has ended, of maps of so many rows. */
static void lap_maps(const sl_layer_context *c, sl_member me, sl_step step, size_t n_rows,
                     const sl_matrix *const *maps, size_t n_maps)
{
    double bytes = 0, ops = 0;
    if (!c->profile || me.thread != 0) return;
    for (size_t m = 0; m < n_maps; m++) {
        bytes += (double)maps[m]->n_out * (double)maps[m]->row_bytes;
        ops += 2.0 * (double)n_rows * (double)maps[m]->n_out * (double)maps[m]->n_in;
    }
    sl_profile_lap(c->profile, step, bytes, ops);
}

static void lap(const sl_layer_context *c, sl_member me, sl_step step)
{
    lap_maps(c, me, step, 0, NULL, 0);
}

/* Pages read, and rows times pages: 2 products of head_dim each for all their slots. */
static void lap_attention(const sl_layer_context *c, sl_member me)
{
    uint64_t n_tiles = 0, n_products = 0;
    if (!c->profile || me.thread != 0) return;
    for (int i = 0; i < c->threads; i++) {
        n_tiles += c->own[i].n_tiles;
        n_products += c->own[i].n_products;
        c->own[i].n_tiles = c->own[i].n_products = 0;
    }
    sl_profile_lap(c->profile, SL_STEP_ATTEND, (double)n_tiles * (double)c->cache->page_bytes,
                   4.0 * SL_PAGE_TOKENS * (double)n_products * (double)c->shape->head_dim);
}

/* The first n_rows of `all` as they enter a map: rows of generated tokens come before those of prompts
 * (sl_frame_check). */
sl_activations sl_layer_input(const sl_layer_context *c, const sl_activations *all, size_t n_rows)
{
    sl_activations in = *all;
    in.n_rows = n_rows;
    in.n_bf16 = c->kernels->round ? n_rows - c->shared.n_decode : 0;
    return in;
}

/* The normed rows of x as the input of linear maps. */
static sl_activations norm_rows(const sl_layer_context *c, sl_member me, const float *x,
                                const float *gain, size_t n_rows)
{
    size_t width = c->shape->width;
    sl_activations in = sl_layer_input(c, &c->shared.normed, n_rows);
    sl_share rows = sl_team_share(me, n_rows, 1);
    for (size_t row = rows.begin; row < rows.end; row++) {
        c->kernels->rmsnorm(x + row * width, gain, 1, width, c->shape->rms_eps, in.x + row * width);
        sl_linear_quantize(c->kernels, &in, row, row + 1);
    }
    sl_team_barrier(me);
    lap(c, me, SL_STEP_NORM);
    return in;
}

/* ---- rotary embedding, and what layers share of a frame ---- */

static void fill_angles(const sl_layer_context *c, sl_member me, const sl_span *span)
{
    sl_share tokens = sl_team_share(me, span->n_tokens, 1);
    for (uint32_t t = (uint32_t)tokens.begin; t < tokens.end; t++)
        sl_rope_angles(&c->rope, span->position + t,
                       c->shared.cos_sin + (size_t)(span->first_row + t) * c->shape->rope.dim);
}

static uint32_t list_decode_spans(const sl_layer_context *c, const sl_frame *frame)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < frame->n_spans; i++) {
        if (frame->spans[i].kind != SL_SPAN_DECODE) continue;
        SL_ASSERT(n < c->decode_max && frame->spans[i].first_row == n); /* before prompts */
        c->shared.decode_spans[n++] = i;
    }
    return n;
}

void sl_layer_begin_frame(sl_layer_context *context, sl_member me, const sl_frame *frame)
{
    if (me.thread == 0) context->shared.n_decode = list_decode_spans(context, frame);
    for (uint32_t i = 0; i < frame->n_spans; i++) fill_angles(context, me, &frame->spans[i]);
    sl_team_barrier(me);
    lap(context, me, SL_STEP_EMBED);
}

void sl_layer_rotate(const sl_layer_context *c, size_t begin, size_t end)
{
    const sl_model_shape *s = c->shape;
    const sl_layer_scratch *b = &c->shared;
    for (size_t row = begin; row < end; row++) {
        const float *cos_sin = b->cos_sin + row * s->rope.dim;
        sl_rope_apply(b->q + row * s->n_heads * s->head_dim, s->n_heads, s->head_dim, s->rope.dim,
                      cos_sin);
        sl_rope_apply(b->k + row * s->n_kv_heads * s->head_dim, s->n_kv_heads, s->head_dim,
                      s->rope.dim, cos_sin);
    }
}

/* ---- the layer: steps with a barrier behind each ---- */

static void project(sl_layer_context *c, sl_member me, const sl_layer_weights *w, uint32_t index,
                    const sl_activations *in)
{
    const sl_layer_scratch *b = &c->shared;
    sl_linear qkv[] = {
        {&w->q, w->q_bias, b->q}, {&w->k, w->k_bias, b->k}, {&w->v, w->v_bias, b->v}};
    sl_linear_run(c->kernels, me, in, qkv, 3);
    sl_team_barrier(me);
    lap_maps(c, me, SL_STEP_QKV, in->n_rows, (const sl_matrix *[]){&w->q, &w->k, &w->v}, 3);

    sl_linear maps[SL_GATE_MAPS_MAX];
    size_t n_maps = c->gates ? sl_gates_maps(c->gates, index, maps) : 0;
    if (n_maps > 0) {
        int64_t began_ns = sl_clock_now_ns();
        sl_linear_run(c->kernels, me, in, maps, n_maps);
        sl_team_barrier(me);
        if (me.thread == 0) c->gate_ns += sl_clock_now_ns() - began_ns;
        lap(c, me, SL_STEP_GATE);
    }
}

static void add_attended(const sl_layer_context *c, sl_member me, const sl_layer_weights *w,
                         size_t n_rows, float *x)
{
    sl_activations attended = sl_layer_input(c, &c->shared.attended, n_rows);
    sl_linear map = {&w->o, w->o_bias, x};
    sl_linear_add(c->kernels, me, &attended, &map);
    sl_team_barrier(me);
    lap_maps(c, me, SL_STEP_OUT, n_rows, (const sl_matrix *[]){&w->o}, 1);
}

static void add_feed_forward(const sl_layer_context *c, sl_member me, const sl_layer_weights *w,
                             size_t n_rows, float *x)
{
    sl_activations in = norm_rows(c, me, x, w->ffn_norm, n_rows);
    sl_activations hidden = sl_layer_input(c, &c->shared.hidden, n_rows);
    sl_linear gate = {&w->gate, w->gate_bias, NULL}, up = {&w->up, w->up_bias, NULL};
    sl_linear down = {&w->down, w->down_bias, x};
    sl_linear_swiglu(c->kernels, me, &in, &gate, &up, w->down.type, &hidden);
    sl_team_barrier(me);
    lap_maps(c, me, SL_STEP_FFN_IN, n_rows, (const sl_matrix *[]){&w->gate, &w->up}, 2);
    sl_linear_add(c->kernels, me, &hidden, &down);
    sl_team_barrier(me);
    lap_maps(c, me, SL_STEP_FFN_OUT, n_rows, (const sl_matrix *[]){&w->down}, 1);
}

void sl_layer_forward(sl_layer_context *context, sl_member me, const sl_layer_weights *weights,
                      uint32_t index, sl_frame *frame)
{
    sl_layer_context *c = context;
    sl_activations in = norm_rows(c, me, frame->hidden, weights->attn_norm, frame->n_rows);
    project(c, me, weights, index, &in);
    sl_attention_run(c, me, frame, index);
    lap_attention(c, me);
    add_attended(c, me, weights, frame->n_rows, frame->hidden);
    add_feed_forward(c, me, weights, frame->n_rows, frame->hidden);
}
