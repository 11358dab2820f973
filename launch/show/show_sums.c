/* launch/show/show_sums.c - see show_sums.h. */
#include "launch/show/show_sums.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch/json/json_object.h"
#include "launch/machine/process.h"
#include "launch/output/report.h"
#include "launch/setup/model_setup.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/model/weights.h"

static sl_status compare(const sl_gguf *gguf, const char *path, const sl_sums *found,
                         const sl_sums *kept)
{
    char names[SL_SUM_NAMES_BYTES];
    bool *differs = calloc(found->n, sizeof *differs);
    if (!differs) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (uint32_t i = 0; i < found->n; i++) {
        char name[SL_SUM_NAME_BYTES];
        differs[i] = found->sums[i] != kept->sums[i];
        if (!differs[i]) continue;
        sl_sum_name(i, name);
        sl_error("%s: %s has sum %016" PRIx64 ", in %s it is %016" PRIx64, sl_gguf_path(gguf), name,
                 found->sums[i], path, kept->sums[i]);
        status = SL_ERR_FORMAT;
    }
    sl_sum_names(gguf, differs, found->n, names);
    free(differs);
    if (status == SL_OK)
        sl_info("%s is as %s says", sl_gguf_path(gguf), path);
    else
        sl_error(
            "%s is damaged or another, in %s: copy it again (or, if it was changed on purpose, "
            "remove %s)",
            sl_gguf_path(gguf), names, path);
    return status;
}

/* Models often lie where only some may write: the sums are on stdout in any case. */
static sl_status keep(const char *path, const char *text, size_t bytes)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    if (access(slash ? folder : ".", W_OK) != 0) {
        sl_warn("%s is not written: %s", path, strerror(errno));
        return SL_OK;
    }
    sl_status status = sl_file_replace(path, text, bytes);
    if (status != SL_OK) return status;
    sl_info("written to %s: jobs with %.*s compare what they load with it", path,
            (int)(strlen(path) - sizeof "sums"), path);
    return SL_OK;
}

static json_t *hex(uint64_t sum) { return json_sprintf("%016" PRIx64, sum); }

static sl_status print_json(const sl_gguf *gguf, const sl_sums *sums)
{
    json_t *groups = json_object();
    for (uint32_t i = 0; i < sums->n; i++) {
        char name[SL_SUM_NAME_BYTES];
        sl_sum_name(i, name);
        if (sums->sums[i] != 0) json_object_set_new(groups, name, hex(sums->sums[i]));
    }
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "path", sl_gguf_path(gguf));
    sl_json_set_item(&object, "header", hex(sums->header));
    sl_json_set_item(&object, "sums", groups);
    sl_json_set_item(&object, "model", hex(sl_sums_model(sums)));
    return sl_report_print(sl_json_end(&object));
}

static sl_status print_text(const char *text, size_t bytes)
{
    fwrite(text, 1, bytes, stdout);
    return sl_process_flush_stdout();
}

/* A copy that was cut off must not become what others are compared with. */
static sl_status check_holes(const char *path, const sl_gguf *gguf, const sl_sums *found)
{
    char names[SL_SUM_NAMES_BYTES];
    bool *holed = calloc(found->n, sizeof *holed);
    if (!holed) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    if (sl_sums_have_holes(gguf, found, holed)) {
        sl_sum_names(gguf, holed, found->n, names);
        sl_error("%s is not written: bytes of %s were never written (holes), in %s. It may be a "
                 "copy that was cut off: compare the sums printed here with another copy's; if the "
                 "zeros are meant, keep them under that name yourself",
                 path, sl_gguf_path(gguf), names);
        status = SL_ERR_FORMAT;
    }
    free(holed);
    return status;
}

static sl_status keep_sound(const char *path, const sl_gguf *gguf, const sl_sums *found,
                            const char *text, size_t bytes)
{
    sl_status status = check_holes(path, gguf, found);
    return status == SL_OK ? keep(path, text, bytes) : status;
}

static sl_status show(const sl_settings *s, const sl_gguf *gguf, const sl_sums *found,
                      sl_sums *kept)
{
    char path[PATH_MAX];
    size_t bytes = 0;
    bool named = sl_sums_path(gguf, path, sizeof path);
    char *text = sl_sums_text(gguf, found, &bytes);
    if (!text) return SL_ERR_MEMORY;
    sl_status there = sl_sums_load(gguf, kept);
    sl_status status = s->json ? print_json(gguf, found) : print_text(text, bytes);
    if (status == SL_OK) status = there;
    if (status == SL_OK) status = compare(gguf, path, found, kept);
    if (status == SL_END) status = named ? keep_sound(path, gguf, found, text, bytes) : SL_OK;
    free(text);
    return status;
}

sl_status sl_show_sums(const sl_settings *settings)
{
    sl_model_setup setup = {.model = settings->words[1], .settings = settings};
    sl_sums found = {0}, kept = {0};
    sl_status status = sl_model_setup_open(&setup, SL_SETUP_SHAPE);
    const uint32_t n_layers = setup.shape.n_layers;
    if (status == SL_OK) status = sl_sums_whole(setup.gguf, n_layers, &found);
    if (status == SL_OK) status = sl_sums_init(setup.gguf, n_layers, &kept);
    if (status == SL_OK) status = show(settings, setup.gguf, &found, &kept);
    sl_sums_fini(&kept);
    sl_sums_fini(&found);
    sl_model_setup_close(&setup);
    return status;
}
