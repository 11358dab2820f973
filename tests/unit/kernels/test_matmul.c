/* test_matmul.c - linear maps of every weight type against double precision, and contract 1: bits
 * do not depend on how rows and columns are cut. */
#include "runtime/gguf/tensor_type.h"
#include "runtime/kernels/matmul/pack.h"
#include "runtime/kernels/matmul/panel.h"
#include "tests/support/matrix_types.h"
#include "tests/unit/kernels/kernel_cases.h"

typedef struct {
    sl_matrix w, packed;        /* as in the file, and as kernels want it */
    double *weights, *minimums; /* [n_out][n_in], of each weight the part that is no minimum */
    sl_activations a;
} problem;

static const struct layout {
    uint32_t type;
    size_t elements, bytes; /* of a block */
    size_t f16_at, n_f16;   /* where its f16 numbers are */
} layouts[] = {
    {SL_TYPE_F32, 1, 4, 0, 0},        {SL_TYPE_F16, 1, 2, 0, 1},
    {SL_TYPE_BF16, 1, 2, 0, 0},       {SL_TYPE_Q4_0, 32, 18, 0, 1},
    {SL_TYPE_Q4_1, 32, 20, 0, 2},     {SL_TYPE_Q5_0, 32, 22, 0, 1},
    {SL_TYPE_Q5_1, 32, 24, 0, 2},     {SL_TYPE_Q8_0, 32, 34, 0, 1},
    {SL_TYPE_Q2_K, 256, 84, 80, 2},   {SL_TYPE_Q3_K, 256, 110, 108, 1},
    {SL_TYPE_Q4_K, 256, 144, 0, 2},   {SL_TYPE_Q5_K, 256, 176, 0, 2},
    {SL_TYPE_Q6_K, 256, 210, 208, 1}, {SL_TYPE_IQ4_XS, 256, 136, 0, 1},
    {SL_TYPE_IQ4_NL, 32, 18, 0, 1},   {SL_TYPE_MXFP4, 32, 17, 0, 0},
};
enum { N_LAYOUTS = sizeof layouts / sizeof layouts[0] };

static const struct layout *layout_of(uint32_t type);

static void has_all_types(const sl_kernels *k, dice *d)
{
    for (size_t i = 0; i < N_LAYOUTS; i++)
        check(k->matmul[layouts[i].type], k, d, "no kernel for type %u\n", layouts[i].type);
}

/* The runtime has no type that is not above. */
static int check_layouts(void **unused)
{
    uint32_t types[MATRIX_TYPES_MAX];
    (void)unused;
    assert_int_equal(matrix_types(types), N_LAYOUTS);
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        size_t elements, bytes;
        const struct layout *l = layout_of(types[i]);
        assert_true(sl_type_block(l->type, &elements, &bytes));
        assert_true(elements == l->elements && bytes == l->bytes);
        if (elements > 1) assert_int_equal(sl_weight_form_of(l->type).super_block, elements);
    }
    for_all_sets(has_all_types, 1);
    return 0;
}

static bool is_quantized(const struct layout *l) { return l->elements > 1; }

static const struct layout *layout_of(uint32_t type)
{
    for (size_t i = 0; i < N_LAYOUTS; i++)
        if (layouts[i].type == type) return &layouts[i];
    fail();
    return NULL;
}

/* A finite f16 of any magnitude: zero, denormal, up to 65504. */
static uint16_t dice_half(dice *d)
{
    uint16_t h = (uint16_t)dice_bits(d);
    return (h & 0x7c00) == 0x7c00 ? (uint16_t)(h & 0x83ff) : h;
}

/* Random bytes are good weights once their scales are finite. */
static void fill_weights(dice *d, uint32_t type, uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)dice_bits(d);
    const struct layout *l = layout_of(type);
    for (size_t i = 0; i < bytes; i += l->bytes) {
        uint16_t halves[2] = {dice_half(d), dice_half(d)};
        float f = dice_wild(d);
        uint32_t upper;
        memcpy(&upper, &f, 4);
        upper >>= 16;
        if (type == SL_TYPE_F32)
            memcpy(data + i, &f, 4);
        else if (type == SL_TYPE_BF16)
            memcpy(data + i, &upper, 2);
        else if (type == SL_TYPE_MXFP4)
            data[i] = (uint8_t)(60 + data[i] / 2); /* an exponent: products stay finite */
        else
            memcpy(data + i + l->f16_at, halves, l->n_f16 * sizeof *halves);
    }
}

