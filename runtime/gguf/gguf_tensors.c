/* runtime/gguf/gguf_tensors.c - the directory of tensors: reading and checking it, joining those of
 * all parts, finding a tensor. The tensors' bytes are gguf_file.c's. */
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/base/plain.h"
#include "runtime/gguf/gguf_header.h"

enum { ALIGNMENT_DEFAULT = 32 };

/* ---- reading ---- */

/* Elements of a tensor; false when they do not fit 63 bits or a dimension is zero. */
static bool count_elements(const sl_gguf_tensor *t, uint64_t *out)
{
    uint64_t n = 1;
    for (int d = 0; d < SL_TENSOR_DIMS_MAX; d++) {
        if (t->dims[d] == 0 || t->dims[d] > INT64_MAX / n) return false;
        n *= t->dims[d];
    }
    *out = n;
    return true;
}

static sl_status take_tensor(sl_gguf_cursor *c, sl_gguf_tensor *t, uint64_t *offset)
{
    sl_status status = sl_gguf_take_text(c, &t->name);
    if (status == SL_OK) status = sl_gguf_take_u32(c, &t->n_dims);
    if (status != SL_OK) return status;
    if (t->n_dims < 1 || t->n_dims > SL_TENSOR_DIMS_MAX)
        return sl_gguf_bad(c, "a tensor has 1 to 4 dimensions");
    for (uint32_t d = 0; d < SL_TENSOR_DIMS_MAX; d++) {
        t->dims[d] = 1;
        if (d < t->n_dims && (status = sl_gguf_take_u64(c, &t->dims[d])) != SL_OK) return status;
    }
    status = sl_gguf_take_u32(c, &t->type);
    return status == SL_OK ? sl_gguf_take_u64(c, offset) : status;
}

static sl_status bad_tensor(const sl_gguf_part *p, const sl_gguf_tensor *t, const char *what)
{
    sl_error("%s: tensor %.*s: %s", p->path, (int)sl_plain_prefix(t->name.data, t->name.bytes, 80),
             t->name.data, what);
    return SL_ERR_FORMAT;
}

/* Place a tensor's bytes; unknown types have none. */
static sl_status place_tensor(const sl_gguf_part *p, sl_gguf_tensor *t, size_t data_start,
                              uint64_t offset, uint64_t alignment)
{
    uint64_t n;
    size_t elements, bytes;
    if (!count_elements(t, &n)) return bad_tensor(p, t, "its dimensions are zero or overflow");
    if (offset % alignment != 0) return bad_tensor(p, t, "its offset is not aligned");
    if (offset > p->n_bytes - data_start)
        return bad_tensor(p, t, "it begins beyond the end of the file");
    t->offset = data_start + offset;
    if (p->file < 0) t->data = p->bytes + t->offset;
    if (!sl_type_block(t->type, &elements, &bytes)) return SL_OK;
    if (t->dims[0] % elements != 0) return bad_tensor(p, t, "its rows are not whole blocks");
    uint64_t blocks = n / elements;
    if (blocks > (p->n_bytes - data_start - offset) / bytes)
        return bad_tensor(p, t, "it ends beyond the end of the file");
    t->data_bytes = (size_t)blocks * bytes;
    return SL_OK;
}

/* *out is changed to what the file says only when that can be used. */
static sl_status read_alignment(const sl_gguf_cursor *c, uint32_t *out)
{
    uint32_t given;
    if (!sl_gguf_part_has(c->part, "general.alignment")) return SL_OK;
    if (!sl_gguf_part_u32(c->part, "general.alignment", &given) || given < 8 || given > 1 << 20 ||
        (given & (given - 1)) != 0)
        return sl_gguf_bad(c, "general.alignment is not a power of two from 8");
    *out = given;
    return SL_OK;
}

static sl_status take_tensors(sl_gguf_cursor *c, sl_gguf_part *p, uint64_t n)
{
    /* name length, dimensions, one size, type, offset at least */
    if (n > p->limits.tensors || n > sl_gguf_left(c) / 32)
        return sl_gguf_bad(c, "more tensors than the file has room for");
    p->tensors = calloc(n ? n : 1, sizeof *p->tensors);
    uint64_t *offsets = calloc(n ? n : 1, sizeof *offsets);
    sl_status status = p->tensors && offsets ? SL_OK : SL_ERR_MEMORY;
    for (uint64_t i = 0; i < n && status == SL_OK; i++)
        status = take_tensor(c, &p->tensors[i], &offsets[i]);

    uint32_t alignment = ALIGNMENT_DEFAULT;
    if (status == SL_OK) status = read_alignment(c, &alignment);
    size_t padding = (alignment - c->at % alignment) % alignment;
    if (status == SL_OK && n > 0 && padding > sl_gguf_left(c))
        status = sl_gguf_bad(c, "the file ends before its tensors");
    for (uint64_t i = 0; i < n && status == SL_OK; i++)
        status = place_tensor(p, &p->tensors[i], c->at + padding, offsets[i], alignment);
    if (status == SL_OK) p->n_tensors = (size_t)n;
    free(offsets);
    return status;
}

