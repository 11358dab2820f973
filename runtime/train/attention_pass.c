/* runtime/train/attention_pass.c - see attention_pass.h. Blocks of queries of one head against all
 * keys that any of them sees: dense products around a loop over each row. Weights are made again in
 * the backward pass and never kept. */
#include "runtime/train/attention_pass.h"

#include <omp.h>
#include <stdbool.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/train/dense.h"

enum { BLOCK = 64 };

/* What one thread works in. */
typedef struct {
    float *weight, *d_score;   /* [BLOCK][tokens_max] */
    float *d_k, *d_v, *d_keep; /* of one KV head: [tokens_max][head_dim] twice, [tokens_max] */
} scratch;

struct sl_attention_pass {
    sl_attention_pass_options options;
    scratch *own; /* [threads] */
};

void sl_attention_pass_init(const sl_attention_pass_options *options, sl_arena *arena,
                            sl_attention_pass **pass_out)
{
    const sl_attention_pass_options *o = options;
    size_t n = o->tokens_max, d = o->head_dim;
    SL_ASSERT(o->window > 0);
    sl_attention_pass *p = sl_arena_array(arena, sl_attention_pass, 1);
    scratch *own = sl_arena_array(arena, scratch, (size_t)o->threads);
    for (int i = 0; i < o->threads; i++) {
        scratch s = {
            .weight = sl_arena_array(arena, float, BLOCK *n),
            .d_score = sl_arena_array(arena, float, BLOCK *n),
            .d_k = sl_arena_array(arena, float, n *d),
            .d_v = sl_arena_array(arena, float, n *d),
            .d_keep = sl_arena_array(arena, float, n),
        };
        if (own) own[i] = s;
    }
    if (p) *p = (sl_attention_pass){.options = *o, .own = own};
    *pass_out = p;
}

/* ---- who sees whom ---- */

/* Keys [begin, end). */
typedef struct {
    uint32_t begin, end;
} sight;

static sight sight_of(const sl_attention_rows *rows, uint32_t query)
{
    return (sight){rows->sliding ? sl_saturating_sub_u32(query + 1, rows->sliding) : 0, query + 1};
}

/* Of them, those that log_keep holds for; all that stand behind them are seen anyway. */
static sight eligible_of(const sl_attention_pass_options *o, const sl_attention_rows *rows,
                         uint32_t query)
{
    sight sees = sight_of(rows, query);
    uint32_t begin = sees.begin > o->sinks ? sees.begin : o->sinks;
    uint32_t end = sl_saturating_sub_u32(query + 1, o->window);
    bool any = rows->log_keep && end > begin;
    return any ? (sight){begin, end} : (sight){sees.end, sees.end};
}

/* Queries of one head: where their parts lie. */
typedef struct {
    uint32_t head, kv_head;
    uint32_t first, n; /* queries */
    sight keys;        /* that any of them sees */
    size_t q_at, kv_at, q_stride, kv_stride;
} block;

static block block_of(const sl_attention_pass_options *o, const sl_attention_rows *rows,
                      uint32_t head, uint32_t first)
{
    block b = {.head = head,
               .kv_head = head / (o->n_heads / o->n_kv_heads),
               .first = first,
               .n = sl_min_u32(BLOCK, rows->n_tokens - first),
               .q_stride = (size_t)o->n_heads * o->head_dim,
               .kv_stride = (size_t)o->n_kv_heads * o->head_dim};
    b.keys = (sight){sight_of(rows, first).begin, first + b.n};
    b.q_at = first * b.q_stride + (size_t)head * o->head_dim;
    b.kv_at = b.keys.begin * b.kv_stride + (size_t)b.kv_head * o->head_dim;
    return b;
}

static uint32_t n_keys(const block *b) { return b->keys.end - b->keys.begin; }

static const float *log_keep_of(const sl_attention_rows *rows, const block *b)
{
    return rows->log_keep + (size_t)b->kv_head * rows->n_tokens;
}

