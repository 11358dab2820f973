/* tests/unit/launch/machine/test_launcher.c - what the environments of launchers mean: variables as
 * they were seen under mpirun, srun, sbatch, salloc and Hydra. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launch/machine/launcher.h"
#include "tests/support/capture.h"

static char said[4096];

/* "NAME=value NAME=value": these of the launchers' variables and no others. */
static void set_environment(const char *words)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "PMIX_RANK",
                                        "PMI_RANK",
                                        "PMI_SIZE",
                                        "MPI_LOCALRANKID",
                                        "PALS_RANKID",
                                        "PALS_LOCAL_SIZE",
                                        "MPI_LOCALNRANKS",
                                        "SLURM_PROCID",
                                        "SLURM_STEP_ID",
                                        "SLURM_STEPID",
                                        "SLURM_STEP_NUM_TASKS",
                                        "SLURM_NTASKS",
                                        "SLURM_JOB_ID",
                                        "FLUX_TASK_RANK",
                                        "FLUX_JOB_SIZE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
    char *copy = strdup(words), *rest = copy, *word;
    while ((word = strsep(&rest, " "))) {
        char *value = strchr(word, '=');
        if (!value) continue;
        *value = '\0';
        setenv(word, value + 1, 1);
    }
    free(copy);
}

static sl_status check(const char *environment, int ranks)
{
    capture c;
    set_environment(environment);
    capture_begin(&c);
    sl_status status = sl_launcher_check(ranks);
    capture_end(&c, said, sizeof said);
    return status;
}

#define STEP "SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_STEP_ID=0 SLURM_STEPID=0 SLURM_STEP_NUM_TASKS=4 "

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(check(STEP "SLURM_PROCID=0", 1), SL_ERR_OPTION);
    assert_non_null(strstr(said, "srun started 4 processes, but MPI finds 1 of them"));
    assert_non_null(strstr(said, "srun --mpi=pmix"));
    assert_int_equal(check(STEP "SLURM_PROCID=3", 1), SL_ERR_OPTION);
    assert_non_null(strstr(said, "process 3 of the 4 that srun started: MPI finds 1 of them"));
    assert_null(strstr(said, "Cure")); /* process 0 says it for all */
    assert_int_equal(check(STEP "SLURM_PROCID=0", 2), SL_ERR_OPTION); /* two worlds of two */
    assert_int_equal(check("PMI_RANK=0 PMI_SIZE=3 MPI_LOCALNRANKS=3 MPI_LOCALRANKID=0", 1),
                     SL_ERR_OPTION);
    assert_non_null(strstr(said, "mpiexec (MPICH"));
    assert_int_equal(check("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2", 1), SL_ERR_OPTION);
    assert_non_null(strstr(said, "mpirun (Open MPI)"));
    assert_int_equal(check("FLUX_TASK_RANK=0 FLUX_JOB_SIZE=2", 1), SL_ERR_OPTION);
    assert_int_equal(check("PALS_RANKID=0 PALS_LOCAL_SIZE=2", 1), SL_ERR_OPTION);
}

static void test_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *environment;
        int ranks;
    } cases[] = {
        {"", 1},
        {STEP "SLURM_PROCID=0 PMIX_RANK=0", 4},
        {STEP "SLURM_PROCID=0 PMIX_RANK=0", 6}, /* a heterogeneous job counts its part */
        {"SLURM_JOB_ID=7 SLURM_NTASKS=4", 1},   /* a shell of salloc */
        {"SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0", 1}, /* a batch script */
        {"SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_STEP_ID=4294967291 "
         "SLURM_STEP_NUM_TASKS=4",
         1},
        {"SLURM_JOB_ID=7 SLURM_STEP_ID=4294967290 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0", 1},
        {"SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0", 1}, /* srun -n 1 */
        /* mpirun on three hosts of Slurm: its daemons are the tasks of a step */
        {"SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=3 SLURM_PROCID=1 OMPI_COMM_WORLD_RANK=1 "
         "OMPI_COMM_WORLD_SIZE=2",
         2},
        {"PMI_RANK=0 PMI_SIZE=1", 1},
        {"PMIX_RANK=0", 3},
        {STEP "SLURM_PROCID=x", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(check(cases[i].environment, cases[i].ranks), SL_OK);
        assert_string_equal(said, "");
    }
}

static void test_who_prints(void **state)
{
    (void)state;
    static const struct {
        const char *environment;
        bool prints;
    } cases[] = {{"", true},
                 {"PMIX_RANK=0", true},
                 {"PMIX_RANK=1", false},
                 {"OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=3", false},
                 {STEP "SLURM_PROCID=1", false},
                 {STEP "SLURM_PROCID=0", true},
                 {"SLURM_PROCID=0", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_environment(cases[i].environment);
        assert_int_equal(sl_launcher_prints(), cases[i].prints);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_who_prints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
