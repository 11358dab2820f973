/* runtime/train/cpt.c - see cpt.h. */
#include "runtime/train/cpt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/train/attention_pass.h"
#include "runtime/train/gate_pass.h"
#include "runtime/train/head_pass.h"
#include "runtime/train/model_pass.h"
#include "runtime/train/tensor_group.h"

enum { SLICE = 256 }; /* tokens that a gate scores together */

/* A step moves a bias as if its numbers were of this size: they start at 0, or far from it. */
static const float BIAS_SIZE = 3;

struct sl_cpt {
    sl_cpt_options options;
    sl_gate_numbers numbers; /* others: their means, then the adapter's numbers, m, v and means */
    sl_lora_pass lora;       /* of rank 0: none */
    sl_tensor_group gate_group, lora_group;
    sl_sized_tensor *gate_tensors; /* [n_layers][SL_GATE_PARTS] */
    sl_sized_tensor *lora_tensors; /* [n_layers][SL_LAYER_MAPS][2] A and B */
    sl_model_pass *model;
    sl_head_pass *head;
    sl_gate_pass *gates;                  /* [n_layers] */
    float *part_gradient;                 /* of one layer */
    float *slice_logits, *slice_d_logits; /* [SLICE][n_kv_heads] */
    float *full_logits, *logits, *ranked; /* [n_layers][n_kv_heads][tokens_max] */
    size_t n_ranked;                      /* smallest first */
    float *full_normed, *normed, *d_x;    /* [tokens_max][width] */
    int32_t *ids, *target;                /* [tokens_max] */
    float *lm, *kl, *minus_log_p, *divergence;
    /* the text at hand */
    uint32_t n, ahead, n_prompt;
    bool reads; /* everything is kept, and scored for thresholds */
    float threshold;
    double n_kept, n_eligible;
    double keep;
    float weight;
};

static uint32_t n_heads(const sl_cpt *c) { return c->options.gate->n_kv_heads; }
static size_t tokens_max(const sl_cpt *c) { return c->options.model.tokens_max; }

/* ---- memory ---- */

static float size_of_part(const sl_gate_params *layout, const sl_gate_part *part,
                          const float *numbers)
{
    const size_t n = (size_t)part->n_out * part->n_in;
    double square = 0;
    for (size_t i = 0; i < n; i++) square += (double)numbers[i] * (double)numbers[i];
    if (part == &layout->x_bias || part == &layout->out_bias) return BIAS_SIZE;
    return square > 0 ? (float)sqrt(square / (double)n) : 1 / sqrtf((float)part->n_in);
}

static void group_gates(sl_cpt *c)
{
    const sl_gate_numbers *g = &c->numbers;
    for (uint32_t layer = 0; layer < g->n_layers; layer++)
        for (size_t p = 0; p < SL_GATE_PARTS; p++) {
            const sl_gate_part *part = &g->layouts[layer].all[p];
            const size_t at = g->at[layer] + part->at;
            c->gate_tensors[(size_t)layer * SL_GATE_PARTS + p] = (sl_sized_tensor){
                .at = at,
                .n = (size_t)part->n_out * part->n_in,
                .size = size_of_part(&g->layouts[layer], part, g->params + at)};
        }
    c->gate_group = (sl_tensor_group){.tensors = c->gate_tensors,
                                      .n_tensors = (size_t)g->n_layers * SL_GATE_PARTS,
                                      .n = g->n,
                                      .params = g->params,
                                      .gradients = g->gradients,
                                      .m = g->m,
                                      .v = g->v,
                                      .means = g->others};
}

/* A's numbers, and B's, which start at 0, are of the size that A is drawn with. */
static void group_lora(sl_cpt *c)
{
    const sl_lora_pass *l = &c->lora;
    const size_t n = sl_lora_pass_n(l);
    float *numbers = c->gate_group.means + c->numbers.n;
    for (size_t i = 0; i < (size_t)l->n_layers * SL_LAYER_MAPS; i++) {
        const sl_lora_place *place = &l->maps[i % SL_LAYER_MAPS];
        const size_t at = i / SL_LAYER_MAPS * l->layer_n, rank = l->shape.rank;
        const float size = place->n_in > 0 ? 1 / sqrtf(3 * (float)place->n_in) : 0;
        c->lora_tensors[2 * i] = (sl_sized_tensor){at + place->a, rank * place->n_in, size};
        c->lora_tensors[2 * i + 1] = (sl_sized_tensor){at + place->b, rank * place->n_out, size};
    }
    c->lora_group = (sl_tensor_group){.tensors = c->lora_tensors,
                                      .n_tensors = (size_t)l->n_layers * SL_LAYER_MAPS * 2,
                                      .n = n,
                                      .params = numbers,
                                      .gradients = l->gradients,
                                      .m = numbers + n,
                                      .v = numbers + 2 * n,
                                      .means = numbers + 3 * n};
    c->lora.params = numbers;
}

