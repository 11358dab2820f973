/* launch/pipeline/driver_sequences.c - see driver_sequences.h. A slot's place in a list is
 * searched from the list's end, where it nearly always belongs. */
#include "launch/pipeline/driver_sequences.h"

typedef enum {
    BY_SLOT,
    BY_AGE, /* of the request, the oldest first; the slots of one request by slot */
    IN_ANY_ORDER,
} list_order;

static const list_order ORDERS[SL_SEQUENCE_STATES] = {
    [SL_SEQUENCE_FREE] = BY_SLOT,         /* requests get the first ones */
    [SL_SEQUENCE_OPENING] = BY_SLOT,      /* as controls stand in a frame */
    [SL_SEQUENCE_FORKING] = BY_SLOT,      /* likewise */
    [SL_SEQUENCE_FORK_POINT] = BY_SLOT,   /* likewise */
    [SL_SEQUENCE_PROMPT] = BY_AGE,        /* as sched/batching.h wants them */
    [SL_SEQUENCE_WAITING] = IN_ANY_ORDER, /* results name their slots */
    [SL_SEQUENCE_READY] = BY_AGE,         /* as sched/batching.h wants them */
    [SL_SEQUENCE_CLOSING] = BY_SLOT,      /* as controls stand in a frame */
};

static bool goes_before(const sl_driver_sequence *a, const sl_driver_sequence *b, list_order order)
{
    if (order == IN_ANY_ORDER) return false;
    if (order == BY_AGE && a->owner != b->owner) return a->owner->arrival < b->owner->arrival;
    return a < b;
}

static void insert(sl_list *list, sl_driver_sequence *s)
{
    sl_link *next = NULL, *before = list->last;
    while (before && goes_before(s, (sl_driver_sequence *)before, ORDERS[s->state])) {
        next = before;
        before = before->previous;
    }
    sl_list_insert_before(list, &s->link, next);
}

void sl_driver_sequences_init(uint32_t n, sl_arena *arena, sl_driver_sequences *out)
{
    *out = (sl_driver_sequences){.n = n, .slots = sl_arena_array(arena, sl_driver_sequence, n)};
    if (!out->slots) return; /* measuring */
    for (uint32_t i = 0; i < n; i++) {
        out->slots[i] = (sl_driver_sequence){.state = SL_SEQUENCE_FREE};
        insert(&out->lists[SL_SEQUENCE_FREE], &out->slots[i]);
    }
}

sl_driver_sequence *sl_driver_sequences_first(const sl_driver_sequences *all,
                                              sl_sequence_state state)
{
    return (sl_driver_sequence *)all->lists[state].first;
}

sl_driver_sequence *sl_driver_sequences_next(const sl_driver_sequence *s)
{
    return (sl_driver_sequence *)s->link.next;
}

uint32_t sl_driver_sequences_count(const sl_driver_sequences *all, sl_sequence_state state)
{
    return all->lists[state].n;
}

uint32_t sl_driver_sequences_slot(const sl_driver_sequences *all, const sl_driver_sequence *s)
{
    return (uint32_t)(s - all->slots);
}

void sl_driver_sequences_move(sl_driver_sequences *all, sl_driver_sequence *s,
                              sl_sequence_state state)
{
    sl_list_remove(&all->lists[s->state], &s->link);
    s->state = state;
    insert(&all->lists[state], s);
}