static int compare_places(const void *a, const void *b)
{
    uint64_t x = (*(const sl_gguf_tensor *const *)a)->offset;
    uint64_t y = (*(const sl_gguf_tensor *const *)b)->offset;
    return (x > y) - (x < y);
}

/* No two tensors share bytes; one of a type unknown to us has at least its first. */
static sl_status check_overlap(const sl_gguf_part *p)
{
    const sl_gguf_tensor **order = calloc(p->n_tensors + 1, sizeof *order);
    if (!order) return SL_ERR_MEMORY;
    for (size_t i = 0; i < p->n_tensors; i++) order[i] = &p->tensors[i];
    qsort(order, p->n_tensors, sizeof *order, compare_places);
    sl_status status = SL_OK;
    for (size_t i = 1; i < p->n_tensors && status == SL_OK; i++) {
        uint64_t apart = order[i]->offset - order[i - 1]->offset;
        if (apart == 0 || apart < order[i - 1]->data_bytes)
            status = bad_tensor(p, order[i], "it overlaps another");
    }
    free(order);
    return status;
}

sl_status sl_gguf_parse_tensors(sl_gguf_cursor *c, sl_gguf_part *p, uint64_t n)
{
    sl_status status = take_tensors(c, p, n);
    return status == SL_OK ? check_overlap(p) : status;
}

/* ---- all parts' ---- */

static sl_status no_memory(const sl_gguf *g)
{
    sl_error("%s: no memory for its list of tensors", g->parts[0].path);
    return SL_ERR_MEMORY;
}

sl_status sl_gguf_add_tensors(sl_gguf *g)
{
    sl_gguf_part *p = &g->parts[g->n_parts - 1];
    size_t n = g->n_tensors + p->n_tensors;
    sl_gguf_tensor *all = realloc(g->tensors, (n + 1) * sizeof *all);
    if (!all) return no_memory(g);
    g->tensors = all;
    for (size_t i = 0; i < p->n_tensors; i++) {
        all[g->n_tensors + i] = p->tensors[i];
        all[g->n_tensors + i].part = (uint32_t)(g->n_parts - 1);
    }
    g->n_tensors = n;
    free(p->tensors);
    p->tensors = NULL;
    return SL_OK;
}

static int compare_tensors(const void *a, const void *b)
{
    return sl_text_compare((*(const sl_gguf_tensor *const *)a)->name,
                           (*(const sl_gguf_tensor *const *)b)->name);
}

static sl_status there_twice(const sl_gguf *g, const sl_gguf_tensor *a, const sl_gguf_tensor *b)
{
    const sl_gguf_part *p = &g->parts[b->part];
    if (a->part == b->part) return bad_tensor(p, b, "it is there twice");
    sl_error("%s: tensor %.*s is also in %s: one of the two is of another model. Copy all parts of "
             "the model again",
             p->path, (int)sl_plain_prefix(b->name.data, b->name.bytes, 80), b->name.data,
             g->parts[a->part].path);
    return SL_ERR_FORMAT;
}

sl_status sl_gguf_index_tensors(sl_gguf *g)
{
    g->by_name = calloc(g->n_tensors + 1, sizeof *g->by_name);
    if (!g->by_name) return no_memory(g);
    for (size_t i = 0; i < g->n_tensors; i++) g->by_name[i] = &g->tensors[i];
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_tensors);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (sl_text_compare(g->by_name[i - 1]->name, g->by_name[i]->name) == 0)
            return there_twice(g, g->by_name[i - 1], g->by_name[i]);
    return SL_OK;
}

/* ---- finding ---- */

size_t sl_gguf_n_tensors(const sl_gguf *gguf) { return gguf->n_tensors; }

const sl_gguf_tensor *sl_gguf_tensor_at(const sl_gguf *gguf, size_t index)
{
    SL_ASSERT(index < gguf->n_tensors);
    return &gguf->tensors[index];
}

const sl_gguf_tensor *sl_gguf_find(const sl_gguf *gguf, const char *name)
{
    sl_gguf_tensor wanted = {.name = {name, strlen(name)}};
    const sl_gguf_tensor *pointer = &wanted;
    const sl_gguf_tensor **found = bsearch(&pointer, gguf->by_name, gguf->n_tensors,
                                           sizeof *gguf->by_name, compare_tensors);
    return found ? *found : NULL;
}
