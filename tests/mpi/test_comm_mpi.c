/* tests/mpi/test_comm_mpi.c - the transport over MPI with any number of ranks: topology,
 * gather, order and content of messages of every awkward size, silence, a clean close. Every
 * rank runs everything, step by step with the others; they agree on the exit status. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"
#include "comm/reduction.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"

#define MB                ((size_t)1 << 20)
#define MESSAGE_BYTES_MAX (9 * MB)
#define TIMEOUT_NS        (60 * SL_SECOND)
#define HEARTBEAT_NS      (50 * SL_MS)

static int n_failed;
#define CHECK(expression) \
    ((expression) ? (void)0 : (n_failed++, sl_error("%s:%d: %s", __FILE__, __LINE__, #expression)))

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* The index-th message of a rank: its size and every byte follow from the two numbers. */
static size_t message_size(int rank, int index)
{
    static const size_t awkward[] = {0, 4 * MB, 1, 8 * MB, 4 * MB - 1, 4 * MB + 1, 9 * MB, 0, 4096};
    uint64_t r = mix((uint64_t)rank * 1000003 + (uint64_t)index + 1);
    if (index % 3 == 0) return awkward[(size_t)(index / 3 + rank) % 9];
    return index % 3 == 1 ? r % 2000 : r % (2 * MB);
}

static void message_fill(int rank, int index, uint8_t *bytes, size_t n_bytes)
{
    uint64_t seed = mix((uint64_t)rank << 32 | (uint32_t)index);
    for (size_t i = 0; i < n_bytes; i += 8) {
        uint64_t word = (seed + i) * 0x9e3779b97f4a7c15;
        memcpy(bytes + i, &word, n_bytes - i < 8 ? n_bytes - i : 8);
    }
}

static void die_late(sl_comm *comm, int64_t began_ns, const char *what)
{
    if (sl_clock_now_ns() - began_ns < TIMEOUT_NS) return;
    sl_error("%s: not done in time", what);
    sl_comm_abort(comm, 1);
}

/* Nobody goes on before all are here, so a step never meets the messages of the next. */
static void meet(sl_comm *comm)
{
    uint8_t mine = 0, *all = calloc((size_t)sl_comm_ranks(comm), 1);
    CHECK(sl_comm_gather(comm, &mine, 1, all, TIMEOUT_NS) == SL_OK);
    free(all);
}

static void test_topology(const sl_comm *comm)
{
    int rank = sl_comm_rank(comm), ranks = sl_comm_ranks(comm);
    CHECK(0 <= rank && rank < ranks);
    CHECK(sl_comm_next(comm) == (rank + 1) % ranks);
    CHECK((sl_comm_previous(comm) + 1) % ranks == rank);
    CHECK(ranks != 2 || sl_comm_next(comm) == sl_comm_previous(comm));
    CHECK(sl_comm_ranks_on_host(comm) == ranks);
}

static void test_gather(sl_comm *comm)
{
    enum { WORDS = 1000 };
    int ranks = sl_comm_ranks(comm);
    uint32_t mine[WORDS], *all = calloc((size_t)ranks, sizeof mine);
    for (uint32_t i = 0; i < WORDS; i++) mine[i] = (uint32_t)sl_comm_rank(comm) << 16 | i;
    CHECK(sl_comm_gather(comm, mine, sizeof mine, all, TIMEOUT_NS) == SL_OK);
    for (uint32_t i = 0; i < (uint32_t)ranks * WORDS; i++)
        CHECK(all[i] == (i / WORDS << 16 | i % WORDS));
    CHECK(sl_comm_gather(comm, NULL, 0, NULL, TIMEOUT_NS) == SL_OK);
    free(all);
}

