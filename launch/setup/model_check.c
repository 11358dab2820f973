/* launch/setup/model_check.c - see model_check.h. */
#include "launch/setup/model_check.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "launch/machine/ranks.h"
#include "runtime/base/clock.h"
#include "runtime/base/condition.h"
#include "runtime/base/log.h"
#include "runtime/base/thread.h"

enum { NICE = 10, WATCHED = 2 + SL_LORA_FILES_MAX };

/* What a rank tells: its sums of the groups beside the layers, where it has them, and those of its
 * own layers. So all of it together grows with the layers, not with layers times ranks. */
typedef struct {
    char host[64], path[192];
    char holes[SL_SUM_NAMES_BYTES]; /* the groups that have them, of those it loaded */
    uint64_t others[SL_SUM_LAYERS];
    uint8_t has_other[8];
    uint64_t layers[]; /* as many as the rank with the most has */
} told;

typedef struct {
    const sl_gguf *file; /* NULL: none */
    bool said;           /* that it has changed */
} watched;

struct sl_model_check {
    sl_model_check_options options;
    int rank, ranks;
    uint32_t layers_max;
    size_t told_bytes;
    uint8_t *all;              /* [ranks] of told */
    bool *picked;              /* [groups]: those an error shall name */
    sl_sums right;             /* rank 0: what layers should be, as far as it is known */
    char right_path[PATH_MAX]; /* the file that says so */
    bool from_sums;            /* that is MODEL.sums */
    bool reads;                /* the thread shall find out the rest */
    const char *unverified;    /* set before the verdict */
    atomic_int verdict;        /* sl_status; SL_AGAIN: none yet */
    watched files[WATCHED];

    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* stop, or a verdict */
    atomic_bool stop;
};

/* ---- telling each other ---- */

static told *told_by(const sl_model_check *c, int rank)
{
    return (told *)(void *)(c->all + (size_t)rank * c->told_bytes);
}

/* The end of a path says more than its beginning. */
static void put_path(const char *path, char *out, size_t out_bytes)
{
    size_t n = strlen(path);
    bool fits = n < out_bytes;
    snprintf(out, out_bytes, "%s%s", fits ? "" : "...",
             fits ? path : path + n - (out_bytes - sizeof "..."));
}

static void fill_told(sl_model_check *c, told *mine)
{
    const sl_sums *loaded = c->options.loaded;
    gethostname(mine->host, sizeof mine->host - 1);
    put_path(sl_gguf_path(c->options.gguf), mine->path, sizeof mine->path);
    sl_sums_have_holes(c->options.gguf, loaded, c->picked);
    sl_sum_names(c->options.gguf, c->picked, loaded->n, mine->holes);
    for (uint32_t i = 0; i < SL_SUM_LAYERS; i++) {
        mine->others[i] = loaded->sums[i];
        mine->has_other[i] = loaded->known[i];
    }
    const sl_plan_rank *own = &c->options.plan->ranks[c->rank];
    for (uint32_t i = 0; i < own->n_layers; i++)
        mine->layers[i] = loaded->sums[SL_SUM_LAYERS + own->first_layer + i];
}

static sl_status tell_all(sl_model_check *c)
{
    told *mine = calloc(1, c->told_bytes);
    c->all = calloc((size_t)c->ranks, c->told_bytes);
    c->picked = calloc(c->options.loaded->n, sizeof *c->picked);
    if (!mine || !c->all || !c->picked) sl_ranks_abort_memory(c->options.comm);
    fill_told(c, mine);
    sl_status status = sl_comm_gather(c->options.comm, mine, c->told_bytes, c->all, 0);
    free(mine);
    for (int r = 0; status == SL_OK && r < c->ranks; r++) {
        told_by(c, r)->host[sizeof mine->host - 1] = '\0';
        told_by(c, r)->path[sizeof mine->path - 1] = '\0';
        told_by(c, r)->holes[sizeof mine->holes - 1] = '\0';
    }
    return status;
}

/* What rank r loaded of a group; false: nothing. */
static bool sum_of(const sl_model_check *c, int r, uint32_t group, uint64_t *sum_out)
{
    const told *t = told_by(c, r);
    const sl_plan_rank *p = &c->options.plan->ranks[r];
    uint32_t first = p->first_layer, end = first + p->n_layers;
    bool other = group < SL_SUM_LAYERS;
    if (other ? !t->has_other[group]
              : group - SL_SUM_LAYERS < first || group - SL_SUM_LAYERS >= end)
        return false;
    *sum_out = other ? t->others[group] : t->layers[group - SL_SUM_LAYERS - first];
    return true;
}

/* ---- comparing, on rank 0 ---- */

