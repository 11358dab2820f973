/* runtime/base/skipped.h - parts of a file that are left out: the first few are warned about one by
 * one, the others by their number. */
#ifndef SL_SKIPPED_H
#define SL_SKIPPED_H

#include <stdint.h>

typedef struct {
    const char *path, *part; /* as warnings name them: part is "line" or "record" */
    uint64_t n;
} sl_skipped;

/* Part `number` is left out; why: what is wrong with it. */
void sl_skip(sl_skipped *skipped, uint64_t number, const char *why);
/* The file was read: how many there were beyond those named. */
void sl_skipped_end(const sl_skipped *skipped);

#endif
