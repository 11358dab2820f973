/* runtime/stage/layer.c - see layer.h. Each step is a loop split over the team's threads; who
 * computes a piece never changes its bits (contract 1): pieces are whole rows, columns, query
 * blocks or runs, and partial results merge in index order. */
#include "runtime/stage/layer.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "runtime/base/log.h"

enum { ROW_BLOCK = 8, COLUMN_BLOCK = 32 };

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static uint32_t group_of(const sl_model_shape *shape) { return shape->n_heads / shape->n_kv_heads; }

/* Query tokens of one block: SL_QUERY_ROWS rows, or one token's group if that is more. */
static uint32_t block_tokens(const sl_model_shape *shape)
{
    uint32_t tokens = SL_QUERY_ROWS / group_of(shape);
    return tokens > 0 ? tokens : 1;
}

void sl_layer_context_init(sl_layer_context *context, const sl_frame_limits *limits,
                           sl_arena *arena)
{
    const sl_model_shape *s = context->shape;
    size_t rows = limits->rows_max, heads_width = (size_t)s->n_heads * s->head_dim;
    size_t kv_width = (size_t)s->n_kv_heads * s->head_dim;
    size_t widest = larger(larger(s->width, heads_width), s->ffn_width);
    size_t query_rows = (size_t)block_tokens(s) * group_of(s);
    size_t partials = (size_t)context->decode_max * s->n_kv_heads *
                      sl_cache_decode_runs_max(context->cache) * group_of(s);

    double *frequency = sl_arena_array(arena, double, s->rope.dim / 2);
    context->rope.frequency = frequency;
    if (frequency) sl_rope_table_fill(&s->rope, context->rope_freqs, &context->rope);

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

    context->own = sl_arena_array(arena, sl_thread_scratch, context->threads);
    for (int i = 0; i < context->threads; i++) {
        sl_thread_scratch own;
        own.tiles = sl_arena_array(arena, sl_kv_tile, context->cache->tiles_max);
        own.visible = sl_arena_array(arena, sl_slots, context->cache->tiles_max * query_rows);
        own.q = sl_arena_array(arena, float, query_rows * s->head_dim);
        own.acc = sl_arena_array(arena, float, query_rows * s->head_dim);
        own.state = sl_arena_array(arena, sl_softmax, query_rows);
        if (context->own) context->own[i] = own;
    }
}

/* ---- linear maps, norms ---- */

void sl_layer_linear(const sl_kernels *kernels, int threads, const sl_activations *a,
                     const sl_linear *maps, size_t n_maps)
{
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (size_t row = 0; row < a->n_rows; row += ROW_BLOCK) {
            size_t end = row + ROW_BLOCK < a->n_rows ? row + ROW_BLOCK : a->n_rows;
            kernels->quantize(a, row, end);
        }
        for (size_t m = 0; m < n_maps; m++) {
            const sl_matrix *w = maps[m].matrix;
#pragma omp for schedule(static) nowait
            for (size_t column = 0; column < w->n_out; column += COLUMN_BLOCK) {
                size_t end = column + COLUMN_BLOCK < w->n_out ? column + COLUMN_BLOCK : w->n_out;
                kernels->matmul(w, a, column, end, maps[m].out, w->n_out);
                for (size_t row = 0; maps[m].bias && row < a->n_rows; row++)
                    kernels->add(maps[m].bias + column, end - column,
                                 maps[m].out + row * w->n_out + column);
            }
        }
    }
}

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

/* ---- attention ---- */

static void begin_softmax(size_t n_rows, size_t head_dim, sl_softmax *state, float *acc)
{
    for (size_t r = 0; r < n_rows; r++) state[r] = (sl_softmax){.max = -INFINITY, .sum = 0};
    memset(acc, 0, n_rows * head_dim * sizeof *acc);
}

/* Queries of one KV head's group for rows [row, row + n), scaled, as [n * group][head_dim]. */
static void gather_queries(const sl_layer_context *c, uint32_t head, size_t row, size_t n,
                           float *out)
{
    const sl_model_shape *s = c->shape;
    size_t group_width = (size_t)group_of(s) * s->head_dim,
           width = (size_t)s->n_heads * s->head_dim;
    float scale = 1.0F / sqrtf((float)s->head_dim);
    for (size_t t = 0; t < n; t++) {
        const float *from = c->shared.q + (row + t) * width + head * group_width;
        for (size_t i = 0; i < group_width; i++) out[t * group_width + i] = from[i] * scale;
    }
}

