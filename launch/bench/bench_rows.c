/* launch/bench/bench_rows.c - see bench_rows.h. */
#include "launch/bench/bench_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/json/json_object.h"
#include "launch/machine/process.h"
#include "launch/machine/version.h"
#include "runtime/base/log.h"

const char *sl_bench_test_name(sl_bench_test test)
{
    return test == SL_BENCH_PROMPT ? "prompt" : "decode";
}

uint32_t sl_bench_row_generates(const sl_bench_row *row, const sl_settings *settings)
{
    uint32_t frames = row->depth / settings->chunk + 2;
    return row->n + 1 + (row->n_sequences > 1 ? row->n_sequences * frames : 0);
}

/* ---- the list ---- */

static void add_rows(sl_bench_rows *rows, sl_bench_test test, const sl_counts *lengths)
{
    const sl_counts *depths = &rows->settings->depths;
    for (uint32_t d = 0; d < depths->n; d++) {
        for (uint32_t i = 0; i < lengths->n; i++) {
            uint32_t n = lengths->items[i], depth = depths->items[d];
            if (n == 0) continue;
            bool decodes = test == SL_BENCH_DECODE;
            sl_bench_row row = {.test = test, .n = n, .depth = depth, .n_sequences = 1};
            if (decodes) row.n_sequences = rows->settings->sequences;
            rows->items[rows->n++] = row;
            /* a sequence that is generated has at least one token of prompt */
            uint32_t generates = sl_bench_row_generates(&row, rows->settings);
            uint32_t length = decodes ? (depth ? depth : 1) + generates : depth + n;
            if (length > rows->longest) rows->longest = length;
        }
    }
}

sl_status sl_bench_rows_init(const sl_settings *settings, sl_bench_rows *rows)
{
    *rows = (sl_bench_rows){.settings = settings};
    size_t n_max = (size_t)settings->depths.n * (settings->prompts.n + settings->generates.n);
    rows->items = calloc(n_max, sizeof *rows->items);
    rows->tok_s = calloc(n_max * settings->repeat, sizeof *rows->tok_s);
    if (!rows->items || !rows->tok_s) {
        sl_bench_rows_fini(rows);
        return SL_ERR_MEMORY;
    }
    add_rows(rows, SL_BENCH_PROMPT, &settings->prompts);
    add_rows(rows, SL_BENCH_DECODE, &settings->generates);
    for (uint32_t i = 0; i < rows->n; i++)
        rows->items[i].tok_s = rows->tok_s + (size_t)i * settings->repeat;
    if (rows->n > 0) return SL_OK;
    sl_bench_rows_fini(rows);
    sl_error("nothing to measure: -p and -n are both 0");
    return SL_ERR_OPTION;
}

void sl_bench_rows_fini(sl_bench_rows *rows)
{
    free(rows->items);
    free(rows->tok_s);
    *rows = (sl_bench_rows){0};
}

void sl_bench_rows_place(sl_bench_rows *rows, const sl_engine *engine)
{
    rows->context = sl_engine_shape(engine)->context;
    rows->kernels = sl_engine_kernels(engine);
    rows->kv = sl_engine_kv(engine);
    rows->ranks = sl_engine_ranks(engine);
    rows->threads = sl_engine_threads(engine);
    rows->policy = *sl_engine_policy(engine);
    sl_cores_machine(rows->machine, sizeof rows->machine);
    sl_cores_binding(rows->binding, sizeof rows->binding);
}

/* ---- printing ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct {
    double least, median, most;
} spread;

static spread spread_of(const sl_bench_row *row)
{
    SL_ASSERT(row->n_done > 0);
    double *sorted = malloc(row->n_done * sizeof *sorted);
    if (!sorted) return (spread){0};
    memcpy(sorted, row->tok_s, row->n_done * sizeof *sorted);
    qsort(sorted, row->n_done, sizeof *sorted, compare_doubles);
    uint32_t n = row->n_done;
    spread s = {sorted[0], (sorted[(n - 1) / 2] + sorted[n / 2]) / 2, sorted[n - 1]};
    free(sorted);
    return s;
}

/* Beyond the context that the model was trained for its text makes no sense, but the speed
 * counts. */
static bool is_beyond(const sl_bench_rows *rows, const sl_bench_row *row)
{
    return row->depth + row->n > rows->context;
}

/* The share of the ranks' computing time that gates took. */
static double gate_share(const sl_bench_row *row)
{
    return row->compute_ns > 0 ? (double)row->gate_ns / (double)row->compute_ns : 0;
}

