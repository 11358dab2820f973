/* runtime/train/layer_pass.c - see layer_pass.h. No tape: backward takes the forward steps again
 * and finds what they left in the room they share. A matrix is unpacked into f32 for each product;
 * that is small beside products of thousands of rows. */
#include "runtime/train/layer_pass.h"

#include <string.h>

#include "runtime/base/log.h"
#include "runtime/train/attention_pass.h"
#include "runtime/train/dense.h"
#include "runtime/train/row_pass.h"

struct sl_layer_pass {
    sl_layer_pass_options options;
    uint32_t n; /* tokens of the text */
    sl_rope_table ropes[SL_LAYER_KINDS_MAX];
    /* [tokens_max][rope.dim] of a kind, forward and backward */
    float *angles[SL_LAYER_KINDS_MAX], *angles_back[SL_LAYER_KINDS_MAX];
    sl_attention_pass *attention;
    float *map; /* the matrix at hand */
    /* what forward leaves, [tokens_max][..] */
    float *normed, *q, *k, *v, *attended, *log_sum; /* q and k as attention meets them */
    float *q_given, *k_given;                       /* of the maps; NULL: no layer norms them */
    float *middle, *middle_normed;                  /* between attention and FFN */
    float *gate, *up, *hidden;
    float *added; /* what attention or FFN gives, before it is normed */
    /* gradients */
    float *d_q, *d_k, *d_v, *d_attended, *d_normed, *d_added, *d_gate, *d_up;
};

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t q_width(const sl_model_shape *s) { return (size_t)s->n_heads * s->head_dim; }
static size_t kv_width(const sl_model_shape *s) { return (size_t)s->n_kv_heads * s->head_dim; }

static void init_ropes(sl_layer_pass *p, sl_arena *arena)
{
    const sl_model_shape *s = p->options.shape;
    for (uint32_t kind = 0; kind < s->n_kinds; kind++) {
        const sl_rope *rope = &s->kinds[kind].rope;
        p->ropes[kind].frequency = sl_arena_array(arena, double, rope->dim / 2);
        size_t n = (size_t)p->options.tokens_max * rope->dim;
        p->angles[kind] = sl_arena_array(arena, float, n);
        p->angles_back[kind] = sl_arena_array(arena, float, n);
        if (p->ropes[kind].frequency)
            sl_rope_table_fill(rope, p->options.weights->rope_freqs, &p->ropes[kind]);
    }
}

static void init_room(sl_layer_pass *p, sl_arena *arena)
{
    const sl_model_shape *s = p->options.shape;
    const size_t n = p->options.tokens_max, width = s->width, ffn = s->ffn_width;
    p->map = sl_arena_array(arena, float, width *larger(q_width(s), ffn));
    float **wide[] = {&p->normed, &p->middle,   &p->middle_normed,
                      &p->added,  &p->d_normed, &p->d_added};
    float **queries[] = {&p->q, &p->q_given, &p->attended, &p->d_q, &p->d_attended};
    float **keys[] = {&p->k, &p->k_given, &p->v, &p->d_k, &p->d_v};
    float **inner[] = {&p->gate, &p->up, &p->hidden, &p->d_gate, &p->d_up};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        *wide[i] = sl_arena_array(arena, float, n *width);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        *queries[i] = sl_arena_array(arena, float, n *q_width(s));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        *keys[i] = sl_arena_array(arena, float, n *kv_width(s));
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++)
        *inner[i] = sl_arena_array(arena, float, n *ffn);
    p->log_sum = sl_arena_array(arena, float, n * s->n_heads);
}

void sl_layer_pass_init(const sl_layer_pass_options *options, sl_arena *arena,
                        sl_layer_pass **pass_out)
{
    const sl_model_shape *s = options->shape;
    const sl_attention_pass_options attention = {.n_heads = s->n_heads,
                                                 .n_kv_heads = s->n_kv_heads,
                                                 .head_dim = s->head_dim,
                                                 .scale = s->attention_scale,
                                                 .sinks = options->sinks,
                                                 .window = options->window,
                                                 .tokens_max = options->tokens_max,
                                                 .threads = options->threads};
    sl_layer_pass *p = sl_arena_array(arena, sl_layer_pass, 1), counted;
    sl_layer_pass *to = p ? p : &counted;
    *to = (sl_layer_pass){.options = *options};
    init_ropes(to, arena);
    init_room(to, arena);
    sl_attention_pass_init(&attention, arena, &to->attention);
    *pass_out = p;
}

