/* runtime/gguf/gguf_split.c - finds and checks the parts of a split model. gguf-split of llama.cpp
 * writes them: part i of n is called NAME-0000i-of-0000n.gguf and has the keys split.no (i - 1),
 * split.count (n) and split.tensors.count (of all parts together); the first has those of the
 * model, too. Nothing in another part says which model it is of: its keys and tensors are
 * checked. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/gguf/gguf_header.h"

enum {
    FIRST_READ_BYTES = 1 << 16, /* a part has no vocabulary */
    SUFFIX_BYTES = sizeof "-00001-of-00003.gguf" - 1,
};

/* ---- names ---- */

typedef struct {
    size_t prefix_bytes; /* of the path, before the suffix */
    uint32_t number;     /* from 1 */
    uint32_t count;
} part_name;

/* Five digits at `text`; false: they are none. */
static bool read_digits(const char *text, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)text[i])) return false;
        *out = *out * 10 + (uint32_t)(text[i] - '0');
    }
    return true;
}

/* false: the file is not called as a part. */
static bool read_name(const char *path, part_name *out)
{
    size_t n = strlen(path);
    if (n <= SUFFIX_BYTES) return false;
    out->prefix_bytes = n - SUFFIX_BYTES;
    const char *suffix = path + out->prefix_bytes;
    return suffix[0] == '-' && read_digits(suffix + 1, &out->number) &&
           memcmp(suffix + 6, "-of-", 4) == 0 && read_digits(suffix + 10, &out->count) &&
           strcmp(suffix + 15, ".gguf") == 0;
}

/* The path of part i (from 0) beside the first. */
static void put_path(const sl_gguf *g, size_t i, uint32_t count, char out[PATH_MAX])
{
    const char *first = g->parts[0].path;
    snprintf(out, PATH_MAX, "%.*s-%05zu-of-%05u.gguf", (int)(strlen(first) - SUFFIX_BYTES), first,
             i + 1, count);
}

/* ---- keys ---- */

typedef struct {
    uint32_t no; /* from 0 */
    uint32_t count;
    uint32_t n_tensors; /* of all parts */
} split_keys;

static sl_status read_key(const sl_gguf_part *p, const char *key, uint32_t *out)
{
    if (sl_gguf_part_u32(p, key, out)) return SL_OK;
    sl_error("%s: key %s %s", p->path, key,
             sl_gguf_part_has(p, key)
                 ? "is not a count: the file is damaged. Copy it again"
                 : "is missing, which all parts of a split model have: it is another file");
    return SL_ERR_FORMAT;
}

static sl_status read_keys(const sl_gguf_part *p, split_keys *out)
{
    sl_status status = read_key(p, "split.count", &out->count);
    if (status == SL_OK) status = read_key(p, "split.no", &out->no);
    if (status == SL_OK) status = read_key(p, "split.tensors.count", &out->n_tensors);
    return status;
}

/* ---- the first part ---- */

static sl_status not_the_first(const sl_gguf_part *p, const split_keys *keys)
{
    part_name name;
    int length = read_name(p->path, &name) ? (int)name.prefix_bytes : 0;
    sl_error("%s is part %" PRIu64 " of %u of a split model: give the first, %.*s%s00001-of-"
             "%05u.gguf, instead",
             p->path, (uint64_t)keys->no + 1, keys->count, length, p->path,
             length > 0 ? "-" : "NAME-", keys->count);
    return SL_ERR_FORMAT;
}

/* That the others can be found by its name. */
static sl_status check_first(const sl_gguf_part *p, const split_keys *keys)
{
    part_name name;
    if (p->file < 0) {
        sl_error("%s: one of the %u parts of a split model", p->path, keys->count);
        return SL_ERR_UNSUPPORTED;
    }
    if (keys->no != 0) return not_the_first(p, keys);
    if (keys->count > SL_GGUF_PARTS_MAX) {
        sl_error("%s: the model is split into %u files, supported are up to %d: merge them "
                 "(llama-gguf-split --merge)",
                 p->path, keys->count, SL_GGUF_PARTS_MAX);
        return SL_ERR_UNSUPPORTED;
    }
    if (read_name(p->path, &name) && name.number == 1 && name.count == keys->count &&
        strlen(p->path) < PATH_MAX)
        return SL_OK;
    sl_error("%s is the first of the %u parts of a split model, whose other parts are found by its "
             "name: it must be called NAME-00001-of-%05u.gguf again, and the others likewise",
             p->path, keys->count, keys->count);
    return SL_ERR_FORMAT;
}