static void quantize_rows(const sl_kernels *k, const sl_activations *a)
{
    k->quantize(a->x, a->n_rows * a->width / SL_BLOCK, a->q, a->scale, a->sum, a->sum_16);
    if (k->round) k->round(a->x, a->n_rows * a->width, a->bf16);
}

static int nibble_at(const uint8_t *q, size_t i)
{
    return i % 32 < 16 ? q[i % 16] & 15 : q[i % 16] >> 4;
}

/* Whether plain_weight knows the type, without the code under test. */
static bool is_plain(uint32_t type)
{
    return type <= SL_TYPE_Q4_1 || type == SL_TYPE_Q8_0 || type == SL_TYPE_BF16;
}

static double plain_weight(const sl_matrix *w, size_t j, size_t i, double *minimum_out)
{
    const uint8_t *row = (const uint8_t *)w->data + j * w->row_bytes;
    uint16_t h[2];
    uint32_t bits = 0;
    float f;
    *minimum_out = 0;
    switch (w->type) {
    case SL_TYPE_F32: memcpy(&f, row + 4 * i, 4); return (double)f;
    case SL_TYPE_F16: memcpy(h, row + 2 * i, 2); return (double)sl_f16_to_f32(h[0]);
    case SL_TYPE_BF16:
        memcpy((uint8_t *)&bits + 2, row + 2 * i, 2);
        memcpy(&f, &bits, 4);
        return (double)f;
    case SL_TYPE_Q4_0:
        memcpy(h, row + i / 32 * 18, 2);
        *minimum_out = -8 * (double)sl_f16_to_f32(h[0]);
        return (double)sl_f16_to_f32(h[0]) * nibble_at(row + i / 32 * 18 + 2, i);
    case SL_TYPE_Q4_1:
        memcpy(h, row + i / 32 * 20, 4);
        *minimum_out = (double)sl_f16_to_f32(h[1]);
        return (double)sl_f16_to_f32(h[0]) * nibble_at(row + i / 32 * 20 + 4, i);
    case SL_TYPE_Q8_0:
        memcpy(h, row + i / 32 * 34, 2);
        int8_t q = (int8_t)row[i / 32 * 34 + 2 + i % 32];
        return (double)sl_f16_to_f32(h[0]) * q;
    default: fail(); return 0;
    }
}

/* What a super-block's own numbers say: that they are taken apart rightly is known from weights of
 * another program (golden/test_golden_weights.c). */
static void super_block_weights(const sl_matrix *w, size_t j, size_t b, double *weights,
                                double *minimums)
{
    sl_weight_form form = sl_weight_form_of(w->type);
    sl_super_block super;
    sl_matrix_super_block(w, j, b, &super);
    for (size_t i = 0; i < form.super_block; i++) {
        float scale, minimum;
        sl_weight_scale(form, &super, i / 16, &scale, &minimum);
        minimums[i] = form.offset > 0 ? -form.offset * (double)scale : (double)minimum;
        weights[i] = (double)scale * sl_weight_code(form, &super, i);
    }
}

static void find_weights(problem *p)
{
    const sl_matrix *w = &p->w;
    size_t block = layout_of(w->type)->elements;
    for (size_t j = 0; j < w->n_out; j++)
        for (size_t i = 0; i < w->n_in; i++) {
            size_t at = j * w->n_in + i;
            if (is_plain(w->type))
                p->weights[at] = plain_weight(w, j, i, &p->minimums[at]);
            else if (i % block == 0)
                super_block_weights(w, j, i / block, &p->weights[at], &p->minimums[at]);
        }
}

static void pack(problem *p)
{
    size_t bytes = sl_packed_bytes(&p->w), n = sl_n_panels(&p->w);
    p->packed = p->w;
    find_weights(p);
    if (bytes == 0) return;
    void *out = take(bytes);
    sl_pack(&p->w, n / 2, n, out); /* in parts, as several threads do */
    sl_pack(&p->w, 0, n / 2, out);
    p->packed.data = out;
    p->packed.packed = true;
}

