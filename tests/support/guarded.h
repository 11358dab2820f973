/* tests/support/guarded.h - bytes that end where memory ends: reading one too far is a fault,
 * also in libraries that no sanitizer has seen. */
#ifndef SL_TEST_GUARDED_H
#define SL_TEST_GUARDED_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *pages, *end; /* `end` is the first byte that cannot be touched */
    size_t total_bytes;
} guarded;

/* Room for up to bytes_max. */
void guarded_open(guarded *g, size_t bytes_max);
void guarded_close(guarded *g);
/* A copy of the bytes that ends at the end; it lasts until the next. */
uint8_t *guarded_copy(guarded *g, const uint8_t *bytes, size_t n_bytes);

#endif
