/* launch/output/report.c - see report.h. */
#include "launch/output/report.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "launch/json/json_object.h"
#include "launch/machine/launcher.h"
#include "launch/machine/process.h"
#include "launch/pipeline/model_placement.h"
#include "runtime/base/append.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "runtime/base/plain.h"

static double seconds(int64_t ns) { return (double)ns / (double)SL_SECOND; }

static double tokens_per_second(const sl_engine_report *r)
{
    uint64_t tokens = r->progress.prompt_tokens + r->progress.generated_tokens;
    return r->seconds > 0 ? (double)tokens / r->seconds : 0;
}

static uint64_t peak_of(const sl_engine_report *r, uint32_t rank)
{
    uint64_t peak = r->ledger[rank].peak_bytes;
    return rank == 0 && r->own_peak_bytes > peak ? r->own_peak_bytes : peak;
}

/* Eligible tokens that each head of a layer saw. */
static uint64_t seen_by_layer(const sl_engine_report *r, uint32_t layer)
{
    if (sl_sliding_window(r->shape, layer)) return 0;
    return r->ledger[sl_plan_rank_of(r->plan, layer)].seen;
}

static double retention_of(uint64_t kept, uint64_t seen)
{
    return seen > 0 ? (double)kept / (double)seen : 1;
}

static const sl_head_account *head_of(const sl_engine_report *r, uint32_t layer, uint32_t head)
{
    return &r->heads[(size_t)layer * r->shape->n_kv_heads + head];
}

/* Bytes of the rings of layers [first, first + n), of all slots. */
static uint64_t ring_bytes(const sl_engine_report *r, uint32_t first, uint32_t n)
{
    uint64_t pages = sl_model_ring_pages(r->shape, first, n, r->policy.window, r->context);
    return pages * r->shape->n_kv_heads * r->sequences * r->page_bytes;
}

/* One line a layer: what each KV head kept, and what its rings and the most of its pages took. */
static void log_layers(const sl_engine_report *r)
{
    sl_info("layer  cache MB  kept of eligible tokens by KV head (policy %s)",
            sl_policy_name(r->policy.kind));
    for (uint32_t layer = 0; layer < r->shape->n_layers; layer++) {
        char heads[256] = "";
        uint64_t pages = 0;
        size_t used = 0;
        uint32_t window = sl_sliding_window(r->shape, layer);
        if (window) {
            sl_info("%5u %9.1f  a sliding window of %u tokens", layer,
                    sl_megabytes(ring_bytes(r, layer, 1)), window);
            continue;
        }
        for (uint32_t h = 0; h < r->shape->n_kv_heads; h++) {
            const sl_head_account *head = head_of(r, layer, h);
            pages += head->pages;
            if (used + sizeof " 100.0%" <= sizeof heads) /* no number is cut */
                sl_append(heads, sizeof heads, &used, " %5.1f%%",
                          100 * retention_of(head->kept, seen_by_layer(r, layer)));
        }
        sl_info("%5u %9.1f %s", layer,
                sl_megabytes(pages * r->page_bytes + ring_bytes(r, layer, 1)), heads);
    }
}

void sl_report_show(const sl_engine_report *report)
{
    const sl_driver_progress *p = &report->progress;
    sl_info(
        "%llu requests (%llu failed), up to %u at a time, %llu prompt and %llu generated tokens in "
        "%.2f s: %.1f tok/s",
        (unsigned long long)p->requests_done, (unsigned long long)p->requests_failed,
        p->requests_most, (unsigned long long)p->prompt_tokens,
        (unsigned long long)p->generated_tokens, report->seconds, tokens_per_second(report));
    if (p->restarts > 0)
        sl_info("%llu restarts for lack of cache pages: more --memory or more ranks avoid them",
                (unsigned long long)p->restarts);
    sl_info("rank  layers  compute s   wait s   wire s  codec s   sent MB  planned MB  peak MB  "
            "cache MB");
    for (uint32_t i = 0; i < report->plan->n_ranks; i++) {
        const sl_ledger_row *row = &report->ledger[i];
        const sl_plan_rank *rank = &report->plan->ranks[i];
        char layers[24];
        snprintf(layers, sizeof layers, "%u-%u", rank->first_layer,
                 rank->first_layer + rank->n_layers - 1);
        sl_info("%4u %7s %10.2f %8.2f %8.2f %8.2f %9.1f %11.1f %8.1f %9.1f", row->rank, layers,
                seconds(row->compute_ns), seconds(row->wait_ns), seconds(row->wire_ns),
                seconds(row->codec_ns), sl_megabytes(row->bytes_sent),
                sl_megabytes(row->planned_bytes), sl_megabytes(peak_of(report, i)),
                sl_megabytes(row->pages_peak * report->page_bytes +
                             ring_bytes(report, rank->first_layer, rank->n_layers)));
    }
    if (report->policy.kind != SL_POLICY_FULL) log_layers(report);
}

