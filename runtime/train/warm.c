/* runtime/train/warm.c - see warm.h. Layers are fitted side by side, each by one thread, so what
 * they become does not depend on the number of threads. */
#include "runtime/train/warm.h"

#include <math.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/train/gate_numbers.h"
#include "runtime/train/gate_pass.h"
#include "runtime/train/ridge.h"

static const double LOSS_BEND = 3;

/* One layer's gate. */
typedef struct {
    const sl_gate_params *layout;
    float *params, *gradient; /* its own among those of all layers */
    sl_ridge ridge;
    sl_gate_pass pass;
    float *logits, *d_logits; /* [slice][n_kv_heads] */
    double apart;             /* of the slice: targets less logits, summed */
} warm_layer;

struct sl_warm {
    sl_warm_options options;
    warm_layer *layers;
    sl_gate_numbers numbers; /* others: what ridges summed */
    size_t n_sums;
    sl_warm_fit *fits; /* [n_layers] */
};

/* ---- memory ---- */

static void init_layer(sl_warm *w, const sl_gate_params *layout, sl_arena *arena, warm_layer *layer)
{
    const sl_gate *gate = w->options.gate;
    uint32_t n_kv_heads = gate->n_kv_heads, slice = w->options.slice;
    *layer = (warm_layer){.layout = layout};
    if (layout->n == 0) return;
    sl_ridge_init(gate->model_width, n_kv_heads, arena, &layer->ridge);
    sl_gate_pass_init(layout, n_kv_heads, gate->model_width, slice,
                      sl_gate_pass_reach(&layout->shape), arena, &layer->pass);
    layer->logits = sl_arena_array(arena, float, (size_t)slice *n_kv_heads);
    layer->d_logits = sl_arena_array(arena, float, (size_t)slice *n_kv_heads);
    w->n_sums += layer->ridge.n_sums;
}

/* Where the state of all layers has what is one layer's. */
static void share_state(sl_warm *w)
{
    double *sums = w->numbers.others;
    for (uint32_t i = 0; i < w->options.gate->n_layers; i++) {
        warm_layer *layer = &w->layers[i];
        layer->params = w->numbers.params + w->numbers.at[i];
        layer->gradient = w->numbers.gradients + w->numbers.at[i];
        layer->ridge.sums = sums;
        sums += layer->ridge.n_sums;
    }
}

void sl_warm_init(const sl_warm_options *options, sl_arena *arena, sl_warm **warm_out)
{
    const sl_gate *gate = options->gate;
    sl_warm counted = {0}, *w = sl_arena_array(arena, sl_warm, 1);
    *warm_out = w;
    if (!w) w = &counted;
    *w = (sl_warm){.options = *options};
    w->layers = sl_arena_array(arena, warm_layer, gate->n_layers);
    w->fits = sl_arena_array(arena, sl_warm_fit, gate->n_layers);
    sl_gate_numbers_plan(gate, arena, &w->numbers);
    for (uint32_t i = 0; i < gate->n_layers; i++) {
        warm_layer layer;
        sl_gate_params counted_layout;
        sl_gate_params_plan(gate, &gate->layers[i].shape, &counted_layout);
        init_layer(w, w->layers ? &w->numbers.layouts[i] : &counted_layout, arena, &layer);
        if (w->layers) w->layers[i] = layer;
    }
    sl_gate_numbers_begin(gate, w->n_sums * sizeof(double), arena, &w->numbers);
    if (w->numbers.state) share_state(w);
}

void *sl_warm_state(sl_warm *warm, size_t *bytes_out)
{
    *bytes_out = warm->numbers.state_bytes;
    return warm->numbers.state;
}

double *sl_warm_ridge_sums(sl_warm *warm, size_t *n_out)
{
    *n_out = warm->n_sums;
    return warm->numbers.others;
}

float *sl_warm_gradients(sl_warm *warm, size_t *n_out)
{
    *n_out = warm->numbers.n;
    return warm->numbers.gradients;
}

