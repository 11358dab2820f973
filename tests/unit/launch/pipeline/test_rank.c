/* A rank as a state machine: alone, as the two ends of a pipeline in virtual time, and against a
 * neighbour made by hand that says wrong things or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "comm/transport/comm_sim.h"
#include "launch/pipeline/rank.h"
#include "proto/wire_seal.h"
#include "runtime/base/clock.h"
#include "tests/support/capture.h"
#include "tests/support/tiny_model_group.h"

enum { WIDTH = 8, ROWS = 16, SEQUENCES = 2, FRAMES = 4, RANKS = 2, TALK = 4096 };

/* ---- one rank, with a driver when it is the first ---- */

typedef struct {
    sl_comm *comm;
    sl_driver *driver;
    sl_rank *rank;
    void *storage;
    size_t bytes;
} node;

static int64_t virtual_ns;

static int64_t virtual_clock(void *context)
{
    (void)context;
    return virtual_ns;
}

static sl_frame_limits limits_of(uint32_t ranks)
{
    return (sl_frame_limits){.rows_max = ROWS,
                             .spans_max = 2 * SEQUENCES,
                             .controls_max = 2 * SEQUENCES + 1,
                             .ranks = ranks,
                             .width = WIDTH};
}

static sl_plan_rank plan_ranks[RANKS] = {{.n_paged_heads = 1, .n_pages = 100, .keep = 1},
                                         {.n_paged_heads = 1, .n_pages = 100, .keep = 1}};
/* of one rank, and of two */
static const sl_plan PLANS[RANKS] = {{1, plan_ranks}, {2, plan_ranks}};

static void init_driver(sl_frame_limits limits, sl_arena *arena, sl_driver **driver)
{
    const sl_driver_options options = {.limits = limits,
                                       .chunk = ROWS,
                                       .sequences_max = SEQUENCES,
                                       .frames_max = FRAMES,
                                       .plan = &PLANS[limits.ranks - 1],
                                       .tokenizer = model.tokenizer};
    sl_driver_init(&options, arena, driver);
}

static void node_open(node *n, const char *kind, sl_comm_net *net, int rank, uint32_t frames_max)
{
    const sl_comm_options comm = {.heartbeat_ns = SL_SECOND, .sim_net = net, .sim_rank = rank};
    *n = (node){0};
    assert_int_equal(sl_comm_open(kind, &comm, &n->comm), SL_OK);
    sl_frame_limits limits = limits_of((uint32_t)sl_comm_ranks(n->comm));
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    init_driver(limits, &arena, &n->driver);
    sl_rank_measure(&limits, frames_max, &arena);
    n->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(n->bytes, "a rank", &n->storage), SL_OK);
    sl_arena_init(&arena, n->storage, n->bytes);
    init_driver(limits, &arena, &n->driver);
    const sl_rank_options options = {.comm = n->comm,
                                     .limits = limits,
                                     .sequences_max = SEQUENCES,
                                     .vocab = TINY_VOCAB,
                                     .frames_max = frames_max,
                                     .codec = SL_CODEC_F32,
                                     .silence_max_ns = 5 * SL_SECOND,
                                     .driver = rank == 0 ? n->driver : NULL,
                                     .clock = virtual_clock,
                                     .planned_bytes = 1000 + (uint64_t)rank};
    assert_int_equal(sl_rank_open(&options, &arena, &n->rank), SL_OK);
    assert_int_equal(arena.used_bytes, n->bytes); /* as measured */
    size_t message_bytes_max = sl_rank_message_bytes_max(&limits);
    assert_int_equal(sl_comm_start(n->comm, message_bytes_max, virtual_ns), SL_OK);
}

static void node_close(node *n)
{
    sl_driver_fini(n->driver);
    sl_rank_close(n->rank);
    sl_comm_close(n->comm);
    sl_storage_release(n->storage, n->bytes);
}

static sl_comm_net *net_open(void)
{
    const sl_comm_net_options options = {.ranks = RANKS,
                                         .seed = 3,
                                         .delay_min_ns = SL_MS,
                                         .delay_max_ns = 20 * SL_MS,
                                         .bytes_per_second = 1e6};
    sl_comm_net *net;
    assert_int_equal(sl_comm_net_open(&options, &net), SL_OK);
    virtual_ns = 0;
    return net;
}

