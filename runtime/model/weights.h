/* runtime/model/weights.h - the front door of runtime/model: the weights of a model, out of its
 * GGUF file, as its architecture has them. The room knows no frames and computes nothing. Every
 * tensor of the file is checked on every rank, by header alone; a rank then reads the bytes of its
 * own layers only, into memory of its own: once loaded, nothing depends on the file any more. */
#ifndef SL_WEIGHTS_H
#define SL_WEIGHTS_H

#include "runtime/base/arena.h"
#include "runtime/base/team.h"
#include "runtime/gguf/gguf.h"
#include "runtime/kernels/kernels.h"
#include "runtime/model/layer_weights.h"
#include "runtime/model/shape.h"
#include "runtime/model/sums.h"

typedef struct {
    sl_model_shape shape;
    uint32_t layer_begin, layer_end; /* this stage's layers of the model's n_layers */
    sl_layer_weights *layers;        /* [layer_end - layer_begin] */
    const float *rope_freqs;         /* [rope.dim / 2] divisors for all layers with rope; or NULL */
    sl_matrix embedding;             /* [vocab][width]; first stage, else data NULL */
    const float *output_norm;        /* [width]; last stage, else NULL */
    sl_matrix head;                  /* [vocab][width]; last stage, else data NULL */
} sl_weights;

/* Read the shape and check every tensor against it: all there that the architecture needs, of the
 * right shape, a type we have kernels for, none that it does not know. SL_ERR_FORMAT,
 * SL_ERR_UNSUPPORTED: logged, naming tensor or key, what it is and what was expected. */
sl_status sl_model_shape_read(const sl_gguf *gguf, sl_model_shape *shape_out);

/* Bytes of the tensors of one layer, of the embedding, and of what only the last stage has. */
uint64_t sl_weights_layer_bytes(const sl_gguf *gguf, uint32_t layer);
uint64_t sl_weights_embedding_bytes(const sl_gguf *gguf);
uint64_t sl_weights_head_bytes(const sl_gguf *gguf, const sl_model_shape *shape);

/* Give layers [layer_begin, layer_end) of a file that sl_model_shape_read accepted, and what the
 * first and last stage have beside them, their places in the arena. A counting arena binds nothing:
 * what is there on such a stage is then not NULL, but nowhere. */
void sl_weights_bind(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t layer_begin,
                     uint32_t layer_end, sl_arena *arena, sl_weights *weights_out);
/* Bytes of these places. */
uint64_t sl_weights_held_bytes(const sl_gguf *gguf, const sl_model_shape *shape,
                               uint32_t layer_begin, uint32_t layer_end);

/* Read them there, once, after binding: matrices of types that kernels want packed (matmul/pack.h)
 * are packed by the team, all else stays as in the file. The embedding of a stage without the head
 * is not packed: a token reads one row of it. What the very bytes hash to goes into `sums`, made
 * for this model. SL_ERR_FILE, SL_ERR_FORMAT, SL_ERR_MEMORY: logged. */
sl_status sl_weights_load(const sl_gguf *gguf, sl_weights *weights, sl_team *team, sl_sums *sums);

/* This stage's share of the model's hash. Shares of all stages add up to the same sum, which is
 * sl_sums_model, however layers are split; the file's header and rope_freqs are in the first
 * stage's. */
uint64_t sl_weights_hash_share(const sl_weights *weights, const sl_sums *sums);

/* Bytes of the file that a stage of layers [layer_begin, layer_end) uses (a tied embedding counts
 * once on a stage that is first and last). */
uint64_t sl_weights_bytes(const sl_gguf *gguf, const sl_model_shape *shape, uint32_t layer_begin,
                          uint32_t layer_end);

#endif
