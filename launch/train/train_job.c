/* launch/train/train_job.c - see train_job.h. */
#include "launch/train/train_job.h"

#include <stdlib.h>
#include <string.h>

#include "launch/machine/cores.h"
#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "runtime/base/log.h"

typedef struct {
    sl_train_job *job;
    sl_status (*work)(void *context);
    void *context;
} job_work;

static void close_job(sl_train_job *job)
{
    if (job->log) fclose(job->log);
    free(job->tokens);
    sl_train_texts_close(job->texts);
    sl_model_setup_close(&job->setup);
}

static sl_status do_work(void *context)
{
    const job_work *w = context;
    sl_status status = w->work(w->context);
    close_job(w->job);
    return status;
}

int sl_train_job_run(const sl_settings *settings, sl_train_job *job,
                     sl_status (*work)(void *context), void *context)
{
    *job = (sl_train_job){.settings = settings};
    sl_status status = sl_ranks_open(&job->comm);
    if (status != SL_OK) return sl_exit_code(status);
    sl_process_catch_signals();
    job->threads = (uint32_t)sl_cores_threads(settings->threads, sl_comm_ranks_on_host(job->comm));
    job->longest = sl_counts_most(&settings->lengths);
    job->setup = (sl_model_setup){
        .model = settings->model, .settings = settings, .rank = sl_comm_rank(job->comm)};
    job_work attended = {.job = job, .work = work, .context = context};
    status = sl_ranks_attend(job->comm, settings->peer_timeout_s, SL_SIGNAL_IS_WORKS_OWN, do_work,
                             &attended);
    return sl_ranks_close(job->comm, sl_exit_code_stopped(status));
}

int sl_train_job_rank(const sl_train_job *job) { return sl_comm_rank(job->comm); }

uint64_t sl_train_job_ranks(const sl_train_job *job) { return (uint64_t)sl_comm_ranks(job->comm); }

sl_status sl_train_job_open_texts(sl_train_job *job, double repeat)
{
    sl_train_texts_options options = {.paths = job->settings->text,
                                      .longest = job->longest,
                                      .seed = job->settings->seed,
                                      .repeat = repeat};
    sl_status status = sl_train_texts_open(&options, job->setup.tokenizer, job->setup.chat,
                                           &job->texts);
    if (status != SL_OK) return status;
    job->tokens = malloc(job->longest * sizeof *job->tokens);
    return job->tokens ? SL_OK : SL_ERR_MEMORY;
}

void sl_train_job_take_piece(sl_train_job *job, sl_piece_kind kind, uint64_t number, uint32_t n)
{
    sl_train_texts_piece(job->texts, kind, number, n, job->tokens);
}

sl_status sl_train_check_type(const sl_settings *settings)
{
    if (strcmp(settings->type, "f16") == 0 || strcmp(settings->type, "q8_0") == 0) return SL_OK;
    sl_error("--type: '%s' is not q8_0 or f16", settings->type);
    return SL_ERR_OPTION;
}
