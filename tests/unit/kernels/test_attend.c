/* test_attend.c - attention over pages against a double softmax, for any ranges a row may see,
 * and contract 1: a row's bits depend on its own query and tiles. */
#include "tests/unit/kernels/kernel_cases.h"

enum { TILES_MAX = 7, ROWS_MAX = 300 };

typedef struct {
    const sl_kv_layout *l;
    bool prompt; /* attend_prompt, which may compute in int8 */
    size_t n_tiles, n_rows, head_dim;
    uint8_t *pages[TILES_MAX];
    sl_slots visible[TILES_MAX][ROWS_MAX];
    sl_kv_tile tiles[TILES_MAX];
    float *q;
} problem;

typedef struct {
    sl_softmax state[ROWS_MAX];
    float acc[ROWS_MAX * 256];
} result;

static sl_slots dice_slots(dice *d)
{
    size_t a = dice_below(d, SL_PAGE_TOKENS + 1), b = dice_below(d, SL_PAGE_TOKENS + 1);
    switch (dice_below(d, 4)) {
    case 0: return (sl_slots){(uint8_t)a, (uint8_t)a};
    case 1: return (sl_slots){0, SL_PAGE_TOKENS};
    default: return (sl_slots){(uint8_t)(a < b ? a : b), (uint8_t)(a < b ? b : a)};
    }
}

static bool seen_by_anyone(const problem *p, size_t t, size_t slot)
{
    for (size_t r = 0; r < p->n_rows; r++)
        if (!p->tiles[t].visible || (p->visible[t][r].begin <= slot && slot < p->visible[t][r].end))
            return true;
    return false;
}

/* Slots that no query sees hold NaN, as another sequence may have left it. */
static void fill_page(const problem *p, dice *d, size_t t)
{
    float key[256], value[256];
    for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++) {
        bool seen = seen_by_anyone(p, t, slot);
        for (size_t i = 0; i < p->head_dim; i++) {
            key[i] = seen ? 2 * dice_float(d) : NAN;
            value[i] = seen ? dice_float(d) : NAN;
        }
        p->l->put(p->pages[t], slot, key, value, p->head_dim);
    }
}

static problem *problem_make(const sl_kv_layout *l, dice *d)
{
    problem *p = take(sizeof *p);
    p->l = l;
    p->prompt = dice_below(d, 2);
    p->n_tiles = 1 + dice_below(d, TILES_MAX);
    p->n_rows = dice_below(d, 2)    ? 1 + dice_below(d, 8)
                : dice_below(d, 16) ? 1 + dice_below(d, 40)
                                    : 1 + dice_below(d, ROWS_MAX); /* beyond any block of a set */
    p->head_dim = dice_head_dim(d, l);
    for (size_t t = 0; t < p->n_tiles; t++) {
        bool together = dice_below(d, 3) == 0, all = dice_below(d, 4) == 0;
        sl_slots shared = dice_slots(d);
        for (size_t r = 0; r < p->n_rows; r++)
            p->visible[t][r] = all        ? (sl_slots){0, SL_PAGE_TOKENS}
                               : together ? shared
                                          : dice_slots(d);
        p->pages[t] = take(p->l->page_bytes(p->head_dim));
        p->tiles[t] = (sl_kv_tile){p->pages[t], all ? NULL : p->visible[t]};
        fill_page(p, d, t);
    }
    p->q = take(p->n_rows * p->head_dim * 4);
    static const float sizes[] = {0, 1e-30F, 0.125F, 1, 30}; /* from uniform to one-hot */
    float size = sizes[dice_below(d, 5)];
    for (size_t i = 0; i < p->n_rows * p->head_dim; i++) p->q[i] = size * dice_float(d);
    return p;
}

static void problem_release(problem *p)
{
    for (size_t t = 0; t < p->n_tiles; t++) free(p->pages[t]);
    free(p->q);
    free(p);
}

/* Scores of one row over all tiles, and the largest sum of |q_i k_i| among them. */
static size_t scores_of(const problem *p, size_t r, double *scores, float (*values)[256],
                        double *size_out)
{
    size_t n = 0;
    float key[256];
    *size_out = 0;
    for (size_t t = 0; t < p->n_tiles; t++) {
        for (size_t slot = p->visible[t][r].begin; slot < p->visible[t][r].end; slot++, n++) {
            double size = 0;
            scores[n] = 0;
            p->l->get(p->pages[t], slot, key, values[n], p->head_dim);
            for (size_t i = 0; i < p->head_dim; i++) {
                double product = (double)p->q[r * p->head_dim + i] * (double)key[i];
                scores[n] += product;
                size += fabs(product);
            }
            *size_out = fmax(*size_out, size);
        }
    }
    return n;
}

