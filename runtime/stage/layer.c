/* runtime/stage/layer.c - see layer.h. Each step is a loop split over the team's threads; who
 * computes a piece never changes its bits (contract 1): pieces are whole rows, columns, query
 * blocks or runs, and partial results merge in index order. */
#include "runtime/stage/layer.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/stage/attention.h"

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

/* Of one kind of layers, which may have no rope. */
static void fill_angles(const sl_layer_context *c, sl_member me, uint32_t kind, const sl_span *span)
{
    const sl_rope_table *rope = &c->ropes[kind];
    float *cos_sin = c->shared.cos_sin[kind];
    sl_share tokens = sl_team_share(me, cos_sin ? span->n_tokens : 0, 1);
    for (uint32_t t = (uint32_t)tokens.begin; t < tokens.end; t++)
        sl_rope_angles(rope, span->position + t,
                       cos_sin + (size_t)(span->first_row + t) * rope->dim);
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
    for (uint32_t kind = 0; kind < context->shape->n_kinds; kind++)
        for (uint32_t i = 0; i < frame->n_spans; i++)
            fill_angles(context, me, kind, &frame->spans[i]);
    sl_team_barrier(me);
    lap(context, me, SL_STEP_EMBED);
}

/* ---- adapters (runtime/model/lora.h) ---- */

/* Give n maps of one input, `first` of the layer and those behind it, their low ranks. */
static void adapt(const sl_layer_context *c, uint32_t index, sl_layer_map first, sl_linear *maps,
                  size_t n)
{
    float *reduced = c->shared.reduced;
    for (size_t i = 0; c->lora && i < n; i++) {
        const sl_low_rank *low = &c->lora->layers[index].maps[first + i];
        if (!low->a.data) continue;
        maps[i].low_rank = low;
        maps[i].reduced = reduced;
        reduced += c->rows_max * low->a.n_out;
    }
}

/* The input of maps to their low ranks. */
static void reduce(const sl_layer_context *c, sl_member me, const sl_activations *in,
                   const sl_linear *maps, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) any |= maps[i].low_rank != NULL;
    if (!any) return;
    sl_linear_reduce(c->kernels, me, in, maps, n);
    sl_team_barrier(me);
    lap(c, me, SL_STEP_LORA);
}

/* ---- the layer: steps with a barrier behind each ---- */

static void project(sl_layer_context *c, sl_member me, const sl_layer_weights *w, uint32_t index,
                    const sl_activations *in)
{
    const sl_layer_scratch *b = &c->shared;
    sl_linear qkv[] = {{.matrix = &w->q, .bias = w->q_bias, .out = b->q},
                       {.matrix = &w->k, .bias = w->k_bias, .out = b->k},
                       {.matrix = &w->v, .bias = w->v_bias, .out = b->v}};
    adapt(c, index, SL_MAP_Q, qkv, 3);
    reduce(c, me, in, qkv, 3);
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

/* x += norm(map(in)). What the map gives needs room of its own until it is normed: shared.normed.x,
 * which the layer has read by then. */
static void add_normed(const sl_layer_context *c, sl_member me, const sl_activations *in,
                       const sl_linear *map, const float *norm, float *x)
{
    size_t width = c->shape->width;
    float *given = c->shared.normed.x;
    sl_linear normed = *map;
    normed.out = given;
    sl_linear_run(c->kernels, me, in, &normed, 1);
    sl_team_barrier(me);
    sl_share rows = sl_team_share(me, in->n_rows, 1);
    for (size_t row = rows.begin; row < rows.end; row++) {
        float *y = given + row * width;
        c->kernels->rmsnorm(y, norm, 1, width, c->shape->rms_eps, y);
        c->kernels->add(y, width, x + row * width);
    }
}

/* The hidden state x += map(in), normed in layers that have `norm`. */
static void add_to_hidden(const sl_layer_context *c, sl_member me, const sl_activations *in,
                          const sl_linear *map, const float *norm, sl_step step)
{
    reduce(c, me, in, map, 1);
    if (norm)
        add_normed(c, me, in, map, norm, map->out);
    else
        sl_linear_add(c->kernels, me, in, map);
    sl_team_barrier(me);
    lap_maps(c, me, step, in->n_rows, &map->matrix, 1);
}

static void add_attended(const sl_layer_context *c, sl_member me, const sl_layer_weights *w,
                         uint32_t index, size_t n_rows, float *x)
{
    sl_linear o = {.matrix = &w->o, .bias = w->o_bias, .out = x};
    sl_activations attended = sl_layer_input(c, &c->shared.attended, n_rows);
    adapt(c, index, SL_MAP_O, &o, 1);
    add_to_hidden(c, me, &attended, &o, w->attn_post_norm, SL_STEP_OUT);
}

static void add_feed_forward(const sl_layer_context *c, sl_member me, const sl_layer_weights *w,
                             uint32_t index, size_t n_rows, float *x)
{
    sl_activations in = norm_rows(c, me, x, w->ffn_norm, n_rows);
    sl_activations hidden = sl_layer_input(c, &c->shared.hidden, n_rows);
    sl_linear gate_up[] = {{.matrix = &w->gate, .bias = w->gate_bias},
                           {.matrix = &w->up, .bias = w->up_bias}};
    sl_linear down = {.matrix = &w->down, .bias = w->down_bias, .out = x};
    sl_glu *glu = c->shape->activation == SL_GEGLU ? c->kernels->geglu : c->kernels->swiglu;
    adapt(c, index, SL_MAP_GATE, gate_up, 2);
    adapt(c, index, SL_MAP_DOWN, &down, 1);
    reduce(c, me, &in, gate_up, 2);
    sl_linear_glu(c->kernels, me, &in, &gate_up[0], &gate_up[1], glu, &down, &hidden);
    sl_team_barrier(me);
    lap_maps(c, me, SL_STEP_FFN_IN, n_rows, (const sl_matrix *[]){&w->gate, &w->up}, 2);
    add_to_hidden(c, me, &hidden, &down, w->ffn_post_norm, SL_STEP_FFN_OUT);
}

void sl_layer_forward(sl_layer_context *context, sl_member me, uint32_t index, sl_frame *frame)
{
    sl_layer_context *c = context;
    const sl_layer_weights *weights = &c->weights->layers[index];
    sl_activations in = norm_rows(c, me, frame->hidden, weights->attn_norm, frame->n_rows);
    project(c, me, weights, index, &in);
    sl_attention_run(c, me, frame, index);
    lap_attention(c, me);
    add_attended(c, me, weights, index, frame->n_rows, frame->hidden);
    add_feed_forward(c, me, weights, index, frame->n_rows, frame->hidden);
}
