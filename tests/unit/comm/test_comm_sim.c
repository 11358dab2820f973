/* tests/unit/comm/test_comm_sim.c - the simulated network: order, delays, bandwidth, silence,
 * stalls, losses, and the same events from the same seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/comm.h"
#include "comm/transport/comm_sim.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

enum { RANKS_MAX = 7, MESSAGE_BYTES_MAX = 4096 };
static const int rank_counts[] = {1, 2, 3, 7};

typedef struct {
    sl_comm_net *net;
    sl_comm *ranks[RANKS_MAX];
    int n;
} ring;

static ring ring_open(const sl_comm_net_options *options)
{
    ring r = {.n = options->ranks};
    assert_int_equal(sl_comm_net_open(options, &r.net), SL_OK);
    for (int i = 0; i < r.n; i++) {
        const sl_comm_options own = {.heartbeat_ns = SL_SECOND, .sim_net = r.net, .sim_rank = i};
        assert_int_equal(sl_comm_open("sim", &own, &r.ranks[i]), SL_OK);
        assert_int_equal(sl_comm_start(r.ranks[i], MESSAGE_BYTES_MAX, 0), SL_OK);
    }
    return r;
}

static void ring_close(ring *r)
{
    for (int i = 0; i < r->n; i++) sl_comm_close(r->ranks[i]);
    sl_comm_net_close(r->net);
}

/* Poll every rank every 100 ms from after from_ns to to_ns, expecting nothing but quiet. */
static void idle(ring *r, int64_t from_ns, int64_t to_ns)
{
    sl_comm_event event;
    for (int64_t now_ns = from_ns + 100 * SL_MS; now_ns <= to_ns; now_ns += 100 * SL_MS)
        for (int i = 0; i < r->n; i++)
            assert_int_equal(sl_comm_poll(r->ranks[i], now_ns, SL_COMM_ANY_EVENT, &event),
                             SL_AGAIN);
}

static void ranks_form_a_ring(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof rank_counts / sizeof rank_counts[0]; c++) {
        int n = rank_counts[c];
        ring r = ring_open(&(sl_comm_net_options){.ranks = n, .seed = 1});
        for (int i = 0; i < n; i++) {
            assert_int_equal(sl_comm_rank(r.ranks[i]), i);
            assert_int_equal(sl_comm_ranks(r.ranks[i]), n);
            assert_int_equal(sl_comm_ranks_on_host(r.ranks[i]), n);
            assert_int_equal(sl_comm_next(r.ranks[i]), (i + 1) % n);
            assert_int_equal(sl_comm_next(r.ranks[sl_comm_previous(r.ranks[i])]), i);
        }
        ring_close(&r);
    }
}

static void gather_answers_when_all_have_called(void **state)
{
    (void)state;
    ring r = ring_open(&(sl_comm_net_options){.ranks = 3, .seed = 1});
    for (int round = 0; round < 3; round++) {
        int all[3], mine[3] = {10 + round, 20 + round, 30 + round};
        for (int i = 0; i < 2; i++)
            for (int again = 0; again < 2; again++)
                assert_int_equal(sl_comm_gather(r.ranks[i], &mine[i], sizeof(int), all, 0),
                                 SL_AGAIN);
        for (int i = 2; i >= 0; i--) {
            memset(all, 0, sizeof all);
            assert_int_equal(sl_comm_gather(r.ranks[i], &mine[i], sizeof(int), all, 0), SL_OK);
            assert_memory_equal(all, mine, sizeof all);
            /* Early for the next round: it has not begun. */
            if (i > 0)
                assert_int_equal(sl_comm_gather(r.ranks[i], &mine[i], sizeof(int), all, 0),
                                 SL_AGAIN);
        }
    }
    ring_close(&r);
}

/* Everything that happened in a run, folded (FNV-1a). */
typedef struct {
    uint64_t hash;
} record;

static void note(record *what, uint64_t value)
{
    what->hash = (what->hash ^ value) * 0x100000001b3;
}

/* Every rank sends `n_messages` of its own in bursts; whoever receives one checks that it is
 * the next of the rank before it and whole. Returns the record of all events. */
