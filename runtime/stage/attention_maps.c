/* runtime/stage/attention_maps.c - see attention_maps.h. Plain loops over f32: a picture needs no
 * speed. */
#include "runtime/stage/attention_maps.h"

#include <math.h>

#include "runtime/base/log.h"
#include "runtime/stage/attention.h"
#include "runtime/stage/prompt_end.h"

/* Whether query t sees key j in a KV head, by the flags of the frame: row r is of the token that
 * left the window then, or, after a prompt that was pruned as it ended, every query saw all. */
static bool visible(const sl_layer_context *c, uint32_t layer, const uint8_t *flags, uint32_t t,
                    uint32_t j)
{
    uint32_t window = c->cache->layers[layer].window;
    if (j > t) return false;
    if (t - j < window) return true;
    if (sl_cache_is_sliding(c->cache, layer)) return false;
    return sl_layer_prunes_at_prompt_end(c) || flags[j + window] != 0;
}

static void softmax(float *row, uint32_t n)
{
    float max = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n; i++) max = fmaxf(max, row[i]);
    for (uint32_t i = 0; i < n; i++) sum += row[i] = expf(row[i] - max);
    for (uint32_t i = 0; i < n; i++) row[i] /= sum;
}

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void map_head(const sl_layer_context *c, const sl_frame *frame, uint32_t layer,
                     uint32_t head, uint32_t n, float *map)
{
    const sl_model_shape *s = c->shape;
    uint32_t kv_head = head / sl_layer_query_group(s);
    const uint8_t *flags = sl_frame_flags(frame, c->layer_begin + layer, kv_head);
    const float *q = c->shared.q + (size_t)head * s->head_dim;
    const float *k = c->shared.k + (size_t)kv_head * s->head_dim;
    float scale = s->attention_scale;
    for (uint32_t t = 0; t < n; t++) {
        float *row = map + (size_t)t * n;
        const float *query = q + (size_t)t * s->n_heads * s->head_dim;
        for (uint32_t j = 0; j < n; j++) {
            const float *key = k + (size_t)j * s->n_kv_heads * s->head_dim;
            row[j] = visible(c, layer, flags, t, j) ? scale * dot(query, key, s->head_dim)
                                                    : -INFINITY;
        }
        softmax(row, n);
    }
}

void sl_attention_maps_take(void *maps, const sl_layer_context *at, const sl_frame *frame,
                            uint32_t layer)
{
    const sl_layer_context *c = at;
    const sl_attention_maps *p = maps;
    size_t map = (size_t)p->n_tokens * p->n_tokens;
    SL_ASSERT(frame->n_spans == 1 && frame->flags && frame->spans[0].position == 0);
    for (uint32_t i = 0; i < p->n_layers; i++) {
        if (p->layers[i] != layer) continue;
        for (uint32_t head = 0; head < c->shape->n_heads; head++)
            map_head(c, frame, layer, head, p->n_tokens,
                     p->attention + (i * c->shape->n_heads + head) * map);
        for (uint32_t head = 0; c->gates && p->gate && head < p->gate_heads; head++)
            sl_gates_map(c->gates, layer, &frame->spans[0], head,
                         p->gate + (i * p->gate_heads + head) * map);
    }
}
