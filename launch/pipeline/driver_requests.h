/* launch/pipeline/driver_requests.h - the requests inside the driver: those that wait to be let in
 * and those that are active, each list with the oldest first.
 *
 * Every active request is older than every one that waits: requests are let in by age, and only the
 * youngest goes back. Whether one may be let in is decided elsewhere (driver_admission.c). */
#ifndef SL_DRIVER_REQUESTS_H
#define SL_DRIVER_REQUESTS_H

#include <stdbool.h>

#include "launch/openai/request.h"
#include "launch/pipeline/linked_list.h"
#include "runtime/base/arena.h"

typedef struct {
    sl_link link; /* first: see linked_list.h */
    sl_request *request;
    uint64_t arrival;   /* of two requests the older one has the smaller number */
    bool active;        /* it has slots */
    uint32_t n_left;    /* choices not finished */
    uint32_t n_forking; /* choices that have not forked from choice 0 yet */
} sl_driver_request;

typedef struct {
    uint32_t max;
    sl_list waiting, active, unused; /* of sl_driver_request */
    uint64_t n_arrived;
} sl_driver_requests;

/* Memory from the arena; a counting arena measures. */
void sl_driver_requests_init(uint32_t max, sl_arena *arena, sl_driver_requests *out);

/* The oldest or youngest of a list, or NULL. */
sl_driver_request *sl_driver_requests_oldest(const sl_list *list);
sl_driver_request *sl_driver_requests_youngest(const sl_list *list);
/* How many are inside. */
uint32_t sl_driver_requests_count(const sl_driver_requests *all);
/* NULL: it is not inside. */
sl_driver_request *sl_driver_requests_find(const sl_driver_requests *all,
                                           const sl_request *request);

/* A new one waits. Asserts that fewer than max are inside. */
void sl_driver_requests_add(sl_driver_requests *all, sl_request *request);
/* The oldest that waits becomes active. */
void sl_driver_requests_activate_oldest(sl_driver_requests *all);
/* The youngest that is active waits again, before all others. */
void sl_driver_requests_deactivate_youngest(sl_driver_requests *all);
void sl_driver_requests_remove(sl_driver_requests *all, sl_driver_request *r);

#endif