static void release_packed(problem *p)
{
    if (p->packed.packed) free((void *)(uintptr_t)p->packed.data);
}

static problem problem_make(dice *d, const sl_kernels *k, uint32_t type, size_t n_out, size_t n_in,
                            size_t n_rows)
{
    const struct layout *l = layout_of(type);
    size_t row_bytes = n_in / l->elements * l->bytes, n = n_rows * n_in;
    uint8_t *data = take(row_bytes * n_out);
    float *x = take(n * 4);
    fill_weights(d, type, data, row_bytes * n_out);
    bool wild = dice_below(d, 2);
    for (size_t i = 0; i < n; i++) x[i] = wild ? dice_wild(d) : dice_float(d);
    sl_matrix w = {data, type, n_out, n_in, row_bytes, false};
    problem p = {.w = w,
                 .packed = w,
                 .weights = take(n_out * n_in * sizeof(double)),
                 .minimums = take(n_out * n_in * sizeof(double)),
                 .a = {.n_rows = n_rows, .width = n_in, .x = x, .q = take(n), .bf16 = take(2 * n)}};
    p.a.scale = take(n / 8 + 4), p.a.sum = take(n / 8 + 4), p.a.sum_16 = take(n / 8 + 4);
    if (k->round) p.a.n_bf16 = dice_below(d, n_rows + 1);
    pack(&p);
    if (n_in % SL_BLOCK == 0) quantize_rows(k, &p.a);
    return p;
}

static void problem_release(problem *p)
{
    release_packed(p);
    free((void *)(uintptr_t)p->w.data);
    free((void *)(uintptr_t)p->a.x);
    free(p->weights), free(p->minimums);
    free(p->a.q), free(p->a.scale), free(p->a.sum), free(p->a.sum_16), free(p->a.bf16);
}

/* The sum in double, and how far f32 may be: a term meets at most as many roundings as there are
 * additions (blocks, or elements of float weights), and a few when it is made. The terms of a
 * quantized block are its exact integer sums. */
static double exact(const problem *p, size_t t, size_t j, double *bound_out)
{
    bool quantized = is_quantized(layout_of(p->w.type));
    size_t n = p->w.n_in, term = quantized ? SL_BLOCK : 1;
    double sum = 0, magnitudes = 0;
    for (size_t i = 0; i < n; i += term) {
        double products = 0, minimums = 0;
        for (size_t e = i; e < i + term; e++) {
            double w = p->weights[j * n + e], minimum = p->minimums[j * n + e];
            double x = (double)p->a.x[t * n + e];
            if (quantized) x = p->a.q[t * n + e] * (double)p->a.scale[(t * n + e) / SL_BLOCK];
            products += w * x;
            minimums += minimum * x;
        }
        sum += products + minimums;
        magnitudes += fabs(products) + fabs(minimums);
    }
    size_t additions = n / term * (quantized ? 2 : 1);
    *bound_out = (double)(additions + 6) * (UNIT * magnitudes + 0x1p-149);
    return sum;
}

static void check_rounded(const problem *p, size_t i)
{
    double x = (double)p->a.x[i], is = (double)sl_bf16_to_f32(p->a.bf16[i]);
    if (fabs(is - x) > fabs(x) * 0x1p-8 + 0x1p-126) fail_msg("%.9g rounded to %.9g", x, is);
}

/* The same of a row that was rounded to bf16, as its weights are: half a unit of 8 digits. */
static double rounded(const problem *p, size_t t, size_t j, double *bound_out)
{
    size_t n = p->w.n_in;
    double sum = 0, magnitudes = 0, sizes = 0;
    for (size_t i = 0; i < n; i++) {
        double w = p->weights[j * n + i] + p->minimums[j * n + i];
        double x = (double)sl_bf16_to_f32(p->a.bf16[t * n + i]);
        check_rounded(p, t * n + i);
        sum += w * x;
        magnitudes += fabs(w * x);
        sizes += fabs(w) + fabs(x);
    }
    *bound_out = magnitudes * (0x1p-8 + (double)(n + 6) * UNIT) + sizes * 0x1p-125;
    return sum;
}

