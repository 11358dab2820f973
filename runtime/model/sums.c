/* runtime/model/sums.c - see sums.h. */
#include "runtime/model/sums.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "runtime/base/append.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/base/plain.h"

enum { PIECE_BYTES = 1 << 20, LINE_BYTES = 64, FILE_BYTES_MAX = 1 << 24 };

static const char *const OTHERS[SL_SUM_LAYERS] = {
    [SL_SUM_TOKEN_EMBD] = "token_embd",
    [SL_SUM_OUTPUT_NORM] = "output_norm",
    [SL_SUM_OUTPUT] = "output",
    [SL_SUM_ROPE_FREQS] = "rope_freqs",
};

sl_status sl_sums_init(const sl_gguf *gguf, uint32_t n_layers, sl_sums *sums_out)
{
    uint32_t n = SL_SUM_LAYERS + n_layers;
    sl_sums sums = {.header = sl_gguf_header_hash(gguf), .n = n};
    sums.sums = calloc(n, sizeof *sums.sums);
    sums.known = calloc(n, sizeof *sums.known);
    *sums_out = sums;
    if (sums.sums && sums.known) return SL_OK;
    sl_sums_fini(sums_out);
    sl_error("no memory for the sums of %u layers", n_layers);
    return SL_ERR_MEMORY;
}

void sl_sums_fini(sl_sums *sums)
{
    free(sums->sums);
    free(sums->known);
    *sums = (sl_sums){0};
}

/* ---- groups ---- */

void sl_sum_name(uint32_t group, char *out)
{
    if (group < SL_SUM_LAYERS)
        snprintf(out, SL_SUM_NAME_BYTES, "%s", OTHERS[group]);
    else
        snprintf(out, SL_SUM_NAME_BYTES, "blk.%u", group - SL_SUM_LAYERS);
}

/* Whether a tensor's name is the group's, a dot, and more. */
static bool is_of(sl_text name, uint32_t group)
{
    char prefix[SL_SUM_NAME_BYTES];
    sl_sum_name(group, prefix);
    size_t n = strlen(prefix);
    return name.bytes > n && memcmp(name.data, prefix, n) == 0 && name.data[n] == '.';
}

bool sl_sum_group(sl_text name, uint32_t n_groups, uint32_t *group_out)
{
    uint32_t group = 0;
    if (name.bytes > 4 && memcmp(name.data, "blk.", 4) == 0) {
        uint64_t layer = 0;
        for (size_t i = 4; i < name.bytes && i < 14 && name.data[i] >= '0' && name.data[i] <= '9';
             i++)
            layer = layer * 10 + (uint64_t)(name.data[i] - '0');
        group = layer < n_groups ? SL_SUM_LAYERS + (uint32_t)layer : n_groups;
    } else {
        while (group < SL_SUM_LAYERS && !is_of(name, group)) group++;
        if (group == SL_SUM_LAYERS) return false;
    }
    if (group >= n_groups || !is_of(name, group)) return false;
    *group_out = group;
    return true;
}

enum { NAMED = 6 }; /* of a list, before "and 7 more" */

/* " (parts 2, 3 of 3)", of those that have the picked groups; nothing for a model in one file. */
static void append_parts(const sl_gguf *gguf, const bool *picked, uint32_t n, char *out,
                         size_t *length)
{
    char list[SL_SUM_NAMES_BYTES / 2] = "";
    size_t used = 0, n_parts = sl_gguf_n_parts(gguf), last = n_parts;
    uint32_t found = 0, group;
    for (size_t i = 0; n_parts > 1 && i < sl_gguf_n_tensors(gguf); i++) { /* part by part */
        const sl_gguf_tensor *t = sl_gguf_tensor_at(gguf, i);
        if (t->part == last || !sl_sum_group(t->name, n, &group) || !picked[group]) continue;
        last = t->part;
        if (found++ < NAMED)
            sl_append(list, sizeof list, &used, "%s%u", found > 1 ? ", " : "", t->part + 1);
    }
    if (found > NAMED) sl_append(list, sizeof list, &used, " and %u more", found - NAMED);
    if (found > 0)
        sl_append(out, SL_SUM_NAMES_BYTES, length, " (part%s %s of %zu)", found > 1 ? "s" : "",
                  list, n_parts);
}

