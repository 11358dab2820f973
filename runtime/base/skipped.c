/* runtime/base/skipped.c - see skipped.h. */
#include "runtime/base/skipped.h"

#include "runtime/base/log.h"

enum { NAMED = 5 };

void sl_skip(sl_skipped *skipped, uint64_t number, const char *why)
{
    if (skipped->n++ < NAMED)
        sl_warn("%s, %s %llu is skipped: %s", skipped->path, skipped->part,
                (unsigned long long)number, why);
}

void sl_skipped_end(const sl_skipped *skipped)
{
    if (skipped->n > NAMED)
        sl_warn("%s: %llu %ss are skipped, of which %d are named above", skipped->path,
                (unsigned long long)skipped->n, skipped->part, NAMED);
}