static record run_traffic(int n_ranks, uint64_t seed)
{
    enum { N_MESSAGES = 200 };
    ring r = ring_open(&(sl_comm_net_options){.ranks = n_ranks,
                                              .seed = seed,
                                              .delay_min_ns = 10 * 1000,
                                              .delay_max_ns = 5 * SL_MS,
                                              .bytes_per_second = 1e8});
    static uint8_t bytes[RANKS_MAX][N_MESSAGES][64];
    int n_sent[RANKS_MAX] = {0}, n_done[RANKS_MAX] = {0}, n_received[RANKS_MAX] = {0};
    record what = {.hash = 0xcbf29ce484222325};
    int64_t now_ns = 0;
    for (int busy = 1; busy;) {
        busy = 0;
        for (int i = 0; i < n_ranks; i++) {
            sl_comm *comm = r.ranks[i];
            for (int burst = 0; burst < 5 && n_sent[i] < N_MESSAGES; burst++) {
                if (n_sent[i] - n_done[i] == SL_COMM_SENDS_MAX) break;
                int k = n_sent[i]++;
                memset(bytes[i][k], i * 31 + k, sizeof bytes[i][k]);
                size_t n_bytes = (size_t)(k % 65);
                assert_int_equal(sl_comm_send(comm, bytes[i][k], n_bytes, bytes[i][k], now_ns),
                                 SL_OK);
            }
            sl_comm_event event;
            while (sl_comm_poll(comm, now_ns, SL_COMM_ANY_EVENT, &event) == SL_OK) {
                note(&what, (uint64_t)now_ns);
                note(&what, (uint64_t)i * 2 + event.kind);
                if (event.kind == SL_COMM_SENT) {
                    int k = n_done[i]++;
                    assert_ptr_equal(event.cookie, bytes[i][k]);
                    assert_true(event.wire_ns >= 0);
                    memset(bytes[i][k], 0xee, sizeof bytes[i][k]); /* ours again */
                } else {
                    int k = n_received[i]++;
                    assert_int_equal(event.n_bytes, k % 65);
                    for (size_t b = 0; b < event.n_bytes; b++)
                        assert_int_equal(event.bytes[b],
                                         (uint8_t)(sl_comm_previous(comm) * 31 + k));
                }
            }
            busy |= n_received[i] < N_MESSAGES || n_done[i] < N_MESSAGES;
        }
        if (!busy) break;
        int64_t next_ns = sl_comm_net_next_ns(r.net);
        assert_true(next_ns > now_ns);
        assert_true(next_ns < 10 * SL_SECOND); /* or a message is lost */
        now_ns = next_ns;
    }
    for (int i = 0; i < n_ranks; i++) {
        uint64_t expected = 0;
        for (uint64_t k = 0; k < N_MESSAGES; k++) expected += k % 65;
        assert_int_equal(sl_comm_bytes_sent(r.ranks[i]), expected);
    }
    ring_close(&r);
    return what;
}

static void messages_keep_order_and_content(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run_traffic(2, seed);
        run_traffic(3, seed);
        run_traffic(7, seed);
    }
}

static void the_seed_decides_everything(void **state)
{
    (void)state;
    assert_true(run_traffic(3, 5).hash == run_traffic(3, 5).hash);
    assert_true(run_traffic(3, 5).hash != run_traffic(3, 6).hash);
}