static void begin_lora(sl_cpt *c)
{
    const sl_tensor_group *g = &c->lora_group;
    sl_lora_pass_draw(&c->lora, c->options.lora_seed, g->params);
    memcpy(g->means, g->params, g->n * sizeof *g->means);
    memset(g->gradients, 0, g->n * sizeof *g->gradients);
}

static void init_lora(sl_cpt *c, sl_arena *arena)
{
    const sl_layer_pass_options *model = &c->options.model;
    if (c->options.lora.rank == 0) return;
    sl_lora_pass_init(&c->options.lora, model->shape, model->tokens_max, arena, &c->lora);
    c->lora_tensors = sl_arena_array(arena, sl_sized_tensor,
                                     (size_t)c->lora.n_layers * SL_LAYER_MAPS * 2);
    c->options.model.lora = &c->lora;
}

/* Tokens beside itself that a token's heads see at most. */
static uint32_t reach_of(const sl_cpt *c, const sl_gate_shape *shape)
{
    if (shape->span == SL_GATE_WINDOW) return sl_gate_pass_reach(shape);
    return shape->heads > 0 ? 2 * (uint32_t)tokens_max(c) : 0;
}

static void init_gates(sl_cpt *c, sl_arena *arena)
{
    const sl_gate *gate = c->options.gate;
    size_t largest = 0;
    c->gates = sl_arena_array(arena, sl_gate_pass, gate->n_layers);
    for (uint32_t i = 0; i < gate->n_layers; i++) {
        sl_gate_params counted;
        sl_gate_pass pass;
        sl_gate_params_plan(gate, &gate->layers[i].shape, &counted);
        largest = counted.n > largest ? counted.n : largest;
        if (counted.n == 0) continue;
        sl_gate_pass_init(c->gates ? &c->numbers.layouts[i] : &counted, gate->n_kv_heads,
                          gate->model_width, SLICE, reach_of(c, &counted.shape), arena, &pass);
        if (c->gates) c->gates[i] = pass;
    }
    c->part_gradient = sl_arena_array(arena, float, largest);
}

static void init_room(sl_cpt *c, sl_arena *arena)
{
    const size_t n = tokens_max(c), heads = (size_t)c->numbers.n_layers * n_heads(c) * n,
                 wide = n * c->options.gate->model_width;
    c->slice_logits = sl_arena_array(arena, float, (size_t)SLICE *n_heads(c));
    c->slice_d_logits = sl_arena_array(arena, float, (size_t)SLICE *n_heads(c));
    c->full_logits = sl_arena_array(arena, float, heads);
    c->logits = sl_arena_array(arena, float, heads);
    c->ranked = sl_arena_array(arena, float, heads);
    c->full_normed = sl_arena_array(arena, float, wide);
    c->normed = sl_arena_array(arena, float, wide);
    c->d_x = sl_arena_array(arena, float, wide);
    c->ids = sl_arena_array(arena, int32_t, n);
    c->target = sl_arena_array(arena, int32_t, n);
    c->lm = sl_arena_array(arena, float, n);
    c->kl = sl_arena_array(arena, float, n);
    c->minus_log_p = sl_arena_array(arena, float, n);
    c->divergence = sl_arena_array(arena, float, n);
}

void sl_cpt_init(const sl_cpt_options *options, sl_arena *arena, sl_cpt **cpt_out)
{
    const sl_model_shape *shape = options->model.shape;
    const sl_head_pass_options head = {.width = shape->width,
                                       .vocab = shape->vocab,
                                       .rows_max = options->model.tokens_max,
                                       .threads = options->model.threads};
    sl_cpt counted = {0}, *c = sl_arena_array(arena, sl_cpt, 1);
    *cpt_out = c;
    if (!c) c = &counted;
    *c = (sl_cpt){.options = *options};
    sl_gate_numbers_plan(options->gate, arena, &c->numbers);
    c->gate_tensors = sl_arena_array(arena, sl_sized_tensor,
                                     (size_t)options->gate->n_layers * SL_GATE_PARTS);
    init_gates(c, arena);
    init_lora(c, arena);
    init_room(c, arena);
    sl_model_pass_init(&c->options.model, arena, &c->model);
    sl_head_pass_init(&head, arena, &c->head);
    const size_t n_others = c->numbers.n + 4 * sl_lora_pass_n(&c->lora);
    sl_gate_numbers_begin(options->gate, n_others * sizeof(float), arena, &c->numbers);
    if (!c->numbers.state) return;
    memset(c->numbers.gradients, 0, c->numbers.n * sizeof *c->numbers.gradients);
    memcpy(c->numbers.others, c->numbers.params, c->numbers.n * sizeof(float));
    group_gates(c);
    if (c->options.lora.rank == 0) return;
    group_lora(c);
    begin_lora(c);
}

