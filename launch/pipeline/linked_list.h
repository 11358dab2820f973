/* launch/pipeline/linked_list.h - a doubly linked list whose links lie in the things it lists.
 *
 * A thing has its sl_link as first member, so a pointer to the link is a pointer to the thing. It
 * is in one list at a time, and who moves it knows in which. The list owns nothing. */
#ifndef SL_LINKED_LIST_H
#define SL_LINKED_LIST_H

#include <stdint.h>

typedef struct sl_link {
    struct sl_link *previous, *next; /* NULL at the ends */
} sl_link;

/* All zero is an empty list. */
typedef struct {
    sl_link *first, *last;
    uint32_t n;
} sl_list;

/* next: a link of this list; NULL puts the new one at the end. */
void sl_list_insert_before(sl_list *list, sl_link *link, sl_link *next);
void sl_list_remove(sl_list *list, sl_link *link);

#endif
