/* launch/setup/rank0_command.c - see rank0_command.h. */
#include "launch/setup/rank0_command.h"

#include "launch/machine/process.h"
#include "launch/machine/ranks.h"

typedef struct {
    sl_status (*work)(const sl_settings *settings);
    const sl_settings *settings;
    sl_comm *comm;
} rank0_command;

static sl_status do_work(void *context)
{
    rank0_command *c = context;
    sl_status status = sl_comm_rank(c->comm) == 0 ? c->work(c->settings) : SL_OK;
    return sl_ranks_agree(c->comm, status);
}

int sl_rank0_command_run(sl_status (*work)(const sl_settings *settings),
                         const sl_settings *settings)
{
    rank0_command c = {.work = work, .settings = settings};
    sl_status status = sl_ranks_open(&c.comm);
    if (status != SL_OK) return sl_exit_code(status);
    status = sl_ranks_attend(c.comm, settings->peer_timeout_s, SL_SIGNAL_ENDS_JOB, do_work, &c);
    return sl_ranks_close(c.comm, sl_exit_code(status));
}
