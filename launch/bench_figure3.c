/* launch/bench_figure3.c - see bench_figure3.h. */
#include "launch/bench_figure3.h"

#include <errno.h>
#include <jansson.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/picture.h"
#include "launch/report.h"
#include "launch/version.h"
#include "runtime/base/log.h"

enum { CACHES = 2, WORDS_MAX = 40, PATH_BYTES = 1024 };

static const char *const CACHE_NAMES[CACHES] = {"full", "pruned"};

typedef struct {
    uint32_t n_tokens;
    bool measured, beyond; /* the context that the model was trained for */
    double tok_s;
    uint64_t peak_bytes, cache_bytes;
} point;

typedef struct {
    const sl_settings *settings;
    point *points; /* [prompts][CACHES] */
    FILE *csv;
} figure;

static double seconds_of(const point *p) { return p->n_tokens / p->tok_s; }
static double mb_of(uint64_t bytes) { return (double)bytes / 1e6; }

/* ---- one point: a child of ours ---- */

typedef struct {
    char *words[WORDS_MAX + 1];
    size_t n;
} command;

/* An option and its value, printed. */
__attribute__((format(printf, 3, 4))) static void add(command *c, const char *option,
                                                      const char *format, ...)
{
    char value[PATH_BYTES];
    va_list list;
    va_start(list, format);
    vsnprintf(value, sizeof value, format, list);
    va_end(list);
    SL_ASSERT(c->n + 2 <= WORDS_MAX);
    c->words[c->n++] = strdup(option);
    c->words[c->n++] = strdup(value);
}

static void add_policy(command *c, const sl_settings *s)
{
    if (s->gate) add(c, "--gate", "%s", s->gate);
    if (s->policy) add(c, "--policy", "%s", s->policy);
    if (s->keep > 0) add(c, "--keep", "%.17g", s->keep);
    if (s->sinks != SL_NOT_GIVEN) add(c, "--sinks", "%u", s->sinks);
    if (s->window != SL_NOT_GIVEN) add(c, "--window", "%u", s->window);
}

static command command_of(const sl_settings *s, uint32_t n_tokens, bool pruned)
{
    command c = {0};
    add(&c, "sluice", "bench");
    add(&c, "--model", "%s", s->model);
    add(&c, "--prompt", "%u", n_tokens);
    add(&c, "--n-tokens", "0");
    add(&c, "--repeat", "%u", s->repeat);
    add(&c, "--threads", "%u", s->threads);
    add(&c, "--chunk", "%u", s->chunk);
    add(&c, "--kv", "%s", s->kv);
    if (pruned)
        add_policy(&c, s);
    else
        add(&c, "--policy", "full");
    add(&c, "--json", "--quiet");
    return c;
}

static void command_free(command *c)
{
    for (size_t i = 0; i < c->n; i++) free(c->words[i]);
}

