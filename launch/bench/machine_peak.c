/* launch/bench/machine_peak.c - see machine_peak.h. The best of several rounds counts: the others
 * were disturbed by something else on the machine. */
#include "launch/bench/machine_peak.h"

#include <string.h>

#include "runtime/base/arena.h"
#include "runtime/base/clock.h"

enum { READ_BYTES = 256 << 20, READ_ROUNDS = 12, PEAK_ROUNDS = 12, PEAK_MS = 5 };

typedef struct {
    const sl_kernels *kernels;
    uint64_t *memory; /* [READ_BYTES / 8] */
    uint64_t n_rounds, n_ops, sum;
    int64_t began_ns, ended_ns;
} measuring;

static void begin(measuring *m, sl_member me)
{
    sl_team_barrier(me);
    if (me.thread == 0) m->began_ns = sl_clock_now_ns();
}

static void end(measuring *m, sl_member me)
{
    sl_team_barrier(me);
    if (me.thread == 0) m->ended_ns = sl_clock_now_ns();
}

static double seconds(const measuring *m) { return (double)(m->ended_ns - m->began_ns) / 1e9; }

/* Lines of 64 bytes, four streams at a time. */
static void read_memory(void *context, sl_member me)
{
    measuring *m = context;
    sl_share share = sl_team_share(me, READ_BYTES / sizeof *m->memory, 1024);
    size_t n = (share.end - share.begin) / 4;
    const uint64_t *at = m->memory + share.begin;
    uint64_t sums[8] = {0};
    begin(m, me);
    for (size_t i = 0; i < n; i += 8)
        for (size_t stream = 0; stream < 4; stream++) {
            __builtin_prefetch(at + stream * n + i + 128);
            for (size_t k = 0; k < 8; k++) sums[k] += at[stream * n + i + k];
        }
    end(m, me);
    if (me.thread == 0)
        for (size_t k = 0; k < 8; k++) m->sum += sums[k];
}

static void multiply(void *context, sl_member me)
{
    measuring *m = context;
    begin(m, me);
    uint64_t n_ops = m->kernels->peak(m->n_rounds);
    end(m, me);
    if (me.thread == 0) m->n_ops = n_ops * (uint64_t)sl_team_threads(me.team);
}

static double best_ops(measuring *m, sl_team *team)
{
    double best = 0;
    m->n_rounds = 1000;
    for (int i = 0; i < PEAK_ROUNDS; i++) {
        sl_team_run(team, multiply, m);
        while (seconds(m) < PEAK_MS / 1e3 && m->n_rounds < 1ULL << 40) {
            m->n_rounds *= 2;
            sl_team_run(team, multiply, m);
        }
        double ops_s = (double)m->n_ops / seconds(m);
        if (ops_s > best) best = ops_s;
    }
    return best;
}

sl_status sl_machine_peak_measure(const sl_kernels *kernels, const sl_team_options *options,
                                  sl_machine_peak *peak_out)
{
    void *memory;
    sl_team *team;
    *peak_out = (sl_machine_peak){0};
    sl_status status = sl_storage_take(READ_BYTES, "measuring memory", &memory);
    if (status != SL_OK) return status;
    status = sl_team_open(options, &team);
    if (status == SL_OK) {
        measuring m = {.kernels = kernels, .memory = memory};
        sl_team_place place = sl_team_enter(team);
        memset(memory, 1, READ_BYTES);
        for (int i = 0; i < READ_ROUNDS; i++) {
            sl_team_run(team, read_memory, &m);
            double bytes_s = READ_BYTES / seconds(&m);
            if (bytes_s > peak_out->read_bytes_s && m.sum) peak_out->read_bytes_s = bytes_s;
        }
        peak_out->ops_s = best_ops(&m, team);
        sl_team_leave(&place);
        sl_team_close(team);
    }
    sl_storage_release(memory, READ_BYTES);
    return status;
}
