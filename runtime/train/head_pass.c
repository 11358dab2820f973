/* runtime/train/head_pass.c - see head_pass.h. Columns are gone through twice: to learn what
 * softmax divides by (Milakov & Gimelshein 2018, arXiv:1805.02867), then for gradients. */
#include "runtime/train/head_pass.h"

#include <math.h>
#include <stdbool.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/train/dense.h"
#include "runtime/train/vector_math.h"

enum { COLUMNS = 1024 };

/* Of one row's logits so far. */
typedef struct {
    float max, sum;  /* of e^(logit - max) */
    double expected; /* a teacher's: sum of e^(logit - max) (logit - the pupil's logit) */
    float target;    /* the target's logit */
} row_state;

struct sl_head_pass {
    sl_head_pass_options options;
    float *map;                   /* [COLUMNS][width] of the head in f32 */
    float *logit, *teacher_logit; /* [rows_max][COLUMNS] */
    row_state *state, *teacher;   /* [rows_max] */
};

void sl_head_pass_init(const sl_head_pass_options *options, sl_arena *arena,
                       sl_head_pass **pass_out)
{
    const size_t rows = options->rows_max;
    sl_head_pass *p = sl_arena_array(arena, sl_head_pass, 1);
    const sl_head_pass made = {
        .options = *options,
        .map = sl_arena_array(arena, float, (size_t)COLUMNS * options->width),
        .logit = sl_arena_array(arena, float, rows *COLUMNS),
        .teacher_logit = sl_arena_array(arena, float, rows *COLUMNS),
        .state = sl_arena_array(arena, row_state, rows),
        .teacher = sl_arena_array(arena, row_state, rows),
    };
    if (p) *p = made;
    *pass_out = p;
}

/* Columns [first, first + n) of the head. */
typedef struct {
    uint32_t first, n;
} columns;

static void multiply(const sl_head_pass *p, const sl_head_rows *rows, columns c, const float *x,
                     float *logit)
{
    const size_t width = p->options.width;
    sl_dense_multiply(rows->n, c.n, width, 1, sl_dense_plain(x, width),
                      sl_dense_transposed(p->map, width), 0, logit, COLUMNS);
}

/* Logits of all rows in these columns. */
static void fill_logits(sl_head_pass *p, const sl_head_rows *rows, columns c)
{
#pragma omp parallel for schedule(static) num_threads(p->options.threads)
    for (uint32_t i = 0; i < c.n; i++)
        sl_matrix_row(rows->head, c.first + i, p->map + (size_t)i * p->options.width);
    multiply(p, rows, c, rows->x, p->logit);
    if (rows->teacher_x) multiply(p, rows, c, rows->teacher_x, p->teacher_logit);
}

/* ---- what softmax divides by ---- */

static void rescale(row_state *s, const float *logit, uint32_t n)
{
    float max = s->max;
    for (uint32_t i = 0; i < n; i++) max = logit[i] > max ? logit[i] : max;
    const float shrink = expf(s->max - max);
    s->sum *= shrink;
    s->expected *= (double)shrink;
    s->max = max;
}

static bool is_target(const sl_head_rows *rows, columns c, uint32_t t)
{
    const int64_t target = rows->target[t];
    return target >= c.first && target < (int64_t)c.first + c.n;
}

static void add_columns(sl_head_pass *p, const sl_head_rows *rows, columns c, uint32_t t)
{
    const float *logit = p->logit + (size_t)t * COLUMNS;
    row_state *s = &p->state[t], *teacher = &p->teacher[t];
    rescale(s, logit, c.n);
    s->sum += sl_vector_exp_sum(logit, s->max, c.n);
    if (is_target(rows, c, t)) s->target = logit[rows->target[t] - (int32_t)c.first];
    if (!rows->teacher_x) return;
    const float *said = p->teacher_logit + (size_t)t * COLUMNS;
    rescale(teacher, said, c.n);
    float expected;
    teacher->sum += sl_vector_exp_sums(said, logit, teacher->max, c.n, &expected);
    teacher->expected += (double)expected;
}

static float log_sum(const row_state *s) { return s->max + logf(s->sum); }

/* ---- gradients ---- */

/* A row's logits to their gradients. */
static void to_gradients(sl_head_pass *p, const sl_head_rows *rows, columns c, uint32_t t)
{
    float *logit = p->logit + (size_t)t * COLUMNS;
    const float *said = p->teacher_logit + (size_t)t * COLUMNS;
    const float lm = rows->lm[t], kl = rows->teacher_x ? rows->kl[t] : 0;
    const float divisor = log_sum(&p->state[t]);
    sl_vector_to_exp(divisor, lm + kl, c.n, logit);
    if (is_target(rows, c, t)) logit[rows->target[t] - (int32_t)c.first] -= lm;
    if (kl != 0) sl_vector_add_exp(said, log_sum(&p->teacher[t]), -kl, c.n, logit);
}

/* sum p' (log p' - log p) */
static float divergence_of(const row_state *s, const row_state *teacher)
{
    const double expected = teacher->expected / (double)teacher->sum;
    return (float)(expected - (double)log_sum(teacher) + (double)log_sum(s));
}

void sl_head_pass_run(sl_head_pass *pass, const sl_head_rows *rows, float *minus_log_p,
                      float *divergence, float *d_x)
{
    sl_head_pass *p = pass;
    const size_t width = p->options.width;
    const uint32_t n = rows->n, vocab = p->options.vocab;
    SL_ASSERT(n <= p->options.rows_max && (rows->teacher_x || !divergence));
    for (uint32_t t = 0; t < n; t++)
        p->state[t] = p->teacher[t] = (row_state){.max = -INFINITY, .sum = 0};
    for (columns c = {0, 0}; c.first < vocab; c.first += COLUMNS) {
        c.n = sl_min_u32(COLUMNS, vocab - c.first);
        fill_logits(p, rows, c);
#pragma omp parallel for schedule(static) num_threads(p->options.threads)
        for (uint32_t t = 0; t < n; t++) add_columns(p, rows, c, t);
    }
    for (uint32_t t = 0; t < n; t++) {
        minus_log_p[t] = rows->target[t] < 0 ? 0 : log_sum(&p->state[t]) - p->state[t].target;
        if (divergence) divergence[t] = divergence_of(&p->state[t], &p->teacher[t]);
    }
    for (columns c = {0, 0}; d_x && c.first < vocab; c.first += COLUMNS) {
        c.n = sl_min_u32(COLUMNS, vocab - c.first);
        fill_logits(p, rows, c);
#pragma omp parallel for schedule(static) num_threads(p->options.threads)
        for (uint32_t t = 0; t < n; t++) to_gradients(p, rows, c, t);
        sl_dense_multiply(n, width, c.n, 1, sl_dense_plain(p->logit, COLUMNS),
                          sl_dense_plain(p->map, width), c.first > 0 ? 1 : 0, d_x, width);
    }
}