void sl_layer_pass_begin(sl_layer_pass *pass, uint32_t n_tokens)
{
    const sl_model_shape *s = pass->options.shape;
    SL_ASSERT(n_tokens <= pass->options.tokens_max);
    pass->n = n_tokens;
    for (uint32_t kind = 0; kind < s->n_kinds; kind++)
        for (uint32_t t = 0; t < n_tokens && s->kinds[kind].rope.dim > 0; t++) {
            size_t dim = s->kinds[kind].rope.dim, at = t * dim;
            sl_rope_angles(&pass->ropes[kind], t, pass->angles[kind] + at);
            sl_rope_angles_back(pass->angles[kind] + at, dim, pass->angles_back[kind] + at);
        }
}

/* ---- maps and norms ---- */

static void unpack(const sl_layer_pass *p, const sl_matrix *w)
{
#pragma omp parallel for schedule(static) num_threads(p->options.threads)
    for (size_t row = 0; row < w->n_out; row++) sl_matrix_row(w, row, p->map + row * w->n_in);
}

/* What is frozen of a map. */
typedef struct {
    const sl_matrix *matrix;
    const float *bias; /* NULL: none */
} frozen_map;

static frozen_map frozen_map_of(const sl_layer_pass *p, uint32_t layer, sl_layer_map map)
{
    const sl_layer_weights *w = &p->options.weights->layers[layer];
    const frozen_map maps[SL_LAYER_MAPS] = {
        [SL_MAP_Q] = {&w->q, w->q_bias},          [SL_MAP_K] = {&w->k, w->k_bias},
        [SL_MAP_V] = {&w->v, w->v_bias},          [SL_MAP_O] = {&w->o, w->o_bias},
        [SL_MAP_GATE] = {&w->gate, w->gate_bias}, [SL_MAP_UP] = {&w->up, w->up_bias},
        [SL_MAP_DOWN] = {&w->down, w->down_bias},
    };
    return maps[map];
}

/* out [n][n_out] = x [n][n_in] w^T + bias, and low ranks */
static void map_rows(const sl_layer_pass *p, uint32_t layer, sl_layer_map map, const float *x,
                     float *out)
{
    const frozen_map f = frozen_map_of(p, layer, map);
    const size_t n_in = f.matrix->n_in, n_out = f.matrix->n_out;
    unpack(p, f.matrix);
    for (size_t t = 0; f.bias && t < p->n; t++)
        memcpy(out + t * n_out, f.bias, n_out * sizeof *out);
    sl_dense_multiply(p->n, n_out, n_in, 1, sl_dense_plain(x, n_in),
                      sl_dense_transposed(p->map, n_in), f.bias ? 1 : 0, out, n_out);
    if (p->options.lora) sl_lora_pass_forward(p->options.lora, layer, map, x, p->n, out);
}

/* d_x [n][n_in] = d_out [n][n_out] w, plus d_x * keep, of the map that read x. */
static void map_backward(const sl_layer_pass *p, uint32_t layer, sl_layer_map map, const float *x,
                         const float *d_out, float keep, float *d_x)
{
    const sl_matrix *w = frozen_map_of(p, layer, map).matrix;
    unpack(p, w);
    sl_dense_multiply(p->n, w->n_in, w->n_out, 1, sl_dense_plain(d_out, w->n_out),
                      sl_dense_plain(p->map, w->n_in), keep, d_x, w->n_in);
    if (p->options.lora) sl_lora_pass_backward(p->options.lora, layer, map, x, d_out, p->n, d_x);
}

static void norm_rows(const sl_layer_pass *p, const float *gain, size_t n_rows, size_t width,
                      const float *x, float *out)
{
    p->options.kernels->rmsnorm(x, gain, n_rows, width, p->options.shape->rms_eps, out);
}

static void norm_rows_backward(const sl_layer_pass *p, const float *gain, size_t n_rows,
                               size_t width, const float *x, float keep, const float *d_y,
                               float *d_x)
{
#pragma omp parallel for schedule(static) num_threads(p->options.threads)
    for (size_t t = 0; t < n_rows; t++)
        sl_norm_backward(x + t * width, gain, width, p->options.shape->rms_eps, keep,
                         d_y + t * width, d_x + t * width);
}

/* ---- queries and keys ---- */

static uint32_t kind_of(const sl_layer_pass *p, uint32_t layer)
{
    return p->options.shape->kind_of[p->options.weights->layer_begin + layer];
}