/* Pick a rank's groups that are not right; false: all are. */
static bool pick_wrong(sl_model_check *c, int r)
{
    bool found = false;
    for (uint32_t i = 0; i < c->right.n; i++) {
        uint64_t sum;
        c->picked[i] = sum_of(c, r, i, &sum) && c->right.known[i] && sum != c->right.sums[i];
        found |= c->picked[i];
    }
    return found;
}

static sl_status compare_rank(sl_model_check *c, int r)
{
    char names[SL_SUM_NAMES_BYTES];
    const told *theirs = told_by(c, r), *mine = told_by(c, 0);
    if (!pick_wrong(c, r)) return SL_OK;
    sl_sum_names(c->options.gguf, c->picked, c->right.n, names);
    if (c->from_sums)
        sl_error(
            "rank %d on %s: %s has other bytes than %s says, in %s: it is damaged, or another. "
            "Copy it again (sluice show model FILE --sums tells of a copy whether it is right); "
            "if the model was changed on purpose, remove the sums",
            r, theirs->host, theirs->path, c->right_path, names);
    else
        sl_error(
            "rank %d on %s: %s has other bytes than %s of rank 0 on %s, in %s: one of them is "
            "damaged, or another model. No result was written. Copy the good one again; sluice "
            "show model FILE --sums on each host tells which it is",
            r, theirs->host, theirs->path, mine->path, mine->host, names);
    return SL_ERR_FORMAT;
}

static sl_status compare_all(sl_model_check *c)
{
    sl_status status = SL_OK;
    for (int r = 0; r < c->ranks; r++)
        if (compare_rank(c, r) != SL_OK) status = SL_ERR_FORMAT;
    return status;
}

static bool all_known(const sl_model_check *c)
{
    for (uint32_t i = 0; i < c->right.n; i++)
        if (!c->right.known[i]) return false;
    return true;
}

static void set_verdict(sl_model_check *c, sl_status verdict)
{
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->verdict, verdict);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* From rank 0's own file: what it loaded is known; groups that no file has are, too. */
static void know_own(sl_model_check *c)
{
    const sl_sums *loaded = c->options.loaded;
    memcpy(c->right.sums, loaded->sums, loaded->n * sizeof *loaded->sums);
    memcpy(c->right.known, loaded->known, loaded->n * sizeof *loaded->known);
    if (c->ranks == 1) memset(c->right.known, true, loaded->n);
}

/* What was never written reads as zeros: so ends a copy that was cut off. Only sums can tell that
 * zeros are meant. */
static sl_status check_holes(const sl_model_check *c)
{
    sl_status status = SL_OK;
    for (int r = 0; r < c->ranks; r++) {
        const told *t = told_by(c, r);
        if (t->holes[0] == '\0') continue;
        if (c->options.trust) {
            sl_warn(
                "rank %d on %s: bytes of %s were never written (holes), in %s: is the copy whole?",
                r, t->host, t->path, t->holes);
            continue;
        }
        sl_error(
            "rank %d on %s: bytes of %s were never written (holes), in %s: a copy that was cut "
            "off? No result was written. Copy it again; if the zeros are meant, let rank 0 have "
            "the model's file of sums (sluice show model FILE --sums), or give --trust-model",
            r, t->host, t->path, t->holes);
        status = SL_ERR_FORMAT;
    }
    return status;
}

/* Compare what can be compared at once. */
static sl_status judge(sl_model_check *c)
{
    const sl_model_check_options *o = &c->options;
    sl_status status = sl_sums_init(o->gguf, o->loaded->n - SL_SUM_LAYERS, &c->right);
    if (status == SL_OK) status = sl_sums_load(o->gguf, &c->right);
    if (status != SL_OK && status != SL_END) return status;
    c->from_sums = status == SL_OK;
    if (c->from_sums)
        sl_sums_path(o->gguf, c->right_path, sizeof c->right_path);
    else
        know_own(c);
    sl_status holes = c->from_sums ? SL_OK : check_holes(c);
    status = compare_all(c);
    if (status == SL_OK) status = holes;
    if (status != SL_OK) return status;
    if (o->trust && !c->from_sums) c->unverified = "--trust-model";
    c->reads = !o->trust && !all_known(c);
    if (!c->reads) atomic_store(&c->verdict, SL_OK);
    return SL_OK;
}

/* ---- the thread ---- */

static void read_rest(sl_model_check *c)
{
    sl_status status = sl_sums_read(c->options.gguf, &c->stop, &c->right);
    if (atomic_load(&c->stop)) return;
    if (status == SL_OK) status = compare_all(c);
    if (!c->unverified && !all_known(c))
        c->unverified = "rank 0's copy lacks some layers, and there is no file of sums";
    set_verdict(c, status);
}

