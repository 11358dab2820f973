/* launch/bench/bench_figure3.c - see bench_figure3.h. */
#include "launch/bench/bench_figure3.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/json/json_object.h"
#include "launch/machine/process.h"
#include "launch/machine/version.h"
#include "launch/output/picture.h"
#include "launch/output/report.h"
#include "runtime/base/log.h"
#include "runtime/base/numbers.h"

enum { CACHES = 2, WORDS_MAX = 40, PATH_BYTES = 1024 };

static const char *const CACHE_NAMES[CACHES] = {"full", "pruned"};

typedef struct {
    uint32_t n_tokens;
    bool measured; /* else the process said why not */
    bool beyond;   /* the context that the model was trained for */
    double tok_s;
    uint64_t peak_bytes, cache_bytes;
    json_t *row; /* as bench told it: machine, kernels, threads ... */
} point;

typedef struct {
    const sl_settings *settings;
    point *points; /* [prompts][CACHES] */
    FILE *csv;
} figure;

static double seconds_of(const point *p) { return p->measured ? p->n_tokens / p->tok_s : 0; }

/* ---- one point: a child of ours ---- */

typedef struct {
    char *words[WORDS_MAX + 1];
    size_t n;
    bool whole; /* there was memory for all */
} command;

static void add_word(command *c, const char *word)
{
    SL_ASSERT(c->n < WORDS_MAX);
    c->words[c->n] = strdup(word);
    c->whole = c->whole && c->words[c->n];
    c->n++;
}

static void add_text(command *c, const char *option, const char *value)
{
    add_word(c, option);
    add_word(c, value);
}

static void add_number(command *c, const char *option, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.17g", value);
    add_text(c, option, text);
}

static void add_policy(command *c, const sl_settings *s)
{
    if (s->gate) add_text(c, "--gate", s->gate);
    if (s->policy) add_text(c, "--policy", s->policy);
    if (s->keep > 0) add_number(c, "--keep", s->keep);
    if (s->sinks != SL_NOT_GIVEN) add_number(c, "--sinks", s->sinks);
    if (s->window != SL_NOT_GIVEN) add_number(c, "--window", s->window);
}

static command command_of(const sl_settings *s, uint32_t n_tokens, bool pruned)
{
    command c = {.whole = true};
    add_text(&c, "sluice", "bench");
    add_text(&c, "--model", s->model);
    add_number(&c, "--prompt", n_tokens);
    add_number(&c, "--n-tokens", 0);
    add_number(&c, "--repeat", s->repeat);
    add_number(&c, "--threads", s->threads);
    add_number(&c, "--chunk", s->chunk);
    add_text(&c, "--kv", s->kv);
    if (pruned)
        add_policy(&c, s);
    else
        add_text(&c, "--policy", "full");
    add_word(&c, "--json");
    add_word(&c, "--quiet");
    return c;
}

static void command_free(command *c)
{
    for (size_t i = 0; i < c->n; i++) free(c->words[i]);
}

/* Start ourselves again, stdout to a pipe that nobody else inherits. */
static sl_status start(command *c, pid_t *pid_out, FILE **output_out)
{
    int ends[2], error = ENOMEM;
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        sl_error("no pipe for a process of bench: %s", strerror(errno));
        return SL_ERR_FILE;
    }
    *output_out = c->whole ? fdopen(ends[0], "r") : NULL;
    if (*output_out) {
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        error = posix_spawn(pid_out, "/proc/self/exe", &actions, NULL, c->words, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (error == 0) return SL_OK;
    if (*output_out)
        fclose(*output_out);
    else
        close(ends[0]);
    sl_error("cannot start a process of bench: %s", strerror(error));
    return SL_ERR_FILE;
}

static void take_row(json_t *told, point *p)
{
    json_t *row = json_array_get(json_object_get(told, "rows"), 0);
    p->tok_s = json_number_value(json_object_get(row, "tok_s"));
    p->peak_bytes = (uint64_t)json_integer_value(json_object_get(row, "peak_bytes"));
    p->cache_bytes = (uint64_t)json_integer_value(json_object_get(row, "kv_bytes"));
    p->beyond = json_is_true(json_object_get(row, "beyond_context"));
    p->measured = p->tok_s > 0 && p->peak_bytes > 0;
    p->row = json_incref(row);
}

/* One that does not fit in memory is left out; other failures end it all. */
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
    if (ended == 0 && told) take_row(told, p);
    json_decref(told);
    if (p->measured) return SL_OK;
    sl_error("the %s cache at %u tokens could not be measured: see above", CACHE_NAMES[pruned],
             p->n_tokens);
    bool too_large = WIFEXITED(ended) && WEXITSTATUS(ended) == sl_exit_code(SL_ERR_MEMORY);
    return too_large ? SL_OK : SL_ERR_FILE;
}

/* ---- telling ---- */

static point *point_at(const figure *f, uint32_t i, int cache)
{
    return &f->points[i * CACHES + cache];
}

static const char *told(const point *p, const char *key)
{
    const char *text = json_string_value(json_object_get(p->row, key));
    return text ? text : "";
}

