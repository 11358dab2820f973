/* launch/pipeline/placing.h - a split in words. */
#ifndef SL_PLACING_H
#define SL_PLACING_H

#include <stddef.h>

#include "sched/placement.h"

/* The rank that decides how large the largest must be. */
uint32_t sl_placing_largest(const sl_placement_options *options, uint32_t context,
                            const uint32_t *first_layer);
enum { SL_PLACING_REASON_BYTES = 480 }; /* enough for it */
/* Why the split is as it is, in a sentence or two, without a newline. excess: sl_placement_split's. */
void sl_placing_reason(const sl_placement_options *options, uint32_t context,
                       const uint32_t *first_layer, uint64_t excess, char *out, size_t out_bytes);

#endif