static void bandwidth_and_delay_add_up(void **state)
{
    (void)state;
    ring r = ring_open(&(sl_comm_net_options){.ranks = 2,
                                              .seed = 1,
                                              .delay_min_ns = 3 * SL_MS,
                                              .delay_max_ns = 3 * SL_MS,
                                              .bytes_per_second = 1e6});
    uint8_t bytes[1000] = {7};
    sl_comm_event event;
    for (int i = 0; i < 2; i++) /* 1 ms each: left after 1 and 2 ms, there after 4 and 5 */
        assert_int_equal(sl_comm_send(r.ranks[0], bytes, sizeof bytes, bytes + i, 0), SL_OK);
    assert_int_equal(sl_comm_poll(r.ranks[0], SL_MS - 1, SL_COMM_ANY_EVENT, &event), SL_AGAIN);
    assert_int_equal(sl_comm_net_next_ns(r.net), SL_MS);
    assert_int_equal(sl_comm_poll(r.ranks[0], SL_MS, SL_COMM_ANY_EVENT, &event), SL_OK);
    assert_int_equal(event.kind, SL_COMM_SENT);
    assert_ptr_equal(event.cookie, bytes);
    assert_int_equal(event.wire_ns, SL_MS);
    assert_int_equal(sl_comm_poll(r.ranks[0], SL_MS, SL_COMM_ANY_EVENT, &event), SL_AGAIN);
    assert_int_equal(sl_comm_poll(r.ranks[1], 4 * SL_MS - 1, SL_COMM_ANY_EVENT, &event), SL_AGAIN);
    assert_int_equal(sl_comm_poll(r.ranks[1], 4 * SL_MS, SL_COMM_ANY_EVENT, &event), SL_OK);
    assert_int_equal(event.n_bytes, sizeof bytes);
    assert_int_equal(event.bytes[0], 7);
    assert_int_equal(sl_comm_poll(r.ranks[1], 4 * SL_MS, SL_COMM_ANY_EVENT, &event), SL_AGAIN);
    assert_int_equal(sl_comm_poll(r.ranks[1], 5 * SL_MS, SL_COMM_ANY_EVENT, &event), SL_OK);
    ring_close(&r);
}

static void heartbeats_break_the_silence(void **state)
{
    (void)state;
    for (size_t c = 1; c < sizeof rank_counts / sizeof rank_counts[0]; c++) {
        ring r = ring_open(&(sl_comm_net_options){
            .ranks = rank_counts[c], .seed = 3, .delay_min_ns = SL_MS, .delay_max_ns = 50 * SL_MS});
        for (int64_t s = 0; s < 20; s++) {
            idle(&r, s * SL_SECOND, (s + 1) * SL_SECOND);
            for (int i = 0; i < r.n; i++) {
                assert_true(sl_comm_silence_ns(r.ranks[i], sl_comm_next(r.ranks[i])) <=
                            1200 * SL_MS);
                assert_true(sl_comm_silence_ns(r.ranks[i], sl_comm_previous(r.ranks[i])) <=
                            1200 * SL_MS);
            }
        }
        ring_close(&r);
    }
}

static void a_lost_rank_is_missed_by_its_neighbours_only(void **state)
{
    (void)state;
    ring r = ring_open(&(sl_comm_net_options){
        .ranks = 7, .seed = 3, .delay_min_ns = SL_MS, .delay_max_ns = 2 * SL_MS});
    idle(&r, 0, 5 * SL_SECOND);
    sl_comm_abort(r.ranks[3], 1);
    idle(&r, 5 * SL_SECOND, 16 * SL_SECOND);
    for (int i = 0; i < r.n; i++) {
        int next = sl_comm_next(r.ranks[i]), previous = sl_comm_previous(r.ranks[i]);
        assert_int_equal(sl_comm_silence_ns(r.ranks[i], next) >= 10 * SL_SECOND,
                         next == 3 || i == 3);
        assert_int_equal(sl_comm_silence_ns(r.ranks[i], previous) >= 10 * SL_SECOND,
                         previous == 3 || i == 3);
    }
    /* What is sent to it leaves and goes nowhere. */
    sl_comm_event event;
    assert_int_equal(sl_comm_send(r.ranks[2], "x", 1, &r, 16 * SL_SECOND), SL_OK);
    assert_int_equal(sl_comm_poll(r.ranks[2], 16 * SL_SECOND, SL_COMM_ANY_EVENT, &event), SL_OK);
    assert_int_equal(event.kind, SL_COMM_SENT);
    assert_int_equal(sl_comm_poll(r.ranks[3], 60 * SL_SECOND, SL_COMM_ANY_EVENT, &event), SL_AGAIN);
    /* What it sends does not leave. */
    assert_int_equal(sl_comm_send(r.ranks[3], "x", 1, &r, 60 * SL_SECOND), SL_OK);
    assert_int_equal(sl_comm_poll(r.ranks[3], 60 * SL_SECOND, SL_COMM_ANY_EVENT, &event), SL_AGAIN);
    assert_int_equal(sl_comm_poll(r.ranks[4], 60 * SL_SECOND, SL_COMM_ANY_EVENT, &event), SL_AGAIN);
    ring_close(&r);
}

