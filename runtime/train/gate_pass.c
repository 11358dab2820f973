/* runtime/train/gate_pass.c - see gate_pass.h. MHA' goes in blocks of queries against the keys that
 * any of the block sees, others masked: dense products, at a little more work than the band. */
#include "runtime/train/gate_pass.h"

#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/train/dense.h"
#include "runtime/train/vector_math.h"

enum { BLOCK = 64 };

uint32_t sl_gate_pass_reach(const sl_gate_shape *shape)
{
    return shape->heads > 0 ? shape->back + shape->ahead : 0;
}

void sl_gate_pass_init(const sl_gate_params *layout, uint32_t n_kv_heads, uint32_t width,
                       uint32_t rows_max, uint32_t reach_max, sl_arena *arena, sl_gate_pass *out)
{
    const sl_gate_params *l = layout;
    size_t rows = rows_max, seen = (size_t)rows_max + reach_max, keys = BLOCK + (size_t)reach_max;
    *out = (sl_gate_pass){
        .layout = l,
        .n_kv_heads = n_kv_heads,
        .width = width,
        .rows_max = rows_max,
        .reach_max = reach_max,
        .q = sl_arena_array(arena, float, rows * l->q.n_out),
        .attended = sl_arena_array(arena, float, rows * l->q.n_out),
        .z = sl_arena_array(arena, float, rows * l->x.n_out),
        .d_q = sl_arena_array(arena, float, rows * l->q.n_out),
        .d_attended = sl_arena_array(arena, float, rows * l->q.n_out),
        .d_z = sl_arena_array(arena, float, rows * l->x.n_out),
        .k = sl_arena_array(arena, float, seen * l->k.n_out),
        .v = sl_arena_array(arena, float, seen * l->v.n_out),
        .d_k = sl_arena_array(arena, float, seen * l->k.n_out),
        .d_v = sl_arena_array(arena, float, seen * l->v.n_out),
        .weight = sl_arena_array(arena, float, l->shape.heads *rows *keys),
        .d_weight = sl_arena_array(arena, float, l->shape.heads > 0 ? BLOCK * keys : 0),
    };
}

/* ---- maps ---- */

/* out [n][part] = x [n][n_in] part^T */
static void map_rows(const sl_gate_part *part, const float *params, const float *x, size_t n,
                     float keep, float *out)
{
    sl_dense_multiply(n, part->n_out, part->n_in, 1, sl_dense_plain(x, part->n_in),
                      sl_dense_transposed(params + part->at, part->n_in), keep, out, part->n_out);
}

/* gradient of part = d_out [n][n_out]^T x [n][n_in] */
static void map_gradient(const sl_gate_part *part, const float *d_out, const float *x, size_t n,
                         float *gradient)
{
    sl_dense_multiply(part->n_out, part->n_in, n, 1, sl_dense_transposed(d_out, part->n_out),
                      sl_dense_plain(x, part->n_in), 0, gradient + part->at, part->n_in);
}

static void add_bias(const float *bias, size_t n, size_t width, float *rows)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < width; i++) rows[t * width + i] += bias[i];
}

static void bias_gradient(const float *d_rows, size_t n, size_t width, float *gradient)
{
    memset(gradient, 0, width * sizeof *gradient);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < width; i++) gradient[i] += d_rows[t * width + i];
}

/* ---- MHA' ---- */

/* Tokens [begin, end) of the text that token t, or a run of tokens, sees. */
typedef struct {
    uint32_t begin, end;
} sight;

static sight sight_of(const sl_gate_stretch *s, uint32_t first, uint32_t n)
{
    return (sight){sl_saturating_sub_u32(first, s->back),
                   sl_min_u32(first + n + s->ahead, s->n_tokens)};
}

/* One head and block of queries: where its parts lie. */
typedef struct {
    uint32_t n;             /* queries */
    uint32_t n_keys;        /* that any of them sees */
    sight keys;             /* the same */
    size_t query_at, kv_at; /* of the first, in q and in k, v */
    size_t width, q_stride, kv_stride, key_stride;
    float *weight;
} band;