static void run_attend(const problem *p, const sl_kv_tile *tiles, size_t n_tiles, size_t row,
                       size_t n_rows, result *x)
{
    void (*attend)(const sl_kv_tile *, size_t, const float *, size_t, size_t, sl_softmax *,
                   float *) = p->prompt ? p->l->attend_prompt : p->l->attend;
    attend(tiles, n_tiles, p->q + row * p->head_dim, n_rows, p->head_dim, x->state + row,
           x->acc + row * p->head_dim);
}

/* What int8 may add: to a score half a step of 1/127 of the largest q and k in each product, so
 * that much to its weight, half a step of 1/255 to each weight of a tile and of 1/127 to values
 * within 1. */
static double int8_bound(const problem *p, size_t r)
{
    double q_most = 0, k_most = 2.01;
    for (size_t i = 0; i < p->head_dim; i++)
        q_most = fmax(q_most, fabs((double)p->q[r * p->head_dim + i]));
    double score = (double)p->head_dim * q_most * k_most * (2 / 254.0 + 1e-4);
    return 2 * expm1(fmin(2 * score, 1)) + SL_PAGE_TOKENS / 510.0 + 1 / 127.0;
}

/* Tiles have one form of attention for all, in bf16: keys and values are that already. */
static bool is_tiled(const sl_kv_layout *l)
{
    return strcmp(l->name, "bf16") == 0 && l->head_dim_step == SL_BLOCK;
}

/* What bf16 may add: half a unit of 8 digits to a query, and to a weight. */
static double bf16_bound(double size) { return 2 * expm1(fmin(size * 0x1p-8 + 2e-4, 1)) + 0x1p-7; }

/* A row's output in double, and what its bound is made of: the sum of |q_i k_i|, and how many
 * slots. */
static size_t softmax_row(const problem *p, size_t r, double *expected, double *size_out)
{
    static double scores[TILES_MAX * SL_PAGE_TOKENS];
    static float values[TILES_MAX * SL_PAGE_TOKENS][256];
    double max = -(double)INFINITY, sum = 0;
    size_t n = scores_of(p, r, scores, values, size_out);
    for (size_t i = 0; i < n; i++) max = fmax(max, scores[i]);
    for (size_t i = 0; i < n; i++) sum += exp(scores[i] - max);
    for (size_t e = 0; e < p->head_dim; e++) {
        expected[e] = 0;
        for (size_t i = 0; i < n; i++)
            expected[e] += exp(scores[i] - max) / sum * (double)values[i][e];
    }
    return n;
}

/* A score is off by at most head_dim units of the sum of |q_i k_i|, and so, relatively, is its
 * weight; weights, their sum and the output add a unit a slot and a few. Twice, for numerator and
 * denominator; values are within 1. */
static void check_row(const problem *p, const sl_kernels *k, dice *d, size_t r, const float *out)
{
    double size, expected[256];
    size_t n = softmax_row(p, r, expected, &size);
    double bound = 2 * UNIT * ((double)p->head_dim * size + (double)n + 20);
    if (p->prompt && p->l->attend_prompt != p->l->attend) bound += int8_bound(p, r);
    if (is_tiled(p->l)) bound += bf16_bound(size);
    for (size_t e = 0; e < p->head_dim; e++)
        check(fabs(out[e] - expected[e]) <= bound, k, d,
              "head_dim %zu, row %zu of %zu, %zu slots: %.9g, not %.9g +- %.3g\n", p->head_dim, r,
              p->n_rows, n, (double)out[e], expected[e], bound);
}

static void begin(const problem *p, result *x)
{
    memset(x, 0, sizeof *x);
    for (size_t r = 0; r < p->n_rows; r++) x->state[r].max = -INFINITY;
}

static void attend(const problem *p, result *x)
{
    begin(p, x);
    run_attend(p, p->tiles, p->n_tiles, 0, p->n_rows, x);
}

static bool same(const result *a, const result *b)
{
    return memcmp(a->state, b->state, sizeof a->state) == 0 &&
           memcmp(a->acc, b->acc, sizeof a->acc) == 0;
}

static void softmax_case(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    problem *p = problem_make(l, d);
    result *x = take(sizeof *x);
    float out[256];
    attend(p, x);
    for (size_t r = 0; r < p->n_rows; r++) {
        p->l->finish(&x->state[r], x->acc + r * p->head_dim, p->head_dim, out);
        check_row(p, k, d, r, out);
    }
    free(x);
    problem_release(p);
}

