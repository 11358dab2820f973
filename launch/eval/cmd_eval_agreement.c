/* launch/eval/cmd_eval_agreement.c - `sluice eval agreement`: how far a policy's distributions are
 * from those of the full cache. A piece is two requests: the first keeps all, and the
 * last stage stores its distributions; the second goes under the policy, and is compared with them.
 * There is one request at a time, so that nothing else writes what is stored; the chunks of a piece
 * still fill the pipeline. */
#include <math.h>
#include <stdlib.h>

#include "launch/eval/eval_commands.h"
#include "launch/eval/eval_pieces.h"
#include "launch/eval/eval_requests.h"
#include "launch/json/json_object.h"
#include "launch/output/report.h"
#include "runtime/base/log.h"

/* Positions of a piece that are compared, at most: the last rank keeps a float for each of them and
 * each token of the vocabulary. */
enum { ROWS_MAX = 256 };

/* A piece's results. */
typedef struct {
    double nll_full, nll;
    double agreement, kl; /* means over the compared positions */
} piece_result;

typedef struct {
    const sl_settings *settings;
    sl_eval_pieces pieces;
    piece_result *results;  /* [n_pieces] */
    size_t n_begun, n_done; /* requests: two a piece */
} agreement;

/* Mean over pieces, and its standard error; NAN for a single piece. */
typedef struct {
    double mean, error;
} estimate;

/* Of n scored positions, every so many-th is compared. */
static size_t step_of(size_t n_scored) { return (n_scored + ROWS_MAX - 1) / ROWS_MAX; }

static size_t n_compared(size_t n_scored)
{
    size_t step = step_of(n_scored);
    return (n_scored + step - 1) / step;
}

/* ---- requests ---- */

static sl_status next(void *context, sl_request **request_out)
{
    agreement *a = context;
    const sl_eval_pieces *p = &a->pieces;
    if (a->n_begun == 2 * p->n_pieces) return SL_END;
    if (a->n_begun > a->n_done) return SL_AGAIN;
    sl_request *request;
    sl_status status = sl_eval_pieces_request(p, a->n_begun / 2, &request);
    if (status != SL_OK) return status;
    request->keeps_all = a->n_begun % 2 == 0;
    request->comparison = (sl_comparison){
        .kind = request->keeps_all ? SL_COMPARISON_STORE : SL_COMPARISON_WITH,
        .from = (uint32_t)sl_eval_pieces_from(p),
        .step = (uint32_t)step_of(sl_eval_pieces_scored(p)),
    };
    a->n_begun++;
    *request_out = request;
    return SL_OK;
}

static sl_status take_comparison(const agreement *a, const sl_request *request,
                                 piece_result *result)
{
    size_t n = 0, agreed = 0, wanted = n_compared(sl_eval_pieces_scored(&a->pieces));
    double kl = 0;
    for (size_t i = request->score_from; i < request->n_prompt; i++) {
        const sl_token_detail *detail = &request->prompt_details[i];
        if (!detail->compared) continue;
        n++;
        agreed += detail->agrees;
        kl += (double)detail->kl;
    }
    if (n != wanted) {
        sl_error("piece %llu: %zu positions were compared, not %zu",
                 (unsigned long long)request->line, n, wanted);
        return SL_ERR_FORMAT;
    }
    result->agreement = (double)agreed / (double)n;
    result->kl = kl / (double)n;
    return SL_OK;
}

static sl_status done(void *context, sl_request *request)
{
    agreement *a = context;
    piece_result *result = &a->results[request->line];
    double nll;
    sl_status status = sl_eval_request_nll(request, &nll);
    if (status == SL_OK && request->keeps_all) {
        result->nll_full = nll;
    } else if (status == SL_OK) {
        result->nll = nll;
        status = take_comparison(a, request, result);
    }
    a->n_done++;
    sl_request_free(request);
    return status;
}

static void on_progress(void *context, const sl_driver_progress *progress, int64_t elapsed_ns)
{
    agreement *a = context;
    sl_eval_requests_progress(&a->pieces.progress, a->n_done, 2 * a->pieces.n_pieces, progress,
                              elapsed_ns);
}

/* ---- results ---- */

static double agreement_of(const piece_result *result) { return result->agreement; }
static double kl_of(const piece_result *result) { return result->kl; }
static double nll_of(const piece_result *result) { return result->nll; }
static double nll_full_of(const piece_result *result) { return result->nll_full; }

static double log_rise_of(const piece_result *result) { return result->nll - result->nll_full; }

static estimate estimate_of(const agreement *a, double (*value)(const piece_result *))
{
    double n = (double)a->pieces.n_pieces, sum = 0, squares = 0;
    for (size_t i = 0; i < a->pieces.n_pieces; i++) sum += value(&a->results[i]);
    double mean = sum / n;
    for (size_t i = 0; i < a->pieces.n_pieces; i++) {
        double off = value(&a->results[i]) - mean;
        squares += off * off;
    }
    return (estimate){mean, n > 1 ? sqrt(squares / (n * (n - 1))) : NAN};
}

static double perplexity_of(const agreement *a, double (*nll)(const piece_result *))
{
    return exp(estimate_of(a, nll).mean / (double)sl_eval_pieces_scored(&a->pieces));
}

/* How much higher the policy's perplexity is, as a share of the full cache's. Both of a piece have
 * its text in common, so that this is far surer than either. */
static estimate rise_of(const agreement *a)
{
    estimate log_rise = estimate_of(a, log_rise_of);
    double n = (double)sl_eval_pieces_scored(&a->pieces), ratio = exp(log_rise.mean / n);
    return (estimate){ratio - 1, ratio * log_rise.error / n};
}