static band band_of(const sl_gate_pass *p, const sl_gate_stretch *s, uint32_t head, uint32_t block)
{
    const sl_gate_shape *shape = &p->layout->shape;
    uint32_t first = s->first + block, n = sl_min_u32(BLOCK, s->n - block);
    uint32_t kv_head = shape->kv == SL_GATE_OWN_KV ? head : 0;
    sight keys = sight_of(s, first, n), all = sight_of(s, s->first, s->n);
    size_t key_stride = BLOCK + (size_t)p->reach_max;
    return (band){.n = n,
                  .n_keys = keys.end - keys.begin,
                  .keys = keys,
                  .query_at = (size_t)block * p->layout->q.n_out + (size_t)head * shape->width,
                  .kv_at = (size_t)(keys.begin - all.begin) * p->layout->k.n_out +
                           (size_t)kv_head * shape->width,
                  .width = shape->width,
                  .q_stride = p->layout->q.n_out,
                  .kv_stride = p->layout->k.n_out,
                  .key_stride = key_stride,
                  .weight = p->weight + ((size_t)head * p->rows_max + block) * key_stride};
}

static void attend_band(sl_gate_pass *p, const sl_gate_stretch *s, const band *b, uint32_t first)
{
    sl_dense_multiply(b->n, b->n_keys, b->width, 1.0F / sqrtf((float)b->width),
                      sl_dense_plain(p->q + b->query_at, b->q_stride),
                      sl_dense_transposed(p->k + b->kv_at, b->kv_stride), 0, b->weight,
                      b->key_stride);
    for (uint32_t t = 0; t < b->n; t++) {
        sight sees = sight_of(s, first + t, 1);
        float *row = b->weight + t * b->key_stride;
        size_t from = sees.begin - b->keys.begin, to = sees.end - b->keys.begin;
        memset(row, 0, from * sizeof *row);
        sl_vector_softmax(row + from, to - from, b->n_keys - from);
    }
    sl_dense_multiply(b->n, b->width, b->n_keys, 1, sl_dense_plain(b->weight, b->key_stride),
                      sl_dense_plain(p->v + b->kv_at, b->kv_stride), 0, p->attended + b->query_at,
                      b->q_stride);
}

static void attend_band_backward(sl_gate_pass *p, const band *b)
{
    float *d_w = p->d_weight, scale = 1.0F / sqrtf((float)b->width);
    const float *d_out = p->d_attended + b->query_at;
    sl_dense_multiply(b->n, b->n_keys, b->width, 1, sl_dense_plain(d_out, b->q_stride),
                      sl_dense_transposed(p->v + b->kv_at, b->kv_stride), 0, d_w, b->key_stride);
    for (uint32_t t = 0; t < b->n; t++) /* through the softmax */
        sl_vector_softmax_backward(b->weight + t * b->key_stride, b->n_keys,
                                   d_w + t * b->key_stride);
    sl_dense_multiply(b->n, b->width, b->n_keys, scale, sl_dense_plain(d_w, b->key_stride),
                      sl_dense_plain(p->k + b->kv_at, b->kv_stride), 0, p->d_q + b->query_at,
                      b->q_stride);
    sl_dense_multiply(b->n_keys, b->width, b->n, scale, sl_dense_transposed(d_w, b->key_stride),
                      sl_dense_plain(p->q + b->query_at, b->q_stride), 1, p->d_k + b->kv_at,
                      b->kv_stride);
    sl_dense_multiply(b->n_keys, b->width, b->n, 1, sl_dense_transposed(b->weight, b->key_stride),
                      sl_dense_plain(d_out, b->q_stride), 1, p->d_v + b->kv_at, b->kv_stride);
}

/* ---- the gate ---- */

static const float *row_of(const sl_gate_pass *p, const sl_gate_stretch *s, uint32_t token)
{
    return s->x + (size_t)token * p->width;
}

static void check_stretch(const sl_gate_pass *p, const sl_gate_stretch *s)
{
    SL_ASSERT(s->n > 0 && s->n <= p->rows_max && s->first + s->n <= s->n_tokens);
    SL_ASSERT(s->back + s->ahead <= p->reach_max);
}

