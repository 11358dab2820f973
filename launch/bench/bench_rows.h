/* launch/bench/bench_rows.h - what `sluice bench` measures, row by row, and how rows are printed:
 * as a table and as JSON. Does not measure itself: cmd_bench.c fills the rows in. */
#ifndef SL_BENCH_ROWS_H
#define SL_BENCH_ROWS_H

#include <jansson.h>

#include "launch/bench/bench_profile.h"
#include "launch/bench/machine_peak.h"
#include "launch/machine/cores.h"
#include "launch/pipeline/engine.h"

typedef enum { SL_BENCH_PROMPT, SL_BENCH_DECODE } sl_bench_test;
const char *sl_bench_test_name(sl_bench_test test); /* "prompt", "decode" */

typedef struct {
    sl_bench_test test;
    uint32_t n, depth;           /* tokens measured, and in the cache before */
    uint32_t n_sequences;        /* that generate so many each, together; tok_s is of all */
    double *tok_s;               /* [settings->repeat] */
    uint32_t n_done;             /* of them */
    uint64_t kv_bytes;           /* K and V of the sequence at its end, all ranks */
    uint64_t peak_bytes;         /* resident size of the largest rank, the largest so far */
    int64_t compute_ns, gate_ns; /* of all its measurements; gates: on prompts */
    sl_bench_profile profile;    /* with --profile */
} sl_bench_row;

typedef struct {
    const sl_settings *settings;
    sl_bench_row *items; /* prompts, then decodes */
    uint32_t n;
    uint32_t longest; /* sequence any row needs, tokens */
    double *tok_s;    /* what the rows' point into */
    /* where and with what, filled in by sl_bench_rows_place */
    uint32_t context; /* the model's */
    char machine[SL_MACHINE_BYTES], binding[64];
    const char *kernels, *kv;
    int ranks, threads;
    sl_policy policy;
    sl_machine_peak peak; /* with --profile */
} sl_bench_rows;

/* Tokens that each of a row's sequences generates: those that are timed, one before them, and,
 * where there are several, those generated while others still read their prompts. */
uint32_t sl_bench_row_generates(const sl_bench_row *row, const sl_settings *settings);

/* A row for every (prompt, depth) and (n, depth) of the settings. SL_ERR_OPTION: none;
 * SL_ERR_MEMORY. Ended with sl_bench_rows_fini. */
sl_status sl_bench_rows_init(const sl_settings *settings, sl_bench_rows *rows);
void sl_bench_rows_fini(sl_bench_rows *rows);
void sl_bench_rows_place(sl_bench_rows *rows, const sl_engine *engine);

/* {"rows": [{"test", "n", "depth", "tok_s", "tok_s_all", "kv_bytes", "peak_bytes", ...}],
 * "machine", "commit"}: each row also says what it was measured with. The caller owns it. */
json_t *sl_bench_rows_json(const sl_bench_rows *rows);
/* A table on stdout. SL_ERR_FILE. */
sl_status sl_bench_rows_print(const sl_bench_rows *rows);

#endif
