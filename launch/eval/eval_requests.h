/* launch/eval/eval_requests.h - what the commands of eval do alike with their requests: whether one
 * failed, how likely its scored tokens are, and how many are done. Knows no text and no
 * question. */
#ifndef SL_EVAL_REQUESTS_H
#define SL_EVAL_REQUESTS_H

#include "launch/output/progress.h"
#include "launch/pipeline/engine.h"

/* SL_ERR_REQUEST, logged: the request failed. */
sl_status sl_eval_request_check(const sl_request *request);
/* Negative log-likelihood of a finished request's scored tokens, summed, in nats. SL_ERR_REQUEST,
 * logged: the request failed. */
sl_status sl_eval_request_nll(const sl_request *request, double *nll_out);
/* Show that n_done of n requests are done. */
void sl_eval_requests_progress(sl_progress *shown, uint64_t n_done, uint64_t n,
                               const sl_driver_progress *progress, int64_t elapsed_ns);

#endif