void sl_sum_names(const sl_gguf *gguf, const bool *picked, uint32_t n, char *out)
{
    uint32_t found = 0;
    size_t length = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        char name[SL_SUM_NAME_BYTES];
        if (!picked[i] || found++ >= NAMED) continue;
        sl_sum_name(i, name);
        sl_append(out, SL_SUM_NAMES_BYTES, &length, "%s%s", found > 1 ? ", " : "", name);
    }
    if (found > NAMED) sl_append(out, SL_SUM_NAMES_BYTES, &length, " and %u more", found - NAMED);
    append_parts(gguf, picked, n, out, &length);
}

uint64_t sl_sum_seed(sl_text name) { return XXH3_64bits(name.data, name.bytes); }

uint64_t sl_sums_tensors(const sl_sums *sums)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < sums->n; i++) total += sums->sums[i];
    return total;
}

uint64_t sl_sums_model(const sl_sums *sums) { return sums->header + sl_sums_tensors(sums); }

/* ---- reading tensors ---- */

typedef struct {
    const sl_gguf *gguf;
    const atomic_bool *stop;
    XXH3_state_t *state;
    uint8_t *piece; /* [PIECE_BYTES] */
} reader;

/* SL_END: stopped. */
static sl_status hash_tensor(const reader *r, const sl_gguf_tensor *t, uint64_t *hash_out)
{
    XXH3_64bits_reset_withSeed(r->state, sl_sum_seed(t->name));
    for (size_t at = 0, n; at < t->data_bytes; at += n) {
        if (r->stop && atomic_load(r->stop)) return SL_END;
        n = t->data_bytes - at < PIECE_BYTES ? t->data_bytes - at : PIECE_BYTES;
        sl_status status = sl_gguf_read_once(r->gguf, t, at, n, r->piece);
        if (status != SL_OK) return status;
        XXH3_64bits_update(r->state, r->piece, n);
    }
    *hash_out = XXH3_64bits_digest(r->state);
    return SL_OK;
}

static bool is_hole(const sl_gguf *gguf, const sl_gguf_tensor *t)
{
    if (!sl_gguf_has_hole(gguf, t)) return false;
    sl_warn("%s: bytes of tensor %.*s were never written (a hole): is the copy whole?",
            sl_gguf_part_path(gguf, t->part), (int)(t->name.bytes < 80 ? t->name.bytes : 80),
            t->name.data);
    return true;
}

bool sl_sums_have_holes(const sl_gguf *gguf, const sl_sums *sums, bool *holed_out)
{
    bool found = false;
    memset(holed_out, false, sums->n);
    for (size_t i = 0; i < sl_gguf_n_tensors(gguf); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(gguf, i);
        uint32_t group;
        if (!sl_sum_group(t->name, sums->n, &group) || !sums->known[group]) continue;
        if (sl_gguf_has_hole(gguf, t)) found = holed_out[group] = true;
    }
    return found;
}

typedef enum { HOLES_ARE_BAD, HOLES_ARE_ZEROS } hole_kind;

/* Tensors in the file's order; bad[n] is told which groups cannot be known. */
static sl_status read_tensors(const reader *r, hole_kind holes, bool *bad, sl_sums *sums)
{
    for (size_t i = 0; i < sl_gguf_n_tensors(r->gguf); i++) {
        const sl_gguf_tensor *t = sl_gguf_tensor_at(r->gguf, i);
        uint32_t group;
        uint64_t hash = 0;
        if (!sl_sum_group(t->name, sums->n, &group) || sums->known[group] || bad[group]) continue;
        bool hole = holes == HOLES_ARE_BAD && is_hole(r->gguf, t);
        sl_status status = hole ? SL_ERR_FILE : hash_tensor(r, t, &hash);
        if (status == SL_END) return SL_END;
        bad[group] = status != SL_OK;
        sums->sums[group] += hash;
    }
    return SL_OK;
}

