/* What is planned, what is refused, and the limits that the kernel sets. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/machine/cores.h"
#include "launch/machine/memory.h"
#include "launch/pipeline/memory_plan.h"
#include "runtime/base/log.h"
#include "tests/support/capture.h"

enum { MB = 1000000 };

static const sl_memory_needs NEEDS = {
    .in_use = 20 * MB,
    .weights = 100 * MB,
    .fixed = 30 * MB,
    .messages = 5 * MB,
    .stacks = 10 * MB,
    .page = MB,
    .pages_wanted = 400,
    .pages_least = 6,
};

static sl_memory_limits allow(uint64_t mb)
{
    return (sl_memory_limits){.allowed = mb * MB,
                              .source = "the test",
                              .data = {UINT64_MAX, 0},
                              .address = {UINT64_MAX, 0}};
}

static sl_memory_plan planned(const sl_memory_needs *needs, const sl_memory_limits *limits)
{
    sl_memory_plan plan;
    assert_int_equal(sl_memory_plan_make(needs, limits, &plan), SL_OK);
    return plan;
}

static void check_refused(const sl_memory_needs *needs, const sl_memory_limits *limits,
                          const char *words)
{
    capture c;
    char talk[1024];
    sl_memory_plan plan;
    capture_begin(&c);
    sl_status status = sl_memory_plan_make(needs, limits, &plan);
    capture_end(&c, talk, sizeof talk);
    assert_int_equal(status, SL_ERR_MEMORY);
    if (!strstr(talk, words)) fail_msg("'%s' is not said: %s", words, talk);
}

/* All pages that are wanted when there is room; else what fits, to the last page. */
static void test_pages(void **state)
{
    (void)state;
    sl_memory_limits limits = allow(1000);
    sl_memory_plan plan = planned(&NEEDS, &limits);
    assert_int_equal(plan.n_pages, 400);
    assert_int_equal(plan.total, (20 + 100 + 30 + 5 + 10 + 400) * MB);
    limits = allow(100 + 30 + 5 + 10 + 77);
    plan = planned(&NEEDS, &limits);
    assert_int_equal(plan.n_pages, 77);
    assert_int_equal(plan.total, limits.allowed + NEEDS.in_use);
    limits = allow(100 + 30 + 5 + 10 + 6);
    assert_int_equal(planned(&NEEDS, &limits).n_pages, 6);
    limits.allowed--;
    check_refused(&NEEDS, &limits, "the test leaves 36.0 MB");
    limits = allow(50);
    check_refused(&NEEDS, &limits, "100.0 MB of weights");
}

/* What a job's lines and requests take comes before pages. */
static void test_job(void **state)
{
    (void)state;
    sl_memory_needs needs = NEEDS;
    needs.job = 57 * MB;
    sl_memory_limits limits = allow(400);
    sl_memory_plan plan = planned(&needs, &limits);
    assert_int_equal(plan.n_pages, 400 - 100 - 30 - 5 - 10 - 57);
    assert_int_equal(plan.total, 420 * MB);
    needs.job = 400 * (uint64_t)MB;
    check_refused(&needs, &limits, "400.0 MB for the job's");
}

/* What is planned is taken of the data segment and of address space too, beside what they have lost
 * already, touched or not; that is not memory in use. */
static void test_limits(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        sl_memory_limits limits = allow(10000);
        sl_limit *limit = i ? &limits.address : &limits.data;
        *limit = (sl_limit){.most = (700 + 100 + 30 + 5 + 10 + 50) * MB, .taken = 700 * MB};
        sl_memory_plan plan = planned(&NEEDS, &limits);
        assert_int_equal(plan.n_pages, 50);
        assert_int_equal(plan.total, (20 + 100 + 30 + 5 + 10 + 50) * MB);
        limit->most = (700 + 140) * MB;
        check_refused(&NEEDS, &limits, i ? "address space (ulimit -v)" : "(ulimit -d)");
        check_refused(&NEEDS, &limits, "beside the 700.0 MB taken already");
        check_refused(&NEEDS, &limits,
                      i ? "ulimit -v 896" : "ulimit -d 896"); /* and room to spare */
        limit->most = 10 * MB;                                /* less than is taken */
        check_refused(&NEEDS, &limits, "leaves 0.0 MB");
    }
}

