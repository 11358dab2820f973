/* runtime/kernels/kernel_choice.c - the tables and which one this CPU gets. Knows no arithmetic. */
#include "runtime/kernels/kernels.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "runtime/base/append.h"
#include "runtime/base/log.h"
#include "runtime/kernels/kernel_sets.h"

/* What all sets share of a layout. */
#define KV_F16                                                               \
    .name = "f16", .head_dim_step = 16, .page_bytes = sl_kv_f16_page_bytes,  \
    .copy = sl_kv_f16_copy, .get = sl_kv_f16_get, .merge = sl_softmax_merge, \
    .finish = sl_softmax_finish
#define KV_BF16                                                              \
    .name = "bf16", .head_dim_step = 16, .page_bytes = sl_kv_f16_page_bytes, \
    .put = sl_kv_bf16_put, .copy = sl_kv_f16_copy, .get = sl_kv_bf16_get,    \
    .merge = sl_softmax_merge, .finish = sl_softmax_finish
#define KV_Q8_0                                                                     \
    .name = "q8_0", .head_dim_step = SL_BLOCK, .page_bytes = sl_kv_q8_0_page_bytes, \
    .copy = sl_kv_q8_0_copy, .get = sl_kv_q8_0_get, .merge = sl_softmax_merge,      \
    .finish = sl_softmax_finish

static const sl_kv_layout kv_ref[SL_KV_TYPES] = {
    [SL_KV_F16] = {KV_F16, .put = sl_kv_f16_put_ref, .attend = sl_kv_f16_attend_ref,
                   .attend_prompt = sl_kv_f16_attend_ref, .scores = sl_kv_f16_scores_ref},
    [SL_KV_BF16] = {KV_BF16, .attend = sl_kv_bf16_attend_ref,
                    .attend_prompt = sl_kv_bf16_attend_ref, .scores = sl_kv_bf16_scores_ref},
    [SL_KV_Q8_0] = {KV_Q8_0, .put = sl_kv_q8_0_put_ref, .attend = sl_kv_q8_0_attend_ref,
                    .attend_prompt = sl_kv_q8_0_attend_ref, .scores = sl_kv_q8_0_scores_ref},
};

static const sl_kernels kernels_ref = {
    .name = "ref",
    .quantize = sl_quantize_ref,
    .matmul = sl_matmul_ref,
    .rmsnorm = sl_rmsnorm_ref,
    .swiglu = sl_swiglu_ref,
    .geglu = sl_geglu_ref,
    .add = sl_add_ref,
    .kv = {&kv_ref[SL_KV_F16], &kv_ref[SL_KV_BF16], &kv_ref[SL_KV_Q8_0]},
    .peak = sl_peak_ref,
};

static bool runs_always(void) { return true; }

#ifdef __x86_64__
static const sl_kv_layout kv_avx2[SL_KV_TYPES] = {
    [SL_KV_F16] = {KV_F16, .put = sl_kv_f16_put_avx2, .attend = sl_kv_f16_attend_avx2,
                   .attend_prompt = sl_kv_f16_attend_avx2, .scores = sl_kv_f16_scores_avx2},
    [SL_KV_BF16] = {KV_BF16, .attend = sl_kv_bf16_attend_avx2,
                    .attend_prompt = sl_kv_bf16_attend_avx2, .scores = sl_kv_bf16_scores_avx2},
    [SL_KV_Q8_0] = {KV_Q8_0, .put = sl_kv_q8_0_put_avx2, .attend = sl_kv_q8_0_attend_avx2,
                    .attend_prompt = sl_kv_q8_0_attend_avx2, .scores = sl_kv_q8_0_scores_avx2},
};

static const sl_kernels kernels_avx2 = {
    .name = "avx2",
    .quantize = sl_quantize_avx2,
    .matmul = sl_matmul_avx2,
    .rmsnorm = sl_rmsnorm_avx2,
    .swiglu = sl_swiglu_avx2,
    .geglu = sl_geglu_avx2,
    .add = sl_add_avx2,
    .kv = {&kv_avx2[SL_KV_F16], &kv_avx2[SL_KV_BF16], &kv_avx2[SL_KV_Q8_0]},
    .peak = sl_peak_avx2,
};

static const sl_kv_layout kv_avx512[SL_KV_TYPES] = {
    [SL_KV_F16] = {KV_F16, .put = sl_kv_f16_put_avx2, .attend = sl_kv_f16_attend_avx512,
                   .attend_prompt = sl_kv_f16_attend_prompt_avx512,
                   .scores = sl_kv_f16_scores_avx512},
    [SL_KV_BF16] = {KV_BF16, .attend = sl_kv_bf16_attend_avx512,
                    .attend_prompt = sl_kv_bf16_attend_prompt_avx512,
                    .scores = sl_kv_bf16_scores_avx512},
    [SL_KV_Q8_0] = {KV_Q8_0, .put = sl_kv_q8_0_put_avx2, .attend = sl_kv_q8_0_attend_avx512,
                    .attend_prompt = sl_kv_q8_0_attend_prompt_avx512,
                    .scores = sl_kv_q8_0_scores_avx512},
};