static void submit(node *n, uint32_t n_prompt, uint32_t max_tokens)
{
    sl_request *request = calloc(1, sizeof *request);
    request->prompt = calloc(n_prompt, sizeof *request->prompt);
    request->n_prompt = n_prompt;
    request->max_tokens = max_tokens;
    request->n_choices = 1;
    request->ignore_eos = true;
    request->score_from = SIZE_MAX;
    request->sampling.n_logprobs = -1;
    assert_int_equal(sl_request_bind(request), SL_OK);
    assert_int_equal(sl_driver_submit(n->driver, request), SL_OK);
}

/* ---- compute: the first rank makes rows, the last checks them and draws ---- */

static float value_of(const sl_frame *f, uint32_t i) { return (float)(f->number * 1000 + i) / 7; }

static void make_rows(sl_frame *f)
{
    for (uint32_t i = 0; i < f->n_rows * WIDTH; i++) f->hidden[i] = value_of(f, i);
}

static void draw_tokens(sl_frame *f)
{
    for (uint32_t i = 0; i < f->n_rows * WIDTH; i++) assert_true(f->hidden[i] == value_of(f, i));
    for (uint32_t i = 0; i < f->n_spans; i++) {
        const sl_span *span = &f->spans[i];
        if (!span->sample) continue;
        f->results[f->n_results++] = (sl_token_result){.kind = SL_RESULT_SAMPLED,
                                                       .sequence = span->sequence,
                                                       .position = span->position + span->n_tokens,
                                                       .token = tiny_byte('x')};
    }
}

static sl_status step(node *n, sl_work **work) { return sl_rank_step(n->rank, virtual_ns, work); }

static sl_status step_quietly(node *n, char *talk)
{
    sl_work *work;
    capture c;
    capture_begin(&c);
    sl_status status = step(n, &work);
    capture_end(&c, talk, TALK);
    return status;
}

static void check_wait(const node *n, const char *expected)
{
    char text[256];
    sl_rank_describe_wait(n->rank, virtual_ns, text, sizeof text);
    assert_string_equal(text, expected);
    char little[10];
    sl_rank_describe_wait(n->rank, virtual_ns, little, sizeof little);
    assert_int_equal(strlen(little), sizeof little - 1);
}

/* ---- tests ---- */

static void test_alone(void **state)
{
    (void)state;
    virtual_ns = 0;
    node n;
    node_open(&n, "self", NULL, 0, FRAMES);
    sl_work *work, *other;
    assert_int_equal(step(&n, &work), SL_OK);
    assert_null(work);
    virtual_ns = 1500 * SL_MS;
    check_wait(&n, "was waiting for requests for 1.5 s");

    submit(&n, ROWS + 3, 3);
    sl_driver_end(n.driver);
    uint64_t number = 0;
    for (; !sl_rank_stopped(n.rank); number++) {
        assert_int_equal(step(&n, &work), SL_OK);
        if (!work) break;
        assert_int_equal(work->frame.number, number);
        assert_int_equal(step(&n, &other), SL_OK);
        assert_null(other); /* one at a time */
        if (number == 1) {
            virtual_ns += 2 * SL_SECOND;
            check_wait(&n, "was computing frame 1 for 2.0 s");
        }
        make_rows(&work->frame);
        draw_tokens(&work->frame);
        work->account.pages_used = number;
        sl_rank_computed(n.rank, work);
    }
    assert_true(sl_rank_stopped(n.rank));
    assert_int_equal(number, 5); /* two of the prompt, two tokens fed, the stop */
    assert_int_equal(sl_rank_ledger(n.rank)->pages_used, 4);
    assert_int_equal(sl_rank_ledger(n.rank)->planned_bytes, 1000);
    assert_true(sl_rank_ledger(n.rank)->peak_bytes > 0);
    node_close(&n);
}

static void test_failed_compute(void **state)
{
    (void)state;
    node n;
    node_open(&n, "self", NULL, 0, FRAMES);
    submit(&n, 3, 3);
    sl_work *work;
    assert_int_equal(step(&n, &work), SL_OK);
    work->status = SL_ERR_MEMORY;
    sl_rank_computed(n.rank, work);
    assert_int_equal(step(&n, &work), SL_ERR_MEMORY);
    assert_null(work);
    node_close(&n);
}