static json_t *result_json(const agreement *a, json_t *retention, double retention_mean)
{
    const sl_eval_pieces *p = &a->pieces;
    size_t positions = p->n_pieces * n_compared(sl_eval_pieces_scored(p));
    estimate agreed = estimate_of(a, agreement_of), kl = estimate_of(a, kl_of);
    estimate rise = rise_of(a);
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "policy", sl_policy_name(p->policy.kind));
    sl_json_set_count(&object, "sinks", p->policy.sinks);
    sl_json_set_count(&object, "window", p->policy.window);
    sl_json_set_count(&object, "context", p->piece);
    sl_json_set_count(&object, "pieces", p->n_pieces);
    sl_json_set_count(&object, "positions", positions);
    sl_json_set_number(&object, "agreement", agreed.mean);
    sl_json_set_item(&object, "agreement_se", sl_report_real(agreed.error));
    sl_json_set_number(&object, "kl", kl.mean);
    sl_json_set_item(&object, "kl_se", sl_report_real(kl.error));
    sl_json_set_number(&object, "perplexity_full", perplexity_of(a, nll_full_of));
    sl_json_set_number(&object, "perplexity", perplexity_of(a, nll_of));
    sl_json_set_number(&object, "rise", rise.mean);
    sl_json_set_item(&object, "rise_se", sl_report_real(rise.error));
    sl_json_set_number(&object, "retention_mean", retention_mean);
    sl_json_set_item(&object, "retention", retention);
    return sl_json_end(&object);
}

static void print_estimate(const char *what, estimate e, double unit, const char *unit_name)
{
    printf("%s%.*f", what, unit > 1 ? 2 : 5, unit * e.mean);
    if (!isnan(e.error)) printf(" +- %.*f", unit > 1 ? 2 : 5, unit * e.error);
    printf("%s", unit_name);
}

static sl_status print_result(const agreement *a, const sl_engine *engine)
{
    const sl_eval_pieces *p = &a->pieces;
    sl_engine_report report;
    sl_engine_report_get(engine, &report);
    if (a->settings->verbose) sl_report_show(&report);
    json_t *retention;
    double mean = sl_report_retention(&report, &retention);
    if (a->settings->json) return sl_report_print(result_json(a, retention, mean));
    json_decref(retention);
    print_estimate("agreement ", estimate_of(a, agreement_of), 100, "%");
    print_estimate(", KL ", estimate_of(a, kl_of), 1, " nats");
    printf(" at %zu positions of %zu pieces of %zu\n",
           p->n_pieces * n_compared(sl_eval_pieces_scored(p)), p->n_pieces, p->piece);
    printf("perplexity %.4f, full %.4f: ", perplexity_of(a, nll_of), perplexity_of(a, nll_full_of));
    print_estimate("", rise_of(a), 100, "% more");
    printf("; policy %s kept %.1f%%\n", sl_policy_name(p->policy.kind), 100 * mean);
    return SL_OK;
}

/* ---- the service ---- */

static void clean_up(agreement *a)
{
    sl_eval_pieces_fini(&a->pieces);
    free(a->results);
}

static uint64_t job_bytes(void *context, const sl_engine *engine)
{
    const agreement *a = context;
    return sl_eval_pieces_bytes(a->settings, engine);
}

static sl_status begin(void *context, sl_engine *engine, sl_port *port_out)
{
    agreement *a = context;
    sl_status status = sl_eval_pieces_init(&a->pieces, a->settings, engine);
    if (status == SL_OK) {
        a->results = calloc(a->pieces.n_pieces, sizeof *a->results);
        if (!a->results) status = SL_ERR_MEMORY;
    }
    if (status != SL_OK) clean_up(a);
    *port_out = (sl_port){.context = a, .next = next, .done = done};
    return status;
}

static sl_status end(void *context, const sl_engine *engine, sl_status status)
{
    agreement *a = context;
    sl_progress_end(&a->pieces.progress);
    if (status == SL_OK) status = print_result(a, engine);
    clean_up(a);
    return status;
}

static int eval_agreement_command(sl_settings *settings)
{
    if (sl_eval_pieces_settings(settings, "agreement") != SL_OK) return SL_EXIT_USAGE;
    settings->sequences = 1; /* at a time: no memory is planned for more */
    agreement a = {.settings = settings};
    sl_service service = {.context = &a,
                          .job_bytes = job_bytes,
                          .begin = begin,
                          .end = end,
                          .compared_rows = (uint32_t)n_compared(settings->score),
                          .watch = {.context = &a, .progress = on_progress}};
    return sl_engine_serve(settings, &service);
}

const sl_command sl_cmd_eval_agreement = {
    .name = "eval agreement",
    .summary = "measure a model: agreement with the full cache",
    .usage = "-m MODEL --text FILE",
    .about =
        "Pieces of a text, as eval perplexity has them, are read with the full cache and then "
        "under the policy: at up to 256 scored positions of each, evenly spaced, how often the "
        "most likely token is the same, and KL(full || policy) in nats over the whole "
        "vocabulary. The last rank keeps 256 times the vocabulary in floats for that.",
    .examples =
        "  sluice eval agreement -m model.gguf --text wiki.txt -g gate.gguf --keep 0.25\n"
        "  sluice eval agreement -m model.gguf --text wiki.txt --policy random --keep 0.25 --json",
    .groups = {sl_options_model, sl_eval_pieces_options, sl_options_context, sl_options_threads,
               sl_options_chunk, SL_OPTIONS_SERVING, sl_options_talk},
    .run = eval_agreement_command,
};
