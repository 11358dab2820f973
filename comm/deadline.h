/* comm/deadline.h - how long a peer has been silent, judged fairly.
 * Pure: told the time, keeps no clock. Private to comm. */
#ifndef SL_DEADLINE_H
#define SL_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t silent_ns;
    int64_t polled_ns; /* when it was last brought up to date */
} sl_silence;

/* One poll counts for at most this much silence. */
#define SL_SILENCE_POLL_MAX_NS ((int64_t)500000000)

sl_silence sl_silence_begin(int64_t now_ns);
/* After a poll at now_ns that did or did not hear the peer. Time running backwards counts 0. */
sl_silence sl_silence_after(sl_silence before, int64_t now_ns, bool heard);

#endif