/* What a row was measured with. */
static json_t *conditions_json(const sl_bench_rows *rows)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "machine", rows->machine);
    sl_json_set_text(&object, "commit", sl_version());
    sl_json_set_text(&object, "kernels", rows->kernels);
    sl_json_set_integer(&object, "ranks", rows->ranks);
    sl_json_set_integer(&object, "threads", rows->threads);
    sl_json_set_text(&object, "binding", rows->binding);
    sl_json_set_text(&object, "model", rows->settings->model);
    sl_json_set_count(&object, "chunk", rows->settings->chunk);
    sl_json_set_text(&object, "codec", rows->settings->codec);
    sl_json_set_text(&object, "kv", rows->kv);
    sl_json_set_text(&object, "policy", sl_policy_name(rows->policy.kind));
    sl_json_set_count(&object, "sinks", rows->policy.sinks);
    sl_json_set_count(&object, "window", rows->policy.window);
    return sl_json_end(&object);
}

static json_t *row_json(const sl_bench_rows *rows, const sl_bench_row *row)
{
    json_t *all = json_array();
    for (uint32_t i = 0; i < row->n_done; i++) json_array_append_new(all, json_real(row->tok_s[i]));
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "test", sl_bench_test_name(row->test));
    sl_json_set_count(&object, "n", row->n);
    sl_json_set_count(&object, "depth", row->depth);
    sl_json_set_count(&object, "sequences", row->n_sequences);
    sl_json_set_number(&object, "tok_s", spread_of(row).median);
    sl_json_set_item(&object, "tok_s_all", all);
    sl_json_set_count(&object, "kv_bytes", row->kv_bytes);
    sl_json_set_count(&object, "peak_bytes", row->peak_bytes);
    sl_json_set_flag(&object, "beyond_context", is_beyond(rows, row));
    if (rows->policy.kind == SL_POLICY_GATE)
        sl_json_set_number(&object, "gate_share", gate_share(row));
    if (sl_policy_has_rate(rows->policy.kind))
        sl_json_set_number(&object, "keep", rows->policy.keep);
    if (rows->settings->profile)
        sl_json_set_item(&object, "profile", sl_bench_profile_json(&row->profile, &rows->peak));
    json_t *value = sl_json_end(&object);
    json_object_update_new(value, conditions_json(rows));
    return value;
}

json_t *sl_bench_rows_json(const sl_bench_rows *rows)
{
    json_t *items = json_array();
    for (uint32_t i = 0; i < rows->n; i++)
        json_array_append_new(items, row_json(rows, &rows->items[i]));
    sl_json_object object = sl_json_begin();
    sl_json_set_item(&object, "rows", items);
    sl_json_set_text(&object, "machine", rows->machine);
    sl_json_set_text(&object, "commit", sl_version());
    return sl_json_end(&object);
}

static void print_profile(const sl_bench_row *row, const sl_machine_peak *peak)
{
    char title[64];
    snprintf(title, sizeof title, "%s %u at depth %u", sl_bench_test_name(row->test), row->n,
             row->depth);
    sl_bench_profile_print(&row->profile, title, peak);
}

sl_status sl_bench_rows_print(const sl_bench_rows *rows)
{
    bool any_beyond = false;
    printf("%-7s %7s %7s  %10s %10s %10s  %9s %9s\n", "test", "n", "depth", "tok/s", "least",
           "most", "KV MB", "peak MB");
    for (uint32_t i = 0; i < rows->n; i++) {
        const sl_bench_row *row = &rows->items[i];
        spread s = spread_of(row);
        bool beyond = is_beyond(rows, row);
        any_beyond |= beyond;
        printf("%-7s %7u %6u%s  %10.2f %10.2f %10.2f  %9.1f %9.1f", sl_bench_test_name(row->test),
               row->n, row->depth, beyond ? "*" : " ", s.median, s.least, s.most,
               (double)row->kv_bytes / 1e6, (double)row->peak_bytes / 1e6);
        if (rows->policy.kind == SL_POLICY_GATE && row->test == SL_BENCH_PROMPT)
            printf("  gates %.1f%% of the time", 100 * gate_share(row));
        if (row->n_sequences > 1) printf("  %u sequences together", row->n_sequences);
        putchar('\n');
    }
    if (any_beyond) printf("* beyond the %u tokens the model was trained for\n", rows->context);
    printf("medians of %u; %s; %s kernels; ranks %d, threads %d each, cores %s; sluice %s\n",
           rows->settings->repeat, rows->machine, rows->kernels, rows->ranks, rows->threads,
           rows->binding, sl_version());
    for (uint32_t i = 0; rows->settings->profile && i < rows->n; i++)
        print_profile(&rows->items[i], &rows->peak);
    return sl_process_flush_stdout();
}
