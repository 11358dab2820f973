/* launch/setup/hostfile.h - hosts a job would run on, from the file that mpirun takes:
 *   NAME [slots=N] [max_slots=N]     # memory=SIZE
 * `#` begins a comment; in it, memory=SIZE (8G, 512M) is what the host has, which mpirun passes
 * over. */
#ifndef SL_HOSTFILE_H
#define SL_HOSTFILE_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/base/status.h"

enum { SL_HOST_NAME_BYTES = 64, SL_HOSTS_MAX = 4096 };

typedef struct {
    char name[SL_HOST_NAME_BYTES];
    uint32_t slots;  /* ranks; 1 unless the file says */
    uint64_t memory; /* bytes, for all its ranks; 0: the file does not say */
} sl_host;

/* hosts_out: the caller frees it. SL_ERR_FILE, SL_ERR_FORMAT (with the line), SL_ERR_MEMORY:
 * logged. */
sl_status sl_hostfile_read(const char *path, sl_host **hosts_out, size_t *n_out);
/* The same over text that is zero-terminated beyond its bytes; `path` is for messages. */
sl_status sl_hostfile_parse(const char *path, char *text, size_t bytes, sl_host **hosts_out,
                            size_t *n_out);

#endif
