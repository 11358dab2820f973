/* launch/pipeline/linked_list.c - see linked_list.h. */
#include "launch/pipeline/linked_list.h"

void sl_list_insert_before(sl_list *list, sl_link *link, sl_link *next)
{
    sl_link *previous = next ? next->previous : list->last;
    *link = (sl_link){.previous = previous, .next = next};
    *(previous ? &previous->next : &list->first) = link;
    *(next ? &next->previous : &list->last) = link;
    list->n++;
}

void sl_list_remove(sl_list *list, sl_link *link)
{
    *(link->previous ? &link->previous->next : &list->first) = link->next;
    *(link->next ? &link->next->previous : &list->last) = link->previous;
    list->n--;
}
