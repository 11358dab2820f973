/* launch/pipeline/driver_requests.c - see driver_requests.h. */
#include "launch/pipeline/driver_requests.h"

#include "runtime/base/log.h"

void sl_driver_requests_init(uint32_t max, sl_arena *arena, sl_driver_requests *out)
{
    *out = (sl_driver_requests){.max = max};
    sl_driver_request *requests = sl_arena_array(arena, sl_driver_request, max);
    if (!requests) return; /* measuring */
    for (uint32_t i = 0; i < max; i++) sl_list_insert_before(&out->unused, &requests[i].link, NULL);
}

sl_driver_request *sl_driver_requests_oldest(const sl_list *list)
{
    return (sl_driver_request *)list->first;
}

sl_driver_request *sl_driver_requests_youngest(const sl_list *list)
{
    return (sl_driver_request *)list->last;
}

uint32_t sl_driver_requests_count(const sl_driver_requests *all)
{
    return all->waiting.n + all->active.n;
}

static sl_driver_request *find_in(const sl_list *list, const sl_request *request)
{
    for (sl_link *at = list->first; at; at = at->next) {
        sl_driver_request *r = (sl_driver_request *)at;
        if (r->request == request) return r;
    }
    return NULL;
}

sl_driver_request *sl_driver_requests_find(const sl_driver_requests *all, const sl_request *request)
{
    sl_driver_request *r = find_in(&all->active, request);
    return r ? r : find_in(&all->waiting, request);
}

void sl_driver_requests_add(sl_driver_requests *all, sl_request *request)
{
    sl_driver_request *r = (sl_driver_request *)all->unused.first;
    SL_ASSERT(r);
    sl_list_remove(&all->unused, &r->link);
    *r = (sl_driver_request){
        .request = request, .arrival = all->n_arrived++, .n_left = request->n_choices};
    sl_list_insert_before(&all->waiting, &r->link, NULL);
}

void sl_driver_requests_activate_oldest(sl_driver_requests *all)
{
    sl_driver_request *r = sl_driver_requests_oldest(&all->waiting);
    sl_list_remove(&all->waiting, &r->link);
    sl_list_insert_before(&all->active, &r->link, NULL);
    r->active = true;
}

void sl_driver_requests_deactivate_youngest(sl_driver_requests *all)
{
    sl_driver_request *r = sl_driver_requests_youngest(&all->active);
    sl_list_remove(&all->active, &r->link);
    sl_list_insert_before(&all->waiting, &r->link, all->waiting.first);
    r->active = false;
}

void sl_driver_requests_remove(sl_driver_requests *all, sl_driver_request *r)
{
    sl_list_remove(r->active ? &all->active : &all->waiting, &r->link);
    sl_list_insert_before(&all->unused, &r->link, all->unused.first);
}
