/* runtime/gate/gate_file.h - a file of Attention-Gates: which layer has which gate, and for whom it
 * was made. A GGUF file; GATE_FILE.md beside this header describes every key and tensor. */
#ifndef SL_GATE_FILE_H
#define SL_GATE_FILE_H

#include "runtime/gate/gate.h"
#include "runtime/gguf/gguf.h"

typedef struct sl_gate_file sl_gate_file;

/* Read and check a gate file. On SL_OK the caller ends *file_out with sl_gate_file_close.
 * SL_ERR_FILE, SL_ERR_FORMAT, SL_ERR_UNSUPPORTED, SL_ERR_MEMORY: logged, with what is there and
 * what was expected. */
sl_status sl_gate_file_open(const char *path, sl_gate_file **file_out);
/* The same over a GGUF in memory (tests, fuzzing; sl_gguf_load), which outlives the file. */
sl_status sl_gate_file_read(const sl_gguf *gguf, sl_gate_file **file_out);
void sl_gate_file_close(sl_gate_file *file); /* NULL is fine */
const sl_gate *sl_gate_file_gate(const sl_gate_file *file);
/* XXH3 of the whole file: what a result depends on. */
uint64_t sl_gate_file_hash(const sl_gate_file *file);
const sl_gguf *sl_gate_file_gguf(const sl_gate_file *file); /* lent */

/* SL_ERR_OPTION, logged with both sides, when it was made for another model: n_layers, n_kv_heads,
 * width. The hash is compared apart, once the model's is known. */
sl_status sl_gate_fits(const sl_gate *gate, const char *path, uint32_t n_layers,
                       uint32_t n_kv_heads, uint32_t model_width);
sl_status sl_gate_fits_hash(const sl_gate *gate, const char *path, uint64_t model_hash,
                            const char *model_path);

/* Write a gate. Matrices of q, k, v, x are q8_0, f16 or f32; a, out f16 or f32. The file appears
 * whole or not at all. SL_ERR_FILE, logged. */
sl_status sl_gate_file_write(const char *path, const sl_gate *gate);

#endif