/* Start ourselves again, stdout to a pipe. */
static sl_status start(command *c, pid_t *pid_out, FILE **output_out)
{
    int ends[2], error;
    posix_spawn_file_actions_t actions;
    if (pipe(ends) != 0) {
        sl_error("no pipe for a process of bench: %s", strerror(errno));
        return SL_ERR_FILE;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    error = posix_spawn(pid_out, "/proc/self/exe", &actions, NULL, c->words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *output_out = error == 0 ? fdopen(ends[0], "r") : NULL;
    if (*output_out) return SL_OK;
    close(ends[0]);
    sl_error("cannot start a process of bench: %s", strerror(error ? error : errno));
    return SL_ERR_FILE;
}

static sl_status take_row(const json_t *told, point *p)
{
    const json_t *row = json_array_get(json_object_get(told, "rows"), 0);
    p->tok_s = json_number_value(json_object_get(row, "tok_s"));
    p->peak_bytes = (uint64_t)json_integer_value(json_object_get(row, "peak_bytes"));
    p->cache_bytes = (uint64_t)json_integer_value(json_object_get(row, "kv_bytes"));
    p->beyond = json_is_true(json_object_get(row, "beyond_context"));
    p->measured = p->tok_s > 0 && p->peak_bytes > 0;
    return p->measured ? SL_OK : SL_ERR_FORMAT;
}

static sl_status measure(const sl_settings *s, bool pruned, point *p)
{
    pid_t pid;
    FILE *output;
    int ended = -1;
    command c = command_of(s, p->n_tokens, pruned);
    sl_status status = start(&c, &pid, &output);
    command_free(&c);
    if (status != SL_OK) return status;
    json_t *told = json_loadf(output, 0, NULL);
    fclose(output);
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR) continue;
    status = ended == 0 && told ? take_row(told, p) : SL_ERR_FILE;
    json_decref(told);
    if (status != SL_OK)
        sl_error("the %s cache at %u tokens could not be measured: see above", CACHE_NAMES[pruned],
                 p->n_tokens);
    return status;
}

/* ---- telling ---- */

static point *point_at(const figure *f, uint32_t i, int cache)
{
    return &f->points[i * CACHES + cache];
}

static sl_status put_csv(const figure *f, const point *p, int cache)
{
    fprintf(f->csv, "%u,%s,%.6f,%.3f,%.3f,%.3f,%d\n", p->n_tokens, CACHE_NAMES[cache],
            seconds_of(p), p->tok_s, mb_of(p->peak_bytes), mb_of(p->cache_bytes), p->beyond);
    if (fflush(f->csv) == 0) return SL_OK;
    sl_error("%s.csv: %s", f->settings->output, strerror(errno));
    return SL_ERR_FILE;
}

static sl_status open_csv(figure *f)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s.csv", f->settings->output);
    f->csv = fopen(path, "w");
    if (!f->csv) {
        sl_error("cannot write %s: %s", path, strerror(errno));
        return SL_ERR_FILE;
    }
    fputs("tokens,cache,seconds,tok_s,peak_mb,cache_mb,beyond_context\n", f->csv);
    return SL_OK;
}

static json_t *figure_json(const figure *f)
{
    json_t *points = json_array();
    for (uint32_t i = 0; i < f->settings->prompts.n; i++)
        for (int cache = 0; cache < CACHES; cache++) {
            const point *p = point_at(f, i, cache);
            json_array_append_new(
                points, json_pack("{s:i, s:s, s:f, s:f, s:I, s:I, s:b}", "tokens", (int)p->n_tokens,
                                  "cache", CACHE_NAMES[cache], "seconds", seconds_of(p), "tok_s",
                                  p->tok_s, "peak_bytes", (json_int_t)p->peak_bytes, "cache_bytes",
                                  (json_int_t)p->cache_bytes, "beyond_context", (int)p->beyond));
        }
    return json_pack("{s:o, s:s}", "points", points, "commit", sl_version());
}

static sl_status print_figure(const figure *f)
{
    bool any_beyond = false;
    printf("%8s  %-6s %10s %10s %10s %10s\n", "tokens", "cache", "seconds", "tok/s", "peak MB",
           "cache MB");
    for (uint32_t i = 0; i < f->settings->prompts.n; i++)
        for (int cache = 0; cache < CACHES; cache++) {
            const point *p = point_at(f, i, cache);
            any_beyond |= p->beyond;
            printf("%7u%c  %-6s %10.3f %10.1f %10.1f %10.1f\n", p->n_tokens, p->beyond ? '*' : ' ',
                   CACHE_NAMES[cache], seconds_of(p), p->tok_s, mb_of(p->peak_bytes),
                   mb_of(p->cache_bytes));
        }
    if (any_beyond) printf("* beyond the context that the model was trained for\n");
    return fflush(stdout) == 0 ? SL_OK : SL_ERR_FILE;
}

/* ---- the picture ---- */

