/* launch/bench/bench_link.c - see bench_link.h for what is measured. Ranks agree after what each
 * does alone (codecs, memory), then messages go round; a rank that fails there ends the job. */
#include "launch/bench/bench_link.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"
#include "launch/bench/codec_speed.h"
#include "launch/json/json_object.h"
#include "launch/machine/cores.h"
#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "launch/machine/version.h"
#include "launch/output/report.h"
#include "launch/setup/model_setup.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/model/weights.h"

enum { WIDTH_UNTOLD = 576, TOKEN_BYTES = 8, WARMUP_ROUNDS = 2, ROUNDS_MAX = 15 };
static const int64_t SILENCE_MAX_NS = 10 * SL_SECOND;

/* The first is the token itself, the last tells the speed. */
static const struct {
    size_t bytes;
    int rounds;
} MESSAGES[] = {{TOKEN_BYTES, 15}, {1 << 10, 15}, {64 << 10, 15}, {1 << 20, 9}};
enum { N_MESSAGES = sizeof MESSAGES / sizeof *MESSAGES, LARGEST = N_MESSAGES - 1 };

typedef enum { FRAME_PROMPT, FRAME_DECODE, N_FRAMES } frame_kind;

/* What a rank tells the others, as it lies in memory: all run this program on like machines. */
typedef struct {
    int32_t status;
    char host[64];
    sl_codec_speed speeds[N_FRAMES][SL_CODEC_KINDS];
    double round_s[N_MESSAGES]; /* T(n) of the link this rank sends on */
} rank_report;

typedef struct {
    const sl_settings *settings;
    sl_comm *comm;
    int rank, ranks;
    uint32_t width;
    uint8_t *message;  /* [MESSAGES[LARGEST].bytes] */
    rank_report *all;  /* [ranks] */
    rank_report *mine; /* all[rank] */
} bench;

/* ---- what each rank does alone ---- */

