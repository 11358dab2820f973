/* runtime/base/mapping.h - which files are mapped where. A mapped file that is cut, or whose disk fails,
 * kills the process with SIGBUS at some later load; who handles that asks here for the name. */
#ifndef SL_MAPPING_H
#define SL_MAPPING_H

#include <stddef.h>

/* Remember a mapping until sl_mapping_forget; `path` stays the caller's and valid until then. Beyond
 * some tens of mappings at once, further ones are not remembered. */
void sl_mapping_note(const void *begin, size_t bytes, const char *path);
void sl_mapping_forget(const void *begin);

/* The file mapped at this address, or NULL. Async-signal-safe. */
const char *sl_mapping_at(const void *address);

#endif
