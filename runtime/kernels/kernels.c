/* runtime/kernels/kernels.c - the tables and which one this CPU gets. Knows no arithmetic. */
#include "runtime/kernels/kernels.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

static const sl_kv_layout layout_ref = {
    .name = "f16",
    .page_bytes = sl_kv_f16_page_bytes,
    .put = sl_kv_put_ref,
    .copy = sl_kv_f16_copy,
    .get = sl_kv_f16_get,
    .attend = sl_attend_ref,
    .merge = sl_softmax_merge,
    .finish = sl_softmax_finish,
};

static const sl_kernels kernels_ref = {
    .name = "ref",
    .quantize = sl_quantize_ref,
    .matmul = sl_matmul_ref,
    .rmsnorm = sl_rmsnorm_ref,
    .swiglu = sl_swiglu_ref,
    .add = sl_add_ref,
    .kv_layout = &layout_ref,
};

static bool runs_always(void) { return true; }

#ifdef __x86_64__
static const sl_kv_layout layout_avx2 = {
    .name = "f16",
    .page_bytes = sl_kv_f16_page_bytes,
    .put = sl_kv_put_avx2,
    .copy = sl_kv_f16_copy,
    .get = sl_kv_f16_get,
    .attend = sl_attend_avx2,
    .merge = sl_softmax_merge,
    .finish = sl_softmax_finish,
};

static const sl_kernels kernels_avx2 = {
    .name = "avx2",
    .quantize = sl_quantize_avx2,
    .matmul = sl_matmul_avx2,
    .rmsnorm = sl_rmsnorm_avx2,
    .swiglu = sl_swiglu_avx2,
    .add = sl_add_avx2,
    .kv_layout = &layout_avx2,
};

static const sl_kv_layout layout_avx512 = {
    .name = "f16",
    .page_bytes = sl_kv_f16_page_bytes,
    .put = sl_kv_put_avx2,
    .copy = sl_kv_f16_copy,
    .get = sl_kv_f16_get,
    .attend = sl_attend_avx512,
    .merge = sl_softmax_merge,
    .finish = sl_softmax_finish,
};

static const sl_kernels kernels_avx512 = {
    .name = "avx512",
    .quantize = sl_quantize_avx2,
    .matmul = sl_matmul_avx512,
    .rmsnorm = sl_rmsnorm_avx2,
    .swiglu = sl_swiglu_avx2,
    .add = sl_add_avx2,
    .kv_layout = &layout_avx512,
};

/* F16C is older than AVX2 and in every CPU that has it; clang 14 cannot ask for it. */
static bool runs_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool runs_avx512(void)
{
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

/* Best first. */
static const struct {
    const sl_kernels *kernels;
    bool (*runs)(void);
} sets[] = {
#ifdef __x86_64__
    {&kernels_avx512, runs_avx512},
    {&kernels_avx2, runs_avx2},
#endif
    {&kernels_ref, runs_always},
};

enum { N_SETS = sizeof sets / sizeof sets[0] };

const sl_kernels *sl_kernels_named(const char *name)
{
    for (size_t i = 0; i < N_SETS; i++)
        if (strcmp(sets[i].kernels->name, name) == 0 && sets[i].runs()) return sets[i].kernels;
    return NULL;
}

static const sl_kernels *best(void)
{
    size_t i = 0;
    while (!sets[i].runs()) i++;
    return sets[i].kernels;
}

static void log_refusal(const char *wanted)
{
    char names[64] = "";
    size_t n = 0;
    for (size_t i = 0; i < N_SETS; i++)
        if (sets[i].runs())
            n += (size_t)snprintf(names + n, sizeof names - n, " %s", sets[i].kernels->name);
    sl_error("SLUICE_KERNELS=%s: no such kernel set on this CPU; there are:%s", wanted, names);
}

sl_status sl_kernels_choose(const sl_kernels **kernels_out)
{
    const char *wanted = getenv("SLUICE_KERNELS");
    const sl_kernels *kernels = wanted && *wanted ? sl_kernels_named(wanted) : best();
    if (!kernels) {
        log_refusal(wanted);
        return SL_ERR_OPTION;
    }
    *kernels_out = kernels;
    return SL_OK;
}