/* scale q k of the block, without log_keep. weight: [BLOCK][n_keys]. */
static void score(const sl_attention_pass_options *o, const sl_attention_rows *rows, const block *b,
                  float *weight)
{
    sl_dense_multiply(b->n, n_keys(b), o->head_dim, o->scale,
                      sl_dense_plain(rows->q + b->q_at, b->q_stride),
                      sl_dense_transposed(rows->k + b->kv_at, b->kv_stride), 0, weight, n_keys(b));
}

/* ---- forward ---- */

static void attend_block(const sl_attention_pass_options *o, const sl_attention_rows *rows,
                         const block *b, float *weight, float *out, float *log_sum)
{
    score(o, rows, b, weight);
    for (uint32_t i = 0; i < b->n; i++) {
        uint32_t query = b->first + i;
        sight sees = sight_of(rows, query), eligible = eligible_of(o, rows, query);
        float *row = weight + (size_t)i * n_keys(b), *at_zero = row - b->keys.begin;
        for (uint32_t j = eligible.begin; j < eligible.end; j++)
            at_zero[j] += log_keep_of(rows, b)[j];
        memset(row, 0, (sees.begin - b->keys.begin) * sizeof *row);
        log_sum[(size_t)b->head * rows->n_tokens + query] = sl_vector_softmax(
            at_zero + sees.begin, sees.end - sees.begin, b->keys.end - sees.begin);
    }
    sl_dense_multiply(b->n, o->head_dim, n_keys(b), 1, sl_dense_plain(weight, n_keys(b)),
                      sl_dense_plain(rows->v + b->kv_at, b->kv_stride), 0, out + b->q_at,
                      b->q_stride);
}

void sl_attention_pass_forward(sl_attention_pass *pass, const sl_attention_rows *rows, float *out,
                               float *log_sum)
{
    const sl_attention_pass_options *o = &pass->options;
    uint32_t n_blocks = (rows->n_tokens + BLOCK - 1) / BLOCK;
    SL_ASSERT(rows->n_tokens <= o->tokens_max);
#pragma omp parallel for schedule(dynamic) num_threads(o->threads)
    for (uint32_t task = 0; task < n_blocks * o->n_heads; task++) {
        uint32_t late = n_blocks - 1 - task / o->n_heads; /* the longest first */
        block b = block_of(o, rows, task % o->n_heads, late * BLOCK);
        attend_block(o, rows, &b, pass->own[omp_get_thread_num()].weight, out, log_sum);
    }
}

/* ---- backward ---- */

/* What is given to the backward pass of a layer. */
typedef struct {
    const sl_attention_rows *rows;
    const float *out, *log_sum, *d_out;
    const sl_attention_gradients *gradients;
} given;

/* One query's row: weight, in the place of scores, and d_score, in that of dO v. */
static void row_backward(const sl_attention_pass_options *o, const given *g, const block *b,
                         uint32_t query, float *weight, float *d_score, float *d_keep)
{
    const sl_attention_rows *rows = g->rows;
    const size_t at = query * b->q_stride + (size_t)b->head * o->head_dim;
    const float log_sum = g->log_sum[(size_t)b->head * rows->n_tokens + query];
    const float mean = sl_vector_dot(g->d_out + at, g->out + at, o->head_dim);
    sight sees = sight_of(rows, query), eligible = eligible_of(o, rows, query);
    float *w = weight - b->keys.begin, *d = d_score - b->keys.begin;
    size_t before = sees.begin - b->keys.begin, behind = b->keys.end - sees.end;
    memset(weight, 0, before * sizeof *weight);
    memset(d_score, 0, before * sizeof *d_score);
    memset(w + sees.end, 0, behind * sizeof *w);
    memset(d + sees.end, 0, behind * sizeof *d);
    sl_vector_weigh(log_sum, mean, eligible.begin - sees.begin, w + sees.begin, d + sees.begin);
    if (eligible.end > eligible.begin)
        sl_vector_weigh_gated(log_sum, mean, log_keep_of(rows, b) + eligible.begin,
                              eligible.end - eligible.begin, w + eligible.begin, d + eligible.begin,
                              d_keep + eligible.begin);
    sl_vector_weigh(log_sum, mean, sees.end - eligible.end, w + eligible.end, d + eligible.end);
}

