/* launch/bench/bench_compare.c - see bench_compare.h. */
#include "launch/bench/bench_compare.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/json/json_object.h"
#include "launch/machine/process.h"
#include "launch/output/report.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/base/read_file.h"

/* A different value of these makes a ratio mean something else. */
static const char *const WITH[] = {"machine", "kernels", "ranks",    "threads", "binding",
                                   "model",   "chunk",   "codec",    "kv",      "policy",
                                   "sinks",   "window",  "sequences"};

enum { MEASURES_MIN = 3 };

static bool are_speeds(const json_t *all)
{
    for (size_t i = 0; i < json_array_size(all); i++)
        if (!(json_number_value(json_array_get(all, i)) > 0)) return false;
    return json_array_size(all) > 0;
}

static sl_status load(const char *path, json_t **rows_out, json_t **file_out)
{
    char *text;
    size_t bytes;
    sl_status status = sl_read_text(path, &text, &bytes);
    if (status != SL_OK) return status;
    json_error_t error;
    json_t *file = json_loadb(text, bytes, 0, &error);
    free(text);
    if (!file) {
        sl_error("%s: line %d: %s", path, error.line, error.text);
        return SL_ERR_FORMAT;
    }
    json_t *rows = json_object_get(file, "rows");
    bool good = json_array_size(rows) > 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        good &= json_is_string(json_object_get(row, "test")) &&
                json_is_integer(json_object_get(row, "n")) &&
                json_is_integer(json_object_get(row, "depth")) &&
                json_number_value(json_object_get(row, "tok_s")) > 0 &&
                are_speeds(json_object_get(row, "tok_s_all"));
    }
    if (!good) {
        sl_error("%s: no results of sluice bench --json", path);
        json_decref(file);
        return SL_ERR_FORMAT;
    }
    *rows_out = rows;
    *file_out = file;
    return SL_OK;
}

static const json_t *find_row(const json_t *rows, const json_t *like)
{
    static const char *const KEYS[] = {"test", "n", "depth"};
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        bool same = true;
        for (int k = 0; k < 3; k++)
            same &= json_equal(json_object_get(row, KEYS[k]), json_object_get(like, KEYS[k]));
        if (same) return row;
    }
    return NULL;
}

static void warn_of_differences(const json_t *a, const json_t *b)
{
    for (size_t i = 0; i < sizeof WITH / sizeof *WITH; i++) {
        const json_t *x = json_object_get(a, WITH[i]), *y = json_object_get(b, WITH[i]);
        if (!x || !y || json_equal(x, y)) continue;
        char *text_x = json_dumps(x, JSON_ENCODE_ANY), *text_y = json_dumps(y, JSON_ENCODE_ANY);
        sl_warn("%s differs: %s and %s", WITH[i], text_x ? text_x : "?", text_y ? text_y : "?");
        free(text_x);
        free(text_y);
    }
}

static void range_of(const json_t *row, double *least, double *most)
{
    const json_t *all = json_object_get(row, "tok_s_all");
    *least = *most = json_number_value(json_array_get(all, 0));
    for (size_t i = 1; i < json_array_size(all); i++) {
        double value = json_number_value(json_array_get(all, i));
        if (value < *least) *least = value;
        if (value > *most) *most = value;
    }
}

static json_t *compare_rows(const json_t *a, const json_t *b)
{
    double least_a, most_a, least_b, most_b;
    range_of(a, &least_a, &most_a);
    range_of(b, &least_b, &most_b);
    /* a few measures may lie apart by chance */
    bool enough = json_array_size(json_object_get(a, "tok_s_all")) >= MEASURES_MIN &&
                  json_array_size(json_object_get(b, "tok_s_all")) >= MEASURES_MIN;
    double x = json_number_value(json_object_get(a, "tok_s"));
    double y = json_number_value(json_object_get(b, "tok_s"));
    sl_json_object object = sl_json_begin();
    sl_json_set_item(&object, "test", json_incref(json_object_get(a, "test")));
    sl_json_set_item(&object, "n", json_incref(json_object_get(a, "n")));
    sl_json_set_item(&object, "depth", json_incref(json_object_get(a, "depth")));
    sl_json_set_number(&object, "a", x);
    sl_json_set_number(&object, "b", y);
    sl_json_set_number(&object, "ratio", y / x);
    sl_json_set_flag(&object, "differs", enough && (least_a > most_b || least_b > most_a));
    return sl_json_end(&object);
}

static sl_status print_table(const json_t *rows)
{
    printf("%-7s %7s %7s  %10s %10s  %6s\n", "test", "n", "depth", "A tok/s", "B tok/s", "B / A");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *test = json_string_value(json_object_get(row, "test"));
        sl_plain_room room;
        bool differs = json_is_true(json_object_get(row, "differs"));
        printf(
            "%-7s %7lld %7lld  %10.2f %10.2f  %6.3f%s\n", sl_plain_string(test ? test : "?", &room),
            json_integer_value(json_object_get(row, "n")),
            json_integer_value(json_object_get(row, "depth")),
            json_real_value(json_object_get(row, "a")), json_real_value(json_object_get(row, "b")),
            json_real_value(json_object_get(row, "ratio")), differs ? "" : "  (may be chance)");
    }
    return sl_process_flush_stdout();
}

sl_status sl_bench_compare(const sl_settings *settings, const char *path_a, const char *path_b)
{
    json_t *rows_a, *rows_b, *file_a, *file_b;
    sl_status status = load(path_a, &rows_a, &file_a);
    if (status != SL_OK) return status;
    status = load(path_b, &rows_b, &file_b);
    if (status != SL_OK) {
        json_decref(file_a);
        return status;
    }
    warn_of_differences(json_array_get(rows_a, 0), json_array_get(rows_b, 0));
    json_t *rows = json_array();
    for (size_t i = 0; i < json_array_size(rows_a); i++) {
        const json_t *a = json_array_get(rows_a, i), *b = find_row(rows_b, a);
        if (b) json_array_append_new(rows, compare_rows(a, b));
    }
    size_t n_both = json_array_size(rows);
    if (n_both == 0) {
        sl_error("%s and %s have no row in common", path_a, path_b);
        status = SL_ERR_FORMAT;
    } else if (n_both < json_array_size(rows_a) || n_both < json_array_size(rows_b))
        sl_warn("%zu of %zu and %zu rows are in both", n_both, json_array_size(rows_a),
                json_array_size(rows_b));
    if (status == SL_OK && settings->json)
        status = sl_report_print(json_pack("{s:O}", "rows", rows));
    else if (status == SL_OK)
        status = print_table(rows);
    json_decref(rows);
    json_decref(file_a);
    json_decref(file_b);
    return status;
}
