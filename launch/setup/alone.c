/* launch/setup/alone.c - see alone.h. */
#include "launch/setup/alone.h"

#include "launch/machine/process.h"
#include "launch/machine/ranks.h"

typedef struct {
    sl_status (*work)(const sl_settings *settings);
    const sl_settings *settings;
    sl_comm *comm;
} alone;

static sl_status do_work(void *context)
{
    alone *a = context;
    sl_status status = sl_comm_rank(a->comm) == 0 ? a->work(a->settings) : SL_OK;
    return sl_ranks_agree(a->comm, status);
}

int sl_run_alone(sl_status (*work)(const sl_settings *settings), const sl_settings *settings)
{
    alone a = {.work = work, .settings = settings};
    sl_status status = sl_ranks_open(&a.comm);
    if (status != SL_OK) return sl_exit_code(status);
    status = sl_ranks_attend(a.comm, settings->peer_timeout_s, SL_SIGNAL_ENDS_JOB, do_work, &a);
    return sl_ranks_close(a.comm, sl_exit_code(status));
}