static void test_two_ranks(void **state)
{
    (void)state;
    sl_comm_net *net = net_open();
    node nodes[RANKS];
    for (int i = 0; i < RANKS; i++) node_open(&nodes[i], "sim", net, i, FRAMES);
    submit(&nodes[0], 5 * ROWS + 1, 4);
    submit(&nodes[0], 2, 9);
    sl_driver_end(nodes[0].driver);
    uint64_t numbers[RANKS] = {0};
    uint32_t most_under_way = 0;
    while (!sl_rank_stopped(nodes[0].rank) || !sl_rank_stopped(nodes[1].rank)) {
        for (int i = 0; i < RANKS; i++) {
            sl_work *work;
            if (sl_rank_stopped(nodes[i].rank)) continue;
            assert_int_equal(step(&nodes[i], &work), SL_OK);
            if (!work) continue;
            assert_int_equal(work->frame.number, numbers[i]++);
            i == 0 ? make_rows(&work->frame) : draw_tokens(&work->frame);
            work->compute_ns = (int64_t)numbers[i];
            sl_rank_computed(nodes[i].rank, work);
        }
        uint32_t under_way = sl_driver_frames_out(nodes[0].driver);
        if (under_way > most_under_way) most_under_way = under_way;
        virtual_ns += SL_MS;
        assert_true(virtual_ns < 100 * SL_SECOND);
    }
    assert_int_equal(most_under_way, FRAMES);
    assert_int_equal(numbers[0], numbers[1]);
    assert_int_equal(sl_driver_progress_now(nodes[0].driver)->generated_tokens, 13);
    const sl_ledger_row *ledger = sl_rank_ledger(nodes[0].rank);
    for (uint32_t i = 0; i < RANKS; i++) {
        assert_int_equal(ledger[i].rank, i);
        assert_int_equal(ledger[i].planned_bytes, 1000 + i);
        assert_int_equal(ledger[i].compute_ns, numbers[i]);
        assert_true(ledger[i].bytes_sent > 0 && ledger[i].wire_ns > 0);
    }
    for (int i = 0; i < RANKS; i++) node_close(&nodes[i]);
    sl_comm_net_close(net);
}

/* ---- a neighbour made by hand ---- */

typedef struct {
    sl_comm *comm;
    sl_wire *wire;
    sl_frame frame;
    void *storage;
    size_t bytes, header_max;
    uint8_t *room;
    const uint8_t *message;
    size_t n_bytes;
} peer;

static void peer_open(peer *p, sl_comm_net *net, int rank)
{
    const sl_comm_options comm = {.heartbeat_ns = SL_SECOND, .sim_net = net, .sim_rank = rank};
    const sl_frame_limits limits = limits_of(RANKS);
    *p = (peer){.header_max = sl_wire_header_bytes_max(&limits)};
    assert_int_equal(sl_comm_open("sim", &comm, &p->comm), SL_OK);
    assert_int_equal(sl_comm_start(p->comm, sl_rank_message_bytes_max(&limits), 0), SL_OK);
    assert_int_equal(sl_wire_open(&limits, &p->wire), SL_OK);
    sl_arena arena;
    sl_arena_init(&arena, NULL, 0);
    sl_frame_init(&p->frame, &limits, SL_FRAME_WITHOUT_HIDDEN, &arena);
    p->bytes = arena.used_bytes;
    assert_int_equal(sl_storage_take(p->bytes, "a peer", &p->storage), SL_OK);
    sl_arena_init(&arena, p->storage, p->bytes);
    sl_frame_init(&p->frame, &limits, SL_FRAME_WITHOUT_HIDDEN, &arena);
    p->room = calloc(1, sl_rank_message_bytes_max(&limits));
}

static void peer_close(peer *p)
{
    sl_comm_close(p->comm);
    sl_wire_close(p->wire);
    sl_storage_release(p->storage, p->bytes);
    free(p->room);
}

/* Rank 0's frame that opens sequence 0 and, with rows, feeds it. */
static void make_frame(peer *p, uint64_t number, uint32_t n_rows)
{
    sl_frame *f = &p->frame;
    sl_frame_reset(f, number);
    f->controls[f->n_controls++] = (sl_control){.kind = SL_CONTROL_OPEN};
    f->ledger[f->n_ledger++] = (sl_ledger_row){.rank = 0};
    if (n_rows == 0) return;
    f->n_rows = n_rows;
    memset(f->tokens, 0, n_rows * sizeof *f->tokens);
    f->spans[f->n_spans++] = (sl_span){
        .kind = SL_SPAN_PROMPT, .n_tokens = n_rows, .score_from = n_rows, .next_token = -1};
}

