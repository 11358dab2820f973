/* launch/report.c - the same numbers twice: for people on stderr, for programs on stdout. */
#include "launch/report.h"

#include <stdio.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"

static double seconds(int64_t ns) { return (double)ns / (double)SL_SECOND; }
static double megabytes(uint64_t bytes) { return (double)bytes / 1e6; }

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

void sl_report_tell(const sl_engine_report *report)
{
    const sl_driver_progress *p = &report->progress;
    sl_info(
        "%llu requests (%llu failed), %llu prompt and %llu generated tokens in %.2f s: %.1f tok/s",
        (unsigned long long)p->requests_done, (unsigned long long)p->requests_failed,
        (unsigned long long)p->prompt_tokens, (unsigned long long)p->generated_tokens,
        report->seconds, tokens_per_second(report));
    if (p->restarts > 0)
        sl_info("%llu restarts for lack of cache pages: more --memory or more ranks avoid them",
                (unsigned long long)p->restarts);
    sl_info("rank  layers  compute s   wait s   wire s  codec s   sent MB  planned MB  peak MB");
    for (uint32_t i = 0; i < report->ranks; i++) {
        const sl_ledger_row *row = &report->ledger[i];
        char layers[24];
        snprintf(layers, sizeof layers, "%u-%u", report->first_layer[i],
                 report->first_layer[i + 1] - 1);
        sl_info("%4u %7s %10.2f %8.2f %8.2f %8.2f %9.1f %11.1f %8.1f", row->rank, layers,
                seconds(row->compute_ns), seconds(row->wait_ns), seconds(row->wire_ns),
                seconds(row->codec_ns), megabytes(row->bytes_sent), megabytes(row->planned_bytes),
                megabytes(peak_of(report, i)));
    }
}

json_t *sl_report_json(const sl_engine_report *report)
{
    json_t *ranks = json_array();
    for (uint32_t i = 0; i < report->ranks; i++) {
        const sl_ledger_row *row = &report->ledger[i];
        json_array_append_new(
            ranks,
            json_pack("{s:f, s:f, s:f, s:f, s:I, s:I, s:I}", "compute_s", seconds(row->compute_ns),
                      "wait_s", seconds(row->wait_ns), "wire_s", seconds(row->wire_ns), "codec_s",
                      seconds(row->codec_ns), "bytes_sent", (json_int_t)row->bytes_sent,
                      "planned_bytes", (json_int_t)row->planned_bytes, "peak_bytes",
                      (json_int_t)peak_of(report, i)));
    }
    const sl_driver_progress *p = &report->progress;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:o}", "requests", (json_int_t)p->requests_done,
        "failed", (json_int_t)p->requests_failed, "prompt_tokens", (json_int_t)p->prompt_tokens,
        "generated_tokens", (json_int_t)p->generated_tokens, "restarts", (json_int_t)p->restarts,
        "seconds", report->seconds, "tok_s", tokens_per_second(report), "ranks", ranks);
}

sl_status sl_report_print(json_t *value)
{
    int failed = !value || json_dumpf(value, stdout, JSON_REAL_PRECISION(9)) != 0;
    json_decref(value);
    if (!failed && putchar('\n') != EOF && fflush(stdout) == 0) return SL_OK;
    sl_error("cannot write the result to stdout");
    return SL_ERR_FILE;
}