static void a_stalled_link_holds_everything_and_loses_nothing(void **state)
{
    (void)state;
    ring r = ring_open(&(sl_comm_net_options){
        .ranks = 3, .seed = 3, .delay_min_ns = SL_MS, .delay_max_ns = 2 * SL_MS});
    sl_comm_event event;
    assert_int_equal(sl_comm_send(r.ranks[1], "before", 6, NULL, 0), SL_OK);
    sl_comm_net_stall(r.net, 1, 3 * SL_SECOND);
    assert_int_equal(sl_comm_send(r.ranks[1], "after", 5, NULL, SL_SECOND), SL_OK);
    while (sl_comm_poll(r.ranks[1], SL_SECOND, SL_COMM_ANY_EVENT, &event) == SL_OK) continue;
    for (int i = 1; i < 30; i++) {
        assert_int_equal(sl_comm_poll(r.ranks[2], i * 100 * SL_MS, SL_COMM_ANY_EVENT, &event),
                         SL_AGAIN);
        assert_int_equal(sl_comm_silence_ns(r.ranks[2], 1), i * 100 * SL_MS);
    }
    assert_int_equal(sl_comm_poll(r.ranks[2], 3 * SL_SECOND, SL_COMM_ANY_EVENT, &event), SL_OK);
    assert_int_equal(event.n_bytes, 6);
    assert_int_equal(sl_comm_silence_ns(r.ranks[2], 1), 0);
    assert_int_equal(sl_comm_poll(r.ranks[2], 3 * SL_SECOND, SL_COMM_ANY_EVENT, &event), SL_OK);
    assert_memory_equal(event.bytes, "after", 5);
    ring_close(&r);
}

static void a_message_larger_than_agreed_is_malformed(void **state)
{
    (void)state;
    sl_comm_net *net;
    sl_comm *ranks[2];
    const sl_comm_net_options options = {.ranks = 2, .seed = 1};
    assert_int_equal(sl_comm_net_open(&options, &net), SL_OK);
    for (int i = 0; i < 2; i++) {
        const sl_comm_options own = {.heartbeat_ns = SL_SECOND, .sim_net = net, .sim_rank = i};
        assert_int_equal(sl_comm_open("sim", &own, &ranks[i]), SL_OK);
        assert_int_equal(sl_comm_start(ranks[i], i == 0 ? 100 : 10, 0), SL_OK);
    }
    uint8_t bytes[11] = {0};
    sl_comm_event event;
    int errors = sl_log_errors();
    assert_int_equal(sl_comm_send(ranks[0], bytes, 11, NULL, 0), SL_OK);
    assert_int_equal(sl_comm_poll(ranks[1], 0, SL_COMM_ANY_EVENT, &event), SL_ERR_FORMAT);
    assert_int_equal(sl_log_errors(), errors + 1);
    assert_int_equal(sl_comm_send(ranks[0], bytes, 10, NULL, 0), SL_OK);
    assert_int_equal(sl_comm_poll(ranks[1], 0, SL_COMM_ANY_EVENT, &event), SL_OK);
    sl_comm_close(ranks[0]);
    sl_comm_close(ranks[1]);
    sl_comm_net_close(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_form_a_ring),
        cmocka_unit_test(gather_answers_when_all_have_called),
        cmocka_unit_test(messages_keep_order_and_content),
        cmocka_unit_test(the_seed_decides_everything),
        cmocka_unit_test(bandwidth_and_delay_add_up),
        cmocka_unit_test(heartbeats_break_the_silence),
        cmocka_unit_test(a_lost_rank_is_missed_by_its_neighbours_only),
        cmocka_unit_test(a_stalled_link_holds_everything_and_loses_nothing),
        cmocka_unit_test(a_message_larger_than_agreed_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
