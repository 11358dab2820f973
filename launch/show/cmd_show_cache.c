/* launch/show/cmd_show_cache.c - `sluice show cache`: a prompt's eviction pattern, and attention
 * maps, as pictures and as numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/machine/process.h"
#include "launch/output/npy.h"
#include "launch/setup/rank0_command.h"
#include "launch/show/cache_pictures.h"
#include "launch/show/prompt_trace.h"
#include "launch/show/show_commands.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"

enum { PATH_BYTES = 1024 };

static void print_path(const char *path)
{
    sl_plain_room room;
    printf("%s\n", sl_plain_string(path, &room));
}

static sl_status name_of(const sl_settings *s, const char *what, const char *ending, char *out)
{
    int n = snprintf(out, PATH_BYTES, "%s%s.%s", s->output, what, ending);
    if (n < PATH_BYTES) return SL_OK;
    sl_error("-o: a name of %d bytes is too long", n);
    return SL_ERR_OPTION;
}

static sl_status save_fates(const sl_settings *s, const sl_prompt_trace *trace)
{
    char path[PATH_BYTES];
    size_t dims[] = {trace->setup.shape.n_layers, trace->setup.shape.n_kv_heads, trace->tokens.n};
    sl_status status = name_of(s, "", "npy", path);
    if (status == SL_OK) status = sl_npy_write_u8(path, dims, 3, trace->fates);
    if (status == SL_OK) status = name_of(s, "", s->format, path);
    if (status == SL_OK) status = sl_picture_fates(trace, path);
    if (status == SL_OK) print_path(path);
    return status;
}

static sl_status save_maps(const sl_settings *s, const sl_prompt_trace *trace)
{
    char path[PATH_BYTES];
    size_t n = trace->tokens.n, dims[] = {s->layers.n, trace->setup.shape.n_heads, n, n};
    sl_status status = name_of(s, ".attention", "npy", path);
    if (status == SL_OK) status = sl_npy_write_f32(path, dims, 4, trace->attention);
    dims[1] = trace->gate_heads;
    if (status == SL_OK) status = name_of(s, ".gate", "npy", path);
    if (status == SL_OK && trace->gate) status = sl_npy_write_f32(path, dims, 4, trace->gate);
    if (status == SL_OK) status = name_of(s, ".maps", s->format, path);
    if (status == SL_OK) status = sl_picture_maps(trace, &s->layers, path);
    if (status == SL_OK) print_path(path);
    return status;
}

static sl_status show(const sl_settings *s)
{
    sl_prompt_trace trace;
    sl_status status = sl_prompt_trace_take(s, &trace);
    if (status == SL_OK) {
        sl_info("%zu tokens: policy %s kept %.1f%% of the %u that left sinks and window",
                trace.tokens.n, sl_policy_name(trace.setup.policy.kind),
                100 * sl_prompt_trace_retention(&trace),
                sl_policy_eligible(&trace.setup.policy, (uint32_t)trace.tokens.n));
        status = save_fates(s, &trace);
    }
    if (status == SL_OK && s->layers.n > 0) status = save_maps(s, &trace);
    sl_prompt_trace_close(&trace);
    return status;
}

static int show_cache_command(sl_settings *settings)
{
    const sl_settings *s = settings;
    bool known = strcmp(s->format, "png") == 0 || strcmp(s->format, "svg") == 0;
    if (!s->model || !s->output || (s->prompt == NULL) == (s->file == NULL) || !known) {
        sl_error("show cache needs -m MODEL, -o NAME, a prompt (-p TEXT or -f FILE), and --format "
                 "png or svg");
        return SL_EXIT_USAGE;
    }
    return sl_rank0_command_run(show, settings);
}

static const sl_option MAPS[] = {
    {"layers", 0, "N,...", NULL, "draw attention maps of these layers",
     SL_SETS_COUNTS(layers, 0, 1023)},
    {0},
};

const sl_command sl_cmd_show_cache = {
    .name = "show cache",
    .summary = "draw what is evicted of a prompt, and what is looked at",
    .usage = "-m MODEL (-p TEXT | -f FILE) -o NAME",
    .about =
        "Read a prompt and draw, for each KV head, which layer evicts which token: NAME.png, "
        "and the numbers (0 evicted, 1 kept, 2 sink, window or sliding layer) as NAME.npy "
        "[layer][kv_head][token]. With --layers also attention maps, the model's beside the "
        "gate's: NAME.maps.png, NAME.attention.npy and NAME.gate.npy [layer][head][query][key].",
    .examples =
        "  sluice show cache -m model.gguf -g gate.gguf -p 'Once upon a time' -o once\n"
        "  sluice show cache -m model.gguf --policy snapkv --keep 0.25 --window 8 -f prompt.txt "
        "-o p --layers 0,14,29\n",
    .groups = {sl_options_model, sl_options_picture_name, sl_options_prompt, MAPS,
               sl_options_picture_format, sl_options_threads, sl_options_policy, sl_options_sinks,
               sl_options_window, sl_options_talk},
    .run = show_cache_command,
};
