/* launch/machine/launcher.c - see launcher.h. Launchers leave their variables to whatever is
 * started below them, so the innermost one, which knows best, is asked first: mpirun in a Slurm
 * step comes before srun. */
#include "launch/machine/launcher.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"

/* Sizes are of the whole job, or of this host's part, which is a lower bound. */
typedef struct {
    const char *name, *rank, *size;
} launcher;

static const launcher MPIRUN = {"mpirun (Open MPI)", "OMPI_COMM_WORLD_RANK",
                                "OMPI_COMM_WORLD_SIZE"};
static const launcher SRUN = {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"};
static const launcher OTHERS[] = {
    {"mpirun (MVAPICH)", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"},
    {"mpiexec (MPICH, Intel MPI, PALS)", "PMI_RANK", "PMI_SIZE"},
    {"mpiexec (PALS)", "PALS_RANKID", "PALS_LOCAL_SIZE"},
    {"mpiexec (Hydra)", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
    {"jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"},
    {"flux run", "FLUX_TASK_RANK", "FLUX_JOB_SIZE"},
};
enum { N_OTHERS = sizeof OTHERS / sizeof *OTHERS };

/* A whole number in a variable; false: there is none. */
static bool number_in(const char *name, long *number_out)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !*text) return false;
    *number_out = strtol(text, &end, 10);
    return *end == '\0' && *number_out >= 0;
}

static bool has_started_this(const launcher *l)
{
    long rank, size;
    return number_in(l->rank, &rank) && number_in(l->size, &size);
}

/* A task of a step that srun started. A batch script, and a shell of salloc, have the job's
 * variables, and SLURM_PROCID too, but no step; steps of Slurm's own (a batch script, an
 * interactive shell, a container's helper) have numbers from 0xfffffff0 up. */
static bool is_task_of_srun(void)
{
    long step;
    bool in_step = number_in("SLURM_STEP_ID", &step) || number_in("SLURM_STEPID", &step);
    return in_step && step < (long)UINT32_C(0xfffffff0) && has_started_this(&SRUN);
}

static const launcher *find_launcher(void)
{
    if (has_started_this(&MPIRUN)) return &MPIRUN;
    if (is_task_of_srun()) return &SRUN;
    for (int i = 0; i < N_OTHERS; i++)
        if (has_started_this(&OTHERS[i])) return &OTHERS[i];
    return NULL;
}

const char *sl_launcher_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *rank = getenv(names[i]);
        if (rank) return rank;
    }
    return NULL;
}

bool sl_launcher_prints(void)
{
    const launcher *l = find_launcher();
    const char *rank = l ? getenv(l->rank) : sl_launcher_rank();
    return !rank || strcmp(rank, "0") == 0;
}

sl_status sl_launcher_check(int ranks)
{
    const launcher *l = find_launcher();
    long started;
    if (!l || !number_in(l->size, &started) || started <= ranks) return SL_OK;
    if (!sl_launcher_prints()) { /* the first says the cure for all */
        sl_error(
            "process %s of the %ld that %s started: MPI finds %d of them; see process 0's line",
            getenv(l->rank), started, l->name, ranks);
        return SL_ERR_OPTION;
    }
    const char *cure =
        l == &SRUN ? "start them with srun --mpi=pmix (srun --mpi=list shows what this Slurm "
                     "can), or with mpirun"
                   : "start them with the mpirun";
    sl_error("%s started %ld processes, but MPI finds %d of them: each would do the whole job, all "
             "into the same files. Cure: %s of the Open MPI that sluice was built with (sluice "
             "--version names it). If one process alone is meant, unset %s",
             l->name, started, ranks, cure, l->size);
    return SL_ERR_OPTION;
}
