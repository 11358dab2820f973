/* runtime/model/tensor_loader.h - one tensor after the other from the file into memory: read,
 * hashed, and packed by the team. Knows tensors, not what a model does with them. */
#ifndef SL_TENSOR_LOADER_H
#define SL_TENSOR_LOADER_H

#include "runtime/base/status.h"
#include "runtime/base/team.h"
#include "runtime/gguf/gguf.h"
#include "runtime/kernels/kernels.h"

typedef struct sl_tensor_loader sl_tensor_loader;

/* Both outlive it. SL_ERR_MEMORY, logged. */
sl_status sl_tensor_loader_open(const sl_gguf *gguf, sl_team *team, sl_tensor_loader **loader_out);
void sl_tensor_loader_close(sl_tensor_loader *loader); /* NULL is fine */

/* The whole tensor to `out`, and the hash of its bytes in the file, of the seed that sl_sum_seed
 * (sums.h) gives its name. SL_ERR_FILE, SL_ERR_MEMORY, logged. */

/* As it is in the file. out: [data_bytes]. */
sl_status sl_load_plain(sl_tensor_loader *loader, const sl_gguf_tensor *tensor, uint8_t *out,
                        uint64_t *hash_out);
/* A vector, which a file may have in 16 bits, in f32. out: [dims[0]]. */
sl_status sl_load_vector(sl_tensor_loader *loader, const sl_gguf_tensor *tensor, float *out,
                         uint64_t *hash_out);
/* As kernels want it (kernels/matmul/pack.h). matrix: its shape and type, not packed; out:
 * [sl_packed_bytes]. */
sl_status sl_load_packed(sl_tensor_loader *loader, const sl_gguf_tensor *tensor,
                         const sl_matrix *matrix, uint8_t *out, uint64_t *hash_out);
/* What a vector's bytes in the file say. out: [dims[0]]. */
void sl_widen_vector(const sl_gguf_tensor *tensor, const void *bytes, float *out);

#endif
