/* runtime/train/model_pass.c - see model_pass.h. */
#include "runtime/train/model_pass.h"

#include "runtime/base/log.h"
#include "runtime/train/row_pass.h"

struct sl_model_pass {
    sl_layer_pass_options options;
    sl_layer_pass *layer;
    uint32_t n; /* tokens of the text */
    uint32_t n_layers;
    float *x;        /* [n_layers + 1][tokens_max][width] before each layer, and behind the last */
    float *log_keep; /* [n_layers][n_kv_heads][tokens_max] as gates decided */
    float *d_log_keep; /* [n_kv_heads][tokens_max] */
};

void sl_model_pass_init(const sl_layer_pass_options *options, sl_arena *arena,
                        sl_model_pass **pass_out)
{
    const sl_model_shape *s = options->shape;
    const size_t n = options->tokens_max,
                 n_layers = options->weights->layer_end - options->weights->layer_begin;
    sl_model_pass *p = sl_arena_array(arena, sl_model_pass, 1);
    sl_model_pass made = {
        .options = *options,
        .n_layers = (uint32_t)n_layers,
        .x = sl_arena_array(arena, float, (n_layers + 1) * n * s->width),
        .log_keep = sl_arena_array(arena, float, n_layers * s->n_kv_heads * n),
        .d_log_keep = sl_arena_array(arena, float, s->n_kv_heads *n),
    };
    sl_layer_pass_init(options, arena, &made.layer);
    if (p) *p = made;
    *pass_out = p;
}

/* Before layer `layer`. */
static float *x_of(const sl_model_pass *p, uint32_t layer)
{
    return p->x + (size_t)layer * p->options.tokens_max * p->options.shape->width;
}

/* NULL: it keeps all. */
static float *log_keep_of(const sl_model_pass *p, uint32_t layer, const sl_model_pass_gates *gates)
{
    const sl_layer_pass_options *o = &p->options;
    if (!gates->decide || sl_sliding_window(o->shape, o->weights->layer_begin + layer) > 0)
        return NULL;
    return p->log_keep + (size_t)layer * o->shape->n_kv_heads * o->tokens_max;
}

float *sl_model_pass_input(sl_model_pass *pass) { return x_of(pass, 0); }

void sl_model_pass_embed(sl_model_pass *pass, const int32_t *ids, uint32_t n_tokens)
{
    const sl_model_shape *s = pass->options.shape;
    SL_ASSERT(n_tokens <= pass->options.tokens_max);
    for (uint32_t t = 0; t < n_tokens; t++) {
        float *row = x_of(pass, 0) + (size_t)t * s->width;
        sl_matrix_row(&pass->options.weights->embedding, (size_t)ids[t], row);
        for (uint32_t i = 0; i < s->width; i++) row[i] *= s->embedding_scale;
    }
}

const float *sl_model_pass_forward(sl_model_pass *pass, uint32_t n_tokens,
                                   const sl_model_pass_gates *gates)
{
    pass->n = n_tokens;
    sl_layer_pass_begin(pass->layer, n_tokens);
    for (uint32_t layer = 0; layer < pass->n_layers; layer++) {
        const float *x = x_of(pass, layer);
        float *log_keep = log_keep_of(pass, layer, gates);
        if (log_keep)
            gates->decide(gates->context, layer, sl_layer_pass_norm(pass->layer, layer, x),
                          n_tokens, log_keep);
        sl_layer_pass_forward(pass->layer, layer, x, log_keep, x_of(pass, layer + 1));
    }
    return x_of(pass, pass->n_layers);
}

void sl_model_pass_norm(const sl_model_pass *pass, const float *x, float *normed_out)
{
    const sl_model_shape *s = pass->options.shape;
    pass->options.kernels->rmsnorm(x, pass->options.weights->output_norm, pass->n, s->width,
                                   s->rms_eps, normed_out);
}

void sl_model_pass_norm_backward(const sl_model_pass *pass, const float *x, float *d_x)
{
    const sl_model_shape *s = pass->options.shape;
    for (size_t t = 0; t < pass->n; t++)
        sl_norm_backward(x + t * s->width, pass->options.weights->output_norm, s->width, s->rms_eps,
                         0, d_x + t * s->width, d_x + t * s->width);
}

void sl_model_pass_backward(sl_model_pass *pass, const sl_model_pass_gates *gates, float *d_x)
{
    for (uint32_t layer = pass->n_layers; layer-- > 0;) {
        const float *x = x_of(pass, layer), *log_keep = log_keep_of(pass, layer, gates);
        sl_layer_pass_backward(pass->layer, layer, x, log_keep, d_x, pass->d_log_keep);
        if (log_keep && gates->learn)
            gates->learn(gates->context, layer, sl_layer_pass_norm(pass->layer, layer, x), pass->n,
                         pass->d_log_keep);
    }
}