static bool is_rounded(const problem *p, size_t t)
{
    return is_quantized(layout_of(p->w.type)) && t >= p->a.n_rows - p->a.n_bf16;
}

static void check_exact(const sl_kernels *k, dice *d, const problem *p, const float *out)
{
    for (size_t t = 0; t < p->a.n_rows; t++) {
        for (size_t j = 0; j < p->w.n_out; j++) {
            double bound, is = (double)out[t * p->w.n_out + j];
            double expected = is_rounded(p, t) ? rounded(p, t, j, &bound) : exact(p, t, j, &bound);
            check(fabs(is - expected) <= bound, k, d,
                  "type %u, %zu x %zu: [%zu][%zu] is %.9g, not %.9g +- %.3g\n", p->w.type,
                  p->w.n_out, p->w.n_in, t, j, is, expected, bound);
        }
    }
}

/* Rectangles of rows and columns, computed alone: the same bits, and nothing beyond them. */
static void check_pieces(const sl_kernels *k, dice *d, const problem *p, const float *whole)
{
    size_t n_out = p->w.n_out, stride = n_out + dice_below(d, 3), n_in = p->w.n_in;
    for (int piece = 0; piece < 6; piece++) {
        size_t row = dice_below(d, p->a.n_rows), rows = 1 + dice_below(d, p->a.n_rows - row);
        size_t begin = dice_below(d, sl_n_panels(&p->w)) * SL_PANEL,
               end = begin + dice_below(d, n_out - begin + 1);
        sl_activations part = p->a;
        size_t n_int8 = p->a.n_rows - p->a.n_bf16, from = row < n_int8 ? n_int8 : row;
        part.n_rows = rows;
        part.n_bf16 = row + rows > from ? row + rows - from : 0;
        part.x += row * n_in, part.q += row * n_in, part.bf16 += row * n_in;
        part.scale += row * n_in / SL_BLOCK, part.sum += row * n_in / SL_BLOCK;
        part.sum_16 += row * n_in / SL_BLOCK * 2;

        float *out = take(rows * stride * 4), *expected = take(rows * stride * 4);
        for (size_t i = 0; i < rows * stride; i++) out[i] = expected[i] = 1e30F;
        for (size_t t = 0; t < rows; t++)
            memcpy(expected + t * stride + begin, whole + (row + t) * n_out + begin,
                   (end - begin) * 4);
        k->matmul[p->packed.type](&p->packed, &part, begin, end, false, out + begin, stride);
        check(memcmp(out, expected, rows * stride * 4) == 0, k, d,
              "type %u, %zu x %zu, rows %zu+%zu, columns %zu..%zu differ from the whole\n",
              p->w.type, n_out, n_in, row, rows, begin, end);
        free(out), free(expected);
    }
}

/* Added to what was there: one more rounding; tiles begin with it. */
static void check_added(const sl_kernels *k, dice *d, const problem *p, const float *whole)
{
    size_t n = p->a.n_rows * p->w.n_out;
    float *before = take(n * 4), *out = take(n * 4);
    for (size_t i = 0; i < n; i++) out[i] = before[i] = dice_float(d) * whole[i];
    k->matmul[p->packed.type](&p->packed, &p->a, 0, p->w.n_out, true, out, p->w.n_out);
    for (size_t i = 0; i < n; i++) {
        size_t t = i / p->w.n_out, j = i % p->w.n_out;
        double bound = 0, sum = (double)before[i] + (double)whole[i];
        if (is_rounded(p, t)) rounded(p, t, j, &bound);
        check(fabs((double)out[i] - sum) <= bound + UNIT * fabs(sum) + 0x1p-149, k, d,
              "[%zu][%zu] of %.9g: %.9g, not %.9g\n", t, j, (double)before[i], (double)out[i], sum);
    }
    free(before), free(out);
}

static void solve(const sl_kernels *k, dice *d, uint32_t type, size_t n_out, size_t n_in,
                  size_t n_rows)
{
    problem p = problem_make(d, k, type, n_out, n_in, n_rows);
    float *out = take(n_rows * n_out * 4);
    k->matmul[p.packed.type](&p.packed, &p.a, 0, n_out, false, out, n_out);
    check_exact(k, d, &p, out);
    check_pieces(k, d, &p, out);
    check_added(k, d, &p, out);
    free(out);
    problem_release(&p);
}

