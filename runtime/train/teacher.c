/* runtime/train/teacher.c - see teacher.h. Query heads are computed side by side, each by one
 * thread, in blocks of queries against all keys before them; so targets do not depend on the number
 * of threads. */
#include "runtime/train/teacher.h"

#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/train/dense.h"
#include "runtime/train/vector_math.h"

enum { BLOCK = 128 }; /* queries that share a pass over the keys */

static const float WORTH_LEAST = 1e-12F; /* below it nothing is asked */

/* What one query head is computed in. */
typedef struct {
    float *q, *k, *v;  /* [tokens_max][head_dim] */
    float *map;        /* [width][head_dim] columns of W_o */
    float *square;     /* [head_dim][head_dim] W_o^T W_o */
    float *mapped;     /* [tokens_max][head_dim] */
    float *weight;     /* [BLOCK][tokens_max] */
    float *asked;      /* [tokens_max] sum of w^1.5 / |x| */
    float *worth;      /* [tokens_max] */
    float *output_row; /* [n_heads * head_dim] */
} head_scratch;

struct sl_teacher {
    sl_teacher_options options;
    float *by_hidden; /* [tokens_max] 1 / |x_i|, and over the output's scale to the power of 1.5 */
    head_scratch *heads; /* [n_heads] */
    float *map, *output; /* with has_post_norm: [width][n_heads * head_dim], [BLOCK][width] */
};

void sl_teacher_init(const sl_teacher_options *options, sl_arena *arena, sl_teacher **teacher_out)
{
    const sl_teacher_options *o = options;
    size_t n = o->tokens_max, d = o->head_dim;
    sl_teacher *t = sl_arena_array(arena, sl_teacher, 1);
    float *by_hidden = sl_arena_array(arena, float, n);
    head_scratch *heads = sl_arena_array(arena, head_scratch, o->n_heads);
    for (uint32_t i = 0; i < o->n_heads; i++) {
        head_scratch h = {
            .q = sl_arena_array(arena, float, n *d),
            .k = sl_arena_array(arena, float, n *d),
            .v = sl_arena_array(arena, float, n *d),
            .map = sl_arena_array(arena, float, o->width *d),
            .square = sl_arena_array(arena, float, d *d),
            .mapped = sl_arena_array(arena, float, n *d),
            .weight = sl_arena_array(arena, float, BLOCK *n),
            .asked = sl_arena_array(arena, float, n),
            .worth = sl_arena_array(arena, float, n),
            .output_row = sl_arena_array(arena, float, o->n_heads *d),
        };
        if (heads) heads[i] = h;
    }
    size_t all = o->has_post_norm ? (size_t)o->n_heads * d : 0;
    float *map = sl_arena_array(arena, float, o->width *all);
    float *output = sl_arena_array(arena, float, o->has_post_norm ? BLOCK *(size_t)o->width : 0);
    if (t)
        *t = (sl_teacher){
            .options = *o, .by_hidden = by_hidden, .heads = heads, .map = map, .output = output};
    *teacher_out = t;
}

uint32_t sl_teacher_targets(const sl_teacher_options *options, uint32_t n_tokens)
{
    uint32_t queries = n_tokens / 4 + options->window;
    return sl_saturating_sub_u32(n_tokens, queries);
}

/* One head's rows out of all heads'. */
static void take_head(const float *all, size_t n, size_t n_heads, size_t head, size_t d, float *out)
{
    for (size_t t = 0; t < n; t++)
        memcpy(out + t * d, all + (t * n_heads + head) * d, d * sizeof *out);
}

/* asked[j] of queries [first, first + n), for the first n_worth keys. */
static void add_block(const sl_teacher *t, uint32_t n_worth, uint32_t first, uint32_t n,
                      head_scratch *s)
{
    const sl_teacher_options *o = &t->options;
    size_t d = o->head_dim, stride = o->tokens_max, n_keys = first + n;
    if (n_keys <= o->window) return;
    sl_dense_multiply(n, n_keys, d, o->attention_scale, sl_dense_plain(s->q + first * d, d),
                      sl_dense_transposed(s->k, d), 0, s->weight, stride);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t query = first + i, far = sl_saturating_sub_u32(query + 1, o->window);
        float *row = s->weight + i * stride;
        sl_vector_softmax(row, query + 1, query + 1);
        sl_vector_add_powers(row, t->by_hidden[query], sl_min_u32(far, n_worth), s->asked);
    }
}

