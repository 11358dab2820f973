/* runtime/text/merges.c - see merges.h. SentencePiece looks texts up while it merges; here every
 * way to cut a token into two others is found once, at open, and both models then merge by ids. The
 * time is bounded by SL_TOKEN_BYTES_MAX, the memory by CUTS_PER_TOKEN_MAX. A character that is no
 * token itself never merges, where SentencePiece would let it; its own training never makes such a
 * vocabulary. */
#include "runtime/text/merges.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/log.h"
#include "runtime/text/piece_text.h"

static sl_status bad(const sl_vocabulary *v, const char *what)
{
    return sl_vocabulary_bad(v->gguf, what, (sl_text){"", 0});
}

/* ---- a list ---- */

/* "left right", the printable texts of two tokens whose concatenation is a third. */
static sl_status read_merge(const sl_vocabulary *v, const sl_printable_map *map, sl_text merge,
                            uint32_t rank, char *room, sl_bpe_merges *merges)
{
    const char *space = merge.bytes > 1 ? memchr(merge.data + 1, ' ', merge.bytes - 1) : NULL;
    if (!space) return sl_vocabulary_bad(v->gguf, "a merge is no pair", merge);
    sl_text left = {merge.data, (size_t)(space - merge.data)};
    sl_text right = {space + 1, merge.bytes - left.bytes - 1};
    size_t n_left, n_right;
    if (!sl_piece_from_printable(left, map, room, &n_left) ||
        !sl_piece_from_printable(right, map, room + n_left, &n_right))
        return sl_vocabulary_bad(v->gguf, "a merge is not byte-level BPE", merge);
    int32_t left_id = sl_text_table_find(&v->ordinary, room, n_left);
    int32_t right_id = sl_text_table_find(&v->ordinary, room + n_left, n_right);
    int32_t merged = sl_text_table_find(&v->ordinary, room, n_left + n_right);
    if (left_id < 0 || right_id < 0 || merged < 0)
        return sl_vocabulary_bad(v->gguf, "a merge names a token that is not there", merge);
    sl_bpe_merges_add(merges, left_id, right_id, rank, merged);
    return SL_OK;
}

sl_status sl_merges_read(const sl_vocabulary *v, sl_bpe_merges *merges)
{
    const sl_text *list;
    size_t n, longest = 0;
    if (!sl_gguf_text_array(v->gguf, "tokenizer.ggml.merges", &list, &n) || n > UINT32_MAX)
        return bad(v, "tokenizer.ggml.merges is missing");
    for (size_t i = 0; i < n; i++)
        if (list[i].bytes > longest) longest = list[i].bytes;
    sl_printable_map map;
    sl_printable_map_init(&map);
    sl_status status = sl_bpe_merges_init(merges, n);
    char *room = malloc(longest + 1);
    if (!room) status = SL_ERR_MEMORY;
    for (size_t i = 0; i < n && status == SL_OK; i++)
        status = read_merge(v, &map, list[i], (uint32_t)i, room, merges);
    free(room);
    return status;
}

/* ---- scores ---- */

typedef struct {
    float score;
    int32_t id;
} scored;

static int compare_scored(const void *a, const void *b)
{
    float x = ((const scored *)a)->score, y = ((const scored *)b)->score;
    return (x < y) - (x > y);
}

/* On average of all tokens: Llama 2 has 1.9; tokens made for it could have 255. */
enum { CUTS_PER_TOKEN_MAX = 16 };

typedef struct {
    int32_t left, right, merged;
    uint32_t rank;
} pair;

typedef struct {
    pair *pairs;
    size_t n, capacity;
} pair_list;

static sl_status add_pair(pair_list *list, pair added)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 4096;
        pair *pairs = realloc(list->pairs, capacity * sizeof *pairs);
        if (!pairs) return SL_ERR_MEMORY;
        list->pairs = pairs;
        list->capacity = capacity;
    }
    list->pairs[list->n++] = added;
    return SL_OK;
}

/* All ways to cut one token into two, between its characters. */
static sl_status cut(const sl_vocabulary *v, int32_t id, uint32_t rank, pair_list *list)
{
    sl_text text = v->pieces[id];
    for (size_t at = 1; at < text.bytes; at++) {
        if ((text.data[at] & 0xC0) == 0x80) continue; /* within a character */
        int32_t left = sl_text_table_find(&v->ordinary, text.data, at);
        if (left < 0) continue;
        int32_t right = sl_text_table_find(&v->ordinary, text.data + at, text.bytes - at);
        if (right < 0) continue;
        sl_status status = add_pair(list, (pair){left, right, id, rank});
        if (status != SL_OK) return status;
    }
    return SL_OK;
}

static bool is_ordinary(const sl_vocabulary *v, int32_t id)
{
    return !(v->marks[id] & (SL_TOKEN_SPECIAL | SL_TOKEN_BYTE)) &&
           sl_text_table_find(&v->ordinary, v->pieces[id].data, v->pieces[id].bytes) == id;
}

/* Ordinary tokens, highest score first. */
static sl_status sort_by_score(const sl_vocabulary *v, const float *scores, scored *order,
                               size_t *n_out)
{
    size_t n = 0;
    for (int32_t id = 0; id < v->n_tokens; id++) {
        if (!is_ordinary(v, id)) continue;
        if (isnan(scores[id]))
            return sl_vocabulary_bad(v->gguf, "a token's score is not a number", v->pieces[id]);
        order[n++] = (scored){scores[id], id};
    }
    qsort(order, n, sizeof *order, compare_scored);
    *n_out = n;
    return SL_OK;
}

/* Equal scores are an equal rank: then the leftmost pair goes first. */
static sl_status cut_all(const sl_vocabulary *v, const scored *order, size_t n, pair_list *list)
{
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && order[i].score < order[i - 1].score) rank++;
        sl_status status = cut(v, order[i].id, rank, list);
        if (status != SL_OK) return status;
        if (list->n > CUTS_PER_TOKEN_MAX * (size_t)v->n_tokens)
            return bad(v, "more than 16 ways to cut a token in two, on average: this is no "
                          "vocabulary that was trained");
    }
    return SL_OK;
}

static sl_status add_cuts(const sl_vocabulary *v, const scored *order, size_t n,
                          sl_bpe_merges *merges)
{
    pair_list list = {0};
    sl_status status = cut_all(v, order, n, &list);
    if (status == SL_OK) status = sl_bpe_merges_init(merges, list.n);
    for (size_t i = 0; i < list.n && status == SL_OK; i++) {
        const pair *p = &list.pairs[i];
        sl_bpe_merges_add(merges, p->left, p->right, p->rank, p->merged);
    }
    free(list.pairs);
    return status;
}

sl_status sl_merges_from_scores(const sl_vocabulary *v, sl_bpe_merges *merges)
{
    size_t n = (size_t)v->n_tokens, n_scores = 0, n_ordinary = 0;
    float *scores = malloc(n * sizeof *scores);
    scored *order = malloc(n * sizeof *order);
    sl_status status = scores && order ? SL_OK : SL_ERR_MEMORY;
    if (status == SL_OK &&
        (!sl_gguf_f32_array(v->gguf, "tokenizer.ggml.scores", scores, n, &n_scores) ||
         n_scores != n))
        status = bad(v, "tokenizer.ggml.scores is missing or does not match the tokens");
    if (status == SL_OK) status = sort_by_score(v, scores, order, &n_ordinary);
    if (status == SL_OK) status = add_cuts(v, order, n_ordinary, merges);
    free(scores);
    free(order);
    return status;
}
