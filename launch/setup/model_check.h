/* launch/setup/model_check.h - whether all ranks loaded the same model, and whether the files they
 * read are still what they were.
 *
 * Each rank has what the bytes it loaded hash to, layer by layer (runtime/model/sums.h). Rank 0
 * compares them with MODEL.sums where that is beside its file; else with its own file, whose other
 * layers it reads meanwhile, on a thread of its own. Results wait for the verdict. The same thread
 * looks each second, on every rank, whether the names of model, gate and adapters still mean what
 * was opened. */
#ifndef SL_MODEL_CHECK_H
#define SL_MODEL_CHECK_H

#include "comm/comm.h"
#include "runtime/model/lora.h"
#include "runtime/model/sums.h"
#include "sched/plan.h"

/* What is pointed to outlives the check. */
typedef struct {
    sl_comm *comm;
    const sl_gguf *gguf, *gate; /* gate NULL: none */
    const sl_lora *lora;        /* n 0: none */
    const sl_plan *plan;        /* each rank's layers */
    const sl_sums *loaded;      /* by this rank */
    bool trust;                 /* do not read rank 0's file for it */
} sl_model_check_options;

typedef struct sl_model_check sl_model_check;

/* Collective, and attended (ranks.h). On rank 0 SL_ERR_FORMAT, logged, when it is known already
 * that ranks differ from each other or from MODEL.sums. After an error, too, *check_out is ended
 * with sl_model_check_close. SL_ERR_PEER: the others cannot be asked. SL_ERR_MEMORY, SL_ERR_FILE.
 * All logged. */
sl_status sl_model_check_open(const sl_model_check_options *options, sl_model_check **check_out);
void sl_model_check_close(sl_model_check *check); /* NULL is fine */

/* On rank 0: may results leave? SL_AGAIN: not known yet; SL_ERR_FORMAT, logged: ranks differ. */
sl_status sl_model_check_ready(void *check);
/* The same, having waited for it, or so long; -1: as long as it takes. */
sl_status sl_model_check_wait(sl_model_check *check, int64_t timeout_ns);
/* Once ready: NULL when all that ranks loaded was compared, else why not; static storage. */
const char *sl_model_check_unverified(const sl_model_check *check);

/* The job is done here: SL_ERR_FILE, logged, when model, gate or adapters are not the files any
 * more that were loaded. */
sl_status sl_model_check_end(sl_model_check *check);

#endif