/* |W_o v_t|^1.5 of one head's values. */
static void score_values(const sl_teacher_options *o, const sl_teacher_rows *rows, uint32_t head,
                         head_scratch *s)
{
    size_t n = rows->n_tokens, d = o->head_dim;
    for (size_t row = 0; row < o->width; row++) {
        sl_matrix_row(rows->o, row, s->output_row);
        memcpy(s->map + row * d, s->output_row + head * d, d * sizeof *s->map);
        for (size_t i = 0; o->has_post_norm && i < d; i++)
            s->map[row * d + i] *= rows->post_norm[row];
    }
    sl_dense_multiply(d, d, o->width, 1, sl_dense_transposed(s->map, d), sl_dense_plain(s->map, d),
                      0, s->square, d);
    sl_dense_multiply(n, d, d, 1, sl_dense_plain(s->v, d), sl_dense_plain(s->square, d), 0,
                      s->mapped, d);
    for (size_t t = 0; t < n; t++) {
        float square = sl_vector_dot(s->v + t * d, s->mapped + t * d, d);
        s->worth[t] = powf(square > 0 ? square : 0, 0.75F);
    }
}

static void score_head(const sl_teacher *t, const sl_teacher_rows *rows, uint32_t head,
                       head_scratch *s)
{
    const sl_teacher_options *o = &t->options;
    uint32_t n = rows->n_tokens, n_worth = sl_teacher_targets(o, n);
    uint32_t kv_head = head / (o->n_heads / o->n_kv_heads);
    take_head(rows->q, n, o->n_heads, head, o->head_dim, s->q);
    take_head(rows->k, n, o->n_kv_heads, kv_head, o->head_dim, s->k);
    take_head(rows->v, n, o->n_kv_heads, kv_head, o->head_dim, s->v);
    memset(s->asked, 0, n * sizeof *s->asked);
    for (uint32_t first = 0; first < n; first += BLOCK)
        add_block(t, n_worth, first, n - first < BLOCK ? n - first : BLOCK, s);
    score_values(o, rows, head, s);
    for (uint32_t j = 0; j < n_worth; j++)
        s->worth[j] *= s->asked[j] / (float)(n - j - o->window); /* queries that ask */
}

/* What a norm behind attention divides by. */
static void divide_by_output(sl_teacher *t, const sl_teacher_rows *rows)
{
    const sl_teacher_options *o = &t->options;
    size_t n_in = (size_t)o->n_heads * o->head_dim, width = o->width;
    for (size_t row = 0; row < width; row++) sl_matrix_row(rows->o, row, t->map + row * n_in);
    for (size_t first = 0; first < rows->n_tokens; first += BLOCK) {
        size_t n = rows->n_tokens - first < BLOCK ? rows->n_tokens - first : BLOCK;
        sl_dense_multiply(n, width, n_in, 1, sl_dense_plain(rows->attended + first * n_in, n_in),
                          sl_dense_transposed(t->map, n_in), 0, t->output, width);
        for (size_t i = 0; i < n; i++) {
            const float *y = t->output + i * width;
            float mean = sl_vector_dot(y, y, width) / (float)width + rows->rms_eps;
            t->by_hidden[first + i] /= powf(mean, 0.75F);
        }
    }
}

void sl_teacher_score(sl_teacher *teacher, const sl_teacher_rows *rows, float *target_out)
{
    const sl_teacher_options *o = &teacher->options;
    uint32_t n = rows->n_tokens, group = o->n_heads / o->n_kv_heads;
    SL_ASSERT(n <= o->tokens_max);
    for (uint32_t t = 0; t < n; t++) {
        const float *x = rows->hidden + (size_t)t * o->width;
        teacher->by_hidden[t] = 1 / sqrtf(sl_vector_dot(x, x, o->width) + 1e-12F);
    }
    if (o->has_post_norm) divide_by_output(teacher, rows);
#pragma omp parallel for schedule(dynamic) num_threads(o->threads)
    for (uint32_t head = 0; head < o->n_heads; head++)
        score_head(teacher, rows, head, &teacher->heads[head]);
    memset(target_out, 0, (size_t)o->n_kv_heads * n * sizeof *target_out);
    for (uint32_t kv_head = 0; kv_head < o->n_kv_heads; kv_head++)
        for (uint32_t t = 0; t < sl_teacher_targets(o, n); t++) {
            float worth = 0;
            for (uint32_t h = 0; h < group; h++)
                worth += teacher->heads[kv_head * group + h].worth[t];
            target_out[(size_t)kv_head * n + t] = logf(worth + WORTH_LEAST);
        }
}
