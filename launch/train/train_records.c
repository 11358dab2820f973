/* launch/train/train_records.c - see train_records.h. */
#include "launch/train/train_records.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "launch/train/train_record_file.h"
#include "runtime/base/log.h"
#include "runtime/base/read_file.h"

enum { HELD_OUT_SHARE = 16 };

typedef struct {
    const char *path;
    sl_train_record_file read;
    size_t n_learned; /* the first are learned from */
} record_file;

struct sl_train_records {
    sl_train_records_options options;
    sl_train_record_reading reading;
    char *paths;       /* options.paths, cut at its commas */
    size_t bytes_left; /* of options.bytes_max, for the files not yet read */
    uint32_t n;
    record_file files[SL_TRAIN_RECORD_FILES_MAX];
};

/* ---- files ---- */

static sl_status read_records(sl_train_records *r, record_file *f)
{
    char *text;
    size_t bytes;
    sl_status status = sl_read_text_within(f->path, r->bytes_left, &text, &bytes);
    if (status == SL_ERR_OPTION)
        sl_error("--records: with %s they have more than %zu bytes, the most that is read: give "
                 "fewer records",
                 f->path, r->options.bytes_max);
    if (status != SL_OK) return status;
    r->bytes_left -= bytes;
    status = sl_train_record_file_parse(&r->reading, f->path, text, bytes, &f->read);
    free(text);
    if (status != SL_OK) return status;
    const size_t n = f->read.n;
    if (n < 2) {
        sl_error("%s has %zu records that can be learned from; one is learned from, and another "
                 "held out",
                 f->path, n);
        return SL_ERR_OPTION;
    }
    const size_t held_out = n / HELD_OUT_SHARE;
    f->n_learned = n - (held_out > 0 ? held_out : 1);
    return SL_OK;
}

static sl_status open_all(sl_train_records *r)
{
    char *rest = r->paths = strdup(r->options.paths);
    if (!rest) return SL_ERR_MEMORY;
    sl_status status = SL_OK;
    for (const char *path; status == SL_OK && (path = strsep(&rest, ","));) {
        if (r->n == SL_TRAIN_RECORD_FILES_MAX) {
            sl_error("more than %d files of records", SL_TRAIN_RECORD_FILES_MAX);
            return SL_ERR_OPTION;
        }
        record_file *next = &r->files[r->n++];
        next->path = path;
        status = read_records(r, next);
    }
    return status;
}

sl_status sl_train_records_open(const sl_train_records_options *options,
                                const sl_tokenizer *tokenizer, const sl_chat *chat,
                                sl_train_records **records_out)
{
    sl_train_records *r = calloc(1, sizeof *r);
    if (!r) return SL_ERR_MEMORY;
    r->options = *options;
    r->bytes_left = options->bytes_max;
    r->reading = (sl_train_record_reading){.tokenizer = tokenizer,
                                           .chat = chat,
                                           .shortest = options->shortest,
                                           .longest = options->longest,
                                           .shortest_prompt = options->shortest_prompt};
    sl_status status = open_all(r);
    if (status != SL_OK) {
        sl_train_records_close(r);
        return status;
    }
    *records_out = r;
    return SL_OK;
}

void sl_train_records_close(sl_train_records *records)
{
    if (!records) return;
    for (uint32_t i = 0; i < records->n; i++) sl_train_record_file_fini(&records->files[i].read);
    free(records->paths);
    free(records);
}

/* ---- records ---- */

static const record_file *file_of(const sl_train_records *r, uint64_t number)
{
    return &r->files[number % r->n];
}

static size_t held_out_of(const record_file *f)
{
    const size_t n = f->read.n - f->n_learned;
    return n < SL_TRAIN_RECORDS_HELD_OUT_MAX ? n : SL_TRAIN_RECORDS_HELD_OUT_MAX;
}

static sl_train_record record_of(const record_file *f, size_t index)
{
    const sl_train_record_place *p = &f->read.records[index];
    return (sl_train_record){f->read.tokens.ids + p->begin, p->n, p->n_prompt};
}

static sl_train_record take_held_out(const sl_train_records *r, uint64_t number)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const record_file *f = &r->files[i];
        const size_t n = held_out_of(f);
        if (number < n) return record_of(f, f->n_learned + number * (f->read.n - f->n_learned) / n);
        number -= n;
    }
    SL_ASSERT(false);
    return (sl_train_record){0};
}

sl_train_record sl_train_records_take(const sl_train_records *records, sl_piece_kind kind,
                                      uint64_t number)
{
    if (kind == SL_HELD_OUT_PIECE) return take_held_out(records, number);
    const record_file *f = file_of(records, number);
    const uint64_t drawn = XXH3_64bits_withSeed(&number, sizeof number, records->options.seed);
    return record_of(f, drawn % f->n_learned);
}

uint64_t sl_train_records_n_held_out(const sl_train_records *records)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < records->n; i++) n += held_out_of(&records->files[i]);
    return n;
}

const char *sl_train_records_name(const sl_train_records *records, uint64_t number)
{
    const char *path = file_of(records, number)->path, *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

uint32_t sl_train_records_mean_tokens(const sl_train_records *records)
{
    double sum = 0; /* of the files' means: they take turns */
    for (uint32_t i = 0; i < records->n; i++)
        sum += (double)records->files[i].read.tokens.n / (double)records->files[i].read.n;
    return (uint32_t)(sum / records->n + 0.5);
}

uint64_t sl_train_records_hash(const sl_train_records *records)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < records->n; i++) {
        const sl_train_record_file *f = &records->files[i].read;
        hash = XXH3_64bits_withSeed(f->tokens.ids, f->tokens.n * sizeof *f->tokens.ids, hash);
        for (size_t k = 0; k < f->n; k++) {
            const uint32_t lengths[2] = {f->records[k].n, f->records[k].n_prompt};
            hash = XXH3_64bits_withSeed(lengths, sizeof lengths, hash);
        }
    }
    return hash;
}
