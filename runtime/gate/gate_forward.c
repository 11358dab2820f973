/* runtime/gate/gate_forward.c - see gate_forward.h. A span is taken in steps of aligned tokens:
 * their gate keys and values are put into the ring, then the tokens whose last visible one is among
 * them are scored. So a ring need only reach a step beyond what one token sees. */
#include "runtime/gate/gate_forward.h"

#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/kernels/matmul/pack.h"

enum {
    STEP_TOKENS = 32,  /* of window and causal gates; half a page */
    BLOCK_TOKENS = 16, /* scored by one thread at a time */
};

static uint32_t pages_for(uint32_t n_tokens)
{
    return (n_tokens + SL_PAGE_TOKENS - 1) / SL_PAGE_TOKENS;
}

static size_t heads_width(const sl_gate_shape *shape)
{
    return (size_t)shape->heads * shape->width;
}

/* ---- memory ---- */

/* Pages that hold a step and all that its first scored token sees, wherever the step begins. */
static uint32_t window_pages(uint32_t back, uint32_t delay)
{
    uint32_t most = 0, reach = back + delay, far = (reach / SL_PAGE_TOKENS + 1) * SL_PAGE_TOKENS;
    for (uint32_t step = far; step < far + SL_PAGE_TOKENS; step += STEP_TOKENS) {
        uint32_t first = (step - reach) / SL_PAGE_TOKENS,
                 last = (step + STEP_TOKENS - 1) / SL_PAGE_TOKENS;
        if (last - first + 1 > most) most = last - first + 1;
    }
    return most;
}

static void plan_layer(const sl_gate_options *o, const sl_gate_layer *weights,
                       sl_gate_stage_layer *layer)
{
    const sl_gate_shape *s = &weights->shape;
    *layer = (sl_gate_stage_layer){.weights = weights,
                                   .kv_heads = sl_gate_kv_heads(s),
                                   .inner = sl_gate_inner(s, o->gate->n_kv_heads)};
    switch (s->span) {
    case SL_GATE_ABSENT: break;
    case SL_GATE_PROMPT: layer->ring_pages = pages_for(o->rows_max); break;
    case SL_GATE_CAUSAL: layer->ring_pages = pages_for(o->context); break;
    case SL_GATE_WINDOW:
        layer->delay = sl_min_u32(s->ahead, o->window - 1);
        /* as long as the context at most: then it never wraps */
        layer->ring_pages = sl_min_u32(window_pages(s->back, layer->delay), pages_for(o->context));
        break;
    }
}

static size_t page_bytes(const sl_gates *g, const sl_gate_stage_layer *layer)
{
    return g->layout->page_bytes(layer->weights->shape.width);
}

/* Of one sequence. */
static size_t pages_bytes(const sl_gates *g, const sl_gate_stage_layer *layer)
{
    if (layer->kv_heads == 0) return 0;
    return (size_t)layer->kv_heads * layer->ring_pages * page_bytes(g, layer);
}

static size_t late_floats(const sl_gate_stage_layer *layer)
{
    return layer->delay * (heads_width(&layer->weights->shape) + layer->inner);
}

/* The most of each that any layer of the stage needs. */
typedef struct {
    size_t q, kv, inner, hidden_rows, tiles, prompt_bytes;
} needs;

static void count_needs(const sl_gates *g, const sl_gate_stage_layer *layer, needs *n)
{
    const sl_gate_shape *s = &layer->weights->shape;
    n->q = sl_max_size(n->q, heads_width(s));
    n->kv = sl_max_size(n->kv, (size_t)layer->kv_heads * s->width);
    n->inner = sl_max_size(n->inner, layer->inner);
    n->hidden_rows = sl_max_size(n->hidden_rows, (size_t)BLOCK_TOKENS * s->heads);
    n->tiles = sl_max_size(n->tiles, layer->ring_pages);
    if (s->span == SL_GATE_PROMPT)
        n->prompt_bytes = sl_max_size(n->prompt_bytes, pages_bytes(g, layer));
}