static void encode(peer *p, uint32_t codec, size_t payload_bytes)
{
    const sl_wire_payload payload = {.codec = codec, .n_bytes = payload_bytes};
    assert_int_equal(
        sl_wire_encode_frame(p->wire, &p->frame, &payload, p->room, &p->message, &p->n_bytes),
        SL_OK);
}

/* Send the message and let it arrive. */
static void deliver(peer *p)
{
    assert_int_equal(sl_comm_send(p->comm, p->message, p->n_bytes, NULL, virtual_ns), SL_OK);
    sl_comm_event event;
    for (int i = 0; i < 100; i++, virtual_ns += SL_MS)
        sl_comm_poll(p->comm, virtual_ns, SL_COMM_SENT_ONLY, &event);
}

static void send_wrong(peer *p, int i)
{
    const size_t row_bytes = WIDTH * sizeof(float);
    switch (i) {
    case 0: make_frame(p, 1, 2), encode(p, SL_CODEC_F32, 2 * row_bytes); break;
    case 1: make_frame(p, 0, 2), encode(p, 0, 0); break;
    case 2: make_frame(p, 0, 0), encode(p, SL_CODEC_F32, row_bytes); break;
    case 3: make_frame(p, 0, 2), encode(p, SL_CODEC_F32, row_bytes); break;
    case 4: make_frame(p, 0, 2), encode(p, 77, 2 * row_bytes); break;
    case 5:
        make_frame(p, 0, 2);
        p->frame.spans[0].sequence = SEQUENCES;
        encode(p, SL_CODEC_F32, 2 * row_bytes);
        break;
    case 6:
        make_frame(p, 0, 2);
        p->frame.tokens[1] = TINY_VOCAB;
        encode(p, SL_CODEC_F32, 2 * row_bytes);
        break;
    case 7:
        make_frame(p, 0, 0);
        p->frame.n_ledger = 0;
        encode(p, 0, 0);
        break;
    default: { /* another version, sealed as ours would be */
        make_frame(p, 0, 0), encode(p, 0, 0);
        uint8_t *bytes = p->room + (p->message - p->room);
        bytes[SL_SEAL_BYTES + 1] = SL_WIRE_VERSION + 1;
        sl_seal_write(bytes, p->n_bytes - SL_SEAL_BYTES);
    }
    }
    deliver(p);
}

static void test_wrong_frames(void **state)
{
    (void)state;
    static const char *const said[] = {
        "frame 1 arrived where 0 was expected",
        "frame 0 has 2 rows and a payload of 0 bytes",
        "frame 0 has 0 rows and a payload of 32 bytes",
        "", /* the codec logs it in words of its own */
        "",
        "sequence out of range",
        "token out of range",
        "gathered 0 ledger rows",
        "this rank speaks frame version",
    };
    for (int i = 0; i < (int)(sizeof said / sizeof *said); i++) {
        sl_comm_net *net = net_open();
        node n;
        peer p;
        char talk[TALK];
        node_open(&n, "sim", net, 1, FRAMES);
        peer_open(&p, net, 0);
        int errors = sl_log_errors();
        send_wrong(&p, i);
        if (step_quietly(&n, talk) != SL_ERR_FORMAT || !strstr(talk, said[i]))
            fail_msg("message %d: %s", i, talk);
        assert_int_equal(sl_log_errors(), errors + 1); /* once */
        node_close(&n);
        peer_close(&p);
        sl_comm_net_close(net);
    }
}

/* Results of a frame that is not the oldest under way. */
static void test_wrong_results(void **state)
{
    (void)state;
    sl_comm_net *net = net_open();
    node n;
    peer p;
    char talk[TALK];
    node_open(&n, "sim", net, 0, FRAMES);
    peer_open(&p, net, 1);
    submit(&n, 2 * ROWS, 1);
    sl_work *work;
    assert_int_equal(step(&n, &work), SL_OK);
    make_frame(&p, 1, 0), encode(&p, 0, 0);
    deliver(&p);
    assert_int_equal(step_quietly(&n, talk), SL_ERR_FORMAT);
    assert_non_null(strstr(talk, "frame 1 arrived where 0 was expected"));
    node_close(&n);
    peer_close(&p);
    sl_comm_net_close(net);
}