void sl_gate_pass_forward(sl_gate_pass *pass, const float *params, const sl_gate_stretch *stretch,
                          float *logits)
{
    const sl_gate_params *l = pass->layout;
    const sl_gate_stretch *s = stretch;
    const float *x = row_of(pass, s, s->first);
    sight all = sight_of(s, s->first, s->n);
    check_stretch(pass, s);
    map_rows(&l->x, params, x, s->n, 0, pass->z);
    add_bias(params + l->x_bias.at, s->n, l->x.n_out, pass->z);
    if (l->shape.heads > 0) {
        map_rows(&l->q, params, x, s->n, 0, pass->q);
        map_rows(&l->k, params, row_of(pass, s, all.begin), all.end - all.begin, 0, pass->k);
        map_rows(&l->v, params, row_of(pass, s, all.begin), all.end - all.begin, 0, pass->v);
        for (uint32_t head = 0; head < l->shape.heads; head++)
            for (uint32_t block = 0; block < s->n; block += BLOCK) {
                band b = band_of(pass, s, head, block);
                attend_band(pass, s, &b, s->first + block);
            }
        map_rows(&l->a, params, pass->attended, s->n, 1, pass->z);
    }
    size_t n_inner = (size_t)s->n * l->x.n_out;
    if (l->shape.hidden == 0) {
        memcpy(logits, pass->z, n_inner * sizeof *logits);
        return;
    }
    for (size_t i = 0; i < n_inner; i++) pass->z[i] = pass->z[i] > 0 ? pass->z[i] : 0;
    map_rows(&l->out, params, pass->z, s->n, 0, logits);
    add_bias(params + l->out_bias.at, s->n, l->out.n_out, logits);
}

/* d_z from d_logits, and the gradients of the hidden layer. */
static void inner_backward(sl_gate_pass *p, const float *params, const float *d_logits, size_t n,
                           float *gradient)
{
    const sl_gate_params *l = p->layout;
    size_t n_inner = n * l->x.n_out;
    if (l->shape.hidden == 0) {
        memcpy(p->d_z, d_logits, n_inner * sizeof *p->d_z);
        return;
    }
    map_gradient(&l->out, d_logits, p->z, n, gradient);
    bias_gradient(d_logits, n, l->out.n_out, gradient + l->out_bias.at);
    sl_dense_multiply(n, l->out.n_in, l->out.n_out, 1, sl_dense_plain(d_logits, l->out.n_out),
                      sl_dense_plain(params + l->out.at, l->out.n_in), 0, p->d_z, l->out.n_in);
    for (size_t i = 0; i < n_inner; i++)
        if (p->z[i] <= 0) p->d_z[i] = 0;
}

void sl_gate_pass_backward(sl_gate_pass *pass, const float *params, const sl_gate_stretch *stretch,
                           const float *d_logits, float *gradient)
{
    const sl_gate_params *l = pass->layout;
    const sl_gate_stretch *s = stretch;
    const float *x = row_of(pass, s, s->first);
    sight all = sight_of(s, s->first, s->n);
    uint32_t n_seen = all.end - all.begin;
    inner_backward(pass, params, d_logits, s->n, gradient);
    map_gradient(&l->x, pass->d_z, x, s->n, gradient);
    bias_gradient(pass->d_z, s->n, l->x.n_out, gradient + l->x_bias.at);
    if (l->shape.heads == 0) return;
    map_gradient(&l->a, pass->d_z, pass->attended, s->n, gradient);
    sl_dense_multiply(s->n, l->a.n_in, l->a.n_out, 1, sl_dense_plain(pass->d_z, l->a.n_out),
                      sl_dense_plain(params + l->a.at, l->a.n_in), 0, pass->d_attended, l->a.n_in);
    memset(pass->d_k, 0, (size_t)n_seen * l->k.n_out * sizeof *pass->d_k);
    memset(pass->d_v, 0, (size_t)n_seen * l->v.n_out * sizeof *pass->d_v);
    for (uint32_t head = 0; head < l->shape.heads; head++)
        for (uint32_t block = 0; block < s->n; block += BLOCK) {
            band b = band_of(pass, s, head, block);
            attend_band_backward(pass, &b);
        }
    map_gradient(&l->q, pass->d_q, x, s->n, gradient);
    map_gradient(&l->k, pass->d_k, row_of(pass, s, all.begin), n_seen, gradient);
    map_gradient(&l->v, pass->d_v, row_of(pass, s, all.begin), n_seen, gradient);
}