float *sl_warm_params(sl_warm *warm, size_t *n_out)
{
    *n_out = warm->numbers.n;
    return warm->numbers.params;
}

void sl_warm_encode(const sl_warm *warm, uint32_t layer, uint32_t type, sl_arena *arena,
                    sl_gate_layer *layer_out)
{
    sl_gate_numbers_encode(&warm->numbers, layer, type, arena, layer_out);
}

/* ---- one layer of a piece ---- */

static const float *inputs_of(const sl_warm *w, const sl_warm_piece *p, uint32_t layer)
{
    return p->x + (size_t)layer * p->n_tokens * w->options.gate->model_width;
}

static const float *targets_of(const sl_warm *w, const sl_warm_piece *p, uint32_t layer)
{
    return p->target + (size_t)layer * w->options.gate->n_kv_heads * p->n_tokens;
}

static sl_gate_stretch stretch_of(const sl_warm *w, const sl_warm_piece *p, uint32_t layer,
                                  uint32_t slice, uint32_t ahead)
{
    const sl_gate_shape *shape = &w->layers[layer].layout->shape;
    uint32_t first = p->first + slice * w->options.slice;
    bool heads = shape->heads > 0;
    return (sl_gate_stretch){.x = inputs_of(w, p, layer),
                             .n_tokens = p->n_tokens,
                             .first = first,
                             .n = sl_min_u32(w->options.slice, p->end - first),
                             .back = heads ? shape->back : 0,
                             .ahead = heads ? sl_min_u32(shape->ahead, ahead) : 0};
}

/* ---- ridge ---- */

void sl_warm_ridge_add(sl_warm *warm, const sl_warm_piece *piece)
{
    size_t width = warm->options.gate->model_width;
#pragma omp parallel for schedule(dynamic) num_threads(warm->options.threads)
    for (uint32_t i = 0; i < warm->options.gate->n_layers; i++) {
        warm_layer *layer = &warm->layers[i];
        if (layer->layout->n == 0 || piece->end <= piece->first) continue;
        sl_ridge_add(&layer->ridge, piece->end - piece->first,
                     inputs_of(warm, piece, i) + piece->first * width,
                     targets_of(warm, piece, i) + piece->first, piece->n_tokens);
    }
}

/* A hidden layer that passes on what comes in: relu(z) - relu(-z) = z, in two units a KV head; the
 * other units stay as they are, unheard until they learn. */
static void place_in_hidden(const sl_gate_params *l, size_t n_kv_heads, float *params)
{
    float *x = params + l->x.at, *bias = params + l->x_bias.at;
    size_t width = l->x.n_in;
    float *out = params + l->out.at;
    memset(out, 0, (size_t)l->out.n_out * l->out.n_in * sizeof *out);
    for (size_t head = n_kv_heads;
         head-- > 0;) { /* from the last: solutions lie in the first rows */
        float *plus = x + 2 * head * width, *minus = plus + width;
        memmove(plus, x + head * width, width * sizeof *x);
        for (size_t i = 0; i < width; i++) minus[i] = -plus[i];
        bias[2 * head] = bias[head];
        bias[2 * head + 1] = -bias[2 * head];
        out[head * l->out.n_in + 2 * head] = 1;
        out[head * l->out.n_in + 2 * head + 1] = -1;
    }
    memset(params + l->out_bias.at, 0, n_kv_heads * sizeof *params);
}

static sl_status solve_layer(const sl_warm *w, uint32_t index, double ridge)
{
    const warm_layer *layer = &w->layers[index];
    const sl_gate_params *l = layer->layout;
    size_t n_kv_heads = w->options.gate->n_kv_heads;
    float *params = layer->params;
    if (l->shape.hidden > 0 && l->shape.hidden < 2 * n_kv_heads) {
        sl_error(
            "layer %u: a hidden layer of %u units cannot start from ridge regression, which needs "
            "%zu",
            index, l->shape.hidden, 2 * n_kv_heads);
        return SL_ERR_OPTION;
    }
    sl_status status = sl_ridge_solve(&layer->ridge, ridge, params + l->x.at,
                                      params + l->x_bias.at);
    if (status == SL_ERR_FORMAT)
        sl_error(
            "layer %u: ridge regression has no solution: hidden states that are not finite, or "
            "no tokens with targets",
            index);
    if (status != SL_OK) return status;
    memset(params + l->a.at, 0, (size_t)l->a.n_out * l->a.n_in * sizeof *params);
    if (l->shape.hidden > 0) place_in_hidden(l, n_kv_heads, params);
    return SL_OK;
}