sl_gate_numbers *sl_cpt_numbers(sl_cpt *cpt) { return &cpt->numbers; }

sl_lora_pass *sl_cpt_lora(sl_cpt *cpt) { return cpt->options.lora.rank > 0 ? &cpt->lora : NULL; }

/* ---- what gates say ---- */

static bool has_gate(const sl_cpt *c, uint32_t layer) { return c->numbers.layouts[layer].n > 0; }

static float *of_layer(const sl_cpt *c, float *all, uint32_t layer)
{
    return all + (size_t)layer * n_heads(c) * tokens_max(c);
}

static const sl_gate_shape *shape_of(const sl_cpt *c, uint32_t layer)
{
    return &c->numbers.layouts[layer].shape;
}

/* Tokens that a layer's gate decides about. */
static uint32_t first_eligible(const sl_cpt *c) { return c->options.model.sinks; }
static uint32_t end_eligible(const sl_cpt *c, uint32_t layer)
{
    const uint32_t out_of_window = c->n - c->options.model.window;
    if (shape_of(c, layer)->span != SL_GATE_PROMPT) return out_of_window;
    return sl_min_u32(c->n_prompt, out_of_window);
}

/* Up to SLICE of them, from `first` on, and what they see. */
static sl_gate_stretch stretch_of(const sl_cpt *c, uint32_t layer, const float *normed,
                                  uint32_t first)
{
    const sl_gate_shape *shape = shape_of(c, layer);
    const bool is_prompt = shape->span == SL_GATE_PROMPT;
    sl_gate_stretch s = {.x = normed,
                         .n_tokens = is_prompt ? c->n_prompt : c->n,
                         .first = first,
                         .n = sl_min_u32(SLICE, end_eligible(c, layer) - first)};
    if (shape->heads == 0) return s;
    s.back = shape->span == SL_GATE_WINDOW ? shape->back : s.n_tokens;
    s.ahead = is_prompt ? s.n_tokens : sl_min_u32(shape->ahead, c->ahead);
    return s;
}

/* Logits [n_kv_heads][n] of eligible tokens. */
static void score(sl_cpt *c, uint32_t layer, const float *normed, float *logits)
{
    const float *params = c->numbers.params + c->numbers.at[layer];
    for (uint32_t first = first_eligible(c); first < end_eligible(c, layer); first += SLICE) {
        const sl_gate_stretch s = stretch_of(c, layer, normed, first);
        sl_gate_pass_forward(&c->gates[layer], params, &s, c->slice_logits);
        for (uint32_t t = 0; t < s.n; t++)
            for (uint32_t head = 0; head < n_heads(c); head++)
                logits[(size_t)head * c->n + first + t] = c->slice_logits[t * n_heads(c) + head];
    }
}

/* sigmoid((logit - threshold) / softness), and its derivative by the logit. */
static float share_of(const sl_cpt *c, float logit, float *slope_out)
{
    const float soft = c->options.softness > 0 ? c->options.softness : 1;
    const float share = 1 / (1 + expf(-(logit - c->threshold) / soft));
    *slope_out = share * (1 - share) / soft;
    return share;
}

static float log_keep_of(const sl_cpt *c, float logit)
{
    const float soft = c->options.softness, z = logit - c->threshold;
    if (soft <= 0) return z >= 0 ? 0 : SL_LOG_EVICTED;
    return z / soft < -30 ? z / soft : -logf(1 + expf(-z / soft));
}

static void decide(void *context, uint32_t layer, const float *normed, uint32_t n_tokens,
                   float *log_keep)
{
    sl_cpt *c = context;
    float *logits = of_layer(c, c->reads ? c->full_logits : c->logits, layer);
    memset(log_keep, 0, (size_t)n_heads(c) * n_tokens * sizeof *log_keep);
    if (!has_gate(c, layer)) return;
    score(c, layer, normed, logits);
    for (uint32_t head = 0; !c->reads && head < n_heads(c); head++)
        for (uint32_t t = first_eligible(c); t < end_eligible(c, layer); t++) {
            const float logit = logits[(size_t)head * n_tokens + t];
            log_keep[(size_t)head * n_tokens + t] = log_keep_of(c, logit);
            c->n_kept += logit >= c->threshold;
            c->n_eligible += 1;
        }
}