/* Any rows together, any tiles at a time. */
static void pieces_case(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    problem *p = problem_make(l, d);
    result *whole = take(sizeof *whole), *pieces = take(sizeof *pieces);
    attend(p, whole);
    begin(p, pieces);
    for (size_t row = 0, rows; row < p->n_rows; row += rows) {
        rows = 1 + dice_below(d, p->n_rows - row);
        sl_kv_tile tiles[TILES_MAX];
        for (size_t t = 0; t < p->n_tiles; t++) {
            tiles[t] = p->tiles[t];
            if (tiles[t].visible) tiles[t].visible += row;
        }
        for (size_t t = 0, n; t < p->n_tiles; t += n) {
            n = 1 + dice_below(d, p->n_tiles - t);
            run_attend(p, tiles + t, n, row, rows, pieces);
        }
    }
    check(same(whole, pieces), k, d, "%zu rows, %zu tiles, head_dim %zu: pieces differ\n",
          p->n_rows, p->n_tiles, p->head_dim);
    free(whole), free(pieces);
    problem_release(p);
}

/* What only a neighbour sees changes nothing, not even when it is no number. */
static void neighbours_case(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    problem *p = problem_make(l, d);
    result *before = take(sizeof *before), *after = take(sizeof *after);
    attend(p, before);
    size_t t = dice_below(d, p->n_tiles), slot = dice_below(d, SL_PAGE_TOKENS);
    float bad[256];
    for (size_t i = 0; i < p->head_dim; i++) bad[i] = NAN;
    p->l->put(p->pages[t], slot, bad, bad, p->head_dim);
    attend(p, after);
    for (size_t r = 0; r < p->n_rows; r++) {
        size_t at = r * p->head_dim;
        sl_slots see = p->visible[t][r];
        if (see.begin <= slot && slot < see.end)
            check(isnan(after->acc[at]), k, d, "row %zu hides a NaN it sees\n", r);
        else
            check(memcmp(&before->state[r], &after->state[r], sizeof(sl_softmax)) == 0 &&
                      memcmp(before->acc + at, after->acc + at, p->head_dim * 4) == 0,
                  k, d, "row %zu is moved by a slot it does not see\n", r);
    }
    free(before), free(after);
    problem_release(p);
}

/* A row that sees nothing keeps any bits it had. */
static void blind_case(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    problem *p = problem_make(l, d);
    result *before = take(sizeof *before), *after = take(sizeof *after);
    uint8_t *bytes = (uint8_t *)before;
    for (size_t i = 0; i < sizeof *before; i++) bytes[i] = (uint8_t)dice_bits(d);
    size_t blind = dice_below(d, p->n_rows);
    for (size_t t = 0; t < p->n_tiles; t++) {
        p->tiles[t].visible = p->visible[t];
        p->visible[t][blind] = (sl_slots){5, 5};
    }
    *after = *before;
    run_attend(p, p->tiles, p->n_tiles, 0, p->n_rows, after);
    check(memcmp(&before->state[blind], &after->state[blind], sizeof(sl_softmax)) == 0, k, d,
          "state\n");
    check(memcmp(before->acc + blind * p->head_dim, after->acc + blind * p->head_dim,
                 p->head_dim * 4) == 0,
          k, d, "acc\n");
    free(before), free(after);
    problem_release(p);
}

/* Runs of tiles, merged in order. */
static void merge_case(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    problem *p = problem_make(l, d);
    result *x = take(sizeof *x), *run = take(sizeof *run);
    float out[256];
    size_t cut = dice_below(d, p->n_tiles + 1);
    begin(p, x), begin(p, run);
    run_attend(p, p->tiles, cut, 0, p->n_rows, x);
    run_attend(p, p->tiles + cut, p->n_tiles - cut, 0, p->n_rows, run);
    for (size_t r = 0; r < p->n_rows; r++) {
        float *acc = x->acc + r * p->head_dim;
        p->l->merge(&x->state[r], acc, &run->state[r], run->acc + r * p->head_dim, p->head_dim);
        p->l->finish(&x->state[r], acc, p->head_dim, out);
        check_row(p, k, d, r, out);
    }
    free(x), free(run);
    problem_release(p);
}

/* On ordinary numbers, unlike the worst case: of the output's root mean square 2% in int8, 1%
 * through tiles, next to nothing in f32. */