/* SL_END: stopped. */
static sl_status read_sums(const sl_gguf *gguf, const atomic_bool *stop, hole_kind holes,
                           sl_sums *sums)
{
    reader r = {
        .gguf = gguf, .stop = stop, .state = XXH3_createState(), .piece = malloc(PIECE_BYTES)};
    bool *bad = calloc(sums->n, sizeof *bad);
    sl_status status = SL_ERR_MEMORY;
    if (r.state && r.piece && bad)
        status = read_tensors(&r, holes, bad, sums);
    else
        sl_error("no memory to read the sums of %s", sl_gguf_path(gguf));
    for (uint32_t i = 0; status == SL_OK && i < sums->n; i++) {
        if (bad[i]) sums->sums[i] = 0;
        sums->known[i] |= !bad[i];
    }
    free(bad);
    free(r.piece);
    XXH3_freeState(r.state);
    return status;
}

sl_status sl_sums_read(const sl_gguf *gguf, const atomic_bool *stop, sl_sums *sums)
{
    sl_status status = read_sums(gguf, stop, HOLES_ARE_BAD, sums);
    return status == SL_END ? SL_OK : status;
}

sl_status sl_sums_whole(const sl_gguf *gguf, uint32_t n_layers, sl_sums *sums_out)
{
    sl_status status = sl_sums_init(gguf, n_layers, sums_out);
    if (status != SL_OK) return status;
    status = read_sums(gguf, NULL, HOLES_ARE_ZEROS, sums_out);
    for (uint32_t i = 0; status == SL_OK && i < sums_out->n; i++)
        if (!sums_out->known[i]) status = SL_ERR_FILE; /* said by who could not read it */
    if (status != SL_OK) sl_sums_fini(sums_out);
    return status;
}

/* ---- MODEL.sums ---- */

static const char TITLE[] = "# sluice sums 1: XXH3-64 of the tensors of ";

/* A model's file name may have any byte. */
static size_t put_title(const sl_gguf *gguf, char *out, size_t out_bytes)
{
    const char *path = sl_gguf_path(gguf), *slash = strrchr(path, '/');
    sl_plain_room room;
    return (size_t)snprintf(out, out_bytes, "%s%s\n", TITLE,
                            sl_plain_string(slash ? slash + 1 : path, &room));
}

static size_t put_line(const char *name, uint64_t sum, char *out)
{
    return (size_t)snprintf(out, LINE_BYTES, "%s %016" PRIx64 "\n", name, sum);
}

char *sl_sums_text(const sl_gguf *gguf, const sl_sums *sums, size_t *bytes_out)
{
    size_t room = sizeof TITLE + SL_PLAIN_BYTES + (size_t)(sums->n + 4) * LINE_BYTES;
    char *text = malloc(room);
    if (!text) return NULL;
    size_t n = put_title(gguf, text, room);
    n += put_line("header", sums->header, text + n);
    for (uint32_t i = 0; i < sums->n; i++) {
        char name[SL_SUM_NAME_BYTES];
        sl_sum_name(i, name);
        if (sums->sums[i] != 0) n += put_line(name, sums->sums[i], text + n);
    }
    n += put_line("model", sl_sums_model(sums), text + n);
    n += put_line("checksum", XXH3_64bits(text, n), text + n);
    *bytes_out = n;
    return text;
}

/* One line of "name sum"; false: it is none. */
static bool take_line(const char *line, size_t bytes, char *name_out, uint64_t *sum_out)
{
    const char *space = memchr(line, ' ', bytes);
    size_t n = space ? (size_t)(space - line) : 0;
    if (n == 0 || n >= SL_SUM_NAME_BYTES || bytes != n + 17) return false;
    memcpy(name_out, line, n);
    name_out[n] = '\0';
    *sum_out = 0;
    for (size_t i = n + 1; i < bytes; i++) {
        static const char DIGITS[] = "0123456789abcdef";
        const char *digit = line[i] ? strchr(DIGITS, line[i]) : NULL;
        if (!digit) return false;
        *sum_out = *sum_out << 4 | (uint64_t)(digit - DIGITS);
    }
    return true;
}

