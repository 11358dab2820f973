/* sched/batching.c - a frame filled by the rules of batching.h, each with its own loop. */
#include "sched/batching.h"

#include "runtime/base/log.h"
#include "runtime/base/numbers.h"
#include "sched/credit.h"
#include "sched/head_pages.h"

static const sl_batching_sequence ROW = {0}; /* a decoded row costs its own page alone */

/* What is left of the frame while it fills. */
typedef struct {
    uint32_t rows, spans, head_pages;
    sl_batching_pick *picks;
    uint32_t n_picks;
} filling;

/* As many of `wanted` tokens of a sequence as fit; false when none do. */
static bool pick(filling *f, uint32_t index, uint32_t wanted, const sl_batching_sequence *s)
{
    uint32_t n_tokens = sl_min_u32(wanted, f->rows);
    n_tokens = (uint32_t)sl_min_u64((uint64_t)f->head_pages * SL_HEAD_PAGE_TOKENS, n_tokens);
    uint64_t pages = sl_credit_tokens_pages(n_tokens) + (n_tokens == wanted ? s->end_pages : 0);
    if (n_tokens == 0 || f->spans == 0 || pages > f->head_pages) return false;
    if (s->whole && n_tokens < wanted) return false;
    f->rows -= n_tokens;
    f->spans--;
    f->head_pages -= (uint32_t)pages;
    f->picks[f->n_picks++] = (sl_batching_pick){.index = index, .n_tokens = n_tokens};
    return true;
}

static uint32_t count_decoding(const sl_batching_sequence *sequences, uint32_t n)
{
    uint32_t decoding = 0;
    for (uint32_t i = 0; i < n; i++) decoding += sequences[i].prompt_tokens == 0;
    return decoding;
}

uint32_t sl_batching_next(const sl_batching_room *room, const sl_batching_sequence *sequences,
                          uint32_t n, sl_batching_pick *picks_out)
{
    SL_ASSERT(room->stages > 0);
    if (room->frames_in_flight >= room->frames_max) return 0;
    filling f = {.rows = room->rows_max,
                 .spans = room->spans_max,
                 .head_pages = room->head_pages,
                 .picks = picks_out};

    uint32_t decoding = room->unlisted + count_decoding(sequences, n);
    uint32_t share = decoding / room->stages + (decoding % room->stages != 0);
    if (room->decode_frames_in_flight >= room->stages) share = 0;
    for (uint32_t i = 0; i < n && f.n_picks < share; i++) {
        SL_ASSERT(!sequences[i].row_ready || sequences[i].prompt_tokens == 0);
        if (sequences[i].row_ready && !pick(&f, i, 1, &ROW)) break;
    }
    for (uint32_t i = 0; i < n; i++)
        if (sequences[i].prompt_tokens > 0 &&
            !pick(&f, i, sequences[i].prompt_tokens, &sequences[i]))
            break;
    return f.n_picks;
}