static const sl_kernels kernels_avx512 = {
    .name = "avx512",
    .quantize = sl_quantize_avx512,
    .matmul = sl_matmul_avx512,
    .rmsnorm = sl_rmsnorm_avx2,
    .swiglu = sl_swiglu_avx512,
    .geglu = sl_geglu_avx512,
    .add = sl_add_avx2,
    .kv = {&kv_avx512[SL_KV_F16], &kv_avx512[SL_KV_BF16], &kv_avx512[SL_KV_Q8_0]},
    .peak = sl_peak_avx512,
};

#define KV_TILED                                                                   \
    .name = "bf16", .head_dim_step = SL_BLOCK, .page_bytes = sl_kv_f16_page_bytes, \
    .put = sl_kv_tiled_put, .copy = sl_kv_tiled_copy, .get = sl_kv_tiled_get,      \
    .merge = sl_softmax_merge, .finish = sl_softmax_finish
#define KERNELS_AMX                                                                         \
    .quantize = sl_quantize_avx512, .rmsnorm = sl_rmsnorm_avx2, .swiglu = sl_swiglu_avx512, \
    .geglu = sl_geglu_avx512, .add = sl_add_avx2, .kv_best = SL_KV_BF16, .peak = sl_peak_avx512

static const sl_kv_layout kv_amx = {KV_TILED, .attend = sl_kv_bf16_attend_amx,
                                    .attend_prompt = sl_kv_bf16_attend_amx,
                                    .scores = sl_kv_bf16_scores_amx};

static const sl_kernels kernels_amx = {
    KERNELS_AMX,
    .name = "amx",
    .round = sl_round_amx,
    .matmul = sl_matmul_amx,
    .kv = {&kv_avx512[SL_KV_F16], &kv_amx, &kv_avx512[SL_KV_Q8_0]},
};

static const sl_kv_layout kv_amx_emulated = {KV_TILED, .attend = sl_kv_bf16_attend_amx_emulated,
                                             .attend_prompt = sl_kv_bf16_attend_amx_emulated,
                                             .scores = sl_kv_bf16_scores_amx_emulated};

static const sl_kernels kernels_amx_emulated = {
    KERNELS_AMX,
    .name = "amx-emulated",
    .round = sl_round_amx_emulated,
    .matmul = sl_matmul_amx_emulated,
    .kv = {&kv_avx512[SL_KV_F16], &kv_amx_emulated, &kv_avx512[SL_KV_Q8_0]},
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

static bool has_avx512_bf16(void) { return runs_avx512() && __builtin_cpu_supports("avx512bf16"); }

static bool runs_amx_emulated(void) { return has_avx512_bf16() && sl_tiles_work_amx_emulated(); }

/* The kernel gives tiles to a process that asks for them, and to its threads. */
static bool runs_amx(void)
{
    enum { LEAF = 7, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, BOTH = AMX_BF16 | AMX_TILE };
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    unsigned eax, ebx, ecx, edx;
    if (!has_avx512_bf16() || !__get_cpuid_count(LEAF, 0, &eax, &ebx, &ecx, &edx)) return false;
    return (edx & BOTH) == BOTH &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 &&
           sl_tiles_work_amx();
}
#endif

/* Best first; behind ref what is for tests alone. */
static const struct {
    const sl_kernels *kernels;
    bool (*runs)(void);
} sets[] = {
#ifdef __x86_64__
    {&kernels_amx, runs_amx},
    {&kernels_avx512, runs_avx512},
    {&kernels_avx2, runs_avx2},
#endif
    {&kernels_ref, runs_always},
#ifdef __x86_64__
    {&kernels_amx_emulated, runs_amx_emulated},
#endif
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
        if (sets[i].runs()) sl_append(names, sizeof names, &n, " %s", sets[i].kernels->name);
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

sl_status sl_kv_type_named(const char *name, sl_kv_type *out)
{
    for (size_t i = 0; i < SL_KV_TYPES; i++) {
        if (strcmp(kv_ref[i].name, name) != 0) continue;
        *out = (sl_kv_type)i;
        return SL_OK;
    }
    sl_error("unknown cache type '%s': there are " SL_KV_NAMES, name);
    return SL_ERR_OPTION;
}

sl_status sl_kv_type_choose(const char *name, const sl_kernels *kernels, size_t head_dim,
                            sl_kv_type *out)
{
    if (strcmp(name, "auto") != 0) return sl_kv_type_named(name, out);
    bool fits = head_dim % kernels->kv[kernels->kv_best]->head_dim_step == 0;
    *out = fits ? kernels->kv_best : SL_KV_F16;
    return SL_OK;
}