static uint64_t next_bits(uint64_t *state) /* Knuth's MMIX generator; its upper half is good */
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Box and Muller 1958. */
static float next_normal(uint64_t *state)
{
    double u = ((double)next_bits(state) + 1) / 0x1p31, v = (double)next_bits(state) / 0x1p31;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* Normal, each channel on a scale of its own, spread so that zstd gains what it does on a small
 * llama's rows (f32 to 0.84, bf16 to 0.34, int8 to 0.23 of f32). */
static void fill_rows(float *rows, size_t n_rows, size_t width)
{
    uint64_t state = 1;
    for (size_t i = 0; i < width; i++) {
        float scale = expf(0.75F * next_normal(&state));
        for (size_t r = 0; r < n_rows; r++) rows[r * width + i] = scale * next_normal(&state);
    }
}

static sl_status measure_codecs(bench *b)
{
    size_t n_rows = b->settings->chunk;
    float *rows = malloc(n_rows * b->width * sizeof *rows);
    if (!rows) {
        sl_error("no memory for %zu rows of %u floats", n_rows, b->width);
        return SL_ERR_MEMORY;
    }
    fill_rows(rows, n_rows, b->width);
    sl_status status = sl_codec_speed_measure(rows, n_rows, b->width,
                                              b->mine->speeds[FRAME_PROMPT]);
    if (status == SL_OK)
        status = sl_codec_speed_measure(rows, 1, b->width, b->mine->speeds[FRAME_DECODE]);
    free(rows);
    return status;
}

static sl_status read_width(bench *b)
{
    b->width = WIDTH_UNTOLD;
    if (!b->settings->model) return SL_OK;
    sl_model_setup setup = {.model = b->settings->model, .settings = b->settings};
    sl_status status = sl_model_setup_open(&setup, SL_SETUP_SHAPE);
    if (status == SL_OK) b->width = setup.shape.width;
    sl_model_setup_close(&setup);
    return status;
}

static sl_status prepare(bench *b)
{
    if (b->ranks == 1) {
        sl_error("bench link: one rank has no links; start it as mpirun -n 2 sluice bench link");
        return SL_ERR_OPTION;
    }
    gethostname(b->mine->host, sizeof b->mine->host - 1);
    sl_status status = read_width(b);
    if (status == SL_OK) status = measure_codecs(b);
    b->message = calloc(1, MESSAGES[LARGEST].bytes);
    if (status == SL_OK && !b->message) {
        sl_error("no memory for a message of %zu bytes", MESSAGES[LARGEST].bytes);
        status = SL_ERR_MEMORY;
    }
    return status;
}

/* Everybody's report to everybody; the first bad status, logged where it happened. */
static sl_status gather(bench *b, sl_status status)
{
    rank_report mine = *b->mine;
    mine.status = status;
    sl_status agreed = sl_comm_gather(b->comm, &mine, sizeof mine, b->all, 0);
    if (agreed != SL_OK) sl_ranks_abort(b->comm, sl_exit_code(agreed)); /* no rank to agree with */
    for (int r = 0; r < b->ranks && agreed == SL_OK; r++) agreed = (sl_status)b->all[r].status;
    return agreed;
}

/* ---- messages round the ring ---- */

static sl_status check_neighbours(const bench *b)
{
    if (sl_process_signal()) {
        sl_error("%s: was measuring links", sl_process_signal_name(sl_process_signal()));
        return SL_ERR_JOB;
    }
    const int neighbours[] = {sl_comm_previous(b->comm), sl_comm_next(b->comm)};
    for (int i = 0; i < 2; i++) {
        int64_t silent_ns = sl_comm_silence_ns(b->comm, neighbours[i]);
        if (silent_ns < SILENCE_MAX_NS) continue;
        sl_error("bench link: waiting for rank %d, silent for %.1f s", neighbours[i],
                 (double)silent_ns / (double)SL_SECOND);
        return SL_ERR_PEER;
    }
    return SL_OK;
}

/* What is sent is never written again, so its completion is not waited for. */
static sl_status await_message(bench *b, size_t n_bytes)
{
    for (;;) {
        sl_comm_event event;
        sl_status status = sl_comm_poll(b->comm, sl_clock_now_ns(), SL_COMM_ANY_EVENT, &event);
        if (status == SL_AGAIN)
            status = check_neighbours(b);
        else if (status == SL_OK && event.kind == SL_COMM_MESSAGE) {
            if (event.n_bytes == n_bytes) return SL_OK;
            sl_error("bench link: a message of %zu bytes where %zu were expected: is the same "
                     "program on every host?",
                     event.n_bytes, n_bytes);
            return SL_ERR_FORMAT;
        }
        if (status != SL_OK) return status;
    }
}

static sl_status send_message(bench *b, size_t n_bytes)
{
    return sl_comm_send(b->comm, b->message, n_bytes, NULL, sl_clock_now_ns());
}

static int receiver_of(const bench *b, int link) { return (link + 1) % b->ranks; }

/* n bytes over the link rank `link` sends on, a token over the others. seconds_out: on that
 * rank. */
static sl_status go_round(bench *b, int link, size_t n_bytes, double *seconds_out)
{
    if (b->rank != link) {
        sl_status status = await_message(b,
                                         b->rank == receiver_of(b, link) ? n_bytes : TOKEN_BYTES);
        return status == SL_OK ? send_message(b, TOKEN_BYTES) : status;
    }
    int64_t began_ns = sl_clock_now_ns();
    sl_status status = send_message(b, n_bytes);
    if (status == SL_OK) status = await_message(b, TOKEN_BYTES);
    *seconds_out = (double)(sl_clock_now_ns() - began_ns) / (double)SL_SECOND;
    return status;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Ranks count rounds, so each knows by itself when its turn to send has come. */
static sl_status measure_links(bench *b)
{
    sl_status status = sl_comm_start(b->comm, MESSAGES[LARGEST].bytes, sl_clock_now_ns());
    for (int link = 0; link < b->ranks; link++)
        for (int m = 0; m < N_MESSAGES; m++) {
            double samples[ROUNDS_MAX] = {0}, unused;
            int rounds = MESSAGES[m].rounds;
            for (int i = -WARMUP_ROUNDS; i < rounds && status == SL_OK; i++)
                status = go_round(b, link, MESSAGES[m].bytes, i < 0 ? &unused : &samples[i]);
            if (status != SL_OK) return status;
            qsort(samples, (size_t)rounds, sizeof *samples, by_size);
            if (b->rank == link) b->mine->round_s[m] = samples[rounds / 2];
        }
    return status;
}

/* ---- telling ---- */

static double hop_s(const bench *b, int link) { return b->all[link].round_s[0] / b->ranks; }

/* Of message m: the round but for the token's way back. */
static double message_s(const bench *b, int link, int m)
{
    const double *round_s = b->all[link].round_s;
    return fmax(round_s[m] - round_s[0], 0) + hop_s(b, link);
}

static double bytes_per_s(const bench *b, int link)
{
    const double *round_s = b->all[link].round_s;
    double least_s = 1e-9; /* noise must not make it negative */
    return (double)MESSAGES[LARGEST].bytes / fmax(round_s[LARGEST] - round_s[0], least_s);
}

static const char *choice_name(const bench *b, int link, frame_kind frame, sl_codec_choice among)
{
    sl_codec_speed speeds[SL_CODEC_KINDS];
    for (int k = 0; k < SL_CODEC_KINDS; k++) {
        speeds[k] = b->all[link].speeds[frame][k];
        speeds[k].decode_s = b->all[receiver_of(b, link)].speeds[frame][k].decode_s;
    }
    return sl_codec_kind_name(sl_codec_speed_choose(speeds, among, bytes_per_s(b, link)));
}

static sl_status print_table(const bench *b)
{
    printf(
        "%d ranks; rows are synthetic, of %u floats. Microseconds one way; a hop is the mean of "
        "the ring, %d bytes.\n"
        "Codecs that end soonest, lossless and of all, for prompt frames of %u rows and decode "
        "frames of 1:\n"
        "link                                 hop   1 KiB  64 KiB   1 MiB     MB/s  prompt frame "
        "        decode frame\n",
        b->ranks, b->width, TOKEN_BYTES, b->settings->chunk);
    for (int l = 0; l < b->ranks; l++) {
        sl_plain_room from, to;
        char name[160], codecs[N_FRAMES][48];
        snprintf(name, sizeof name, "%d %s -> %d %s", l, sl_plain_string(b->all[l].host, &from),
                 receiver_of(b, l), sl_plain_string(b->all[receiver_of(b, l)].host, &to));
        for (int f = 0; f < N_FRAMES; f++)
            snprintf(codecs[f], sizeof codecs[f], "%s, %s",
                     choice_name(b, l, (frame_kind)f, SL_CHOICE_LOSSLESS),
                     choice_name(b, l, (frame_kind)f, SL_CHOICE_ANY));
        printf("%-32s %7.1f %7.1f %7.1f %7.0f %8.1f  %-20s %s\n", name, hop_s(b, l) * 1e6,
               message_s(b, l, 1) * 1e6, message_s(b, l, 2) * 1e6, message_s(b, l, LARGEST) * 1e6,
               bytes_per_s(b, l) / 1e6, codecs[FRAME_PROMPT], codecs[FRAME_DECODE]);
    }
    return sl_process_flush_stdout();
}

static json_t *choices_json(const bench *b, int link, frame_kind frame, uint32_t n_rows)
{
    sl_json_object object = sl_json_begin();
    sl_json_set_count(&object, "rows", n_rows);
    sl_json_set_text(&object, "lossless", choice_name(b, link, frame, SL_CHOICE_LOSSLESS));
    sl_json_set_text(&object, "any", choice_name(b, link, frame, SL_CHOICE_ANY));
    return sl_json_end(&object);
}

static json_t *messages_json(const bench *b, int link)
{
    json_t *messages = json_array();
    for (int m = 0; m < N_MESSAGES; m++) {
        sl_json_object object = sl_json_begin();
        sl_json_set_count(&object, "bytes", MESSAGES[m].bytes);
        sl_json_set_number(&object, "us", message_s(b, link, m) * 1e6);
        json_array_append_new(messages, sl_json_end(&object));
    }
    return messages;
}

static json_t *link_json(const bench *b, int link)
{
    int receiver = receiver_of(b, link);
    sl_json_object object = sl_json_begin();
    sl_json_set_integer(&object, "from", link);
    sl_json_set_integer(&object, "to", receiver);
    sl_json_set_text(&object, "from_host", b->all[link].host);
    sl_json_set_text(&object, "to_host", b->all[receiver].host);
    sl_json_set_number(&object, "hop_us", hop_s(b, link) * 1e6);
    sl_json_set_number(&object, "mb_s", bytes_per_s(b, link) / 1e6);
    sl_json_set_item(&object, "messages", messages_json(b, link));
    sl_json_set_item(&object, "prompt", choices_json(b, link, FRAME_PROMPT, b->settings->chunk));
    sl_json_set_item(&object, "decode", choices_json(b, link, FRAME_DECODE, 1));
    return sl_json_end(&object);
}

static sl_status print_json(const bench *b)
{
    json_t *links = json_array();
    for (int l = 0; l < b->ranks; l++) json_array_append_new(links, link_json(b, l));
    char machine[SL_MACHINE_BYTES];
    sl_cores_machine(machine, sizeof machine);
    sl_json_object object = sl_json_begin();
    sl_json_set_item(&object, "links", links);
    sl_json_set_integer(&object, "ranks", b->ranks);
    sl_json_set_count(&object, "width", b->width);
    sl_json_set_text(&object, "rows_from", "synthetic");
    sl_json_set_text(&object, "machine", machine);
    sl_json_set_text(&object, "commit", sl_version());
    return sl_report_print(sl_json_end(&object));
}

/* ---- the whole ---- */

static sl_status prepare_together(void *context)
{
    bench *b = context;
    return gather(b, prepare(b));
}

static sl_status tell(void *context)
{
    bench *b = context;
    sl_status status = gather(b, SL_OK);
    if (status == SL_OK && b->rank == 0) status = (b->settings->json ? print_json : print_table)(b);
    return sl_ranks_agree(b->comm, status);
}

static sl_status attend(bench *b, sl_status (*work)(void *context))
{
    return sl_ranks_attend(b->comm, b->settings->peer_timeout_s, SL_SIGNAL_ENDS_JOB, work, b);
}

static sl_status run(bench *b)
{
    b->all = calloc((size_t)b->ranks, sizeof *b->all);
    if (!b->all) abort(); /* a kilobyte a rank at start-up: nothing can be said any more */
    b->mine = &b->all[b->rank];
    sl_status status = attend(b, prepare_together);
    if (status != SL_OK) return status;
    status = measure_links(b);
    if (status != SL_OK) sl_ranks_abort(b->comm, sl_exit_code_stopped(status)); /* others wait */
    return attend(b, tell);
}

int sl_bench_link(const sl_settings *settings)
{
    bench b = {.settings = settings};
    sl_status status = sl_ranks_open(&b.comm);
    if (status != SL_OK) return sl_exit_code(status);
    b.rank = sl_comm_rank(b.comm);
    b.ranks = sl_comm_ranks(b.comm);
    status = run(&b);
    free(b.message);
    free(b.all);
    return sl_ranks_close(b.comm, sl_exit_code(status));
}
