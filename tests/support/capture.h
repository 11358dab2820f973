/* tests/support/capture.h - what a stretch of code writes to stderr, instead of showing it. */
#ifndef SL_TEST_CAPTURE_H
#define SL_TEST_CAPTURE_H

#include <stddef.h>

typedef struct {
    int shown_fd, file_fd;
} capture;

/* From here on stderr goes to a temporary file. */
void capture_begin(capture *c);
/* stderr is back; its first bytes_max - 1 bytes are in `out`, ended. */
void capture_end(capture *c, char *out, size_t bytes_max);

#endif
