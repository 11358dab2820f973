/* runtime/kernels/matmul/linear.c - the product of a map is computed in pieces of columns and rows,
 * each of which stays in the cache for what comes behind it: bias, sum, gated linear unit,
 * quantization. Who computes a piece never changes its bits (contract 1). */
#include "runtime/kernels/matmul/linear.h"

#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/matmul/weight_form.h"

enum {
    PIECE_COLUMNS = 32,
    PIECE_ROWS = 256,
    /* of a piece: up to here weights are what is waited for, and threads read long runs of them */
    FEW_ROWS = 8,
    REDUCED_COLUMNS = 4, /* of a thread, at least */
};

/* Of one map. */
typedef struct {
    size_t row, n_rows, column, n_columns;
} piece;

/* Rows of `a` from piece->row on, as many as it has. */
static sl_activations rows_of(const sl_activations *a, const piece *p)
{
    size_t n_blocks = a->width / SL_BLOCK, end = p->row + p->n_rows;
    size_t n_int8 = a->n_rows - a->n_bf16, from = p->row < n_int8 ? n_int8 : p->row;
    return (sl_activations){.n_rows = p->n_rows,
                            .width = a->width,
                            .n_bf16 = end > from ? end - from : 0,
                            .bf16 = a->bf16 ? a->bf16 + p->row * a->width : NULL,
                            .x = a->x ? a->x + p->row * a->width : NULL,
                            .q = a->q + p->row * a->width,
                            .scale = a->scale + p->row * n_blocks,
                            .sum = a->sum + p->row * n_blocks,
                            .sum_16 = a->sum_16 + p->row * 2 * n_blocks};
}

/* out += B reduced. */
static void expand(const sl_kernels *kernels, const sl_linear *map, const piece *p, float *out,
                   size_t stride)
{
    const sl_matrix *b = &map->low_rank->b;
    sl_activations reduced = {
        .n_rows = p->n_rows, .width = b->n_in, .x = map->reduced + p->row * b->n_in};
    kernels->matmul[b->type](b, &reduced, p->column, p->column + p->n_columns, true, out, stride);
}

/* out: [piece->n_rows][stride], from the piece's first row and column on. */
static void multiply(const sl_kernels *kernels, const sl_linear *map, const sl_activations *a,
                     const piece *p, bool add, float *out, size_t stride)
{
    sl_activations rows = rows_of(a, p);
    kernels->matmul[map->matrix->type](map->matrix, &rows, p->column, p->column + p->n_columns, add,
                                       out, stride);
    if (map->low_rank) expand(kernels, map, p, out, stride);
    for (size_t t = 0; map->bias && t < p->n_rows; t++)
        kernels->add(map->bias + p->column, p->n_columns, out + t * stride);
}

/* ---- the pieces of one or more maps of the same rows, column after column ---- */

typedef struct {
    sl_member me;
    const sl_linear *maps;
    size_t n_maps, n_rows, n_strips, at, end; /* strips of PIECE_COLUMNS; the next, as numbered */
} walk;

static size_t strips_of(const sl_linear *map)
{
    return (map->matrix->n_out + PIECE_COLUMNS - 1) / PIECE_COLUMNS;
}

static walk walk_begin(sl_member me, const sl_linear *maps, size_t n_maps, size_t n_rows)
{
    walk w = {.me = me, .maps = maps, .n_maps = n_maps, .n_rows = n_rows};
    for (size_t m = 0; m < n_maps; m++) w.n_strips += strips_of(&maps[m]);
    sl_share share = sl_team_share(me, w.n_strips, 1);
    w.at = share.begin;
    w.end = share.end;
    return w;
}

/* The next piece and its map, or NULL. Few rows: this thread's share of the strips, in order. */
static const sl_linear *walk_next(walk *w, piece *out)
{
    size_t strip, row = 0;
    if (w->n_rows <= FEW_ROWS) {
        if (w->at == w->end) return NULL;
        strip = w->at++;
    } else {
        size_t n_pieces = (w->n_rows + PIECE_ROWS - 1) / PIECE_ROWS, i = sl_team_take(w->me);
        if (i >= w->n_strips * n_pieces) return NULL;
        strip = i % w->n_strips;
        row = i / w->n_strips * PIECE_ROWS;
    }
    const sl_linear *map = w->maps;
    for (; strip >= strips_of(map); map++) strip -= strips_of(map);
    size_t column = strip * PIECE_COLUMNS, left = map->matrix->n_out - column;
    *out = (piece){.row = row,
                   .n_rows = w->n_rows - row < PIECE_ROWS ? w->n_rows - row : PIECE_ROWS,
                   .column = column,
                   .n_columns = left < PIECE_COLUMNS ? left : PIECE_COLUMNS};
    return map;
}

/* ---- what is done with them ---- */