/* Whether the last line is the checksum of all before it; *body_out: so many bytes. */
static bool is_whole(const char *text, size_t bytes, size_t *body_out)
{
    enum { LAST = sizeof "checksum 0123456789abcdef" }; /* with its newline, without a zero */
    char name[SL_SUM_NAME_BYTES];
    uint64_t sum;
    if (bytes < sizeof TITLE + LAST || memcmp(text, TITLE, sizeof TITLE - 1) != 0) return false;
    *body_out = bytes - LAST;
    return text[bytes - 1] == '\n' && text[*body_out - 1] == '\n' &&
           take_line(text + *body_out, LAST - 1, name, &sum) && !strcmp(name, "checksum") &&
           sum == XXH3_64bits(text, *body_out);
}

static bool note_sum(const char *name, uint64_t sum, sl_sums *sums)
{
    char dotted[SL_SUM_NAME_BYTES + 4], again[SL_SUM_NAME_BYTES];
    uint32_t group;
    int n = snprintf(dotted, sizeof dotted, "%s.x", name);
    if (!sl_sum_group((sl_text){dotted, (size_t)n}, sums->n, &group)) return false;
    sl_sum_name(group, again);
    if (strcmp(name, again) != 0 || sums->sums[group] != 0) return false;
    sums->sums[group] = sum;
    return true;
}

static sl_status bad_sums(const char *path, const char *what)
{
    sl_error(
        "%s %s: remove it, and make it again of a good copy with sluice show model FILE --sums",
        path, what);
    return SL_ERR_FORMAT;
}

sl_status sl_sums_parse(const char *path, const char *text, size_t bytes, sl_sums *sums)
{
    size_t body;
    uint64_t model = 0, sum;
    char name[SL_SUM_NAME_BYTES];
    if (!is_whole(text, bytes, &body)) return bad_sums(path, "is damaged, or no file of sums");
    for (const char *line = memchr(text, '\n', body), *end; ++line < text + body; line = end) {
        end = memchr(line, '\n', (size_t)(text + body - line));
        if (!end || !take_line(line, (size_t)(end - line), name, &sum))
            return bad_sums(path, "has a line that is no name and sum");
        if (!strcmp(name, "model"))
            model = sum;
        else if (!strcmp(name, "header") && sum != sums->header)
            return bad_sums(path, "is of another model file (its header differs)");
        else if (strcmp(name, "header") != 0 && !note_sum(name, sum, sums))
            return bad_sums(path, "has layers that this model has not");
    }
    if (sl_sums_model(sums) != model) return bad_sums(path, "does not add up");
    for (uint32_t i = 0; i < sums->n; i++) sums->known[i] = true;
    return SL_OK;
}

bool sl_sums_path(const sl_gguf *gguf, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "%s.sums", sl_gguf_path(gguf));
    return n > 0 && (size_t)n < out_bytes;
}

static sl_status read_file(const char *path, int file, char **text_out, size_t *bytes_out)
{
    struct stat info;
    bool good = fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_size <= FILE_BYTES_MAX;
    if (!good) {
        sl_error("%s is no file of sums", path);
        return SL_ERR_FILE;
    }
    size_t bytes = (size_t)info.st_size;
    char *text = malloc(bytes + 1);
    ssize_t n = text ? read(file, text, bytes) : -1;
    if (n < 0) {
        sl_error("cannot read %s: %s", path, text ? strerror(errno) : "no memory");
        free(text);
        return SL_ERR_FILE;
    }
    *text_out = text;
    *bytes_out = (size_t)n;
    return SL_OK;
}

sl_status sl_sums_load(const sl_gguf *gguf, sl_sums *sums)
{
    char path[PATH_MAX], *text = NULL;
    size_t bytes;
    if (!sl_sums_path(gguf, path, sizeof path)) return SL_END;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 && (errno == ENOENT || errno == ENOTDIR)) return SL_END;
    if (file < 0) return sl_file_error("open", path);
    sl_status status = read_file(path, file, &text, &bytes);
    close(file);
    if (status == SL_OK) status = bytes > 0 ? sl_sums_parse(path, text, bytes, sums) : SL_END;
    free(text);
    return status;
}
