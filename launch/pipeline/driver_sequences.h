/* launch/pipeline/driver_sequences.h - the slots of the pipeline's sequences, and for each state
 * that a slot can be in the list of those that are.
 *
 * The lists are kept in the order in which frames carry what is in them, so who fills a frame just
 * walks them. When a slot changes its state is decided elsewhere. */
#ifndef SL_DRIVER_SEQUENCES_H
#define SL_DRIVER_SEQUENCES_H

#include "launch/openai/stop_match.h"
#include "launch/pipeline/driver_requests.h"

typedef enum {
    SL_SEQUENCE_FREE,
    SL_SEQUENCE_OPENING,    /* its OPEN goes with the next frame */
    SL_SEQUENCE_FORKING,    /* waits until choice 0 has read the prompt but its last token */
    SL_SEQUENCE_FORK_POINT, /* is choice 0 and has read so far: the others fork from it now */
    SL_SEQUENCE_PROMPT,     /* has prompt tokens to send */
    SL_SEQUENCE_WAITING,    /* for what the last stage makes of what was sent */
    SL_SEQUENCE_READY,      /* has a generated token to send */
    SL_SEQUENCE_CLOSING,    /* its CLOSE goes with the next frame */
    SL_SEQUENCE_STATES
} sl_sequence_state;

typedef struct {
    sl_link link;             /* first: see linked_list.h */
    sl_sequence_state state;  /* set by sl_driver_sequences_move only */
    sl_driver_request *owner; /* NULL: free or closing */
    uint32_t choice;          /* of the owner's */
    uint32_t n_sent;          /* tokens of it sent down the pipeline */
    int32_t next_token;       /* the one that READY has to send */
    uint64_t first_frame;     /* results of older frames are a former owner's */
    sl_stop_match stop;
    sl_decode_state decode;
} sl_driver_sequence;

typedef struct {
    uint32_t n;
    sl_driver_sequence *slots;         /* [n] */
    sl_list lists[SL_SEQUENCE_STATES]; /* of slots */
} sl_driver_sequences;

/* All free. Memory from the arena; a counting arena measures. */
void sl_driver_sequences_init(uint32_t n, sl_arena *arena, sl_driver_sequences *out);

/* The first in a state and the one after another in its list, or NULL. */
sl_driver_sequence *sl_driver_sequences_first(const sl_driver_sequences *all,
                                              sl_sequence_state state);
sl_driver_sequence *sl_driver_sequences_next(const sl_driver_sequence *s);
uint32_t sl_driver_sequences_count(const sl_driver_sequences *all, sl_sequence_state state);
/* Which slot it is: how frames name it. */
uint32_t sl_driver_sequences_slot(const sl_driver_sequences *all, const sl_driver_sequence *s);

/* Change a slot's state. Its owner is already the one it has in the new state. */
void sl_driver_sequences_move(sl_driver_sequences *all, sl_driver_sequence *s,
                              sl_sequence_state state);

#endif
