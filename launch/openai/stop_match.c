/* launch/openai/stop_match.c - plain comparison over tail and piece. A token brings a few bytes and
 * there are at most 16 short strings, so an automaton would save nothing worth its code. */
#include "launch/openai/stop_match.h"

#include <string.h>

#include "runtime/base/log.h"

void sl_stop_match_init(sl_stop_match *match, const sl_text *stops, uint32_t n_stops)
{
    *match = (sl_stop_match){.stops = stops, .n_stops = n_stops};
    for (uint32_t i = 0; i < n_stops; i++) {
        SL_ASSERT(stops[i].bytes >= 1 && stops[i].bytes <= SL_STOP_BYTES_MAX);
        if (stops[i].bytes - 1 > match->keep_bytes) match->keep_bytes = stops[i].bytes - 1;
    }
}

/* The tail followed by text[bytes] holds `stop` at `start`, and some of it is in the text: what is
 * all in the tail was passed by. */
static bool stop_is_at(const sl_stop_match *match, sl_text stop, size_t start, const char *text,
                       size_t bytes)
{
    if (start + stop.bytes > match->n_tail + bytes || start + stop.bytes <= match->n_tail)
        return false;
    size_t in_tail = 0;
    if (start < match->n_tail) {
        in_tail = match->n_tail - start;
        if (in_tail > stop.bytes) in_tail = stop.bytes;
        if (memcmp(match->tail + start, stop.data, in_tail) != 0) return false;
    }
    const size_t rest = stop.bytes - in_tail;
    return rest == 0 ||
           memcmp(text + (start + in_tail - match->n_tail), stop.data + in_tail, rest) == 0;
}

static void remember(sl_stop_match *match, const char *text, size_t bytes)
{
    if (bytes > match->keep_bytes) {
        text += bytes - match->keep_bytes;
        bytes = match->keep_bytes;
    }
    size_t kept = match->keep_bytes - bytes;
    if (kept > match->n_tail) kept = match->n_tail;
    memmove(match->tail, match->tail + (match->n_tail - kept), kept);
    if (bytes > 0) memcpy(match->tail + kept, text, bytes);
    match->n_tail = kept + bytes;
}

bool sl_stop_match_feed(sl_stop_match *match, const char *text, size_t bytes, size_t *text_end_out)
{
    for (size_t start = 0; start < match->n_tail + bytes; start++)
        for (uint32_t i = 0; i < match->n_stops; i++)
            if (stop_is_at(match, match->stops[i], start, text, bytes)) {
                *text_end_out = match->fed_bytes - match->n_tail + start;
                return true;
            }
    sl_stop_match_pass(match, text, bytes);
    return false;
}

void sl_stop_match_pass(sl_stop_match *match, const char *text, size_t bytes)
{
    remember(match, text, bytes);
    match->fed_bytes += bytes;
}
