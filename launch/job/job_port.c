/* launch/job/job_port.c - see job_port.h. A request that cannot be served never reaches the driver:
 * its error record is written at once. */
#include "launch/job/job_port.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/queue.h"
#include "runtime/base/thread.h"

/* A disk takes longest to make a record last, and as long for a hundred: they are synced in
 * groups. */
static const int64_t SYNC_AFTER_NS = 50 * SL_MS;

struct sl_job_port {
    sl_job *job;
    sl_request_reader reader;
    sl_queue *requests; /* to the progress thread */
    sl_queue *results;  /* back from it */
    uint32_t ahead;
    uint32_t n_out;         /* requests between reading and writing; this thread's */
    uint64_t bytes_out;     /* they take */
    uint64_t waiting_bytes; /* and take when no more are read */
    bool input_ended;
    uint64_t n_unsynced, n_unsynced_failed; /* records appended that may yet be lost */
    int64_t sync_ns;                        /* when they are due */
    pthread_t thread;
    atomic_int status;                 /* sl_status of the thread */
    atomic_ullong n_written, n_failed; /* records that last */
};

/* Only what was generated counts: what might have been is seldom reached. */
static void refuse_huge(const sl_job_port *p, sl_request *request)
{
    if (request->error.http_status != 0) return;
    uint64_t n_tokens = sl_request_generated(request);
    uint64_t bytes = sl_result_bytes(request, n_tokens, p->reader.tokenizer);
    if (bytes > SL_RESULT_BYTES_MAX)
        sl_request_fail(request, 400, "out_of_memory", "",
                        "%llu tokens with %d log-probabilities each would take %llu MB to write "
                        "down, at most %d are: ask for fewer",
                        (unsigned long long)n_tokens, request->sampling.n_logprobs + 1,
                        (unsigned long long)bytes >> 20, SL_RESULT_BYTES_MAX >> 20);
}

static sl_status write_result(sl_job_port *p, sl_request *request)
{
    size_t bytes;
    refuse_huge(p, request);
    char *line = sl_result_line(request, p->reader.tokenizer, (int64_t)time(NULL), &bytes);
    if (!line && request->error.http_status == 0) {
        sl_request_fail(request, 500, "out_of_memory", "",
                        "no memory to write its result down: ask for fewer log-probabilities");
        line = sl_result_line(request, p->reader.tokenizer, (int64_t)time(NULL), &bytes);
    }
    if (!line) sl_error("no memory to write the record of %s", request->custom_id);
    sl_status status = line ? sl_job_append(p->job, line, bytes, request->body_hash)
                            : SL_ERR_MEMORY;
    if (status == SL_OK) {
        if (p->n_unsynced++ == 0) p->sync_ns = sl_clock_now_ns() + SYNC_AFTER_NS;
        p->n_unsynced_failed += request->error.http_status != 0;
    }
    free(line);
    sl_request_free(request);
    return status;
}

/* Records count from here on. */
static sl_status sync_records(sl_job_port *p)
{
    if (p->n_unsynced == 0) return SL_OK;
    sl_status status = sl_job_sync(p->job);
    if (status == SL_OK) {
        atomic_fetch_add(&p->n_failed, p->n_unsynced_failed);
        atomic_fetch_add(&p->n_written, p->n_unsynced);
    } /* else they are never counted: another sync might succeed without them */
    p->n_unsynced = p->n_unsynced_failed = 0;
    return status;
}

/* Read one line: a good request goes to the driver, a bad one's error record to OUT. */
static sl_status read_request(sl_job_port *p)
{
    sl_job_line line;
    sl_status status = sl_job_next(p->job, &line);
    if (status == SL_END) {
        p->input_ended = true;
        sl_queue_end(p->requests);
        return SL_OK;
    }
    if (status != SL_OK) return status;
    sl_request *request;
    status = sl_request_read(&p->reader, line.text, line.bytes, line.number, &request);
    if (status != SL_OK) return status;
    request->body_hash = line.body_hash;
    if (request->error.http_status != 0) return write_result(p, request);
    p->n_out++;
    p->bytes_out += sl_request_bytes(request);
    return sl_queue_put(p->requests, request, -1); /* never full: it holds `ahead` */
}

