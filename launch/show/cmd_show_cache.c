/* launch/show/cmd_show_cache.c - `sluice show cache`: a prompt's eviction pattern, and attention maps, as
 * pictures and as numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/output/npy.h"
#include "launch/pipeline/engine.h"
#include "launch/setup/alone.h"
#include "launch/show/cache_pictures.h"
#include "launch/show/look.h"
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

static sl_status save_fates(const sl_settings *s, const sl_look *look)
{
    char path[PATH_BYTES];
    size_t dims[] = {look->shape.n_layers, look->shape.n_kv_heads, look->tokens.n};
    sl_status status = name_of(s, "", "npy", path);
    if (status == SL_OK) status = sl_npy_write_u8(path, dims, 3, look->fates);
    if (status == SL_OK) status = name_of(s, "", s->format, path);
    if (status == SL_OK) status = sl_picture_fates(look, path);
    if (status == SL_OK) print_path(path);
    return status;
}

static sl_status save_maps(const sl_settings *s, const sl_look *look)
{
    char path[PATH_BYTES];
    size_t n = look->tokens.n, dims[] = {s->layers.n, look->shape.n_heads, n, n};
    sl_status status = name_of(s, ".attention", "npy", path);
    if (status == SL_OK) status = sl_npy_write_f32(path, dims, 4, look->attention);
    dims[1] = look->gate_heads;
    if (status == SL_OK) status = name_of(s, ".gate", "npy", path);
    if (status == SL_OK && look->gate) status = sl_npy_write_f32(path, dims, 4, look->gate);
    if (status == SL_OK) status = name_of(s, ".maps", s->format, path);
    if (status == SL_OK) status = sl_picture_maps(look, &s->layers, path);
    if (status == SL_OK) print_path(path);
    return status;
}

static sl_status show(const sl_settings *s)
{
    sl_look look;
    sl_status status = sl_look_take(s, &look);
    if (status == SL_OK) {
        sl_info("%zu tokens: policy %s kept %.1f%% of the %u that left sinks and window",
                look.tokens.n, sl_policy_name(look.policy.kind), 100 * sl_look_retention(&look),
                sl_policy_eligible(&look.policy, (uint32_t)look.tokens.n));
        status = save_fates(s, &look);
    }
    if (status == SL_OK && s->layers.n > 0) status = save_maps(s, &look);
    sl_look_close(&look);
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
    return sl_run_alone(show, settings);
}

const sl_command_entry sl_cmd_show_cache = {
    .command = SL_COMMAND_SHOW_CACHE,
    .name = "show cache",
    .summary = "draw what is evicted of a prompt, and what is looked at",
    .usage = "-m MODEL (-p TEXT | -f FILE) -o NAME",
    .about = "Read a prompt and draw, for each KV head, which layer evicts which token: NAME.png, "
             "and the numbers (0 evicted, 1 kept, 2 sink or window) as NAME.npy "
             "[layer][kv_head][token]. With --layers also attention maps, the model's beside the "
             "gate's: NAME.maps.png, NAME.attention.npy and NAME.gate.npy "
             "[layer][head][query][key].",
    .examples =
        "  sluice show cache -m model.gguf -g gate.gguf -p 'Once upon a time' -o once\n"
        "  sluice show cache -m model.gguf --policy snapkv --keep 0.25 --window 8 -f prompt.txt "
        "-o p --layers 0,14,29\n",
    .run = show_cache_command,
};