static sl_gate_scratch take_scratch(const needs *n, uint32_t n_kv_heads, sl_arena *arena)
{
    return (sl_gate_scratch){
        .tiles = sl_arena_array(arena, sl_kv_tile, n->tiles),
        .visible = sl_arena_array(arena, sl_slots, n->tiles * n->hidden_rows),
        .q = sl_arena_array(arena, float, BLOCK_TOKENS * n->q),
        .acc = sl_arena_array(arena, float, BLOCK_TOKENS * n->q),
        .attended = sl_arena_array(arena, float, BLOCK_TOKENS * n->q),
        .inner = sl_arena_array(arena, float, BLOCK_TOKENS * n->inner),
        .logits = sl_arena_array(arena, float, (size_t)BLOCK_TOKENS *n_kv_heads),
        .state = sl_arena_array(arena, sl_softmax, n->hidden_rows),
    };
}

/* The state of layer `index`; `prompt` is shared by all whose span leaves none. */
static sl_matrix take_packed(const sl_matrix *w, sl_arena *arena)
{
    sl_matrix packed = *w;
    if (!w->data || sl_packed_bytes(w) == 0) return packed;
    void *out = sl_arena_take(arena, sl_packed_bytes(w));
    if (out) sl_pack(w, 0, sl_n_panels(w), out);
    packed.data = out;
    packed.packed = true;
    return packed;
}

static void take_layer(sl_gates *g, uint32_t index, uint8_t *prompt, sl_arena *arena)
{
    const sl_gate_options *o = &g->options;
    sl_gate_stage_layer layer;
    plan_layer(o, &o->gate->layers[o->layer_begin + index], &layer);
    layer.pages = layer.weights->shape.span == SL_GATE_PROMPT
                      ? prompt
                      : sl_arena_take(arena, o->sequences_max * pages_bytes(g, &layer));
    layer.late = sl_arena_array(arena, float, o->sequences_max *late_floats(&layer));
    layer.x = take_packed(&layer.weights->x, arena);
    layer.q = take_packed(&layer.weights->q, arena);
    layer.k = take_packed(&layer.weights->k, arena);
    layer.v = take_packed(&layer.weights->v, arena);
    if (g->layers) g->layers[index] = layer;
}

void sl_gates_init(sl_gates *gates, const sl_gate_options *options, sl_arena *arena)
{
    const sl_gate_options *o = options;
    *gates = (sl_gates){.options = *o, .layout = o->kernels->kv[SL_KV_F16]};
    if (!o->gate) return;
    needs n = {0};
    uint32_t n_layers = o->layer_end - o->layer_begin, n_kv_heads = o->gate->n_kv_heads;
    for (uint32_t i = 0; i < n_layers; i++) {
        sl_gate_stage_layer layer;
        plan_layer(o, &o->gate->layers[o->layer_begin + i], &layer);
        count_needs(gates, &layer, &n);
    }

    gates->layers = sl_arena_array(arena, sl_gate_stage_layer, n_layers);
    uint8_t *prompt = sl_arena_take(arena, n.prompt_bytes);
    for (uint32_t i = 0; i < n_layers; i++) take_layer(gates, i, prompt, arena);
    gates->q = sl_arena_array(arena, float, o->rows_max *n.q);
    gates->k = sl_arena_array(arena, float, o->rows_max *n.kv);
    gates->v = sl_arena_array(arena, float, o->rows_max *n.kv);
    gates->z = sl_arena_array(arena, float, o->rows_max *n.inner);
    gates->logits = sl_arena_array(arena, float, (size_t)n_kv_heads * o->rows_max);
    gates->own = sl_arena_array(arena, sl_gate_scratch, o->threads);
    for (int i = 0; i < o->threads; i++) {
        sl_gate_scratch own = take_scratch(&n, n_kv_heads, arena);
        if (gates->own) gates->own[i] = own;
    }
}

