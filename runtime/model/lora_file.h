/* runtime/model/lora_file.h - a LoRA adapter (Hu et al. 2021, arXiv:2106.09685): matrices A and B
 * of a low rank for linear maps of a model's layers, W x + scale (alpha / rank) B (A x). A GGUF
 * file as llama.cpp has it (its convert_lora_to_gguf.py makes one of a PEFT folder):
 *     general.type          "adapter"
 *     general.architecture  the model's
 *     adapter.type          "lora"
 *     adapter.lora.alpha    f32; 0, or none: alpha / rank is 1
 *     blk.N.MAP.weight.lora_a  [rank][n_in], MAP as in the model's own tensors, attn_q or ffn_down,
 *     blk.N.MAP.weight.lora_b  [n_out][rank], whose rows are permuted as the model's are
 * of f32, f16, bf16 or q8_0. A file is checked whole by its header; tensors are read by lora.h. */
#ifndef SL_LORA_FILE_H
#define SL_LORA_FILE_H

#include "runtime/gguf/gguf.h"
#include "runtime/kernels/matmul/linear.h"
#include "runtime/model/layer_weights.h"

typedef struct sl_lora_file sl_lora_file;

/* Both of a map, or neither: NULL. Lent by the file. */
typedef struct {
    const sl_gguf_tensor *a, *b;
} sl_lora_pair;

/* Open an adapter for a model, whose GGUF sl_model_shape_read has accepted. On SL_OK the caller
 * ends *file_out with sl_lora_file_close. SL_ERR_FILE: it cannot be read. SL_ERR_FORMAT: it is no
 * such file, is of another model, or makes no sense. SL_ERR_UNSUPPORTED: it changes what the
 * runtime cannot. SL_ERR_MEMORY. Logged, naming key or tensor. */
sl_status sl_lora_file_open(const char *path, const sl_gguf *model, const sl_model_shape *shape,
                            sl_lora_file **file_out);
/* The same over a GGUF that the caller keeps (tests, fuzzing). */
sl_status sl_lora_file_read(const sl_gguf *gguf, const sl_gguf *model, const sl_model_shape *shape,
                            sl_lora_file **file_out);
void sl_lora_file_close(sl_lora_file *file); /* NULL is fine */

const sl_gguf *sl_lora_file_gguf(const sl_lora_file *file); /* lent */
uint32_t sl_lora_file_layers(const sl_lora_file *file);     /* of its model */
float sl_lora_file_alpha(const sl_lora_file *file);
/* XXH3 of the whole file: what a result depends on. */
uint64_t sl_lora_file_hash(const sl_lora_file *file);
/* Of a layer of the model. */
sl_lora_pair sl_lora_file_pair(const sl_lora_file *file, uint32_t layer, sl_layer_map map);
/* The rank of a pair that is there. */
uint32_t sl_lora_pair_rank(sl_lora_pair pair);
/* What B A of a pair that is there is multiplied by: scale (alpha / rank), as llama.cpp rounds it;
 * infinite where it fits no float. */
float sl_lora_file_factor(const sl_lora_file *file, sl_lora_pair pair, float scale);

/* A pair to write. Matrices are f32, f16, bf16 or q8_0, not packed. */
typedef struct {
    uint32_t layer;
    sl_layer_map map;
    sl_low_rank pair;
} sl_lora_update;
/* Write an adapter of n pairs. The file appears whole or not at all. SL_ERR_FILE, SL_ERR_MEMORY,
 * logged. */
sl_status sl_lora_file_write(const char *path, const char *architecture, float alpha,
                             const sl_lora_update *updates, size_t n);

#endif
