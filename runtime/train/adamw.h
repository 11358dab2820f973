/* runtime/train/adamw.h - Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2. */
#ifndef SL_ADAMW_H
#define SL_ADAMW_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    float rate, decay;         /* of this step; decay is times the rate */
    float beta1, beta2, least; /* 0.9, 0.999, 1e-8 as in the paper */
} sl_adamw;

/* Step number `step`, from 1, of n parameters with moments m and v, zero before the first. */
void sl_adamw_step(const sl_adamw *adamw, uint64_t step, size_t n, const float *gradient,
                   float *params, float *m, float *v);

#endif
