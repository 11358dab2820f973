/* sched/batching.h - which rows the next frame carries. A pure function of what is ready.
 *
 * Rules, in order:
 *  1. Nothing while frames_in_flight has reached frames_max.
 *  2. One row for each sequence whose next token is known, oldest first, but at most
 *     ceil(decoding / stages) of them, where `decoding` counts all sequences past their prompt,
 *     in flight or not: with one frame a stage, each carries its share and stages overlap. None
 *     while as many frames with such rows are in flight as there are stages: those that wait
 *     meanwhile go together, and weights are read once for all of them.
 *  3. Prompt tokens, oldest first, up to rows_max rows in all.
 * No rule takes more rows than rows_max, more spans than spans_max, or more head pages
 * (head_pages.h) than head_pages; what does not fit waits. So does a prompt that must go in one
 * piece. */
#ifndef SL_BATCHING_H
#define SL_BATCHING_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t prompt_tokens; /* not yet sent; 0: past its prompt */
    uint32_t end_pages;     /* head pages that taking all of them costs beside their own */
    bool whole;             /* all of them or none */
    bool row_ready;         /* past its prompt, and the next token is known */
} sl_batching_sequence;

typedef struct {
    uint32_t rows_max, spans_max;          /* of a frame: rows_max is the chunk */
    uint32_t stages;                       /* of the pipeline, at least 1 */
    uint32_t frames_in_flight, frames_max; /* sent and not back; how many may be */
    uint32_t decode_frames_in_flight;      /* those with rows of rule 2 */
    /* Sequences that are not in the list since they have nothing to send now: they count as
     * decoding too. */
    uint32_t unlisted;
    uint32_t head_pages; /* credit: sl_credit_head_pages_free, less forks */
} sl_batching_room;

typedef struct {
    uint32_t index; /* into the sequences */
    uint32_t n_tokens;
} sl_batching_pick;

/* Picks for the next frame, in rows' order, from sequences[n] given oldest first.
 * picks_out: [spans_max]. Returns how many; 0: nothing to send now. */
uint32_t sl_batching_next(const sl_batching_room *room, const sl_batching_sequence *sequences,
                          uint32_t n, sl_batching_pick *picks_out);

#endif