/* ---- sequences ---- */

size_t sl_gates_sequence_bytes(const sl_gates *gates)
{
    size_t bytes = 0;
    for (uint32_t i = 0; gates->layers && i < gates->options.layer_end - gates->options.layer_begin;
         i++) {
        const sl_gate_stage_layer *layer = &gates->layers[i];
        if (layer->weights->shape.span != SL_GATE_PROMPT) bytes += pages_bytes(gates, layer);
        bytes += late_floats(layer) * sizeof(float);
    }
    return bytes;
}

static uint8_t *pages_of(const sl_gates *g, const sl_gate_stage_layer *layer, uint32_t sequence)
{
    bool shared = layer->weights->shape.span == SL_GATE_PROMPT;
    return layer->pages + (shared ? 0 : sequence * pages_bytes(g, layer));
}

static float *late_of(const sl_gate_stage_layer *layer, uint32_t sequence)
{
    return layer->late + sequence * late_floats(layer);
}

void sl_gates_fork(sl_gates *gates, uint32_t sequence, uint32_t parent)
{
    for (uint32_t i = 0; gates->layers && i < gates->options.layer_end - gates->options.layer_begin;
         i++) {
        const sl_gate_stage_layer *layer = &gates->layers[i];
        memcpy(late_of(layer, sequence), late_of(layer, parent),
               late_floats(layer) * sizeof(float));
        if (layer->weights->shape.span != SL_GATE_PROMPT)
            memcpy(pages_of(gates, layer, sequence), pages_of(gates, layer, parent),
                   pages_bytes(gates, layer));
    }
}

/* ---- what the maps give ---- */

size_t sl_gates_maps(const sl_gates *gates, uint32_t layer, sl_linear *maps_out)
{
    if (!gates->layers) return 0;
    const sl_gate_stage_layer *l = &gates->layers[layer];
    const sl_gate_shape *shape = &l->weights->shape;
    size_t n = 0;
    if (shape->span == SL_GATE_ABSENT) return 0;
    maps_out[n++] = (sl_linear){.matrix = &l->x, .bias = l->weights->x_bias, .out = gates->z};
    if (shape->heads == 0) return n;
    maps_out[n++] = (sl_linear){.matrix = &l->q, .out = gates->q};
    maps_out[n++] = (sl_linear){.matrix = &l->k, .out = gates->k};
    maps_out[n++] = (sl_linear){.matrix = &l->v, .out = gates->v};
    return n;
}

/* A span being scored. */
typedef struct {
    const sl_gates *gates;
    const sl_gate_stage_layer *layer;
    const sl_span *span;
} scoring;

/* Row of token t in one of the buffers that the maps filled. */
static const float *fresh_row(const scoring *s, const float *buffer, size_t width, uint32_t token)
{
    return buffer + (s->span->first_row + token - s->span->position) * width;
}

/* Where a token that waits keeps its q, and its z behind it. */
static float *late_row(const scoring *s, uint32_t token)
{
    const sl_gate_stage_layer *l = s->layer;
    size_t width = heads_width(&l->weights->shape) + l->inner;
    return late_of(l, s->span->sequence) + token % l->delay * width;
}

static const float *q_row(const scoring *s, uint32_t token)
{
    size_t width = heads_width(&s->layer->weights->shape);
    if (token < s->span->position) return late_row(s, token);
    return fresh_row(s, s->gates->q, width, token);
}

static const float *z_row(const scoring *s, uint32_t token)
{
    const sl_gate_stage_layer *l = s->layer;
    if (token < s->span->position) return late_row(s, token) + heads_width(&l->weights->shape);
    return fresh_row(s, s->gates->z, l->inner, token);
}

