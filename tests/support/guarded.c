/* tests/support/guarded.c - a mapping whose last page has no rights. */
#include "tests/support/guarded.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/log.h"

void guarded_open(guarded *g, size_t bytes_max)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t usable = (bytes_max + page) / page * page;
    g->total_bytes = usable + page;
    g->pages = mmap(NULL, g->total_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                    0);
    SL_ASSERT(g->pages != MAP_FAILED);
    g->end = g->pages + usable;
    SL_ASSERT(mprotect(g->end, page, PROT_NONE) == 0);
}

void guarded_close(guarded *g) { munmap(g->pages, g->total_bytes); }

uint8_t *guarded_copy(guarded *g, const uint8_t *bytes, size_t n_bytes)
{
    SL_ASSERT(n_bytes <= (size_t)(g->end - g->pages));
    uint8_t *copy = g->end - n_bytes;
    if (n_bytes > 0) memcpy(copy, bytes, n_bytes);
    return copy;
}