static void precise_case(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    problem *p = problem_make(l, d);
    result *x = take(sizeof *x);
    for (size_t i = 0; i < p->n_rows * p->head_dim; i++) p->q[i] = 0.25F * dice_float(d);
    for (size_t t = 0; t < p->n_tiles; t++) {
        p->tiles[t].visible = NULL;
        for (size_t r = 0; r < p->n_rows; r++) p->visible[t][r] = (sl_slots){0, SL_PAGE_TOKENS};
        fill_page(p, d, t);
    }
    bool int8 = p->prompt && l->attend_prompt != l->attend;
    double off = 0, size = 0, limit = int8 ? 0.02 : is_tiled(l) ? 0.01 : 1e-5;
    attend(p, x);
    for (size_t r = 0; r < p->n_rows; r += 1 + p->n_rows / 20) {
        double expected[256], unused;
        float out[256];
        softmax_row(p, r, expected, &unused);
        l->finish(&x->state[r], x->acc + r * p->head_dim, p->head_dim, out);
        for (size_t i = 0; i < p->head_dim; i++) {
            off += pow((double)out[i] - expected[i], 2);
            size += pow(expected[i], 2);
        }
    }
    check(off <= limit * limit * size, k, d, "off by %g of the root mean square\n",
          sqrt(off / size));
    free(x);
    problem_release(p);
}

static void merges_nothing(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    sl_softmax empty = {-INFINITY, 0}, some = {1.5F, 3}, into = empty;
    float zeros[16] = {0}, acc[16], target[16] = {0}, out[16];
    for (size_t i = 0; i < 16; i++) acc[i] = dice_float(d);
    l->merge(&into, target, &empty, zeros, 16);
    check(into.max == -INFINITY && into.sum == 0, k, d, "empty and empty\n");
    l->finish(&into, target, 16, out);
    check(memcmp(out, zeros, sizeof out) == 0, k, d, "nothing seen is zeros\n");
    l->merge(&into, target, &some, acc, 16);
    check(into.max == some.max && into.sum == some.sum && memcmp(target, acc, sizeof acc) == 0, k,
          d, "empty and some\n");
    l->merge(&into, target, &empty, zeros, 16);
    check(into.max == some.max && into.sum == some.sum && memcmp(target, acc, sizeof acc) == 0, k,
          d, "some and empty\n");
}

/* Of all slots, seen or not; rows alone or together give the same bits. */
static void scores_case(const sl_kernels *k, const sl_kv_layout *l, dice *d)
{
    problem *p = problem_make(l, d);
    static float together[ROWS_MAX * SL_PAGE_TOKENS];
    float alone[SL_PAGE_TOKENS], key[256], value[256];
    l->scores(p->pages[0], p->q, p->n_rows, p->head_dim, together);
    for (size_t r = 0; r < p->n_rows; r++) {
        const float *q = p->q + r * p->head_dim, *got = together + r * SL_PAGE_TOKENS;
        l->scores(p->pages[0], q, 1, p->head_dim, alone);
        check(memcmp(alone, got, sizeof alone) == 0, k, d, "row %zu of %zu, head_dim %zu: alone\n",
              r, p->n_rows, p->head_dim);
        for (size_t slot = 0; slot < SL_PAGE_TOKENS; slot++) {
            double expected = 0, size = 0;
            l->get(p->pages[0], slot, key, value, p->head_dim);
            for (size_t i = 0; i < p->head_dim; i++) {
                expected += (double)q[i] * (double)key[i];
                size += fabs((double)q[i] * (double)key[i]);
            }
            bool good = isnan(expected)
                            ? isnan(got[slot])
                            : fabs(got[slot] - expected) <=
                                  (UNIT * (double)p->head_dim + (is_tiled(l) ? 0x1p-8 : 0)) * size;
            check(good, k, d, "head_dim %zu, row %zu, slot %zu: %.9g, not %.9g\n", p->head_dim, r,
                  slot, (double)got[slot], expected);
        }
    }
    problem_release(p);
}

static void softmax(void **unused) { (void)unused, for_all_layouts(softmax_case, 150); }
static void pieces(void **unused) { (void)unused, for_all_layouts(pieces_case, 300); }
static void neighbours(void **unused) { (void)unused, for_all_layouts(neighbours_case, 200); }
static void blind(void **unused) { (void)unused, for_all_layouts(blind_case, 100); }
static void merge(void **unused) { (void)unused, for_all_layouts(merge_case, 100); }
static void scores(void **unused) { (void)unused, for_all_layouts(scores_case, 100); }
static void precise(void **unused) { (void)unused, for_all_layouts(precise_case, 60); }
static void nothing(void **unused) { (void)unused, for_all_layouts(merges_nothing, 1); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax), cmocka_unit_test(pieces),  cmocka_unit_test(neighbours),
        cmocka_unit_test(blind),   cmocka_unit_test(merge),   cmocka_unit_test(nothing),
        cmocka_unit_test(scores),  cmocka_unit_test(precise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