double sl_report_retention(const sl_engine_report *report, json_t **layers_out)
{
    uint64_t kept = 0, seen = 0;
    json_t *layers = json_array();
    for (uint32_t layer = 0; layer < report->shape->n_layers; layer++) {
        json_t *heads = json_array();
        for (uint32_t h = 0; h < report->shape->n_kv_heads; h++) {
            uint64_t head_kept = head_of(report, layer, h)->kept;
            uint64_t head_seen = seen_by_layer(report, layer);
            json_array_append_new(
                heads, head_seen > 0 ? json_real(retention_of(head_kept, head_seen)) : json_null());
            kept += head_kept;
            seen += head_seen;
        }
        json_array_append_new(layers, heads);
    }
    *layers_out = layers;
    return retention_of(kept, seen);
}

/* Bytes of rings and pages of each layer: of each of its KV heads the most pages it had, whenever
 * that was. */
static json_t *cache_bytes(const sl_engine_report *r)
{
    json_t *layers = json_array();
    for (uint32_t layer = 0; layer < r->shape->n_layers; layer++) {
        uint64_t pages = 0;
        for (uint32_t h = 0; h < r->shape->n_kv_heads; h++) pages += head_of(r, layer, h)->pages;
        uint64_t bytes = pages * r->page_bytes + ring_bytes(r, layer, 1);
        json_array_append_new(layers, json_integer((json_int_t)bytes));
    }
    return layers;
}

static json_t *rank_json(const sl_engine_report *r, uint32_t rank)
{
    const sl_ledger_row *row = &r->ledger[rank];
    sl_json_object object = sl_json_begin();
    sl_json_set_number(&object, "compute_s", seconds(row->compute_ns));
    sl_json_set_number(&object, "gate_s", seconds(row->gate_ns));
    sl_json_set_number(&object, "wait_s", seconds(row->wait_ns));
    sl_json_set_number(&object, "wire_s", seconds(row->wire_ns));
    sl_json_set_number(&object, "codec_s", seconds(row->codec_ns));
    sl_json_set_count(&object, "bytes_sent", row->bytes_sent);
    sl_json_set_count(&object, "planned_bytes", row->planned_bytes);
    sl_json_set_count(&object, "peak_bytes", peak_of(r, rank));
    sl_json_set_count(&object, "cache_bytes",
                      row->pages_peak * r->page_bytes + ring_bytes(r,
                                                                   r->plan->ranks[rank].first_layer,
                                                                   r->plan->ranks[rank].n_layers));
    return sl_json_end(&object);
}

json_t *sl_report_json(const sl_engine_report *report)
{
    json_t *ranks = json_array(), *retention;
    for (uint32_t i = 0; i < report->plan->n_ranks; i++)
        json_array_append_new(ranks, rank_json(report, i));
    double mean = sl_report_retention(report, &retention);
    const sl_driver_progress *p = &report->progress;
    sl_json_object object = sl_json_begin();
    sl_json_set_count(&object, "requests", p->requests_done);
    sl_json_set_count(&object, "failed", p->requests_failed);
    sl_json_set_count(&object, "at_once", p->requests_most);
    sl_json_set_count(&object, "prompt_tokens", p->prompt_tokens);
    sl_json_set_count(&object, "generated_tokens", p->generated_tokens);
    sl_json_set_count(&object, "restarts", p->restarts);
    sl_json_set_number(&object, "seconds", report->seconds);
    sl_json_set_number(&object, "tok_s", tokens_per_second(report));
    sl_json_set_text(&object, "model", report->unverified ? "unverified" : "verified");
    sl_json_set_text(&object, "policy", sl_policy_name(report->policy.kind));
    sl_json_set_number(&object, "retention_mean", mean);
    sl_json_set_item(&object, "retention", retention);
    sl_json_set_item(&object, "layer_cache_bytes", cache_bytes(report));
    sl_json_set_item(&object, "ranks", ranks);
    return sl_json_end(&object);
}

json_t *sl_report_real(double value) { return isnan(value) ? json_null() : json_real(value); }

/* Whether stdout is a person's terminal. A launcher may give its ranks a pseudoterminal, whose
 * bytes it passes on to a file as well. */
static bool is_shown(void) { return !sl_launcher_rank() && isatty(STDOUT_FILENO); }

sl_status sl_report_print(json_t *value)
{
    if (!value) {
        sl_error("cannot say the result as JSON: a name in it is no UTF-8, or there is no memory");
        return SL_ERR_MEMORY;
    }
    /* jansson escapes C0 alone, and names may hold other control characters */
    size_t flags = is_shown() ? JSON_ENSURE_ASCII : 0;
    json_dumpf(value, stdout, flags | JSON_REAL_PRECISION(9));
    json_decref(value);
    putchar('\n');
    return sl_process_flush_stdout();
}

void sl_report_text(const char *text, size_t bytes)
{
    if (is_shown())
        sl_plain_write(stdout, text, bytes);
    else
        fwrite(text, 1, bytes, stdout);
}
