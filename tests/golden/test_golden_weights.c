/* test_golden_weights.c - rows of quantized weights as f32, bit for bit what the gguf package makes
 * of the same bytes (weights/make.py), in rows and packed. */
#include "runtime/kernels/matmul/pack.h"
#include "tests/golden/golden.h"

enum { BYTES_MAX = 1 << 10, WEIGHTS_MAX = 1 << 9 };

typedef struct {
    uint32_t type, n_bytes, n_weights;
} heading;

static bool is_quantized(uint32_t type)
{
    size_t weights, bytes;
    return sl_type_block(type, &weights, &bytes) && weights > 1;
}

static void check_row(const sl_matrix *w, const float *expected, const char *form)
{
    float row[WEIGHTS_MAX];
    sl_matrix_row(w, 0, row);
    for (size_t i = 0; i < w->n_in; i++)
        REQUIRE(memcmp(&row[i], &expected[i], sizeof *row) == 0,
                "%s, %s: weight %zu is %.9g, not %.9g", sl_type_name(w->type), form, i,
                (double)row[i], (double)expected[i]);
}

static void check_type(const heading *h, const uint8_t *bytes, const float *expected)
{
    sl_matrix w = {bytes, h->type, 1, h->n_weights, h->n_bytes, false}, packed = w;
    static uint8_t panel[BYTES_MAX * SL_PANEL * 2];
    REQUIRE(is_quantized(h->type), "type %u is not known", h->type);
    REQUIRE(sl_packed_bytes(&w) <= sizeof panel, "a panel of %zu bytes", sl_packed_bytes(&w));
    check_row(&w, expected, "as in the file");
    sl_pack(&w, 0, 1, panel);
    packed.data = panel;
    packed.packed = true;
    check_row(&packed, expected, "packed");
}

int main(int argc, char **argv)
{
    char path[4096];
    bool seen[SL_TYPES] = {false};
    heading h;
    static uint8_t bytes[BYTES_MAX];
    static float weights[WEIGHTS_MAX];
    REQUIRE(argc == 2, "usage: test_golden_weights FOLDER");
    snprintf(path, sizeof path, "%s/weights.bin", argv[1]);
    FILE *in = fopen(path, "rb");
    REQUIRE(in, "cannot open %s", path);
    while (fread(&h, sizeof h, 1, in) == 1) {
        REQUIRE(h.n_bytes <= sizeof bytes && h.n_weights <= WEIGHTS_MAX, "type %u is long", h.type);
        REQUIRE(fread(bytes, h.n_bytes, 1, in) == 1 &&
                    fread(weights, h.n_weights * sizeof *weights, 1, in) == 1,
                "type %u is cut off", h.type);
        check_type(&h, bytes, weights);
        seen[h.type] = true;
    }
    fclose(in);
    for (uint32_t type = 0; type < SL_TYPES; type++)
        REQUIRE(seen[type] == is_quantized(type), "%s has no golden", sl_type_name(type));
    return 0;
}
