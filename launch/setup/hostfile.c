/* launch/setup/hostfile.c - see hostfile.h. */
#include "launch/setup/hostfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/options/option.h"
#include "runtime/base/log.h"
#include "runtime/base/read_file.h"

typedef struct {
    const char *path;
    size_t line;
} place;

static sl_status bad(const place *at, const char *word, const char *what)
{
    sl_error("%s: line %zu: '%.40s' %s", at->path, at->line, word, what);
    return SL_ERR_FORMAT;
}

/* The N of key=N, from 1 on. */
static sl_status read_slots(const place *at, const char *word, uint32_t *out)
{
    const char *value = strchr(word, '=') + 1;
    char *end;
    unsigned long slots = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || slots < 1 || slots > SL_HOSTS_MAX)
        return bad(at, word, "is not slots=N with N from 1 to 4096");
    *out = (uint32_t)slots;
    return SL_OK;
}

static sl_status read_word(const place *at, const char *word, sl_host *host)
{
    uint32_t most;
    if (strncmp(word, "slots=", 6) == 0) return read_slots(at, word, &host->slots);
    if (strncmp(word, "max_slots=", 10) == 0 || strncmp(word, "max-slots=", 10) == 0)
        return read_slots(at, word, &most);
    return bad(at, word, "is neither slots=N nor max_slots=N");
}

static const char SPACES[] = " \t\r\f\v";

static sl_status read_comment(const place *at, char *comment, sl_host *host)
{
    char *rest;
    for (char *word = strtok_r(comment, SPACES, &rest); word;
         word = strtok_r(NULL, SPACES, &rest)) {
        if (strncmp(word, "memory=", 7) != 0) continue;
        if (!sl_option_size(word + 7, &host->memory) || host->memory == 0)
            return bad(at, word, "is not memory=SIZE, like 8G or 512M");
    }
    return SL_OK;
}

static sl_status read_line(const place *at, char *line, sl_host *host)
{
    char *comment = strchr(line, '#'), *rest;
    if (comment) *comment++ = '\0';
    char *name = strtok_r(line, SPACES, &rest);
    if (!name) return SL_END;
    if (strlen(name) >= sizeof host->name) return bad(at, name, "is too long for a host's name");
    *host = (sl_host){.slots = 1};
    snprintf(host->name, sizeof host->name, "%s", name);
    sl_status status = SL_OK;
    for (char *word; status == SL_OK && (word = strtok_r(NULL, SPACES, &rest));)
        status = read_word(at, word, host);
    return status == SL_OK && comment ? read_comment(at, comment, host) : status;
}

sl_status sl_hostfile_parse(const char *path, char *text, size_t bytes, sl_host **hosts_out,
                            size_t *n_out)
{
    place at = {path, 0};
    size_t n = 0;
    if (memchr(text, 0, bytes)) {
        sl_error("%s is no text: it has a zero byte", path);
        return SL_ERR_FORMAT;
    }
    sl_host *hosts = calloc(SL_HOSTS_MAX, sizeof *hosts);
    if (!hosts) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (char *line = text, *next; line && status == SL_OK; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        at.line++;
        if (n == SL_HOSTS_MAX) status = bad(&at, line, "is one host too many");
        if (status == SL_OK) status = read_line(&at, line, &hosts[n]);
        if (status == SL_OK) n++;
        if (status == SL_END) status = SL_OK;
    }
    if (status == SL_OK && n == 0) {
        sl_error("%s names no host", path);
        status = SL_ERR_FORMAT;
    }
    if (status != SL_OK) {
        free(hosts);
        return status;
    }
    *hosts_out = hosts;
    *n_out = n;
    return SL_OK;
}

sl_status sl_hostfile_read(const char *path, sl_host **hosts_out, size_t *n_out)
{
    char *text;
    size_t bytes;
    sl_status status = sl_read_text(path, &text, &bytes);
    if (status != SL_OK) return status;
    status = sl_hostfile_parse(path, text, bytes, hosts_out, n_out);
    free(text);
    return status;
}