static bool may_read(const sl_job_port *p)
{
    bool has_room = p->n_out == 0 || (p->n_out < p->ahead && p->bytes_out < p->waiting_bytes);
    return !p->input_ended && has_room;
}

/* How long a result may be waited for: until records are due. */
static int wait_ms(const sl_job_port *p)
{
    if (may_read(p)) return 0;
    if (p->n_unsynced == 0) return -1;
    int64_t left_ns = p->sync_ns - sl_clock_now_ns();
    return left_ns > 0 ? (int)(left_ns / SL_MS) + 1 : 0;
}

static sl_status take_result(sl_job_port *p, sl_request *result)
{
    p->n_out--;
    p->bytes_out -= sl_request_bytes(result);
    return write_result(p, result);
}

static sl_status serve(sl_job_port *p)
{
    sl_status status = SL_OK;
    while (status == SL_OK && !(p->input_ended && p->n_out == 0)) {
        void *result;
        sl_status taken = sl_queue_take(p->results, &result, wait_ms(p));
        if (taken == SL_END) break; /* the job was given up */
        if (taken == SL_OK)
            status = take_result(p, result);
        else if (may_read(p))
            status = read_request(p);
        if (status == SL_OK && p->n_unsynced > 0 && sl_clock_now_ns() >= p->sync_ns)
            status = sync_records(p);
    }
    sl_status synced = sync_records(p);
    return status == SL_OK ? synced : status;
}

static void *port_thread(void *argument)
{
    sl_job_port *p = argument;
    sl_status status = serve(p);
    atomic_store(&p->status, status);
    if (status != SL_OK) sl_queue_end(p->requests);
    return NULL;
}

sl_status sl_job_port_open(sl_job *job, const sl_request_reader *reader, uint32_t ahead,
                           uint64_t waiting_bytes, sl_job_port **port_out)
{
    sl_job_port *p = calloc(1, sizeof *p);
    if (!p) return SL_ERR_MEMORY;
    *p = (sl_job_port){
        .job = job, .reader = *reader, .ahead = ahead, .waiting_bytes = waiting_bytes};
    p->requests = sl_queue_open(ahead);
    p->results = sl_queue_open(ahead);
    int error = p->requests && p->results ? sl_thread_start(&p->thread, port_thread, p) : ENOMEM;
    if (error == 0) {
        *port_out = p;
        return SL_OK;
    }
    sl_error("cannot start the thread that reads and writes: %s", strerror(error));
    sl_queue_close(p->requests);
    sl_queue_close(p->results);
    free(p);
    return SL_ERR_MEMORY; /* its stack found no room */
}

sl_status sl_job_port_finish(sl_job_port *port)
{
    sl_queue_end(port->results);
    pthread_join(port->thread, NULL);
    return (sl_status)atomic_load(&port->status);
}

void sl_job_port_close(sl_job_port *port)
{
    if (!port) return;
    void *left;
    while (sl_queue_try_take(port->requests, &left) == SL_OK) sl_request_free(left);
    while (sl_queue_try_take(port->results, &left) == SL_OK) sl_request_free(left);
    sl_queue_close(port->requests);
    sl_queue_close(port->results);
    free(port);
}

/* ---- the loop's side ---- */

static sl_status next(void *context, sl_request **request_out)
{
    sl_job_port *p = context;
    void *item;
    sl_status status = sl_queue_try_take(p->requests, &item);
    if (status == SL_OK) *request_out = item;
    if (status != SL_END) return status;
    sl_status failed = (sl_status)atomic_load(&p->status);
    return failed == SL_OK ? SL_END : failed;
}

static sl_status done(void *context, sl_request *request)
{
    sl_job_port *p = context;
    sl_status failed = (sl_status)atomic_load(&p->status);
    if (failed != SL_OK) {
        sl_request_free(request);
        return failed;
    }
    sl_status status = sl_queue_try_put(p->results, request);
    SL_ASSERT(status == SL_OK); /* it holds `ahead` */
    return SL_OK;
}

sl_port sl_job_port_get(sl_job_port *port)
{
    return (sl_port){.context = port, .next = next, .done = done};
}

void sl_job_port_counts(const sl_job_port *port, uint64_t *written_out, uint64_t *failed_out)
{
    *failed_out = atomic_load(&port->n_failed);
    *written_out = atomic_load(&port->n_written);
}