static void turn_heads(const sl_layer_pass *p, uint32_t kind, const float *angles, uint32_t n_heads,
                       float *heads)
{
    const size_t head_dim = p->options.shape->head_dim,
                 dim = p->options.shape->kinds[kind].rope.dim;
#pragma omp parallel for schedule(static) num_threads(p->options.threads)
    for (size_t t = 0; t < (dim > 0 ? p->n : 0); t++)
        sl_rope_apply(&p->ropes[kind], angles + t * dim, n_heads, head_dim,
                      heads + t * n_heads * head_dim);
}

/* heads [n][n_heads][head_dim], as a map gave them, which `given` keeps if they are normed. */
static void finish_heads(const sl_layer_pass *p, uint32_t kind, const float *norm, uint32_t n_heads,
                         float *given, float *heads)
{
    const size_t head_dim = p->options.shape->head_dim, n_rows = (size_t)p->n * n_heads;
    if (norm) {
        memcpy(given, heads, n_rows * head_dim * sizeof *given);
        norm_rows(p, norm, n_rows, head_dim, given, heads);
    }
    turn_heads(p, kind, p->angles[kind], n_heads, heads);
}

static void finish_heads_backward(const sl_layer_pass *p, uint32_t kind, const float *norm,
                                  uint32_t n_heads, const float *given, float *d_heads)
{
    const size_t head_dim = p->options.shape->head_dim, n_rows = (size_t)p->n * n_heads;
    turn_heads(p, kind, p->angles_back[kind], n_heads, d_heads);
    if (norm) norm_rows_backward(p, norm, n_rows, head_dim, given, 0, d_heads, d_heads);
}

/* ---- forward ---- */

/* x_out = x + added, normed in layers that have `norm`; `added` is left as the map gave it. */
static void add_given(const sl_layer_pass *p, const float *norm, const float *x, float *x_out)
{
    const size_t width = p->options.shape->width;
#pragma omp parallel for schedule(static) num_threads(p->options.threads)
    for (size_t t = 0; t < p->n; t++) {
        const float *from = x + t * width, *add = p->added + t * width;
        float *to = x_out + t * width, *normed = p->d_added + t * width;
        if (norm) norm_rows(p, norm, 1, width, add, normed);
        for (size_t i = 0; i < width; i++) to[i] = from[i] + (norm ? normed : add)[i];
    }
}

static sl_attention_rows attention_rows(const sl_layer_pass *p, uint32_t layer,
                                        const float *log_keep)
{
    return (sl_attention_rows){.n_tokens = p->n,
                               .sliding = p->options.shape->kinds[kind_of(p, layer)].window,
                               .q = p->q,
                               .k = p->k,
                               .v = p->v,
                               .log_keep = log_keep};
}

/* To `middle`. */
static void attend(sl_layer_pass *p, uint32_t layer, const float *x, const float *log_keep)
{
    const sl_model_shape *s = p->options.shape;
    const sl_layer_weights *w = &p->options.weights->layers[layer];
    const uint32_t kind = kind_of(p, layer);
    sl_layer_pass_norm(p, layer, x);
    map_rows(p, layer, SL_MAP_Q, p->normed, p->q);
    map_rows(p, layer, SL_MAP_K, p->normed, p->k);
    map_rows(p, layer, SL_MAP_V, p->normed, p->v);
    finish_heads(p, kind, w->q_norm, s->n_heads, p->q_given, p->q);
    finish_heads(p, kind, w->k_norm, s->n_kv_heads, p->k_given, p->k);
    const sl_attention_rows rows = attention_rows(p, layer, log_keep);
    sl_attention_pass_forward(p->attention, &rows, p->attended, p->log_sum);
    map_rows(p, layer, SL_MAP_O, p->attended, p->added);
    add_given(p, w->attn_post_norm, x, p->middle);
}

/* From `middle` to gate and up, and to hidden, what the last map reads. */
static void feed_forward(sl_layer_pass *p, uint32_t layer)
{
    const sl_model_shape *s = p->options.shape;
    const sl_layer_weights *w = &p->options.weights->layers[layer];
    sl_glu *glu = s->activation == SL_GEGLU ? p->options.kernels->geglu
                                            : p->options.kernels->swiglu;
    norm_rows(p, w->ffn_norm, p->n, s->width, p->middle, p->middle_normed);
    map_rows(p, layer, SL_MAP_GATE, p->middle_normed, p->gate);
    map_rows(p, layer, SL_MAP_UP, p->middle_normed, p->up);
#pragma omp parallel for schedule(static) num_threads(p->options.threads)
    for (size_t t = 0; t < p->n; t++) {
        const size_t at = t * s->ffn_width;
        glu(p->gate + at, p->up + at, s->ffn_width, p->hidden + at);
    }
}

