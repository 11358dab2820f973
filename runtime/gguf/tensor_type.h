/* runtime/gguf/tensor_type.h - the types a tensor may have: one table of their names, their blocks
 * and what the runtime does with them. A new type is a row of it, and one of
 * kernels/matmul/weight_form.h. Knows no file and no arithmetic. */
#ifndef SL_TENSOR_TYPE_H
#define SL_TENSOR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ggml's numbers of the types that the runtime computes with. */
typedef enum {
    SL_TYPE_F32 = 0,
    SL_TYPE_F16 = 1,
    SL_TYPE_Q4_0 = 2,
    SL_TYPE_Q4_1 = 3,
    SL_TYPE_Q5_0 = 6,
    SL_TYPE_Q5_1 = 7,
    SL_TYPE_Q8_0 = 8,
    SL_TYPE_Q2_K = 10,
    SL_TYPE_Q3_K = 11,
    SL_TYPE_Q4_K = 12,
    SL_TYPE_Q5_K = 13,
    SL_TYPE_Q6_K = 14,
    SL_TYPE_IQ4_NL = 20,
    SL_TYPE_IQ4_XS = 23,
    SL_TYPE_BF16 = 30,
    SL_TYPE_MXFP4 = 39,
    SL_TYPES, /* one more than the largest: tables by type have as many rows */
} sl_type;

/* What a model's tensor may be of this type. */
typedef enum {
    SL_TYPE_OF_MATRICES = 1, /* of linear maps, the embedding and the head */
    SL_TYPE_OF_VECTORS = 2,  /* norms, biases, divisors of rope */
} sl_type_use;

/* ggml's name, "q4_1", whether the runtime computes with it or not; static storage. */
const char *sl_type_name(uint32_t type);
/* The type of that name that the runtime computes with; false: there is none. */
bool sl_type_named(const char *name, uint32_t *type_out);
/* Weights and bytes of one block; false for a type that the runtime does not compute with. */
bool sl_type_block(uint32_t type, size_t *weights_out, size_t *bytes_out);
bool sl_type_has_use(uint32_t type, sl_type_use use);
enum { SL_TYPE_NAMES_MAX = 128 }; /* room for all of them */
/* The names of all types of a use, "f32, f16". */
void sl_type_names(sl_type_use use, char *out, size_t out_bytes);

#endif
