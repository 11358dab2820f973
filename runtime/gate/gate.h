/* runtime/gate/gate.h - what Attention-Gates are, as plain structs: the shape and weights of each
 * layer's gate, the calibration table, the model they are for. gate_file.h reads and writes them.
 *
 * With x the layer's input after its attention norm, one gate computes (Zeng et al. 2024,
 * arXiv:2410.12876, in a reduced form)
 *     a_t = concat over heads h of softmax_j(q_h(x_t) k_h(x_j) / sqrt(width)) v_h(x_j),
 *     z_t = x(x_t) + x_bias + a(a_t),
 *     logit_t = z_t, or out(max(z_t, 0)) + out_bias with a hidden layer,
 * with j over the tokens that the span lets t see. A token is kept in KV head i when logit_t[i] >=
 * threshold, which is sigmoid(logit) >= sigmoid(threshold). */
#ifndef SL_GATE_H
#define SL_GATE_H

#include "runtime/gguf/gguf.h"
#include "runtime/kernels/kernels.h"

enum {
    SL_GATE_VERSION = 1,
    SL_GATE_LAYERS_MAX = 1024,
    SL_GATE_HEADS_MAX = 64,
    SL_GATE_WIDTH_MAX = 256,
    SL_GATE_HIDDEN_MAX = 1024
};

typedef enum {
    SL_GATE_ABSENT, /* the layer has no gate: it keeps every token, or has a sliding window */
    SL_GATE_PROMPT, /* the whole prompt, both directions; generated tokens are kept */
    SL_GATE_CAUSAL, /* the token and all before it */
    SL_GATE_WINDOW, /* `back` tokens before it, itself, `ahead` after it */
} sl_gate_span;

/* Whether each gate head has keys and values of its own or all share one. */
typedef enum { SL_GATE_SHARED_KV, SL_GATE_OWN_KV } sl_gate_kv;

typedef struct {
    sl_gate_span span;
    uint32_t back, ahead; /* of a window, else 0 */
    uint32_t heads;       /* of MHA'; 0: none, the gate is linear in x (or has a hidden layer) */
    uint32_t width;       /* of a gate head: a multiple of 16, at most 256; 0 without heads */
    sl_gate_kv kv;
    uint32_t hidden; /* units; 0: no hidden layer */
} sl_gate_shape;

/* One layer's weights, lent by the file. Unused ones have data NULL, or are NULL. */
typedef struct {
    sl_gate_shape shape;
    sl_matrix q;    /* [heads * width][model width] */
    sl_matrix k, v; /* [(1 or heads) * width][model width] */
    sl_matrix x;    /* [hidden, or kv_heads][model width] */
    sl_matrix a;    /* [the same][heads * width], f32 or f16 */
    sl_matrix out;  /* [kv_heads][hidden], f32 or f16 */
    const float *x_bias, *out_bias;
} sl_gate_layer;

/* A row of the calibration table: at this threshold and window, so much of what is eligible was
 * kept on held-out text. */
typedef struct {
    float keep, threshold;
    uint32_t window;
    const float *retention; /* [n_layers][n_kv_heads] measured, or NULL */
    float steer;            /* as in sl_policy, each head's share being its retention; 0: fixed */
} sl_gate_calibration;

typedef struct {
    uint32_t n_layers, n_kv_heads, model_width; /* of the model it is for */
    uint64_t model_hash;                        /* of that model's tensors: GATE_FILE.md */
    char model_name[128];
    uint64_t adapter_hash;  /* of the LoRA adapter that is on it (lora_file.h); 0: none */
    uint32_t sinks, window; /* defaults where the command line does not say */
    float threshold;        /* a logit; 0 is p = 0.5 */
    float keep;             /* expected retention at that threshold, 0 .. 1 */
    sl_gate_layer *layers;  /* [n_layers] */
    sl_gate_calibration *calibration;
    uint32_t n_calibration;
} sl_gate;

/* Whether any layer's gate reads prompts as one piece, and so decides about nothing behind them. */
bool sl_gate_has_prompt_span(const sl_gate *gate);
/* Keys and values that MHA' of this shape has: 0, 1 or heads. */
uint32_t sl_gate_kv_heads(const sl_gate_shape *shape);
/* Rows of `x` and `a`. */
uint32_t sl_gate_inner(const sl_gate_shape *shape, uint32_t n_kv_heads);
/* How a file spells them, by sl_gate_span and sl_gate_kv. */
extern const char *const SL_GATE_SPANS[4], *const SL_GATE_KVS[2];

/* As the file spells them; static storage. */
const char *sl_gate_span_name(sl_gate_span span);
const char *sl_gate_kv_name(sl_gate_kv kv);

#endif