static void solves(const sl_kernels *k, dice *d)
{
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        size_t n_in = 1 + dice_below(d, 100);
        if (is_quantized(&layouts[i]))
            n_in = layouts[i].elements * (1 + dice_below(d, layouts[i].elements > 32 ? 3 : 12));
        bool few = dice_below(d, 4); /* else more than a tile of any set */
        solve(k, d, layouts[i].type, 1 + dice_below(d, few ? 50 : 120), n_in,
              1 + dice_below(d, few ? 20 : 100));
    }
}

/* Longer than any kernel unpacks at once. */
static void solves_long_rows(const sl_kernels *k, dice *d)
{
    static const size_t widths[] = {1536, 1568, 3072, 4096 + 32, 32768};
    for (size_t i = 0; i < N_LAYOUTS; i++)
        for (size_t n = 0; n < sizeof widths / sizeof widths[0]; n++)
            if (widths[n] % layouts[i].elements == 0)
                solve(k, d, layouts[i].type, 19, widths[n], 5);
}

/* More rows, and more blocks of them, than are unpacked for at once. */
static void solves_many_rows(const sl_kernels *k, dice *d)
{
    for (size_t i = 0; i < N_LAYOUTS; i++)
        if (is_quantized(&layouts[i])) solve(k, d, layouts[i].type, 19, 768, 259);
}

/* A row is the same whether it is one of few or of many, of a few columns or of all. */
static void solves_rows_alike(const sl_kernels *k, dice *d)
{
    enum { OUT = 37, ROWS = 21 };
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        size_t n_in = layouts[i].elements > 32 ? 768 : 96;
        problem p = problem_make(d, k, layouts[i].type, OUT, n_in, ROWS);
        p.a.n_bf16 = 0;
        float *whole = take(ROWS * OUT * 4), *part = take(ROWS * OUT * 4);
        k->matmul[p.packed.type](&p.packed, &p.a, 0, OUT, false, whole, OUT);
        for (size_t n = 1; n <= ROWS; n++) {
            sl_activations few = p.a;
            few.n_rows = n;
            k->matmul[p.packed.type](&p.packed, &few, 0, OUT, false, part, OUT);
            check(memcmp(part, whole, n * OUT * 4) == 0, k, d, "type %u, %zu of %d rows differ\n",
                  p.w.type, n, ROWS);
        }
        free(whole), free(part);
        problem_release(&p);
    }
}

/* Inputs of a small problem. */
static size_t few_inputs(const struct layout *l) { return l->elements > 96 ? 512 : 96; }

/* The largest integers there are: all bits of codes, and bytes of -128 and 127, against -127 and
 * 127. */
static void keeps_the_largest_sums(const sl_kernels *k, dice *d)
{
    static const uint8_t fills[] = {0xff, 0x80, 0x7f};
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        const struct layout *l = &layouts[i];
        if (!is_quantized(l)) continue;
        for (size_t f = 0; f < sizeof fills; f++) {
            for (int sign = -1; sign <= 1; sign += 2) {
                enum { ROWS = 11 }; /* more than are few to any set */
                size_t n_in = few_inputs(l), n_blocks = 9 * n_in / l->elements;
                problem p = problem_make(d, k, l->type, 9, n_in, ROWS);
                float out[9 * ROWS], *x = (float *)(uintptr_t)p.a.x;
                uint8_t *data = (uint8_t *)(uintptr_t)p.w.data;
                for (size_t b = 0; b < n_blocks; b++, data += l->bytes) {
                    size_t end = l->f16_at + l->n_f16 * sizeof(uint16_t);
                    if (l->type == SL_TYPE_MXFP4) end = 1; /* its exponent */
                    memset(data, fills[f], l->f16_at);
                    memset(data + end, fills[f], l->bytes - end);
                }
                for (size_t e = 0; e < ROWS * n_in; e++) x[e] = (float)sign;
                quantize_rows(k, &p.a);
                release_packed(&p), pack(&p);
                k->matmul[p.packed.type](&p.packed, &p.a, 0, 9, false, out, 9);
                check_exact(k, d, &p, out);
                problem_release(&p);
            }
        }
    }
}

