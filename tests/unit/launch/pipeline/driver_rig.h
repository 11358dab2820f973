/* tests/unit/launch/pipeline/driver_rig.h - a driver, and in place of ranks a pipeline that only
 * counts. It keeps every sequence's tokens, draws a token that depends on all of them and on the
 * seed, and reports the pages that are used. So what a request must get is known beforehand,
 * whatever the driver does on the way (driver_expected.h). For the files of test_driver only. */
#ifndef SL_TEST_DRIVER_RIG_H
#define SL_TEST_DRIVER_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "launch/pipeline/driver.h"
#include "runtime/cache/cache.h"
#include "tests/support/seeded.h"
#include "tests/support/tiny_model.h"

enum { CONTEXT = 600, SLOTS_ROOM = 6, FRAMES_ROOM = 6, RANKS_ROOM = 3, PAGE = 64 };

typedef struct {
    uint32_t chunk, slots, frames, ranks, head_pages, expected, sinks, window;
} rig_shape;
extern const rig_shape ROOMY;

typedef struct {
    bool open;
    uint64_t seed;
    uint32_t n, shared_pages;
    int32_t tokens[CONTEXT];
} slot;

typedef struct {
    sl_driver *driver;
    sl_driver_options options;
    sl_plan plan;
    sl_plan_rank ranks[RANKS_ROOM];
    void *storage;
    size_t bytes;
    sl_frame frames[FRAMES_ROOM]; /* ring of those under way */
    uint64_t n_sent, n_back;
    slot slots[SLOTS_ROOM];
    uint32_t n_stops, n_opens, n_closes, most_decoding, most_under_way, n_reported;
    size_t n_read;      /* of a prompt, as the watch was last told */
    const char *script; /* the letters drawn after a prompt of one token, '$' ends; or NULL */
    seeded random;
} rig;

/* Before and after a group of tests: the model whose tokenizer all rigs use. */
int rig_model_open(void **state);
int rig_model_close(void **state);

rig *rig_open(const rig_shape *s, uint64_t seed);
void rig_close(rig *r);

/* The next frame, applied; NULL: none now. */
sl_frame *rig_send(rig *r);
void rig_receive(rig *r);
/* As much as can be done without new requests. */
void rig_run(rig *r);
/* The job ends, as it must; the rig is closed. */
void rig_stop(rig *r);
uint32_t rig_under_way(const rig *r);

/* The token that follows these n. */
int32_t rig_draw(const rig *r, const int32_t *tokens, uint32_t n, uint64_t seed);
float rig_logprob_of(uint32_t position, int32_t token);
/* Pages of one head that hold so many tokens. */
uint32_t rig_pages_of(const rig *r, uint32_t n_tokens);
void rig_add_result(sl_frame *f, sl_result_kind kind, uint32_t sequence, uint32_t position,
                    int32_t token);

/* The groups of tests, each in the file of its name; they return how many failed. */
int driver_pages_tests(void);
int driver_ends_tests(void);
int driver_any_job_tests(void);

#endif