static void put_data(const figure *f, FILE *plot)
{
    fputs("$data << EOD\n", plot);
    for (uint32_t i = 0; i < f->settings->prompts.n; i++) {
        const point *full = point_at(f, i, 0), *pruned = point_at(f, i, 1);
        fprintf(plot, "%u %g %g %g %g %d\n", full->n_tokens, mb_of(full->peak_bytes),
                mb_of(pruned->peak_bytes), seconds_of(full), seconds_of(pruned), full->beyond);
    }
    fputs("EOD\n", plot);
}

/* Both caches over the lengths; a ring marks what is beyond the training. */
static void put_panel(FILE *plot, const char *title, int full, int pruned)
{
    fprintf(plot,
            "set ylabel '%s'\n"
            "plot $data using 1:%d with linespoints lw 2 pt 7 lc rgb '#33415c' title 'full cache', "
            "'' using 1:%d with linespoints lw 2 pt 7 lc rgb '#d1495b' title 'pruned', "
            "'' using ($6 > 0 ? $1 : 1/0):%d with points pt 6 ps 2 lc rgb '#33415c' "
            "title 'beyond the training', "
            "'' using ($6 > 0 ? $1 : 1/0):%d with points pt 6 ps 2 lc rgb '#d1495b' notitle\n",
            title, full, pruned, full, pruned);
}

static sl_status draw(const figure *f)
{
    char path[PATH_BYTES];
    FILE *plot;
    snprintf(path, sizeof path, "%s.%s", f->settings->output, f->settings->format);
    sl_status status = sl_picture_begin(path, 900, 380, &plot);
    if (status != SL_OK) return status;
    put_data(f, plot);
    fputs("set multiplot layout 1,2\nset key top left\nset grid\nset logscale x 2\n"
          "set xlabel 'prompt, tokens'\nset xtics rotate by 30 right\nset yrange [0:]\n",
          plot);
    put_panel(plot, "peak memory of the process, MB", 2, 3);
    fputs("set yrange [*:*]\nset logscale y 2\n", plot);
    put_panel(plot, "time to read the prompt, seconds", 4, 5);
    return sl_picture_end(plot, path);
}

/* ---- the command ---- */

static sl_status measure_all(figure *f)
{
    const sl_settings *s = f->settings;
    sl_status status = SL_OK;
    for (uint32_t i = 0; i < s->prompts.n && status == SL_OK; i++) {
        for (int cache = 0; cache < CACHES && status == SL_OK; cache++) {
            point *p = point_at(f, i, cache);
            p->n_tokens = s->prompts.items[i];
            status = measure(s, cache == 1, p);
            if (status != SL_OK) break;
            status = put_csv(f, p, cache);
            sl_info("%u tokens, %s cache: %.2f s, peak %.0f MB", p->n_tokens, CACHE_NAMES[cache],
                    seconds_of(p), mb_of(p->peak_bytes));
        }
    }
    return status;
}

sl_status sl_bench_figure3(const sl_settings *settings)
{
    figure f = {.settings = settings};
    if (!settings->model || !settings->output || (!settings->gate && !settings->policy)) {
        sl_error("bench figure3 needs -m MODEL, -o NAME, and what to compare the full cache with: "
                 "-g GATE or --policy NAME");
        return SL_ERR_OPTION;
    }
    f.points = calloc((size_t)settings->prompts.n * CACHES, sizeof *f.points);
    if (!f.points) return SL_ERR_MEMORY;
    sl_status status = open_csv(&f);
    if (status == SL_OK) status = measure_all(&f);
    if (f.csv && fclose(f.csv) != 0 && status == SL_OK) status = SL_ERR_FILE;
    if (status == SL_OK)
        status = settings->json ? sl_report_print(figure_json(&f)) : print_figure(&f);
    if (status == SL_OK) status = draw(&f);
    free(f.points);
    return status;
}