/* Numbers whose sum depends on the order of adding, and more of them than one part holds. */
static void test_sums(sl_comm *comm)
{
    enum { N = (16 << 20) / sizeof(double) + 3 };
    int rank = sl_comm_rank(comm), ranks = sl_comm_ranks(comm);
    double *x = malloc(N * sizeof *x);
    float y[3];
    for (size_t i = 0; i < N; i++) x[i] = 1.0 / (double)(i + 1 + (size_t)rank);
    for (int i = 0; i < 3; i++) y[i] = 1.0F / (float)(i + 1 + rank);
    CHECK(sl_comm_sum_doubles(comm, x, N) == SL_OK);
    CHECK(sl_comm_sum_floats(comm, y, 3) == SL_OK);
    int n_wrong = 0;
    for (size_t i = 0; i < N; i++) {
        double sum = 1.0 / (double)(i + 1);
        for (int r = 1; r < ranks; r++) sum += 1.0 / (double)(i + 1 + (size_t)r);
        n_wrong += x[i] != sum;
    }
    for (int i = 0; i < 3; i++) {
        float sum = 1.0F / (float)(i + 1);
        for (int r = 1; r < ranks; r++) sum += 1.0F / (float)(i + 1 + r);
        n_wrong += y[i] != sum;
    }
    CHECK(n_wrong == 0);
    free(x);
}

/* Send n messages to the next rank and take n from the one before, with up to in_flight sends
 * at once. A buffer is spoiled as soon as it is ours again. */
static void exchange(sl_comm *comm, int n, int in_flight)
{
    uint8_t *buffers = malloc((size_t)in_flight * MESSAGE_BYTES_MAX);
    uint8_t *expected = malloc(MESSAGE_BYTES_MAX);
    int rank = sl_comm_rank(comm), previous = sl_comm_previous(comm);
    int n_sent = 0, n_left = 0, n_received = 0;
    uint64_t sent_before = sl_comm_bytes_sent(comm), sent_bytes = 0;
    int64_t began_ns = sl_clock_now_ns();
    while (n_left < n || n_received < n) {
        die_late(comm, began_ns, "exchange");
        if (n_sent < n && n_sent - n_left < in_flight) {
            uint8_t *bytes = buffers + (size_t)(n_sent % in_flight) * MESSAGE_BYTES_MAX;
            size_t n_bytes = message_size(rank, n_sent);
            message_fill(rank, n_sent, bytes, n_bytes);
            CHECK(sl_comm_send(comm, bytes, n_bytes, bytes, sl_clock_now_ns()) == SL_OK);
            sent_bytes += n_bytes;
            n_sent++;
        }
        sl_comm_event event;
        sl_status status = sl_comm_poll(comm, sl_clock_now_ns(), SL_COMM_ANY_EVENT, &event);
        if (status == SL_AGAIN) continue;
        CHECK(status == SL_OK);
        if (status != SL_OK) sl_comm_abort(comm, 1);
        if (event.kind == SL_COMM_SENT) {
            uint8_t *bytes = buffers + (size_t)(n_left % in_flight) * MESSAGE_BYTES_MAX;
            CHECK(event.cookie == bytes);
            CHECK(event.wire_ns >= 0);
            memset(bytes, 0xee, message_size(rank, n_left));
            n_left++;
            continue;
        }
        size_t n_bytes = message_size(previous, n_received);
        message_fill(previous, n_received, expected, n_bytes);
        CHECK(event.n_bytes == n_bytes && memcmp(event.bytes, expected, n_bytes) == 0);
        n_received++;
    }
    CHECK(sl_comm_bytes_sent(comm) - sent_before == sent_bytes);
    free(buffers);
    free(expected);
}

/* As many sends at once as are allowed, before the first poll. */
static void test_full_queue(sl_comm *comm)
{
    static uint32_t numbers[SL_COMM_SENDS_MAX];
    for (uint32_t i = 0; i < SL_COMM_SENDS_MAX; i++) {
        numbers[i] = i;
        CHECK(sl_comm_send(comm, &numbers[i], sizeof numbers[i], &numbers[i], sl_clock_now_ns()) ==
              SL_OK);
    }
    uint32_t n_left = 0, n_received = 0;
    int64_t began_ns = sl_clock_now_ns();
    while (n_left < SL_COMM_SENDS_MAX || n_received < SL_COMM_SENDS_MAX) {
        die_late(comm, began_ns, "full queue");
        sl_comm_event event;
        sl_status status = sl_comm_poll(comm, sl_clock_now_ns(), SL_COMM_ANY_EVENT, &event);
        if (status == SL_AGAIN) continue;
        CHECK(status == SL_OK);
        if (event.kind == SL_COMM_SENT) {
            CHECK(event.cookie == &numbers[n_left++]);
        } else {
            CHECK(event.n_bytes == sizeof(uint32_t));
            CHECK(memcmp(event.bytes, &n_received, sizeof n_received) == 0);
            n_received++;
        }
    }
}