sl_activations sl_activations_take(sl_arena *arena, size_t n_rows, size_t width)
{
    size_t n = n_rows * width, n_blocks = n / SL_BLOCK;
    return (sl_activations){.width = width,
                            .x = sl_arena_array(arena, float, n),
                            .q = sl_arena_array(arena, int8_t, n),
                            .scale = sl_arena_array(arena, float, n_blocks),
                            .sum = sl_arena_array(arena, float, n_blocks),
                            .sum_16 = sl_arena_array(arena, int16_t, 2 * n_blocks)};
}

/* n numbers that belong to `row` of a, at `at` in its arrays. */
static void quantize(const sl_kernels *kernels, const sl_activations *a, size_t row, const float *x,
                     size_t at, size_t n)
{
    if (row < a->n_rows - a->n_bf16)
        kernels->quantize(x, n / SL_BLOCK, a->q + at, a->scale + at / SL_BLOCK,
                          a->sum + at / SL_BLOCK, a->sum_16 + at / (SL_BLOCK / 2));
    else
        kernels->round(x, n, a->bf16 + at);
}

void sl_linear_quantize(const sl_kernels *kernels, const sl_activations *a, size_t begin,
                        size_t end)
{
    SL_ASSERT(a->width % SL_BLOCK == 0 && end <= a->n_rows);
    for (size_t row = begin; row < end; row++)
        quantize(kernels, a, row, a->x + row * a->width, row * a->width, a->width);
}

/* Columns [begin, end) of the low rank's A, rows [row, row + n_rows). */
static void reduce(const sl_kernels *kernels, const sl_linear *map, const sl_activations *a,
                   size_t row, size_t n_rows, size_t begin, size_t end)
{
    const sl_matrix *w = &map->low_rank->a;
    sl_activations rows = {.n_rows = n_rows, .width = a->width, .x = a->x + row * a->width};
    kernels->matmul[w->type](w, &rows, begin, end, false, map->reduced + row * w->n_out + begin,
                             w->n_out);
}

/* A has few columns, so threads share rows where there are many. */
void sl_linear_reduce(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                      const sl_linear *maps, size_t n_maps)
{
    for (size_t m = 0; m < n_maps; m++) {
        if (!maps[m].low_rank) continue;
        size_t rank = maps[m].low_rank->a.n_out;
        bool few = a->n_rows <= FEW_ROWS;
        sl_share share = few ? sl_team_share(me, rank, REDUCED_COLUMNS)
                             : sl_team_share(me, a->n_rows, 1);
        if (share.begin == share.end) continue;
        if (few)
            reduce(kernels, &maps[m], a, 0, a->n_rows, share.begin, share.end);
        else
            reduce(kernels, &maps[m], a, share.begin, share.end - share.begin, 0, rank);
    }
}

static void run(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                const sl_linear *maps, size_t n_maps, bool add)
{
    piece p;
    const sl_linear *map;
    walk w = walk_begin(me, maps, n_maps, a->n_rows);
    while ((map = walk_next(&w, &p))) {
        size_t n_out = map->matrix->n_out;
        multiply(kernels, map, a, &p, add, map->out + p.row * n_out + p.column, n_out);
    }
}

void sl_linear_run(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                   const sl_linear *maps, size_t n_maps)
{
    run(kernels, me, a, maps, n_maps, false);
}

void sl_linear_add(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                   const sl_linear *map)
{
    run(kernels, me, a, map, 1, true);
}

void sl_linear_glu(const sl_kernels *kernels, sl_member me, const sl_activations *a,
                   const sl_linear *gate, const sl_linear *up, sl_glu *glu, const sl_linear *next,
                   const sl_activations *hidden)
{
    _Static_assert(PIECE_COLUMNS % SL_BLOCK == 0, "blocks are whole");
    _Alignas(64) float gated[PIECE_ROWS * PIECE_COLUMNS], product[PIECE_ROWS * PIECE_COLUMNS];
    const bool is_float = sl_type_is_float(next->matrix->type);
    piece p;
    SL_ASSERT(gate->matrix->n_out == up->matrix->n_out && hidden->width == up->matrix->n_out &&
              hidden->width % SL_BLOCK == 0);
    walk w = walk_begin(me, up, 1, a->n_rows);
    while (walk_next(&w, &p)) {
        multiply(kernels, gate, a, &p, false, gated, PIECE_COLUMNS);
        multiply(kernels, up, a, &p, false, product, PIECE_COLUMNS);
        SL_ASSERT(p.n_columns == PIECE_COLUMNS);
        glu(gated, product, p.n_rows * PIECE_COLUMNS, product);
        for (size_t t = 0; t < p.n_rows; t++) {
            const float *row = product + t * PIECE_COLUMNS;
            size_t at = (p.row + t) * hidden->width + p.column;
            if (is_float || next->low_rank) memcpy(hidden->x + at, row, p.n_columns * sizeof *row);
            if (!is_float) quantize(kernels, hidden, p.row + t, row, at, p.n_columns);
        }
    }
}