/* A row with what is no number says so in all its columns, and is seen by no other. */
static void keeps_rows_apart(const sl_kernels *k, dice *d)
{
    enum { OUT = 40, ROWS = 40 };
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        size_t n_in = few_inputs(&layouts[i]);
        problem p = problem_make(d, k, layouts[i].type, OUT, n_in, ROWS);
        float *before = take(sizeof(float) * OUT * ROWS), *after = take(sizeof(float) * OUT * ROWS);
        size_t odd = dice_below(d, ROWS);
        k->matmul[p.packed.type](&p.packed, &p.a, 0, OUT, false, before, OUT);
        float *x = (float *)(uintptr_t)p.a.x;
        x[odd * n_in + dice_below(d, n_in)] = NAN;
        quantize_rows(k, &p.a);
        k->matmul[p.packed.type](&p.packed, &p.a, 0, OUT, false, after, OUT);
        for (size_t t = 0; t < ROWS; t++)
            for (size_t j = 0; j < OUT; j++)
                check(t == odd ? isnan(after[t * OUT + j])
                               : memcmp(&before[t * OUT + j], &after[t * OUT + j], 4) == 0,
                      k, d, "type %u, [%zu][%zu]: row %zu is odd\n", p.w.type, t, j, odd);
        free(before), free(after);
        problem_release(&p);
    }
}

static void reads_rows(const sl_kernels *k, dice *d)
{
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        size_t n_in = few_inputs(&layouts[i]);
        problem p = problem_make(d, k, layouts[i].type, 7, n_in, 1);
        float *row = take(n_in * sizeof *row), *packed = take(n_in * sizeof *packed);
        for (size_t j = 0; j < 7; j++) {
            sl_matrix_row(&p.w, j, row);
            sl_matrix_row(&p.packed, j, packed);
            check(memcmp(row, packed, n_in * sizeof *row) == 0, k, d, "packed row %zu\n", j);
            for (size_t e = 0; e < n_in; e++) {
                double w = p.weights[j * n_in + e], minimum = p.minimums[j * n_in + e];
                check(fabs(row[e] - (w + minimum)) <= 2 * UNIT * (fabs(w) + fabs(minimum)), k, d,
                      "row of type %u\n", layouts[i].type);
            }
        }
        free(row), free(packed);
        problem_release(&p);
    }
}

/* A panel takes little more than its rows do in the file. */
static void packs_tightly(const sl_kernels *k, dice *d)
{
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        if (!is_quantized(&layouts[i])) continue;
        problem p = problem_make(d, k, layouts[i].type, 32, 256, 1);
        size_t file = p.w.n_out * p.w.row_bytes, packed = sl_packed_bytes(&p.w);
        check(packed >= file && packed * 100 <= file * 105, k, d,
              "type %u takes %zu bytes of %zu\n", layouts[i].type, packed, file);
        problem_release(&p);
    }
}

static void any_shape(void **unused) { (void)unused, for_all_sets(solves, 25); }
static void long_rows(void **unused) { (void)unused, for_all_sets(solves_long_rows, 1); }
static void many_rows(void **unused) { (void)unused, for_all_sets(solves_many_rows, 1); }
static void rows_alike(void **unused) { (void)unused, for_all_sets(solves_rows_alike, 1); }
static void largest_sums(void **unused) { (void)unused, for_all_sets(keeps_the_largest_sums, 2); }
static void apart(void **unused) { (void)unused, for_all_sets(keeps_rows_apart, 8); }
static void tight(void **unused) { (void)unused, for_all_sets(packs_tightly, 1); }
static void rows(void **unused) { (void)unused, for_all_sets(reads_rows, 5); }

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_shape),    cmocka_unit_test(long_rows),
                                       cmocka_unit_test(many_rows),    cmocka_unit_test(rows_alike),
                                       cmocka_unit_test(largest_sums), cmocka_unit_test(apart),
                                       cmocka_unit_test(rows),         cmocka_unit_test(tight)};
    return cmocka_run_group_tests(tests, check_layouts, NULL);
}