/* A rank without a free slot leaves messages where they are. */
static void test_no_slot(void **state)
{
    (void)state;
    sl_comm_net *net = net_open();
    node n;
    peer p;
    node_open(&n, "sim", net, 1, 1);
    peer_open(&p, net, 0);
    for (uint64_t number = 0; number < 3; number++) {
        make_frame(&p, number, 0), encode(&p, 0, 0);
        deliver(&p);
    }
    for (uint64_t number = 0; number < 3; number++) {
        sl_work *work, *other;
        for (work = NULL; !work; virtual_ns += SL_MS) assert_int_equal(step(&n, &work), SL_OK);
        assert_int_equal(work->frame.number, number);
        assert_int_equal(step(&n, &other), SL_OK);
        assert_null(other);
        sl_rank_computed(n.rank, work);
    }
    node_close(&n);
    peer_close(&p);
    sl_comm_net_close(net);
}

/* It waits while there are heartbeats, whatever it waits for, and not much longer. */
static void test_silence(void **state)
{
    (void)state;
    sl_comm_net *net = net_open();
    node n;
    peer p;
    sl_work *work;
    sl_comm_event event;
    node_open(&n, "sim", net, 1, FRAMES);
    peer_open(&p, net, 0);
    const int64_t lost_ns = 30 * SL_SECOND;
    for (; virtual_ns < lost_ns; virtual_ns += 100 * SL_MS) {
        sl_comm_poll(p.comm, virtual_ns, SL_COMM_ANY_EVENT, &event);
        assert_int_equal(step(&n, &work), SL_OK);
    }
    sl_comm_net_lose(net, 0);
    sl_status status = SL_OK;
    char talk[TALK] = "";
    for (; status == SL_OK && virtual_ns < 2 * lost_ns; virtual_ns += 100 * SL_MS)
        status = step_quietly(&n, talk);
    assert_int_equal(status, SL_ERR_PEER);
    assert_true(virtual_ns > lost_ns + 4 * SL_SECOND && virtual_ns < lost_ns + 6 * SL_SECOND);
    assert_non_null(strstr(talk, "rank 0 gave no sign of life for 5.1 s; was waiting for frames"));
    node_close(&n);
    peer_close(&p);
    sl_comm_net_close(net);
}

static void test_describe_wait(void **state)
{
    (void)state;
    sl_comm_net *net = net_open();
    node nodes[RANKS];
    sl_work *work;
    for (int i = 0; i < RANKS; i++) node_open(&nodes[i], "sim", net, i, FRAMES);
    submit(&nodes[0], 2, 1);
    assert_int_equal(step(&nodes[0], &work), SL_OK);
    make_rows(&work->frame);
    sl_rank_computed(nodes[0].rank, work);
    assert_int_equal(step(&nodes[0], &work), SL_OK); /* it leaves */
    virtual_ns = 400 * SL_MS;
    check_wait(&nodes[0], "was waiting for results from rank 1 for 0.4 s (heard from it 0.0 s ago),"
                          " 1 frames on their way to rank 1 (heard from it 0.0 s ago)");
    assert_int_equal(step(&nodes[0], &work),
                     SL_OK); /* it has left, and no rank has sent anything yet */
    virtual_ns = 500 * SL_MS;
    check_wait(&nodes[0], "was waiting for results from rank 1 for 0.1 s (heard from it 0.4 s ago),"
                          " 0 frames on their way to rank 1 (heard from it 0.4 s ago)");
    check_wait(&nodes[1], "was waiting for frames from rank 0 for 0.5 s (heard from it 0.0 s ago),"
                          " 0 frames on their way to rank 0 (heard from it 0.0 s ago)");
    assert_int_equal(step(&nodes[1], &work), SL_OK);
    virtual_ns = 600 * SL_MS;
    check_wait(&nodes[1], "was computing frame 0 for 0.1 s");
    for (int i = 0; i < RANKS; i++) node_close(&nodes[i]);
    sl_comm_net_close(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),         cmocka_unit_test(test_failed_compute),
        cmocka_unit_test(test_two_ranks),     cmocka_unit_test(test_wrong_frames),
        cmocka_unit_test(test_wrong_results), cmocka_unit_test(test_no_slot),
        cmocka_unit_test(test_silence),       cmocka_unit_test(test_describe_wait),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
