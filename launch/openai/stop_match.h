/* launch/openai/stop_match.h - finds stop strings in text that arrives piece by piece.
 * Remembers no more of the text than a stop string can reach back to; allocates nothing. */
#ifndef SL_STOP_MATCH_H
#define SL_STOP_MATCH_H

#include "launch/openai/request.h"

typedef struct {
    const sl_text *stops; /* lent: they outlive the match */
    uint32_t n_stops;
    size_t keep_bytes; /* the longest stop but one byte */
    size_t fed_bytes;
    size_t n_tail;
    char tail[SL_STOP_BYTES_MAX - 1]; /* the last n_tail of the bytes fed */
} sl_stop_match;

/* Stops of 1 .. SL_STOP_BYTES_MAX bytes; none is fine. */
void sl_stop_match_init(sl_stop_match *match, const sl_text *stops, uint32_t n_stops);

/* The next piece of the text. true when a stop string is in what was fed so far: *text_end_out is
 * then where in the whole text the match that starts first begins, and nothing more is fed. */
bool sl_stop_match_feed(sl_stop_match *match, const char *text, size_t bytes, size_t *text_end_out);
/* The next piece of a text that must not end yet: what ends in it is no match, later ones may begin
 * in it. */
void sl_stop_match_pass(sl_stop_match *match, const char *text, size_t bytes);

#endif
