/* tests/support/capture.c - stderr swapped for an unnamed file. */
#include "tests/support/capture.h"

#include <stdio.h>
#include <unistd.h>

#include "runtime/base/log.h"

void capture_begin(capture *c)
{
    FILE *file = tmpfile();
    SL_ASSERT(file);
    c->file_fd = dup(fileno(file));
    fclose(file);
    fflush(stderr);
    c->shown_fd = dup(STDERR_FILENO);
    SL_ASSERT(c->file_fd >= 0 && c->shown_fd >= 0);
    SL_ASSERT(dup2(c->file_fd, STDERR_FILENO) >= 0);
}

void capture_end(capture *c, char *out, size_t bytes_max)
{
    fflush(stderr);
    SL_ASSERT(dup2(c->shown_fd, STDERR_FILENO) >= 0);
    ssize_t n = pread(c->file_fd, out, bytes_max - 1, 0);
    out[n > 0 ? n : 0] = '\0';
    close(c->file_fd);
    close(c->shown_fd);
}
