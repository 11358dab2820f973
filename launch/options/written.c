/* launch/options/written.c - see written.h. */
#include "launch/options/written.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/file.h"
#include "runtime/base/log.h"

/* An option as it is typed. */
typedef struct {
    char text[40];
} typed;

static typed typed_as(const sl_option *option)
{
    typed out;
    if (option->letter)
        snprintf(out.text, sizeof out.text, "-%c", option->letter);
    else
        snprintf(out.text, sizeof out.text, "--%s", option->name);
    return out;
}

/* Of an option that names a file, so that its setting is a text. */
static const char *text_of(const sl_settings *settings, const sl_option *option)
{
    SL_ASSERT(option->file != SL_FILE_NONE);
    return *(const char *const *)(const void *)((const char *)settings + option->offset);
}

void sl_written_note(const sl_option *option, sl_settings *settings)
{
    if (option->file != SL_FILE_WRITTEN && option->file != SL_FILE_WRITTEN_AFTER_GATE) return;
    if (!text_of(settings, option)) return;
    SL_ASSERT(settings->n_written < SL_WRITTEN_MAX);
    settings->written[settings->n_written++] = option;
}

bool sl_written_second(const sl_option *option, const char *text, char *out, size_t out_bytes)
{
    const char *goes = option->instead ? option->instead : "";
    size_t bytes = strlen(text);
    const size_t goes_bytes = strlen(goes);
    if (bytes > goes_bytes && strcmp(text + bytes - goes_bytes, goes) == 0) bytes -= goes_bytes;
    return snprintf(out, out_bytes, "%.*s%s", (int)bytes, text, option->beside) < (int)out_bytes;
}

static sl_status check_first(const char *written, const char *written_name, const char *name,
                             const char *path)
{
    if (!sl_file_same(path, written)) return SL_OK;
    sl_error("%s %s is the file of %s %s: give another %s", name, path, written_name, written,
             written_name);
    return SL_ERR_OPTION;
}

static sl_status check_second(const sl_option *option, const char *written,
                              const char *written_name, const char *name, const char *path)
{
    char second[PATH_MAX];
    if (!option->beside || !sl_written_second(option, written, second, sizeof second) ||
        !sl_file_same(path, second))
        return SL_OK;
    sl_error("%s %s is the file %s, which %s %s writes, too: give another %s", name, path, second,
             written_name, written, written_name);
    return SL_ERR_OPTION;
}

sl_status sl_written_check(const sl_settings *settings, const char *name, const char *path)
{
    sl_status status = SL_OK;
    for (uint32_t i = 0; i < settings->n_written && status == SL_OK; i++) {
        const sl_option *option = settings->written[i];
        const char *written = text_of(settings, option);
        const typed as = typed_as(option);
        const bool read_before = option->file == SL_FILE_WRITTEN_AFTER_GATE &&
                                 strcmp(name, "-g") == 0;
        if (!read_before) status = check_first(written, as.text, name, path);
        if (status == SL_OK) status = check_second(option, written, as.text, name, path);
    }
    return status;
}

sl_status sl_written_check_option(const sl_settings *settings, const sl_option *option)
{
    if (option->file != SL_FILE_READ && option->file != SL_FILE_LIST_READ) return SL_OK;
    const char *at = text_of(settings, option);
    typed name = typed_as(option);
    if (option->file == SL_FILE_READ && at) return sl_written_check(settings, name.text, at);
    sl_status status = SL_OK;
    while (option->file == SL_FILE_LIST_READ && at && status == SL_OK) {
        char path[PATH_MAX];
        size_t bytes = strcspn(at, ",");
        snprintf(path, sizeof path, "%.*s", (int)bytes, at);
        status = sl_written_check(settings, name.text, path);
        at = at[bytes] ? at + bytes + 1 : NULL;
    }
    return status;
}
