/* runtime/train/dense.c - see dense.h. The only file that knows of BLAS. */
#include "runtime/train/dense.h"

#include <cblas.h>

#include "runtime/base/log.h"

/* LAPACK, column-major. */
void dposv_(const char *triangle, const int *n, const int *n_right, double *a, const int *a_stride,
            double *b, const int *b_stride, int *info);

sl_status sl_dense_begin(int threads)
{
    openblas_set_num_threads(threads);
    if (openblas_get_parallel() == OPENBLAS_OPENMP) return SL_OK;
    sl_error("OpenBLAS without OpenMP was loaded (%s): install libopenblas0-openmp, and no other "
             "variant",
             openblas_get_config());
    return SL_ERR_UNSUPPORTED;
}

static CBLAS_TRANSPOSE transpose(sl_dense_form form)
{
    return form == SL_DENSE_PLAIN ? CblasNoTrans : CblasTrans;
}

void sl_dense_multiply(size_t m, size_t n, size_t k, float scale, sl_factor a, sl_factor b,
                       float keep, float *out, size_t out_stride)
{
    cblas_sgemm(CblasRowMajor, transpose(a.form), transpose(b.form), (int)m, (int)n, (int)k, scale,
                a.data, (int)a.stride, b.data, (int)b.stride, keep, out, (int)out_stride);
}

sl_status sl_dense_solve(size_t n, size_t n_right, double *a, double *b)
{
    int size = (int)n, right = (int)n_right, info;
    dposv_("U", &size, &right, a, &size, b, &size, &info);
    return info == 0 ? SL_OK : SL_ERR_FORMAT;
}