/* Tokens that are still to be scored after the span wait in the ring. */
static void keep_late(const scoring *s)
{
    const sl_gate_stage_layer *l = s->layer;
    size_t q_width = heads_width(&l->weights->shape);
    uint32_t end = s->span->position + s->span->n_tokens,
             first = sl_saturating_sub_u32(end, l->delay);
    if (first < s->span->position) first = s->span->position;
    for (uint32_t t = first; t < end; t++) {
        float *late = late_row(s, t);
        if (q_width) memcpy(late, q_row(s, t), q_width * sizeof *late);
        memcpy(late + q_width, z_row(s, t), l->inner * sizeof *late);
    }
}

/* ---- MHA' ---- */

static uint8_t *ring_page(const scoring *s, uint32_t kv_head, uint32_t token)
{
    const sl_gate_stage_layer *l = s->layer;
    size_t page = (size_t)kv_head * l->ring_pages + token / SL_PAGE_TOKENS % l->ring_pages;
    return pages_of(s->gates, l, s->span->sequence) + page * page_bytes(s->gates, l);
}

static void put_token(const scoring *s, uint32_t token)
{
    const sl_gate_stage_layer *l = s->layer;
    size_t width = l->weights->shape.width, kv_width = l->kv_heads * width;
    const float *k = fresh_row(s, s->gates->k, kv_width, token);
    const float *v = fresh_row(s, s->gates->v, kv_width, token);
    for (uint32_t head = 0; head < l->kv_heads; head++)
        s->gates->layout->put(ring_page(s, head, token), token % SL_PAGE_TOKENS, k + head * width,
                              v + head * width, width);
}

/* What token t may see: [begin, end). */
typedef struct {
    uint32_t begin, end;
} sight;

static sight sight_of(const scoring *s, uint32_t token)
{
    const sl_gate_shape *shape = &s->layer->weights->shape;
    uint32_t begin = shape->span == SL_GATE_WINDOW ? sl_saturating_sub_u32(token, shape->back) : 0;
    uint32_t end = shape->span == SL_GATE_PROMPT ? s->span->position + s->span->n_tokens
                                                 : token + s->layer->delay + 1;
    return (sight){begin, end};
}

/* Pages of one gate KV head that tokens [first, first + n) see, n_rows rows each. */
static size_t list_tiles(const scoring *s, uint32_t kv_head, uint32_t first, uint32_t n,
                         uint32_t n_rows, sl_kv_tile *tiles, sl_slots *visible)
{
    size_t n_tiles = 0;
    uint32_t begin = sight_of(s, first).begin / SL_PAGE_TOKENS * SL_PAGE_TOKENS;
    for (uint32_t start = begin; start < sight_of(s, first + n - 1).end; start += SL_PAGE_TOKENS) {
        tiles[n_tiles++] = (sl_kv_tile){.page = ring_page(s, kv_head, start), .visible = visible};
        for (uint32_t t = 0; t < n; t++) {
            sight sees = sight_of(s, first + t);
            sl_slots slots = sl_slots_within(sees.begin, sees.end, start);
            for (uint32_t r = 0; r < n_rows; r++) *visible++ = slots;
        }
    }
    return n_tiles;
}

/* own->attended [n][heads * width] = MHA' of tokens [first, first + n). */
static void attend(const scoring *s, uint32_t first, uint32_t n, sl_gate_scratch *own)
{
    const sl_gate_stage_layer *l = s->layer;
    const sl_kv_layout *layout = s->gates->layout;
    size_t width = l->weights->shape.width, q_width = heads_width(&l->weights->shape);
    uint32_t group = l->weights->shape.heads / l->kv_heads; /* gate heads that share keys */
    size_t group_width = group * width;
    float scale = 1.0F / sqrtf((float)width);
    for (uint32_t kv_head = 0; kv_head < l->kv_heads; kv_head++) {
        size_t n_rows = (size_t)n * group, at = kv_head * group_width;
        for (uint32_t t = 0; t < n; t++) {
            const float *q = q_row(s, first + t) + at;
            for (size_t i = 0; i < group_width; i++) own->q[t * group_width + i] = q[i] * scale;
        }
        for (size_t r = 0; r < n_rows; r++) own->state[r] = (sl_softmax){.max = -INFINITY};
        memset(own->acc, 0, n_rows * width * sizeof *own->acc);
        size_t n_tiles = list_tiles(s, kv_head, first, n, group, own->tiles, own->visible);
        layout->attend(own->tiles, n_tiles, own->q, n_rows, width, own->state, own->acc);
        for (size_t r = 0; r < n_rows; r++)
            layout->finish(&own->state[r], own->acc + r * width, width,
                           own->attended + r / group * q_width + at + r % group * width);
    }
}

