/* launch/options/option.c - text becomes the value of a setting, or a message that says what was
 * expected. */
#include "launch/options/option.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"

static sl_status expected(const char *source, const char *value, const char *what)
{
    sl_error("%s: '%s' is not %s", source, value, what);
    return SL_ERR_OPTION;
}

static bool is_whole(const sl_option *option)
{
    return option->kind == SL_OPTION_COUNT || option->kind == SL_OPTION_COUNTS;
}

/* `place` is a uint32_t where the option is whole, else a double. */
static sl_status set_number(const sl_option *option, const char *source, const char *value,
                            void *place)
{
    char *end, what[96];
    errno = 0;
    double number = strtod(value, &end);
    snprintf(what, sizeof what, "%s from %.10g to %.10g",
             is_whole(option) ? "a whole number" : "a number", option->least, option->most);
    if (end == value || *end || errno || !(number >= option->least && number <= option->most))
        return expected(source, value, what);
    if (!is_whole(option)) {
        *(double *)place = number;
        return SL_OK;
    }
    if (number != floor(number) || number > UINT32_MAX) return expected(source, value, what);
    *(uint32_t *)place = (uint32_t)number;
    return SL_OK;
}

/* `place` is an sl_counts where the option is whole, else an sl_rates. */
static sl_status set_list(const sl_option *option, const char *source, const char *value,
                          void *place)
{
    bool whole = is_whole(option);
    sl_counts *counts = place;
    sl_rates *rates = place;
    char item[32], what[96];
    snprintf(what, sizeof what, "up to %d %s from %.10g to %.10g with commas between",
             SL_COUNTS_MAX, whole ? "whole numbers" : "numbers", option->least, option->most);
    uint32_t *n = whole ? &counts->n : &rates->n;
    *n = 0;
    for (const char *at = value;; at++) {
        size_t bytes = strcspn(at, ",");
        if (*n == SL_COUNTS_MAX || bytes >= sizeof item) return expected(source, value, what);
        snprintf(item, sizeof item, "%.*s", (int)bytes, at);
        void *slot = whole ? (void *)&counts->items[*n] : (void *)&rates->items[*n];
        sl_status status = set_number(option, source, item, slot);
        if (status != SL_OK) return status;
        ++*n;
        at += bytes;
        if (!*at) return SL_OK;
    }
}

static sl_status set_seed(const char *source, const char *value, uint64_t *seed_out)
{
    char *end;
    errno = 0;
    *seed_out = strtoull(value, &end, 0);
    return end == value || *end || errno ? expected(source, value, "a whole number") : SL_OK;
}

bool sl_option_size(const char *text, uint64_t *bytes_out)
{
    static const char UNITS[] = "KMGT";
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    const char *unit = *end ? strchr(UNITS, toupper((unsigned char)*end)) : NULL;
    for (const char *u = UNITS; unit && u <= unit; u++) number *= 1024;
    bool is_size = end != text && !errno && (!*end || (unit && !end[1]));
    if (!is_size || !(number >= 0 && number <= 1e15)) return false;
    *bytes_out = (uint64_t)number;
    return true;
}

sl_status sl_option_set(const sl_option *option, const char *source, const char *value,
                        sl_settings *settings)
{
    void *place = (char *)settings + option->offset;
    switch (option->kind) {
    case SL_OPTION_TEXT: *(const char **)place = value; return SL_OK;
    case SL_OPTION_FLAG: *(bool *)place = value == NULL || strcmp(value, "0") != 0; return SL_OK;
    case SL_OPTION_COUNT:
    case SL_OPTION_REAL: return set_number(option, source, value, place);
    case SL_OPTION_COUNTS:
    case SL_OPTION_REALS: return set_list(option, source, value, place);
    case SL_OPTION_SEED: return set_seed(source, value, place);
    case SL_OPTION_SIZE:
        return sl_option_size(value, place) ? SL_OK
                                            : expected(source, value, "a size like 512M or 8G");
    }
    return SL_ERR_OPTION;
}