/* ---- control groups, in a made-up /proc and /sys ---- */

static char root[] = "/tmp/sluice_groups_XXXXXX";

static void put(const char *path, const char *text)
{
    char whole[512], folder[512];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *c = whole + 1; (c = strchr(c, '/')); c++) {
        snprintf(folder, sizeof folder, "%.*s", (int)(c - whole), whole);
        assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void test_groups(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(root));
    assert_true(sl_memory_group_bytes(root) == UINT64_MAX); /* no /proc */
    put("/proc/self/cgroup", "0::/job/step\n");
    put("/sys/fs/cgroup/job/step/memory.max", "max\n");
    assert_true(sl_memory_group_bytes(root) == UINT64_MAX);
    /* the step has no limit, the job it is in has; its page cache can be given back */
    put("/sys/fs/cgroup/job/memory.max", "5000000\n");
    put("/sys/fs/cgroup/job/memory.stat", "file 4000000\nanon 1000000\n");
    assert_int_equal(sl_memory_group_bytes(root), 4000000);
    put("/sys/fs/cgroup/job/step/memory.max", "700\n");
    put("/sys/fs/cgroup/job/step/memory.stat", "anon 1000\n");
    assert_int_equal(sl_memory_group_bytes(root), 0);
    /* version 1, in a container: the path is the host's, the mount is the group */
    put("/proc/self/cgroup", "9:cpu:/docker/x\n4:memory:/docker/x\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "3000\n");
    put("/sys/fs/cgroup/memory/memory.stat", "cache 99999\ntotal_rss 1000\n");
    assert_int_equal(sl_memory_group_bytes(root), 2000);
    put("/proc/self/cgroup", "nonsense\n\n:::\n0::\n");
    assert_true(sl_memory_group_bytes(root) == UINT64_MAX);
    assert_true(sl_cores_quota(root) == UINT64_MAX);
}

/* The least quota of the group and of those it is in, in thousandths of a CPU. */
static void test_quotas(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/pod/box\n");
    assert_true(sl_cores_quota(root) == UINT64_MAX);
    put("/sys/fs/cgroup/pod/box/cpu.max", "max 100000\n");
    assert_true(sl_cores_quota(root) == UINT64_MAX);
    put("/sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
    assert_int_equal(sl_cores_quota(root), 2500);
    put("/sys/fs/cgroup/pod/box/cpu.max", "20000 50000\n");
    assert_int_equal(sl_cores_quota(root), 400);
    put("/sys/fs/cgroup/pod/box/cpu.max", "nonsense\n");
    assert_int_equal(sl_cores_quota(root), 2500);
    /* version 1, beside another controller or by itself; memory's group is another */
    put("/proc/self/cgroup", "9:memory:/pod\n4:cpuacct,cpu:/docker/x\n0::/\n");
    assert_true(sl_cores_quota(root) == UINT64_MAX);
    put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
    put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(sl_cores_quota(root), 3000);
    put("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n");
    assert_int_equal(sl_cores_quota(root), 3000);
    put("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "150000\n");
    assert_int_equal(sl_cores_quota(root), 1500);
    put("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "0\n");
    assert_int_equal(sl_cores_quota(root), 3000);
    put("/proc/self/cgroup", "3:cpuset,cpuacct:/docker/x\n"); /* none of them is "cpu" */
    assert_true(sl_cores_quota(root) == UINT64_MAX);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
    assert_true(sl_memory_available_bytes() > 0); /* the real one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),  cmocka_unit_test(test_job),    cmocka_unit_test(test_limits),
        cmocka_unit_test(test_groups), cmocka_unit_test(test_quotas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