static float *attended_row(const sl_layer_context *c, size_t row, uint32_t head, uint32_t g)
{
    const sl_model_shape *s = c->shape;
    return c->shared.attended + ((row * s->n_heads) + (size_t)head * group_of(s) + g) * s->head_dim;
}

/* Queries [first, first + n) of a prompt span against everything they see in one KV head. */
static void attend_block(const sl_layer_context *c, const sl_span *span, uint32_t layer,
                         uint32_t head, uint32_t first, uint32_t n, sl_thread_scratch *own)
{
    const sl_model_shape *s = c->shape;
    const sl_kv_layout *layout = c->kernels->kv_layout;
    uint32_t group = group_of(s);
    size_t row = span->first_row + first, n_rows = (size_t)n * group;
    size_t n_tiles = sl_cache_prompt_tiles(c->cache, span->sequence, layer, head, span->position,
                                           first, n, group, own->tiles, own->visible);
    gather_queries(c, head, row, n, own->q);
    begin_softmax(n_rows, s->head_dim, own->state, own->acc);
    layout->attend(own->tiles, n_tiles, own->q, n_rows, s->head_dim, own->state, own->acc);
    for (uint32_t r = 0; r < n_rows; r++)
        layout->finish(&own->state[r], own->acc + (size_t)r * s->head_dim, s->head_dim,
                       attended_row(c, row + r / group, head, r % group));
}

static void attend_prompt(const sl_layer_context *c, const sl_span *span, uint32_t layer)
{
    const sl_model_shape *s = c->shape;
    size_t kv_width = (size_t)s->n_kv_heads * s->head_dim;
    const float *k = c->shared.k + span->first_row * kv_width;
    const float *v = c->shared.v + span->first_row * kv_width;
    uint32_t step = block_tokens(s), n_blocks = (span->n_tokens + step - 1) / step;
#pragma omp parallel num_threads(c->threads)
    {
#pragma omp for schedule(static)
        for (uint32_t head = 0; head < s->n_kv_heads; head++)
            sl_cache_put_prompt(c->cache, span->sequence, layer, head, span->position,
                                span->n_tokens, k + (size_t)head * s->head_dim,
                                v + (size_t)head * s->head_dim, kv_width);
#pragma omp for schedule(dynamic) collapse(2)
        for (uint32_t head = 0; head < s->n_kv_heads; head++) {
            for (uint32_t block = 0; block < n_blocks; block++) {
                uint32_t first = block * step;
                uint32_t n = span->n_tokens - first < step ? span->n_tokens - first : step;
                attend_block(c, span, layer, head, first, n, &c->own[omp_get_thread_num()]);
            }
        }
    }
}

/* Where the partial results of run 0 of (decode span d, head) are kept. */
static size_t partial_index(const sl_layer_context *c, uint32_t d, uint32_t head)
{
    return ((size_t)d * c->shape->n_kv_heads + head) * sl_cache_decode_runs_max(c->cache) *
           group_of(c->shape);
}

static void attend_run(const sl_layer_context *c, const sl_span *span, uint32_t d, uint32_t layer,
                       uint32_t head, uint32_t run, sl_thread_scratch *own)
{
    const sl_model_shape *s = c->shape;
    uint32_t group = group_of(s);
    size_t partial = partial_index(c, d, head) + (size_t)run * group;
    sl_softmax *state = c->shared.run_state + partial;
    float *acc = c->shared.run_acc + partial * s->head_dim;
    size_t n_tiles = sl_cache_decode_tiles(c->cache, span->sequence, layer, head, span->position,
                                           run, group, own->tiles, own->visible);
    gather_queries(c, head, span->first_row, 1, own->q);
    begin_softmax(group, s->head_dim, state, acc);
    c->kernels->kv_layout->attend(own->tiles, n_tiles, own->q, group, s->head_dim, state, acc);
}