/* By how much a kept token more changes the eviction loss. */
static float eviction_slope(const sl_cpt *c)
{
    const double above = c->n_kept / c->n_eligible - c->keep;
    const float size = (float)((double)(c->options.eviction_loss * c->weight) / c->n_eligible);
    return above > 0 ? size : -size;
}

static void fill_d_logits(const sl_cpt *c, uint32_t layer, const float *d_log_keep,
                          const sl_gate_stretch *s, float *d_logits)
{
    const float *logits = of_layer(c, c->logits, layer);
    const float eviction = eviction_slope(c);
    for (uint32_t t = 0; t < s->n; t++)
        for (uint32_t head = 0; head < n_heads(c); head++) {
            const size_t at = (size_t)head * c->n + s->first + t;
            float slope, share = share_of(c, logits[at], &slope);
            /* of a soft gate the logarithm's derivative; of a hard one, as if it were soft */
            const float by_logit = c->options.softness > 0 ? (1 - share) / c->options.softness
                                                           : slope;
            d_logits[t * n_heads(c) + head] = d_log_keep[at] * by_logit + eviction * slope;
        }
}

static void learn(void *context, uint32_t layer, const float *normed, uint32_t n_tokens,
                  const float *d_log_keep)
{
    sl_cpt *c = context;
    (void)n_tokens;
    if (!has_gate(c, layer)) return;
    const float *params = c->numbers.params + c->numbers.at[layer];
    float *gradients = c->numbers.gradients + c->numbers.at[layer];
    for (uint32_t first = first_eligible(c); first < end_eligible(c, layer); first += SLICE) {
        const sl_gate_stretch s = stretch_of(c, layer, normed, first);
        fill_d_logits(c, layer, d_log_keep, &s, c->slice_d_logits);
        sl_gate_pass_forward(&c->gates[layer], params, &s, c->slice_logits);
        sl_gate_pass_backward(&c->gates[layer], params, &s, c->slice_d_logits, c->part_gradient);
        for (size_t i = 0; i < c->numbers.layouts[layer].n; i++)
            gradients[i] += c->part_gradient[i];
    }
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The logits of the model that keeps all, over all layers and heads. */
static void rank_logits(sl_cpt *c)
{
    c->n_ranked = 0;
    for (uint32_t layer = 0; layer < c->numbers.n_layers; layer++)
        for (uint32_t head = 0; has_gate(c, layer) && head < n_heads(c); head++)
            for (uint32_t t = first_eligible(c); t < end_eligible(c, layer); t++)
                c->ranked[c->n_ranked++] = of_layer(c, c->full_logits,
                                                    layer)[(size_t)head * c->n + t];
    SL_ASSERT(c->n_ranked > 0);
    qsort(c->ranked, c->n_ranked, sizeof *c->ranked, by_size);
}

static float threshold_for(const sl_cpt *c, double keep)
{
    const double at = (1 - keep) * (double)c->n_ranked;
    return c->ranked[at < (double)c->n_ranked - 1 ? (size_t)at : c->n_ranked - 1];
}

/* ---- passes ---- */

/* The first row whose next token is scored. */
static uint32_t first_scored(const sl_cpt *c)
{
    const uint32_t behind = c->options.model.sinks + c->options.model.window;
    return c->n_prompt > 0 ? c->n_prompt - 1 : behind;
}

static uint32_t n_scored(const sl_cpt *c) { return c->n - 1 - first_scored(c); }

static void check_text(const sl_cpt *c, const sl_cpt_text *text)
{
    const uint32_t window = c->options.model.window, sinks = c->options.model.sinks;
    SL_ASSERT(text->n <= tokens_max(c) && text->n > sinks + window + 1);
    SL_ASSERT(text->n_prompt < text->n);
    for (uint32_t layer = 0; layer < c->numbers.n_layers; layer++)
        SL_ASSERT(!has_gate(c, layer) || shape_of(c, layer)->span != SL_GATE_PROMPT ||
                  text->n_prompt > sinks);
}

void sl_cpt_read(sl_cpt *cpt, const sl_cpt_text *text)
{
    sl_cpt *c = cpt;
    check_text(c, text);
    c->n = text->n;
    c->n_prompt = text->n_prompt;
    c->ahead = sl_min_u32(text->ahead, c->options.model.window - 1);
    memcpy(c->ids, text->ids, text->n * sizeof *text->ids);
    for (uint32_t i = 0; i < n_scored(c); i++) c->target[i] = c->ids[first_scored(c) + i + 1];
    const sl_model_pass_gates gates = {.context = c, .decide = decide};
    c->reads = true;
    sl_model_pass_embed(c->model, c->ids, c->n);
    sl_model_pass_norm(c->model, sl_model_pass_forward(c->model, c->n, &gates), c->full_normed);
    c->reads = false;
    rank_logits(c);
}

/* Losses of `normed` rows; d_x of scored rows, each weighed, or NULL. */
static void judge(sl_cpt *c, const float *normed, bool has_teacher, float *d_x)
{
    const size_t at = (size_t)first_scored(c) * c->options.gate->model_width;
    const float share = c->weight / (float)n_scored(c);
    for (uint32_t i = 0; i < n_scored(c); i++) {
        c->lm[i] = c->options.lm * share;
        c->kl[i] = c->options.kl * share;
    }
    const sl_head_rows rows = {.n = n_scored(c),
                               .head = &c->options.model.weights->head,
                               .x = normed + at,
                               .teacher_x = has_teacher ? c->full_normed + at : NULL,
                               .target = c->target,
                               .lm = c->lm,
                               .kl = c->kl};
    sl_head_pass_run(c->head, &rows, c->minus_log_p, has_teacher ? c->divergence : NULL,
                     d_x ? d_x + at : NULL);
}

static double sum_of(const float *x, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (double)x[i];
    return sum;
}

/* The text under the gates: what is behind the last layer. */
static const float *gated_forward(sl_cpt *c, double keep, const sl_model_pass_gates *gates)
{
    c->keep = keep;
    c->threshold = c->options.eviction_loss > 0 ? 0 : threshold_for(c, keep);
    c->n_kept = c->n_eligible = 0;
    sl_model_pass_embed(c->model, c->ids, c->n);
    const float *x = sl_model_pass_forward(c->model, c->n, gates);
    sl_model_pass_norm(c->model, x, c->normed);
    return x;
}

static void tell(const sl_cpt *c, bool has_teacher, sl_cpt_told *told)
{
    *told = (sl_cpt_told){.n = n_scored(c),
                          .lm = sum_of(c->minus_log_p, n_scored(c)),
                          .kl = has_teacher ? sum_of(c->divergence, n_scored(c)) : 0,
                          .n_eligible = c->n_eligible,
                          .n_kept = c->n_kept};
}

void sl_cpt_gradient(sl_cpt *cpt, double keep, float weight, sl_cpt_told *told_out)
{
    sl_cpt *c = cpt;
    const sl_model_pass_gates gates = {.context = c, .decide = decide, .learn = learn};
    const bool has_teacher = c->options.kl > 0;
    c->weight = weight;
    const float *x = gated_forward(c, keep, &gates);
    memset(c->d_x, 0, (size_t)c->n * c->options.gate->model_width * sizeof *c->d_x);
    judge(c, c->normed, has_teacher, c->d_x);
    tell(c, has_teacher, told_out);
    sl_model_pass_norm_backward(c->model, x, c->d_x);
    sl_model_pass_backward(c->model, &gates, c->d_x);
}

void sl_cpt_measure(sl_cpt *cpt, double keep, sl_cpt_told *told_out)
{
    sl_cpt *c = cpt;
    const sl_model_pass_gates gates = {.context = c, .decide = decide};
    c->weight = 1;
    gated_forward(c, keep, &gates);
    judge(c, c->normed, true, NULL);
    tell(c, true, told_out);
}

double sl_cpt_full_lm(sl_cpt *cpt)
{
    judge(cpt, cpt->full_normed, false, NULL);
    return sum_of(cpt->minus_log_p, n_scored(cpt));
}

/* ---- steps ---- */

sl_status sl_cpt_step(sl_cpt *cpt, double rate, double mean)
{
    sl_cpt *c = cpt;
    const sl_tensor_group *groups[] = {&c->gate_group, &c->lora_group};
    const int n_groups = c->options.lora.rank > 0 ? 2 : 1;
    const double clip = (double)c->options.clip;
    for (int i = 0; i < n_groups; i++)
        if (!isfinite(sl_tensor_group_norm(groups[i]))) return SL_ERR_FORMAT;
    sl_gate_numbers_count_step(&c->numbers);
    for (int i = 0; i < n_groups; i++)
        sl_tensor_group_step(groups[i], *c->numbers.step, rate, clip, mean);
    return SL_OK;
}

void sl_cpt_take_mean(sl_cpt *cpt)
{
    sl_tensor_group_take_means(&cpt->gate_group);
    if (cpt->options.lora.rank > 0) sl_tensor_group_take_means(&cpt->lora_group);
}
