/* runtime/gguf/tensor_type.c - see tensor_type.h. */
#include "runtime/gguf/tensor_type.h"

#include <string.h>

#include "runtime/base/append.h"

typedef struct {
    uint32_t type; /* ggml's number */
    const char *name;
    uint32_t weights, bytes; /* of a block; 0: the runtime does not compute with this type */
    unsigned uses;           /* sl_type_use */
} tensor_type;

/* Messages list the types of a use in this order. */
static const tensor_type TYPES[] = {
    {SL_TYPE_F32, "f32", 1, 4, SL_TYPE_OF_MATRICES | SL_TYPE_OF_VECTORS},
    {SL_TYPE_F16, "f16", 1, 2, SL_TYPE_OF_MATRICES | SL_TYPE_OF_VECTORS},
    {SL_TYPE_BF16, "bf16", 1, 2, SL_TYPE_OF_MATRICES | SL_TYPE_OF_VECTORS},
    {SL_TYPE_Q8_0, "q8_0", 32, 34, SL_TYPE_OF_MATRICES},
    {SL_TYPE_Q5_1, "q5_1", 32, 24, SL_TYPE_OF_MATRICES},
    {SL_TYPE_Q5_0, "q5_0", 32, 22, SL_TYPE_OF_MATRICES},
    {SL_TYPE_Q4_1, "q4_1", 32, 20, SL_TYPE_OF_MATRICES},
    {SL_TYPE_Q4_0, "q4_0", 32, 18, SL_TYPE_OF_MATRICES},
    {SL_TYPE_Q6_K, "q6_k", 256, 210, SL_TYPE_OF_MATRICES},
    {SL_TYPE_Q5_K, "q5_k", 256, 176, SL_TYPE_OF_MATRICES},
    {SL_TYPE_Q4_K, "q4_k", 256, 144, SL_TYPE_OF_MATRICES},
    {SL_TYPE_Q3_K, "q3_k", 256, 110, SL_TYPE_OF_MATRICES},
    {SL_TYPE_Q2_K, "q2_k", 256, 84, SL_TYPE_OF_MATRICES},
    {SL_TYPE_IQ4_XS, "iq4_xs", 256, 136, SL_TYPE_OF_MATRICES},
    {SL_TYPE_IQ4_NL, "iq4_nl", 32, 18, SL_TYPE_OF_MATRICES},
    {SL_TYPE_MXFP4, "mxfp4", 32, 17, SL_TYPE_OF_MATRICES},
    /* Only names from here on, so that a file which cannot run is still described. */
    {4, "q4_2", 0, 0, 0},
    {5, "q4_3", 0, 0, 0},
    {9, "q8_1", 0, 0, 0},
    {15, "q8_k", 0, 0, 0},
    {16, "iq2_xxs", 0, 0, 0},
    {17, "iq2_xs", 0, 0, 0},
    {18, "iq3_xxs", 0, 0, 0},
    {19, "iq1_s", 0, 0, 0},
    {21, "iq3_s", 0, 0, 0},
    {22, "iq2_s", 0, 0, 0},
    {24, "i8", 0, 0, 0},
    {25, "i16", 0, 0, 0},
    {26, "i32", 0, 0, 0},
    {27, "i64", 0, 0, 0},
    {28, "f64", 0, 0, 0},
    {29, "iq1_m", 0, 0, 0},
    {34, "tq1_0", 0, 0, 0},
    {35, "tq2_0", 0, 0, 0},
    {40, "nvfp4", 0, 0, 0},
};
enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

static const tensor_type *find(uint32_t type)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (TYPES[i].type == type) return &TYPES[i];
    return NULL;
}

const char *sl_type_name(uint32_t type)
{
    const tensor_type *found = find(type);
    return found ? found->name : "an unknown type";
}

bool sl_type_named(const char *name, uint32_t *type_out)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        if (TYPES[i].bytes == 0 || strcmp(TYPES[i].name, name) != 0) continue;
        *type_out = TYPES[i].type;
        return true;
    }
    return false;
}

bool sl_type_block(uint32_t type, size_t *weights_out, size_t *bytes_out)
{
    const tensor_type *found = find(type);
    if (!found || found->bytes == 0) return false;
    *weights_out = found->weights;
    *bytes_out = found->bytes;
    return true;
}

bool sl_type_has_use(uint32_t type, sl_type_use use)
{
    const tensor_type *found = find(type);
    return found && (found->uses & use) != 0;
}

void sl_type_names(sl_type_use use, char *out, size_t out_bytes)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < N_TYPES; i++)
        if (TYPES[i].uses & use)
            sl_append(out, out_bytes, &n, "%s%s", n > 0 ? ", " : "", TYPES[i].name);
}