sl_status sl_warm_ridge_solve(sl_warm *warm, double ridge)
{
    sl_status status = SL_OK;
    for (uint32_t i = 0; status == SL_OK && i < warm->options.gate->n_layers; i++)
        if (warm->layers[i].layout->n > 0) status = solve_layer(warm, i, ridge);
    return status;
}

/* ---- AdamW ---- */

uint32_t sl_warm_slices(const sl_warm *warm, const sl_warm_piece *piece)
{
    uint32_t slice = warm->options.slice;
    return piece->end > piece->first ? (piece->end - piece->first + slice - 1) / slice : 0;
}

double sl_warm_loss(double d, double *slope_out)
{
    double power = exp(fmin(d, LOSS_BEND));
    *slope_out = 1 - power;
    return power * (1 + fmax(d - LOSS_BEND, 0)) - d - 1;
}

/* How far a target is above its logit. */
static double apart_at(const warm_layer *layer, const sl_gate_stretch *s, const float *targets,
                       size_t n_kv_heads, size_t head, size_t t)
{
    return (double)targets[head * s->n_tokens + s->first + t] -
           (double)layer->logits[t * n_kv_heads + head];
}

static double sum_apart(const warm_layer *layer, const sl_gate_stretch *s, const float *targets,
                        size_t n_kv_heads)
{
    double sum = 0;
    for (size_t head = 0; head < n_kv_heads; head++)
        for (size_t t = 0; t < s->n; t++) sum += apart_at(layer, s, targets, n_kv_heads, head, t);
    return sum;
}

/* Of e^(d - mean), cut where the loss bends. */
static double sum_powers(const warm_layer *layer, const sl_gate_stretch *s, const float *targets,
                         size_t n_kv_heads, double mean)
{
    double sum = 0;
    for (size_t head = 0; head < n_kv_heads; head++)
        for (size_t t = 0; t < s->n; t++) {
            double d = apart_at(layer, s, targets, n_kv_heads, head, t);
            sum += exp(fmin(d - mean, LOSS_BEND));
        }
    return sum;
}

/* log(mean(e^d)) over all layers, where the derivative of the loss by the level is 0 but for what
 * bends. A layer whose logits are not finite has no part in it: it alone is found to have no
 * loss. */
static double level_of(const sl_warm *w, const sl_warm_piece *piece, uint32_t slice, uint32_t ahead)
{
    size_t n_kv_heads = w->options.gate->n_kv_heads;
    double n = 0, sum = 0, powers = 0;
    for (uint32_t i = 0; i < w->options.gate->n_layers; i++) {
        const warm_layer *layer = &w->layers[i];
        if (layer->layout->n == 0 || !isfinite(layer->apart)) continue;
        sum += layer->apart;
        n += (double)(stretch_of(w, piece, i, slice, ahead).n * n_kv_heads);
    }
    if (n == 0) return 0;
    for (uint32_t i = 0; i < w->options.gate->n_layers; i++) {
        const warm_layer *layer = &w->layers[i];
        if (layer->layout->n == 0 || !isfinite(layer->apart)) continue;
        sl_gate_stretch s = stretch_of(w, piece, i, slice, ahead);
        powers += sum_powers(layer, &s, targets_of(w, piece, i), n_kv_heads, sum / n);
    }
    return sum / n + log(powers / n);
}

