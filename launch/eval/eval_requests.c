/* launch/eval/eval_requests.c - see eval_requests.h. */
#include "launch/eval/eval_requests.h"

#include "runtime/base/log.h"

sl_status sl_eval_request_check(const sl_request *request)
{
    if (request->error.http_status == 0) return SL_OK;
    sl_error("%s", request->error.message);
    return SL_ERR_REQUEST;
}

sl_status sl_eval_request_nll(const sl_request *request, double *nll_out)
{
    sl_status status = sl_eval_request_check(request);
    if (status != SL_OK) return status;
    double sum = 0;
    for (size_t i = request->score_from; i < request->n_prompt; i++)
        sum -= (double)request->prompt_details[i].logprob;
    *nll_out = sum;
    return SL_OK;
}

void sl_eval_requests_progress(sl_progress *shown, uint64_t n_done, uint64_t n,
                               const sl_driver_progress *progress, int64_t elapsed_ns)
{
    sl_progress_state state = {.done = n_done,
                               .total = n,
                               .elapsed_ns = elapsed_ns,
                               .prompt_tokens = progress->prompt_tokens,
                               .generated_tokens = progress->generated_tokens};
    sl_progress_show(shown, &state);
}