static void watch_files(sl_model_check *c)
{
    for (int i = 0; i < WATCHED; i++) {
        watched *w = &c->files[i];
        const char *path;
        sl_file_change change = w->file && !w->said ? sl_gguf_change(w->file, &path) : SL_FILE_SAME;
        if (change == SL_FILE_SAME) continue;
        w->said = true;
        sl_warn("%s %s while the job runs: results are of what was loaded before", path,
                sl_file_change_text(change));
    }
}

static void *work(void *argument)
{
    sl_model_check *c = argument;
    setpriority(PRIO_PROCESS, 0, NICE); /* of this thread alone: the team goes first */
    if (c->reads) read_rest(c);
    pthread_mutex_lock(&c->lock);
    while (!atomic_load(&c->stop)) {
        const int64_t end_ns = sl_clock_now_ns() + SL_SECOND;
        if (sl_condition_wait(&c->changed, &c->lock, end_ns)) continue;
        pthread_mutex_unlock(&c->lock);
        watch_files(c);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static sl_status start_thread(sl_model_check *c)
{
    int error = sl_thread_start(&c->thread, work, c);
    c->running = error == 0;
    if (error == 0) return SL_OK;
    sl_error("cannot start the thread that checks the model: %s", strerror(error));
    return SL_ERR_MEMORY; /* its stack found no room */
}

static void stop_thread(sl_model_check *c)
{
    if (!c->running) return;
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->stop, true);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    c->running = false;
}

/* ---- opening, asking, ending ---- */

static uint32_t most_layers(const sl_plan *plan)
{
    uint32_t most = 0;
    for (uint32_t r = 0; r < plan->n_ranks; r++)
        if (plan->ranks[r].n_layers > most) most = plan->ranks[r].n_layers;
    return most;
}

sl_status sl_model_check_open(const sl_model_check_options *options, sl_model_check **check_out)
{
    sl_model_check *c = calloc(1, sizeof *c);
    *check_out = c;
    if (!c) return SL_ERR_MEMORY;
    c->options = *options;
    c->rank = sl_comm_rank(options->comm);
    c->ranks = sl_comm_ranks(options->comm);
    c->told_bytes = sizeof(told) + most_layers(options->plan) * sizeof(uint64_t);
    c->files[0].file = options->gguf;
    c->files[1].file = options->gate;
    for (uint32_t i = 0; i < options->lora->n; i++)
        c->files[2 + i].file = sl_lora_file_gguf(options->lora->items[i].file);
    atomic_init(&c->verdict, SL_AGAIN);
    atomic_init(&c->stop, false);
    sl_condition_init(&c->changed);
    pthread_mutex_init(&c->lock, NULL);
    sl_status status = tell_all(c);
    if (status == SL_OK && c->rank == 0) status = judge(c);
    return status == SL_OK ? start_thread(c) : status;
}

sl_status sl_model_check_ready(void *check)
{
    sl_model_check *c = check;
    return (sl_status)atomic_load(&c->verdict);
}

sl_status sl_model_check_wait(sl_model_check *check, int64_t timeout_ns)
{
    sl_model_check *c = check;
    const int64_t end_ns = timeout_ns < 0 ? SL_CONDITION_FOREVER : sl_clock_now_ns() + timeout_ns;
    bool in_time = true;
    pthread_mutex_lock(&c->lock);
    while (atomic_load(&c->verdict) == SL_AGAIN && in_time)
        in_time = sl_condition_wait(&c->changed, &c->lock, end_ns);
    pthread_mutex_unlock(&c->lock);
    return sl_model_check_ready(c);
}

const char *sl_model_check_unverified(const sl_model_check *check) { return check->unverified; }

sl_status sl_model_check_end(sl_model_check *check)
{
    sl_status status = SL_OK;
    stop_thread(check);
    for (int i = 0; i < WATCHED; i++) {
        const sl_gguf *file = check->files[i].file;
        const char *path;
        sl_file_change change = file ? sl_gguf_change(file, &path) : SL_FILE_SAME;
        if (change == SL_FILE_SAME) continue;
        sl_error("%s %s while the job ran: the results are of what was loaded before", path,
                 sl_file_change_text(change));
        status = SL_ERR_FILE;
    }
    return status;
}

void sl_model_check_close(sl_model_check *check)
{
    if (!check) return;
    stop_thread(check);
    pthread_cond_destroy(&check->changed);
    pthread_mutex_destroy(&check->lock);
    sl_sums_fini(&check->right);
    free(check->picked);
    free(check->all);
    free(check);
}