/* A layer's errors, added to its fit, and in d_logits the slopes of the loss. */
static void judge(sl_warm *w, uint32_t index, const sl_gate_stretch *s, const float *targets,
                  double level)
{
    warm_layer *layer = &w->layers[index];
    size_t n_kv_heads = w->options.gate->n_kv_heads;
    double share = 1.0 / (double)(s->n * n_kv_heads);
    sl_warm_fit *fit = &w->fits[index];
    for (size_t head = 0; head < n_kv_heads; head++)
        for (size_t t = 0; t < s->n; t++) {
            double y = (double)targets[head * s->n_tokens + s->first + t], slope;
            double error = apart_at(layer, s, targets, n_kv_heads, head, t) - level;
            fit->n += 1;
            fit->y += y;
            fit->yy += y * y;
            fit->e += error;
            fit->ee += error * error;
            fit->loss += sl_warm_loss(error, &slope);
            layer->d_logits[t * n_kv_heads + head] = (float)(share * slope);
        }
}

/* Logits of all layers in a slice, and how far they are from their targets. */
static void slice_forward(sl_warm *w, const sl_warm_piece *piece, uint32_t slice, uint32_t ahead)
{
#pragma omp parallel for schedule(dynamic) num_threads(w->options.threads)
    for (uint32_t i = 0; i < w->options.gate->n_layers; i++) {
        warm_layer *layer = &w->layers[i];
        if (layer->layout->n == 0) continue;
        sl_gate_stretch s = stretch_of(w, piece, i, slice, ahead);
        sl_gate_pass_forward(&layer->pass, layer->params, &s, layer->logits);
        layer->apart = sum_apart(layer, &s, targets_of(w, piece, i), w->options.gate->n_kv_heads);
    }
    double level = level_of(w, piece, slice, ahead);
#pragma omp parallel for schedule(dynamic) num_threads(w->options.threads)
    for (uint32_t i = 0; i < w->options.gate->n_layers; i++) {
        if (w->layers[i].layout->n == 0) continue;
        sl_gate_stretch s = stretch_of(w, piece, i, slice, ahead);
        judge(w, i, &s, targets_of(w, piece, i), level);
    }
}

void sl_warm_gradient(sl_warm *warm, const sl_warm_piece *piece, uint32_t slice, uint32_t ahead)
{
    slice_forward(warm, piece, slice, ahead);
#pragma omp parallel for schedule(dynamic) num_threads(warm->options.threads)
    for (uint32_t i = 0; i < warm->options.gate->n_layers; i++) {
        warm_layer *layer = &warm->layers[i];
        if (layer->layout->n == 0) continue;
        sl_gate_stretch s = stretch_of(warm, piece, i, slice, ahead);
        sl_gate_pass_backward(&layer->pass, layer->params, &s, layer->d_logits, layer->gradient);
    }
}

void sl_warm_step(sl_warm *warm, float rate)
{
    const sl_adamw adamw = {
        .rate = rate, .decay = 0.01F, .beta1 = 0.9F, .beta2 = 0.999F, .least = 1e-8F};
    sl_gate_numbers_count_step(&warm->numbers);
#pragma omp parallel for schedule(dynamic) num_threads(warm->options.threads)
    for (uint32_t i = 0; i < warm->options.gate->n_layers; i++)
        sl_gate_numbers_step(&warm->numbers, warm->numbers.at[i], warm->numbers.layouts[i].n,
                             &adamw);
}

/* ---- how good it is ---- */

double sl_warm_fit_r2(const sl_warm_fit *fit)
{
    return 1 - (fit->ee - fit->e * fit->e / fit->n) / (fit->yy - fit->y * fit->y / fit->n);
}

sl_warm_fit *sl_warm_fits(sl_warm *warm) { return warm->fits; }

void sl_warm_fits_reset(sl_warm *warm)
{
    memset(warm->fits, 0, warm->options.gate->n_layers * sizeof *warm->fits);
}

void sl_warm_measure(sl_warm *warm, const sl_warm_piece *piece, uint32_t ahead)
{
    for (uint32_t slice = 0; slice < sl_warm_slices(warm, piece); slice++)
        slice_forward(warm, piece, slice, ahead);
}