static void merge_runs(const sl_layer_context *c, const sl_span *span, uint32_t d, uint32_t layer,
                       uint32_t head)
{
    const sl_model_shape *s = c->shape;
    const sl_kv_layout *layout = c->kernels->kv_layout;
    uint32_t group = group_of(s),
             n_runs = sl_cache_decode_runs(c->cache, span->sequence, layer, head);
    for (uint32_t g = 0; g < group; g++) {
        sl_softmax *state = c->shared.run_state + partial_index(c, d, head) + g;
        float *acc = c->shared.run_acc + (partial_index(c, d, head) + g) * s->head_dim;
        for (uint32_t run = 1; run < n_runs; run++)
            layout->merge(state, acc, state + (size_t)run * group,
                          acc + (size_t)run * group * s->head_dim, s->head_dim);
        layout->finish(state, acc, s->head_dim, attended_row(c, span->first_row, head, g));
    }
}

/* All decode spans of a frame together: work is split by (span, head, run), since lengths differ. */
static void attend_decode(const sl_layer_context *c, const sl_frame *frame, uint32_t n_decode,
                          uint32_t layer)
{
    const sl_model_shape *s = c->shape;
    const uint32_t *spans = c->shared.decode_spans;
    uint32_t runs_max = sl_cache_decode_runs_max(c->cache);
    size_t kv_width = (size_t)s->n_kv_heads * s->head_dim;
#pragma omp parallel num_threads(c->threads)
    {
#pragma omp for schedule(static) collapse(2)
        for (uint32_t d = 0; d < n_decode; d++) {
            for (uint32_t head = 0; head < s->n_kv_heads; head++) {
                const sl_span *span = &frame->spans[spans[d]];
                size_t at = span->first_row * kv_width + (size_t)head * s->head_dim;
                sl_cache_put_decode(c->cache, span->sequence, layer, head, span->position,
                                    c->shared.k + at, c->shared.v + at);
            }
        }
#pragma omp for schedule(dynamic) collapse(3)
        for (uint32_t d = 0; d < n_decode; d++) {
            for (uint32_t head = 0; head < s->n_kv_heads; head++) {
                for (uint32_t run = 0; run < runs_max; run++) {
                    const sl_span *span = &frame->spans[spans[d]];
                    if (run < sl_cache_decode_runs(c->cache, span->sequence, layer, head))
                        attend_run(c, span, d, layer, head, run, &c->own[omp_get_thread_num()]);
                }
            }
        }
#pragma omp for schedule(static) collapse(2)
        for (uint32_t d = 0; d < n_decode; d++)
            for (uint32_t head = 0; head < s->n_kv_heads; head++)
                merge_runs(c, &frame->spans[spans[d]], d, layer, head);
    }
}

static void attend(const sl_layer_context *c, const sl_frame *frame, uint32_t layer)
{
    uint32_t n_decode = 0;
    for (uint32_t i = 0; i < frame->n_spans; i++) {
        const sl_span *span = &frame->spans[i];
        if (span->kind == SL_SPAN_PROMPT) {
            attend_prompt(c, span, layer);
        } else {
            SL_ASSERT(n_decode < c->decode_max);
            c->shared.decode_spans[n_decode++] = i;
        }
    }
    if (n_decode > 0) attend_decode(c, frame, n_decode, layer);
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
    sl_layer_linear(c->kernels, c->threads, &in, in_maps, 2);
#pragma omp parallel for schedule(static) num_threads(c->threads)
    for (size_t row = 0; row < n_rows; row++)
        c->kernels->swiglu(b->gate + row * ffn, b->up + row * ffn, ffn, b->up + row * ffn);
    sl_activations hidden = activations_of(b, b->up, n_rows, ffn);
    sl_linear out_map = {&w->down, w->down_bias, b->gate};
    sl_layer_linear(c->kernels, c->threads, &hidden, &out_map, 1);
    add_rows(c, b->gate, n_rows, x);
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
    sl_layer_linear(context->kernels, context->threads, &in, qkv, 3);
    rotate_rows(context, n_rows);
    attend(context, frame, index);
    sl_activations attended = activations_of(b, b->attended, n_rows,
                                             (size_t)s->n_heads * s->head_dim);
    sl_linear out_map = {&weights->o, weights->o_bias, b->normed};
    sl_layer_linear(context->kernels, context->threads, &attended, &out_map, 1);
    add_rows(context, b->normed, n_rows, x);

    feed_forward(context, weights, n_rows, x);
}