/* ---- logits ---- */

/* out [n][n_out] = x [n][n_in] through a small float matrix. */
static void multiply(const scoring *s, const sl_matrix *w, float *x, uint32_t n, float *out)
{
    sl_activations a = {.n_rows = n, .width = w->n_in, .x = x};
    s->gates->options.kernels->matmul[w->type](w, &a, 0, w->n_out, false, out, w->n_out);
}

/* Logits of tokens [first, first + n): at most a block, all of whose sight is in the ring. */
static void score_block(const scoring *s, uint32_t first, uint32_t n, sl_gate_scratch *own)
{
    const sl_gate_stage_layer *l = s->layer;
    const sl_gate_layer *w = l->weights;
    uint32_t n_kv_heads = s->gates->options.gate->n_kv_heads;
    if (w->shape.heads > 0) {
        attend(s, first, n, own);
        multiply(s, &w->a, own->attended, n, own->inner);
    } else {
        memset(own->inner, 0, (size_t)n * l->inner * sizeof *own->inner);
    }
    for (uint32_t t = 0; t < n; t++) {
        const float *z = z_row(s, first + t);
        float *inner = own->inner + (size_t)t * l->inner;
        for (uint32_t i = 0; i < l->inner; i++) inner[i] += z[i];
        for (uint32_t i = 0; i < w->shape.hidden; i++) inner[i] = inner[i] < 0 ? 0 : inner[i];
    }
    const float *logits = own->inner;
    if (w->shape.hidden > 0) {
        multiply(s, &w->out, own->inner, n, own->logits);
        logits = own->logits;
    }
    size_t row = s->span->first_row + first + l->delay - s->span->position;
    for (uint32_t t = 0; t < n; t++)
        for (uint32_t head = 0; head < n_kv_heads; head++) {
            float bias = w->shape.hidden > 0 ? w->out_bias[head] : 0;
            s->gates->logits[head * (size_t)s->gates->options.rows_max + row + t] =
                logits[(size_t)t * n_kv_heads + head] + bias;
        }
}

/* ---- spans ---- */

/* Nothing decides about these tokens: there is no gate, or they are generated ones of a `prompt`
 * gate. Scores that are not numbers keep them. */
static bool is_ungated(const sl_gate_stage_layer *layer, const sl_span *span, uint32_t n_prompt)
{
    sl_gate_span kind = layer->weights->shape.span;
    if (kind == SL_GATE_PROMPT && span->position < n_prompt) {
        SL_ASSERT(span->position == 0 && span->n_tokens == n_prompt);
        return false;
    }
    return kind == SL_GATE_ABSENT || kind == SL_GATE_PROMPT;
}

static void keep_all(const sl_gates *g, const sl_span *span)
{
    for (uint32_t head = 0; head < g->options.gate->n_kv_heads; head++)
        for (uint32_t t = 0; t < span->n_tokens; t++)
            g->logits[head * (size_t)g->options.rows_max + span->first_row + t] = NAN;
}

