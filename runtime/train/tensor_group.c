/* runtime/train/tensor_group.c - see tensor_group.h. */
#include "runtime/train/tensor_group.h"

#include <math.h>
#include <string.h>

#include "runtime/train/adamw.h"

double sl_tensor_group_norm(const sl_tensor_group *group)
{
    double square = 0;
    for (size_t t = 0; t < group->n_tensors; t++) {
        const sl_sized_tensor *tensor = &group->tensors[t];
        for (size_t i = 0; i < tensor->n; i++) {
            const double g = (double)(group->gradients[tensor->at + i] * tensor->size);
            square += g * g;
        }
    }
    return sqrt(square);
}

static void step_tensor(const sl_tensor_group *g, const sl_sized_tensor *tensor, uint64_t step,
                        double rate)
{
    const sl_adamw adamw = {.rate = (float)rate * tensor->size,
                            .decay = 0,
                            .beta1 = 0.9F,
                            .beta2 = 0.95F,
                            .least = 1e-12F};
    const size_t at = tensor->at;
    sl_adamw_step(&adamw, step, tensor->n, g->gradients + at, g->params + at, g->m + at, g->v + at);
}

void sl_tensor_group_step(const sl_tensor_group *group, uint64_t step, double rate, double clip,
                          double mean_share)
{
    const sl_tensor_group *g = group;
    const double norm = sl_tensor_group_norm(g);
    const float shrink = norm > clip ? (float)(clip / norm) : 1;
    for (size_t i = 0; i < g->n; i++) g->gradients[i] *= shrink;
    for (size_t t = 0; t < g->n_tensors; t++) step_tensor(g, &g->tensors[t], step, rate);
    for (size_t i = 0; i < g->n; i++)
        g->means[i] += (float)(1 - mean_share) * (g->params[i] - g->means[i]);
    memset(g->gradients, 0, g->n * sizeof *g->gradients);
}

void sl_tensor_group_take_means(const sl_tensor_group *group)
{
    memcpy(group->params, group->means, group->n * sizeof *group->params);
}