static sl_status put_csv(const figure *f, const point *p, int cache)
{
    fprintf(f->csv, "%u,%s,", p->n_tokens, CACHE_NAMES[cache]);
    if (p->measured)
        fprintf(f->csv, "%.6f,%.3f,%.3f,%.3f,%d,%s,%g,%s,%s,%lld,\"%s\",%s\n", seconds_of(p),
                p->tok_s, sl_megabytes(p->peak_bytes), sl_megabytes(p->cache_bytes), p->beyond,
                told(p, "policy"), json_number_value(json_object_get(p->row, "keep")),
                told(p, "kv"), told(p, "kernels"),
                (long long)json_integer_value(json_object_get(p->row, "threads")),
                told(p, "machine"), sl_version());
    else
        fputs(",,,,,,,,,,,\n", f->csv);
    if (fflush(f->csv) == 0) return SL_OK;
    sl_error("%s.csv: %s", f->settings->output, strerror(errno));
    return SL_ERR_FILE;
}

static sl_status open_csv(figure *f)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s.csv", f->settings->output);
    f->csv = fopen(path, "we");
    if (!f->csv) {
        sl_error("cannot write %s: %s", path, strerror(errno));
        return SL_ERR_FILE;
    }
    fputs(
        "tokens,cache,seconds,tok_s,peak_mb,cache_mb,beyond_context,policy,keep,kv,kernels,threads,"
        "machine,commit\n",
        f->csv);
    return SL_OK;
}

static json_t *figure_json(const figure *f)
{
    json_t *points = json_array();
    for (uint32_t i = 0; i < f->settings->prompts.n; i++)
        for (int cache = 0; cache < CACHES; cache++) {
            const point *p = point_at(f, i, cache);
            sl_json_object one = {p->row ? json_copy(p->row) : json_object()};
            sl_json_set_count(&one, "tokens", p->n_tokens);
            sl_json_set_text(&one, "cache", CACHE_NAMES[cache]);
            sl_json_set_item(&one, "seconds", p->measured ? json_real(seconds_of(p)) : json_null());
            json_array_append_new(points, sl_json_end(&one));
        }
    sl_json_object object = sl_json_begin();
    sl_json_set_item(&object, "points", points);
    sl_json_set_text(&object, "commit", sl_version());
    return sl_json_end(&object);
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
            if (!p->measured) {
                printf("%7u   %-6s %10s\n", p->n_tokens, CACHE_NAMES[cache], "no memory");
                continue;
            }
            printf("%7u%c  %-6s %10.3f %10.1f %10.1f %10.1f\n", p->n_tokens, p->beyond ? '*' : ' ',
                   CACHE_NAMES[cache], seconds_of(p), p->tok_s, sl_megabytes(p->peak_bytes),
                   sl_megabytes(p->cache_bytes));
        }
    if (any_beyond) printf("* beyond the context that the model was trained for\n");
    return sl_process_flush_stdout();
}

/* ---- the picture ---- */

static void put_number(FILE *plot, const point *p, double number)
{
    fprintf(plot, p->measured ? "%g " : "NaN ", number);
}

static void put_data(const figure *f, FILE *plot)
{
    fputs("$data << EOD\n", plot);
    for (uint32_t i = 0; i < f->settings->prompts.n; i++) {
        const point *full = point_at(f, i, 0), *pruned = point_at(f, i, 1);
        fprintf(plot, "%u ", full->n_tokens);
        put_number(plot, full, sl_megabytes(full->peak_bytes));
        put_number(plot, pruned, sl_megabytes(pruned->peak_bytes));
        put_number(plot, full, seconds_of(full));
        put_number(plot, pruned, seconds_of(pruned));
        fprintf(plot, "%d\n", full->beyond || pruned->beyond);
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
    sl_picture picture;
    snprintf(path, sizeof path, "%s.%s", f->settings->output, f->settings->format);
    sl_status status = sl_picture_begin(path, 900, 380, &picture);
    if (status != SL_OK) return status;
    FILE *plot = picture.script;
    put_data(f, plot);
    fputs("set multiplot layout 1,2\nset key top left\nset grid\nset logscale x 2\n"
          "set xlabel 'prompt, tokens'\nset xtics rotate by 30 right\nset yrange [0:]\n",
          plot);
    put_panel(plot, "peak memory of the process, MB", 2, 3);
    fputs("set yrange [*:*]\nset logscale y 2\n", plot);
    put_panel(plot, "time to read the prompt, seconds", 4, 5);
    return sl_picture_end(&picture, path);
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
            if (!p->measured) continue;
            sl_info("%u tokens, %s cache: %.2f s, peak %.0f MB", p->n_tokens, CACHE_NAMES[cache],
                    seconds_of(p), sl_megabytes(p->peak_bytes));
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
    if (strlen(settings->output) + sizeof ".csv" > PATH_BYTES) {
        sl_error("-o: the name is too long");
        return SL_ERR_OPTION;
    }
    if (!sl_picture_possible()) sl_warn("there is no gnuplot: numbers, but no picture");
    f.points = calloc((size_t)settings->prompts.n * CACHES, sizeof *f.points);
    if (!f.points) return SL_ERR_MEMORY;
    sl_status status = open_csv(&f);
    if (status == SL_OK) status = measure_all(&f);
    if (f.csv && fclose(f.csv) != 0 && status == SL_OK) {
        sl_error("cannot write %s.csv: %s", settings->output, strerror(errno));
        status = SL_ERR_FILE;
    }
    if (status == SL_OK)
        status = settings->json ? sl_report_print(figure_json(&f)) : print_figure(&f);
    if (status == SL_OK) status = draw(&f);
    for (uint32_t i = 0; i < settings->prompts.n * CACHES; i++) json_decref(f.points[i].row);
    free(f.points);
    return status;
}
