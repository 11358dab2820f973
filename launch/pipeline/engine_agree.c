/* launch/pipeline/engine_agree.c - see engine_agree.h. Each rank greets all others. */
#include "launch/pipeline/engine_agree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "launch/machine/process.h"
#include "launch/machine/ranks.h"
#include "launch/machine/version.h"
#include "proto/wire.h"
#include "runtime/base/append.h"
#include "runtime/base/log.h"

/* Everything that must be equal on all ranks, as one number. */
static uint64_t options_hash(const sl_engine *e)
{
    char text[512];
    const sl_settings *s = &e->settings;
    const sl_policy *p = &e->model.policy;
    size_t used = 0;
    sl_append(text, sizeof text, &used, "%u %u %u %u %u %u %u %s %s %s %.17g %.9g %d %d %g",
              s->chunk, e->context, s->sequences, p->sinks, p->window, e->model.shape.n_layers,
              e->service->compared_rows, s->codec, s->kv, sl_policy_name(p->kind), p->keep,
              (double)p->threshold, p->has_threshold, s->keep_out != NULL, s->peer_timeout_s);
    uint64_t gate_hash = e->model.gate_file ? sl_gate_file_hash(e->model.gate_file) : 0;
    uint64_t keep_hash = XXH3_64bits(e->layer_keep,
                                     e->model.shape.n_layers * sizeof *e->layer_keep);
    return XXH3_64bits_withSeed(text, used, sl_lora_hash(&e->model.lora)) ^ gate_hash ^ keep_hash;
}

static sl_status compare_hello(const sl_engine *e, const sl_hello *mine, const sl_hello *other,
                               int rank)
{
    if (other->header_hash != mine->header_hash) {
        sl_error("rank %d on %s has another model file than %s of rank %d on %s, or one of them is "
                 "damaged: their headers differ. Copy the model again",
                 rank, other->host, e->settings.model, sl_engine_rank(e), mine->host);
        return SL_ERR_FORMAT;
    }
    if (other->options_hash != mine->options_hash) {
        sl_error(
            "rank %d on %s was started with other options, or another gate file or adapter, than "
            "rank %d on %s",
            rank, other->host, sl_engine_rank(e), mine->host);
        return SL_ERR_OPTION;
    }
    if (sl_engine_rank(e) != 0) return SL_OK;
    if (strcmp(other->build, mine->build) != 0)
        sl_warn(
            "rank %d on %s runs build %s, rank 0 %s: results may differ in the last digits from "
            "those of one build",
            rank, other->host, other->build, mine->build);
    if (strcmp(other->kernels, mine->kernels) != 0 &&
        !e->assembly.storage) /* once: before loading */
        sl_warn("rank %d on %s computes with %s kernels, rank 0 with %s: results may differ in the "
                "last "
                "digits from a run on like CPUs (SLUICE_KERNELS forces one set)",
                rank, other->host, other->kernels, mine->kernels);
    return SL_OK;
}

/* How it went on this rank, and what it has. */
static sl_hello greeting(const sl_engine *e, sl_status status)
{
    sl_hello mine = {.version = SL_WIRE_VERSION, .status = status, .threads = (uint32_t)e->threads};
    snprintf(mine.build, sizeof mine.build, "%s", sl_version());
    snprintf(mine.kernels, sizeof mine.kernels, "%s",
             e->model.kernels ? e->model.kernels->name : "");
    gethostname(mine.host, sizeof mine.host - 1);
    if (status != SL_OK) return mine;
    mine.options_hash = options_hash(e);
    mine.header_hash = sl_gguf_header_hash(e->model.gguf);
    mine.model_hash = e->assembly.hash_share;
    mine.memory_limit = e->plan.ranks[sl_engine_rank(e)].limit_bytes;
    mine.pages_total = e->plan.ranks[sl_engine_rank(e)].n_pages;
    mine.planned_bytes = e->planned_bytes;
    return mine;
}

/* All ranks' greetings. The first bad status in them, which its rank has logged, is returned. */
static sl_status exchange(const sl_engine *e, const sl_hello *mine, sl_hello *hellos)
{
    int ranks = sl_engine_ranks(e);
    uint8_t bytes[SL_HELLO_BYTES], *all = malloc((size_t)ranks * SL_HELLO_BYTES);
    if (!all) abort(); /* a few kilobytes at start-up: no rank can be told any more */
    sl_wire_encode_hello(mine, bytes);
    sl_status status = sl_comm_gather(e->comm, bytes, SL_HELLO_BYTES, all, 0);
    if (status != SL_OK) sl_ranks_abort(e->comm, sl_exit_code(status)); /* no rank to agree with */
    for (int r = 0; r < ranks && status == SL_OK; r++) {
        status = sl_wire_decode_hello(all + (size_t)r * SL_HELLO_BYTES, &hellos[r]);
        if (status == SL_OK) status = (sl_status)hellos[r].status;
    }
    free(all);
    return status;
}

sl_status sl_engine_agree(sl_engine *engine, sl_status status)
{
    int ranks = sl_engine_ranks(engine);
    sl_hello mine = greeting(engine, status), *hellos = calloc((size_t)ranks, sizeof *hellos);
    if (!hellos) abort(); /* likewise */
    sl_status agreed = exchange(engine, &mine, hellos);
    engine->model_hash = 0;
    for (int r = 0; r < ranks && agreed == SL_OK; r++) {
        agreed = compare_hello(engine, &mine, &hellos[r], r);
        engine->plan.ranks[r].limit_bytes = hellos[r].memory_limit;
        engine->plan.ranks[r].n_pages = hellos[r].pages_total;
        engine->model_hash += hellos[r].model_hash;
    }
    free(hellos);
    return agreed;
}