static void block_backward(const sl_attention_pass_options *o, const given *g, const block *b,
                           scratch *own)
{
    const sl_attention_rows *rows = g->rows;
    const size_t d = o->head_dim, keys = n_keys(b), kv_at = b->keys.begin * d;
    const sl_factor d_out = sl_dense_plain(g->d_out + b->q_at, b->q_stride);
    score(o, rows, b, own->weight);
    sl_dense_multiply(b->n, keys, d, 1, d_out,
                      sl_dense_transposed(rows->v + b->kv_at, b->kv_stride), 0, own->d_score, keys);
    for (uint32_t i = 0; i < b->n; i++)
        row_backward(o, g, b, b->first + i, own->weight + i * keys, own->d_score + i * keys,
                     own->d_keep);
    sl_dense_multiply(b->n, d, keys, o->scale, sl_dense_plain(own->d_score, keys),
                      sl_dense_plain(rows->k + b->kv_at, b->kv_stride), 0,
                      g->gradients->q + b->q_at, b->q_stride);
    sl_dense_multiply(keys, d, b->n, o->scale, sl_dense_transposed(own->d_score, keys),
                      sl_dense_plain(rows->q + b->q_at, b->q_stride), 1, own->d_k + kv_at, d);
    sl_dense_multiply(keys, d, b->n, 1, sl_dense_transposed(own->weight, keys), d_out, 1,
                      own->d_v + kv_at, d);
}

static void clear(const sl_attention_pass_options *o, size_t n_tokens, scratch *own)
{
    memset(own->d_k, 0, n_tokens * o->head_dim * sizeof *own->d_k);
    memset(own->d_v, 0, n_tokens * o->head_dim * sizeof *own->d_v);
    memset(own->d_keep, 0, n_tokens * sizeof *own->d_keep);
}

/* What threads found of one KV head, added up in their order. */
static void gather(const sl_attention_pass *p, const given *g, uint32_t kv_head)
{
    const sl_attention_pass_options *o = &p->options;
    const size_t n = g->rows->n_tokens, d = o->head_dim, stride = o->n_kv_heads * d;
    for (size_t t = 0; t < n; t++) {
        float *d_k = g->gradients->k + t * stride + kv_head * d,
              *d_v = g->gradients->v + t * stride + kv_head * d, d_keep = 0;
        memset(d_k, 0, d * sizeof *d_k);
        memset(d_v, 0, d * sizeof *d_v);
        for (int thread = 0; thread < o->threads; thread++) {
            const scratch *own = &p->own[thread];
            for (size_t i = 0; i < d; i++) d_k[i] += own->d_k[t * d + i];
            for (size_t i = 0; i < d; i++) d_v[i] += own->d_v[t * d + i];
            d_keep += own->d_keep[t];
        }
        if (g->gradients->log_keep) g->gradients->log_keep[kv_head * n + t] = d_keep;
    }
}

/* Each thread takes every so-manieth block, so that all have long ones and short ones. */
static void head_backward(sl_attention_pass *p, const given *g, uint32_t kv_head)
{
    const sl_attention_pass_options *o = &p->options;
    const uint32_t group = o->n_heads / o->n_kv_heads;
    const uint32_t n_blocks = (g->rows->n_tokens + BLOCK - 1) / BLOCK;
    for (int thread = 0; thread < o->threads; thread++)
        clear(o, g->rows->n_tokens, &p->own[thread]);
#pragma omp parallel for schedule(static, 1) num_threads(o->threads)
    for (uint32_t task = 0; task < n_blocks * group; task++) {
        block b = block_of(o, g->rows, kv_head * group + task % group, task / group * BLOCK);
        block_backward(o, g, &b, &p->own[omp_get_thread_num()]);
    }
    gather(p, g, kv_head);
}

void sl_attention_pass_backward(sl_attention_pass *pass, const sl_attention_rows *rows,
                                const float *out, const float *log_sum, const float *d_out,
                                const sl_attention_gradients *gradients)
{
    const given g = {rows, out, log_sum, d_out, gradients};
    SL_ASSERT(rows->n_tokens <= pass->options.tokens_max);
    for (uint32_t kv_head = 0; kv_head < pass->options.n_kv_heads; kv_head++)
        head_backward(pass, &g, kv_head);
}