/* All that are missing are said at once. */
static sl_status check_all_there(const sl_gguf *g, uint32_t count)
{
    char path[PATH_MAX], missing[PATH_MAX] = "";
    uint32_t n_missing = 0;
    for (size_t i = 1; i < count; i++) {
        put_path(g, i, count, path);
        if (access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR)) continue;
        if (n_missing++ == 0) snprintf(missing, sizeof missing, "%s", path);
    }
    if (n_missing == 0) return SL_OK;
    char more[32] = "";
    if (n_missing > 1) snprintf(more, sizeof more, ", and %u more", n_missing - 1);
    sl_error("%s is missing%s: %s is the first of %u parts. Copy all of them into its folder",
             missing, more, g->parts[0].path, count);
    return SL_ERR_FILE;
}

/* ---- the other parts ---- */

/* The model's keys are those of the first part. gguf-split writes none of them into others; a tool
 * may repeat them, but what is said otherwise there would be ignored. */
static sl_status check_no_others(const sl_gguf_part *first, const sl_gguf_part *p)
{
    const sl_gguf_entry *e = sl_gguf_part_differs(first, p);
    if (!e) return SL_OK;
    sl_error("%s: key %.*s is not as in %s, which has the keys of the model: it is damaged, or "
             "another model's part of the same name. Copy it again from where %s is from",
             p->path, (int)sl_plain_prefix(e->key.data, e->key.bytes, 80), e->key.data, first->path,
             first->path);
    return SL_ERR_FORMAT;
}

/* What the keys of part i must be, and that it adds no more tensors than there are. */
static sl_status check_part(const sl_gguf *g, const sl_gguf_part *p, size_t i,
                            const split_keys *first)
{
    split_keys keys;
    const char *first_path = g->parts[0].path;
    sl_status status = read_keys(p, &keys);
    if (status != SL_OK) return status;
    if (keys.count != first->count) {
        sl_error(
            "%s is one of %u parts, but %s is one of %u: it is of another model. Copy it again",
            p->path, keys.count, first_path, first->count);
        return SL_ERR_FORMAT;
    }
    if (keys.no != i) {
        sl_error("%s is part %" PRIu64 " of the model%s, not part %zu as its name says: it is "
                 "another under this name. Copy it again",
                 p->path, (uint64_t)keys.no + 1, keys.no < i ? " once more" : "", i + 1);
        return SL_ERR_FORMAT;
    }
    if (keys.n_tensors != first->n_tensors) {
        sl_error("%s is of a model of %u tensors, but %s is of one of %u: it is of another model. "
                 "Copy it again",
                 p->path, keys.n_tensors, first_path, first->n_tensors);
        return SL_ERR_FORMAT;
    }
    return check_no_others(&g->parts[0], p);
}

static void take_from(sl_gguf_limits *left, const sl_gguf_part *p)
{
    left->bytes -= p->header_bytes;
    left->keys -= p->n_entries;
    left->texts -= p->n_texts;
    left->tensors -= p->n_tensors;
}

/* Open parts from 1 on, into room for all of them. */
static sl_status open_parts(sl_gguf *g, const split_keys *first)
{
    sl_gguf_limits left = g->parts[0].limits;
    sl_status status = SL_OK;
    take_from(&left, &g->parts[0]);
    for (size_t i = 1; i < first->count && status == SL_OK; i++) {
        char path[PATH_MAX];
        sl_gguf_part *p = &g->parts[i];
        put_path(g, i, first->count, path);
        status = sl_gguf_part_open(path, &left, FIRST_READ_BYTES, p);
        if (status != SL_OK) return status;
        g->n_parts++;
        take_from(&left, p);
        status = check_part(g, p, i, first);
        if (status == SL_OK) status = sl_gguf_add_tensors(g);
    }
    return status;
}

static sl_status check_tensors(const sl_gguf *g, const split_keys *first)
{
    if (g->n_tensors == first->n_tensors) return SL_OK;
    sl_error("%s: its %u parts have %zu tensors together, but the key split.tensors.count is %u: a "
             "part is damaged, or of another model. Copy all of them again",
             g->parts[0].path, first->count, g->n_tensors, first->n_tensors);
    return SL_ERR_FORMAT;
}

/* A count of 1 or 0 is of a model that was split into one file, or merged. */
sl_status sl_gguf_open_others(sl_gguf *g)
{
    split_keys first = {0};
    const sl_gguf_part *p = &g->parts[0];
    if (!sl_gguf_part_has(p, "split.count")) return SL_OK;
    sl_status status = read_key(p, "split.count", &first.count);
    if (status != SL_OK || first.count <= 1) return status;
    status = read_keys(p, &first);
    if (status == SL_OK) status = check_first(p, &first);
    if (status == SL_OK) status = check_all_there(g, first.count);
    if (status != SL_OK) return status;
    sl_gguf_part *parts = realloc(g->parts, first.count * sizeof *parts);
    if (!parts) {
        sl_error("%s: no memory for its %u parts", p->path, first.count);
        return SL_ERR_MEMORY;
    }
    g->parts = parts;
    status = open_parts(g, &first);
    return status == SL_OK ? check_tensors(g, &first) : status;
}
