/* runtime/train/tensor_group.h - tensors that are trained together by AdamW (adamw.h): each at a
 * rate relative to its size, their gradients clipped by one norm, the mean of what every step left
 * kept beside them. */
#ifndef SL_TENSOR_GROUP_H
#define SL_TENSOR_GROUP_H

#include <stddef.h>
#include <stdint.h>

/* Numbers [at, at + n) of the group; size: of one of them, what steps and norm are relative to. */
typedef struct {
    size_t at, n;
    float size;
} sl_sized_tensor;

typedef struct {
    const sl_sized_tensor *tensors; /* [n_tensors] */
    size_t n_tensors;
    size_t n;                                  /* numbers of all */
    float *params, *gradients, *m, *v, *means; /* [n]; m and v as in adamw.h */
} sl_tensor_group;

/* Root of the sum of squares of all gradients, each times its tensor's size. */
double sl_tensor_group_norm(const sl_tensor_group *group);

/* Step number `step`, from 1, at `rate` times each tensor's size: gradients whose norm is above
 * `clip` are shrunk to it first, and 0 afterwards; means keep the share `mean_share`. */
void sl_tensor_group_step(const sl_tensor_group *group, uint64_t step, double rate, double clip,
                          double mean_share);

/* The means become the numbers. */
void sl_tensor_group_take_means(const sl_tensor_group *group);

#endif