const float *sl_layer_pass_norm(sl_layer_pass *pass, uint32_t layer, const float *x)
{
    norm_rows(pass, pass->options.weights->layers[layer].attn_norm, pass->n,
              pass->options.shape->width, x, pass->normed);
    return pass->normed;
}

void sl_layer_pass_forward(sl_layer_pass *pass, uint32_t layer, const float *x,
                           const float *log_keep, float *x_out)
{
    const sl_layer_weights *w = &pass->options.weights->layers[layer];
    attend(pass, layer, x, log_keep);
    feed_forward(pass, layer);
    map_rows(pass, layer, SL_MAP_DOWN, pass->hidden, pass->added);
    add_given(pass, w->ffn_post_norm, pass->middle, x_out);
}

/* ---- backward ---- */

/* From d_x, of x + norm(added), that of `added`. With a norm, `added` is there. */
static const float *given_backward(const sl_layer_pass *p, const float *norm, const float *d_x)
{
    if (!norm) return d_x;
    norm_rows_backward(p, norm, p->n, p->options.shape->width, p->added, 0, d_x, p->d_added);
    return p->d_added;
}

/* d_x of what is behind the layer becomes that of `middle`. */
static void feed_forward_backward(sl_layer_pass *p, uint32_t layer, float *d_x)
{
    const sl_model_shape *s = p->options.shape;
    const sl_layer_weights *w = &p->options.weights->layers[layer];
    if (w->ffn_post_norm) map_rows(p, layer, SL_MAP_DOWN, p->hidden, p->added);
    float *d_hidden = p->d_gate;
    map_backward(p, layer, SL_MAP_DOWN, p->hidden, given_backward(p, w->ffn_post_norm, d_x), 0,
                 d_hidden);
#pragma omp parallel for schedule(static) num_threads(p->options.threads)
    for (size_t t = 0; t < p->n; t++) {
        const size_t at = t * s->ffn_width;
        sl_glu_backward(s->activation, p->gate + at, p->up + at, d_hidden + at, s->ffn_width,
                        d_hidden + at, p->d_up + at);
    }
    map_backward(p, layer, SL_MAP_GATE, p->middle_normed, p->d_gate, 0, p->d_normed);
    map_backward(p, layer, SL_MAP_UP, p->middle_normed, p->d_up, 1, p->d_normed);
    norm_rows_backward(p, w->ffn_norm, p->n, s->width, p->middle, 1, p->d_normed, d_x);
}

/* d_x of `middle` becomes that of x. */
static void attend_backward(sl_layer_pass *p, uint32_t layer, const float *x, const float *log_keep,
                            float *d_x, float *d_log_keep)
{
    const sl_model_shape *s = p->options.shape;
    const sl_layer_weights *w = &p->options.weights->layers[layer];
    const uint32_t kind = kind_of(p, layer);
    if (w->attn_post_norm) map_rows(p, layer, SL_MAP_O, p->attended, p->added);
    map_backward(p, layer, SL_MAP_O, p->attended, given_backward(p, w->attn_post_norm, d_x), 0,
                 p->d_attended);
    const sl_attention_rows rows = attention_rows(p, layer, log_keep);
    sl_attention_pass_backward(
        p->attention, &rows, p->attended, p->log_sum, p->d_attended,
        &(sl_attention_gradients){p->d_q, p->d_k, p->d_v, log_keep ? d_log_keep : NULL});
    finish_heads_backward(p, kind, w->q_norm, s->n_heads, p->q_given, p->d_q);
    finish_heads_backward(p, kind, w->k_norm, s->n_kv_heads, p->k_given, p->d_k);
    map_backward(p, layer, SL_MAP_Q, p->normed, p->d_q, 0, p->d_normed);
    map_backward(p, layer, SL_MAP_K, p->normed, p->d_k, 1, p->d_normed);
    map_backward(p, layer, SL_MAP_V, p->normed, p->d_v, 1, p->d_normed);
    norm_rows_backward(p, w->attn_norm, p->n, s->width, x, 1, p->d_normed, d_x);
}

void sl_layer_pass_backward(sl_layer_pass *pass, uint32_t layer, const float *x,
                            const float *log_keep, float *d_x, float *d_log_keep)
{
    attend(pass, layer, x, log_keep);
    feed_forward(pass, layer);
    feed_forward_backward(pass, layer, d_x);
    attend_backward(pass, layer, x, log_keep, d_x, d_log_keep);
}
