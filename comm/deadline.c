/* comm/deadline.c - silence is summed poll by poll, and a gap between two polls counts for
 * 500 ms at most: a process that was stopped or swapped out for a minute, and wakes to an
 * empty inbox it has not read yet, must blame itself and not its peer. A polling process
 * loses nothing by it, since it polls far more often than that. */
#include "comm/deadline.h"

sl_silence sl_silence_begin(int64_t now_ns)
{
    return (sl_silence){.silent_ns = 0, .polled_ns = now_ns};
}

sl_silence sl_silence_after(sl_silence before, int64_t now_ns, bool heard)
{
    if (heard) return sl_silence_begin(now_ns);
    int64_t elapsed_ns = now_ns - before.polled_ns;
    if (elapsed_ns < 0) elapsed_ns = 0;
    if (elapsed_ns > SL_SILENCE_POLL_MAX_NS) elapsed_ns = SL_SILENCE_POLL_MAX_NS;
    return (sl_silence){.silent_ns = before.silent_ns + elapsed_ns, .polled_ns = now_ns};
}
