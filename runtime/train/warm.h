/* runtime/train/warm.h - the front door of runtime/train: the gates of all layers fitted to their
 * teacher's targets: the linear part by ridge regression as pieces stream by, then everything by
 * AdamW, each layer for itself. Knows no texts, ranks or files: what ranks add up (sums, gradients)
 * and what a checkpoint holds (state) are plain arrays. */
#ifndef SL_WARM_H
#define SL_WARM_H

#include "runtime/gate/gate_params.h"

typedef struct {
    const sl_gate *gate; /* shapes, and the weights to start from; outlives the warm start */
    uint32_t tokens_max; /* of a piece */
    uint32_t slice;      /* tokens of one gradient */
    int threads;
} sl_warm_options;

typedef struct sl_warm sl_warm;

/* Memory from the arena; a counting arena measures. Gates start as in the file. */
void sl_warm_init(const sl_warm_options *options, sl_arena *arena, sl_warm **warm_out);

/* What forward passes gave of one piece. */
typedef struct {
    uint32_t n_tokens;
    uint32_t first, end; /* tokens with targets */
    const float *x;      /* [n_layers][n_tokens][width] normed inputs */
    const float *target; /* [n_layers][n_kv_heads][n_tokens] */
} sl_warm_piece;

/* ---- ridge ---- */

void sl_warm_ridge_add(sl_warm *warm, const sl_warm_piece *piece);
/* [n] all layers' sums, to be added up over ranks. */
double *sl_warm_ridge_sums(sl_warm *warm, size_t *n_out);
/* Set the linear part of every gate to the solution: MHA' adds nothing then, and of a hidden layer
 * two units a KV head carry the solution. SL_ERR_FORMAT, logged with the layer: the sums are not
 * finite, or of nothing; SL_ERR_OPTION: a hidden layer too narrow; SL_ERR_MEMORY. */
sl_status sl_warm_ridge_solve(sl_warm *warm, double ridge);

/* ---- AdamW ---- */

/* The loss of one logit z for its target y, d = y - z - level: e^d - d - 1, which is the
 * Itakura-Saito divergence of e^y from e^(z + level). Where the squared error would make z the mean
 * of y, this makes it the logarithm of the mean of e^y: what is asked on average, to which rare
 * large demands belong. Beyond d = 3 it goes on as a straight line, so that no single token rules.
 * The level is log(mean(e^d)) of all layers' logits in a slice together, d cut at 3 above its mean.
 * Nothing is learnt from what is asked of all heads at once, which depends on the text and on how
 * far in a token stands: shares are held along every sequence, so only who is asked more than
 * others matters. *slope_out: the derivative by z. */
double sl_warm_loss(double d, double *slope_out);

/* Slices of a piece. */
uint32_t sl_warm_slices(const sl_warm *warm, const sl_warm_piece *piece);
/* Gradients of the mean loss over slice `slice`, its level being given; heads seeing `ahead` tokens
 * at most. */
void sl_warm_gradient(sl_warm *warm, const sl_warm_piece *piece, uint32_t slice, uint32_t ahead);
/* [n] all layers' gradients, to be averaged over ranks before the step; and the numbers they are
 * of. */
float *sl_warm_gradients(sl_warm *warm, size_t *n_out);
float *sl_warm_params(sl_warm *warm, size_t *n_out);
/* One step of all layers. */
void sl_warm_step(sl_warm *warm, float rate);

/* ---- how good it is ---- */

/* Sums over targets y and errors e = y - z - level of one layer. R^2 is of z + level, up to a
 * constant since thresholds are found afterwards: 1 - (ee - e^2 / n) / (yy - y^2 / n). */
typedef struct {
    double n, y, yy, e, ee, loss;
} sl_warm_fit;
double sl_warm_fit_r2(const sl_warm_fit *fit);

/* [n_layers], since the last reset; gradients add to it before they change anything, so on pieces
 * never seen it tells of unseen text. To be added up over ranks. */
sl_warm_fit *sl_warm_fits(sl_warm *warm);
void sl_warm_fits_reset(sl_warm *warm);
/* Add a piece to the fits, and nothing else. */
void sl_warm_measure(sl_warm *warm, const sl_warm_piece *piece, uint32_t ahead);

/* ---- its state ---- */

/* Everything that lasts from one step to the next. */
void *sl_warm_state(sl_warm *warm, size_t *bytes_out);
/* Layer `layer` as a gate file has it, in memory from the arena. */
void sl_warm_encode(const sl_warm *warm, uint32_t layer, uint32_t type, sl_arena *arena,
                    sl_gate_layer *layer_out);

#endif