/* The end of the step that begins at `token`. */
static uint32_t step_end(const scoring *s, uint32_t token)
{
    uint32_t end = s->span->position + s->span->n_tokens;
    if (s->layer->weights->shape.span == SL_GATE_PROMPT) return end;
    return sl_min_u32((token / STEP_TOKENS + 1) * STEP_TOKENS, end);
}

uint32_t sl_gates_score_prompt(sl_gates *gates, sl_member me, uint32_t layer, const sl_span *span,
                               uint32_t n_prompt)
{
    const scoring s = {gates, &gates->layers[layer], span};
    uint32_t delay = s.layer->delay, end = span->position + span->n_tokens;
    if (is_ungated(s.layer, span, n_prompt)) {
        if (me.thread == 0) keep_all(gates, span);
        sl_team_barrier(me);
        return 0;
    }
    for (uint32_t step = span->position; step < end; step = step_end(&s, step)) {
        uint32_t next = step_end(&s, step);
        sl_share put = sl_team_share(me, next - step, 1);
        for (uint32_t t = (uint32_t)put.begin; t < put.end; t++) put_token(&s, step + t);
        sl_team_barrier(me);
        uint32_t first = sl_saturating_sub_u32(step, delay),
                 last = sl_saturating_sub_u32(next, delay);
        sl_share score = sl_team_share(me, last - first, BLOCK_TOKENS);
        for (uint32_t t = (uint32_t)score.begin; t < score.end; t += BLOCK_TOKENS)
            score_block(&s, first + t, sl_min_u32(BLOCK_TOKENS, (uint32_t)score.end - t),
                        &gates->own[me.thread]);
        sl_team_barrier(me);
    }
    if (me.thread == 0) keep_late(&s);
    return delay;
}

uint32_t sl_gates_score_decode(sl_gates *gates, uint32_t layer, const sl_span *span,
                               uint32_t n_prompt, int thread)
{
    const scoring s = {gates, &gates->layers[layer], span};
    uint32_t delay = s.layer->delay;
    if (is_ungated(s.layer, span, n_prompt)) {
        keep_all(gates, span);
        return 0;
    }
    put_token(&s, span->position);
    if (span->position >= delay) score_block(&s, span->position - delay, 1, &gates->own[thread]);
    keep_late(&s);
    return delay;
}

/* ---- pictures ---- */

/* Weights of one query over keys [begin, end) of a row of scores. */
static void softmax(float *row, uint32_t begin, uint32_t end)
{
    float max = -INFINITY, sum = 0;
    for (uint32_t j = begin; j < end; j++) max = fmaxf(max, row[j]);
    for (uint32_t j = begin; j < end; j++) sum += row[j] = expf(row[j] - max);
    for (uint32_t j = begin; j < end; j++) row[j] /= sum;
}

void sl_gates_map(const sl_gates *gates, uint32_t layer, const sl_span *span, uint32_t head,
                  float *map)
{
    const scoring s = {gates, &gates->layers[layer], span};
    const sl_gate_shape *shape = &s.layer->weights->shape;
    uint32_t n = span->n_tokens, width = shape->width;
    memset(map, 0, (size_t)n * n * sizeof *map);
    if (head >= shape->heads) return;
    size_t kv_width = (size_t)s.layer->kv_heads * width;
    size_t kv_at = shape->kv == SL_GATE_OWN_KV ? (size_t)head * width : 0;
    float scale = 1.0F / sqrtf((float)width);
    for (uint32_t t = 0; t < n; t++) {
        sight sees = sight_of(&s, t);
        uint32_t end = sl_min_u32(sees.end, n);
        const float *q = q_row(&s, t) + (size_t)head * width;
        float *row = map + (size_t)t * n;
        for (uint32_t j = sees.begin; j < end; j++) {
            const float *k = fresh_row(&s, gates->k, kv_width, j) + kv_at;
            for (uint32_t i = 0; i < width; i++) row[j] += scale * q[i] * k[i];
        }
        softmax(row, sees.begin, end);
    }
}