/* Poll for so long; the longest silence of a neighbour on the way. */
static int64_t longest_silence(sl_comm *comm, int neighbour, int64_t ns)
{
    int64_t longest_ns = 0, began_ns = sl_clock_now_ns();
    for (int64_t now_ns = began_ns; now_ns - began_ns < ns; now_ns = sl_clock_now_ns()) {
        sl_comm_event event;
        CHECK(sl_comm_poll(comm, now_ns, SL_COMM_ANY_EVENT, &event) == SL_AGAIN);
        int64_t silence_ns = sl_comm_silence_ns(comm, neighbour);
        if (silence_ns > longest_ns) longest_ns = silence_ns;
        usleep(1000);
    }
    return longest_ns;
}

/* The last rank stops polling for 1.5 s: its neighbours notice, and it blames no other rank. */
static void test_silence(sl_comm *comm)
{
    int rank = sl_comm_rank(comm), sleeper = sl_comm_ranks(comm) - 1;
    int next = sl_comm_next(comm), previous = sl_comm_previous(comm);
    meet(comm);
    (void)longest_silence(comm, next, 300 * SL_MS);
    meet(comm);
    if (rank == sleeper) {
        usleep(1500 * 1000);
        int64_t blamed_ns = longest_silence(comm, next, 500 * SL_MS);
        CHECK(blamed_ns < 900 * SL_MS);
        CHECK(sl_comm_silence_ns(comm, previous) < 500 * SL_MS);
    } else {
        int64_t missed_ns = longest_silence(comm, next == sleeper ? next : previous, 2 * SL_SECOND);
        bool beside = next == sleeper || previous == sleeper;
        CHECK(beside ? missed_ns > SL_SECOND : missed_ns < 900 * SL_MS);
        CHECK(missed_ns < 1900 * SL_MS);
        CHECK(sl_comm_silence_ns(comm, next) < 500 * SL_MS); /* it is back */
    }
    meet(comm);
}

static void test_alone(sl_comm *comm)
{
    sl_comm_event event;
    for (int i = 0; i < 1000; i++)
        CHECK(sl_comm_poll(comm, sl_clock_now_ns(), SL_COMM_ANY_EVENT, &event) == SL_AGAIN);
    CHECK(sl_comm_silence_ns(comm, 0) == 0);
}

static int agreed_failures(sl_comm *comm)
{
    int ranks = sl_comm_ranks(comm), sum = 0;
    int *all = calloc((size_t)ranks, sizeof *all);
    if (sl_comm_gather(comm, &n_failed, sizeof n_failed, all, TIMEOUT_NS) != SL_OK)
        sl_comm_abort(comm, 1);
    for (int i = 0; i < ranks; i++) sum += all[i];
    free(all);
    return sum;
}

int main(void)
{
    sl_comm *comm;
    const sl_comm_options options = {.heartbeat_ns = HEARTBEAT_NS};
    if (sl_comm_open("mpi", &options, &comm) != SL_OK) return 1;
    sl_log_set_rank(sl_comm_rank(comm), sl_comm_ranks(comm));
    test_topology(comm);
    test_gather(comm);
    test_sums(comm);
    if (sl_comm_start(comm, MESSAGE_BYTES_MAX, sl_clock_now_ns()) != SL_OK) sl_comm_abort(comm, 1);
    if (sl_comm_ranks(comm) == 1) {
        test_alone(comm);
    } else {
        test_full_queue(comm);
        meet(comm);
        exchange(comm, 40, 4);
        meet(comm);
        exchange(comm, 60, 1);
        meet(comm);
        test_silence(comm);
    }
    int failures = agreed_failures(comm);
    usleep((useconds_t)sl_comm_rank(comm) * 50000); /* all come to close at other times */
    sl_comm_close(comm);
    return failures > 0;
}
