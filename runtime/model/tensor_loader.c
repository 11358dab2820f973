/* runtime/model/tensor_loader.c - see tensor_loader.h. */
#include "runtime/model/tensor_loader.h"

#include <stdlib.h>
#include <xxhash.h>

#include "runtime/base/log.h"
#include "runtime/kernels/matmul/pack.h"
#include "runtime/model/sums.h"

/* Bytes are read, hashed and packed piece by piece, while they are in the machine's caches. */
enum { PIECE_BYTES = 1 << 20 };

typedef struct {
    uint8_t *bytes;
    sl_status status; /* of reading them */
} piece;

struct sl_tensor_loader {
    const sl_gguf *gguf;
    sl_team *team;
    XXH3_state_t *hash;
    piece pieces[2];    /* one is packed while the other is read */
    size_t piece_bytes; /* room of each */
};

static sl_status read_piece(const sl_tensor_loader *l, const sl_gguf_tensor *t, size_t at, size_t n,
                            void *out)
{
    sl_status status = sl_gguf_read(l->gguf, t, at, n, out);
    if (status == SL_OK) XXH3_64bits_update(l->hash, out, n);
    return status;
}

/* As it is in the file. */
static sl_status read_plain(const sl_tensor_loader *l, const sl_gguf_tensor *t, uint8_t *out)
{
    sl_status status = SL_OK;
    for (size_t at = 0, n; at < t->data_bytes && status == SL_OK; at += n) {
        n = t->data_bytes - at < PIECE_BYTES ? t->data_bytes - at : PIECE_BYTES;
        status = read_piece(l, t, at, n, out + at);
    }
    return status;
}

/* Rows that fill whole panels, as many as a piece holds: one panel at least. */
static size_t rows_of_piece(const sl_matrix *w)
{
    size_t panels = PIECE_BYTES / (SL_PANEL * w->row_bytes);
    return (panels > 0 ? panels : 1) * SL_PANEL;
}

static sl_status find_room(sl_tensor_loader *l, size_t bytes)
{
    if (bytes <= l->piece_bytes) return SL_OK;
    l->piece_bytes = 0;
    for (size_t i = 0; i < 2; i++) {
        free(l->pieces[i].bytes);
        l->pieces[i].bytes = malloc(bytes);
        if (l->pieces[i].bytes) continue;
        sl_error("%s: no memory for a piece of %zu bytes", sl_gguf_path(l->gguf), bytes);
        return SL_ERR_MEMORY;
    }
    l->piece_bytes = bytes;
    return SL_OK;
}

typedef struct {
    sl_tensor_loader *l;
    const sl_gguf_tensor *tensor;
    const sl_matrix *matrix;
    size_t step; /* rows of a piece */
    uint8_t *out;
} packing;

static piece *piece_of(const packing *p, size_t row) { return &p->l->pieces[row / p->step % 2]; }

/* Those of the piece that begins at `row`. */
static size_t n_rows(const packing *p, size_t row)
{
    return p->matrix->n_out - row < p->step ? p->matrix->n_out - row : p->step;
}

static void read_rows(const packing *p, size_t row)
{
    if (row >= p->matrix->n_out) return;
    const size_t row_bytes = p->matrix->row_bytes;
    piece *to = piece_of(p, row);
    to->status = read_piece(p->l, p->tensor, row * row_bytes, n_rows(p, row) * row_bytes,
                            to->bytes);
}

static void pack_rows(const packing *p, size_t row, sl_member me)
{
    sl_matrix rows = *p->matrix, before = *p->matrix;
    rows.data = piece_of(p, row)->bytes;
    rows.n_out = n_rows(p, row);
    before.n_out = row;
    uint8_t *out = p->out + sl_packed_bytes(&before);
    for (size_t panel; (panel = sl_team_take(me)) < sl_n_panels(&rows);)
        sl_pack(&rows, panel, panel + 1, out);
}

/* Thread 0 reads the next piece while the others pack this one; then it helps them. */
static void read_and_pack(void *context, sl_member me)
{
    const packing *p = context;
    if (me.thread == 0) read_rows(p, 0);
    sl_team_barrier(me);
    for (size_t row = 0; row < p->matrix->n_out; row += p->step) {
        if (piece_of(p, row)->status != SL_OK) return;
        if (me.thread == 0) read_rows(p, row + p->step);
        pack_rows(p, row, me);
        sl_team_barrier(me);
    }
}

/* ---- one tensor ---- */

static void begin_hash(sl_tensor_loader *l, const sl_gguf_tensor *t)
{
    XXH3_64bits_reset_withSeed(l->hash, sl_sum_seed(t->name));
}

sl_status sl_load_plain(sl_tensor_loader *loader, const sl_gguf_tensor *tensor, uint8_t *out,
                        uint64_t *hash_out)
{
    begin_hash(loader, tensor);
    sl_status status = read_plain(loader, tensor, out);
    if (status == SL_OK) *hash_out = XXH3_64bits_digest(loader->hash);
    return status;
}

sl_status sl_load_packed(sl_tensor_loader *loader, const sl_gguf_tensor *tensor,
                         const sl_matrix *matrix, uint8_t *out, uint64_t *hash_out)
{
    packing p = {
        .l = loader, .tensor = tensor, .matrix = matrix, .step = rows_of_piece(matrix), .out = out};
    sl_status status = find_room(loader, n_rows(&p, 0) * matrix->row_bytes);
    if (status != SL_OK) return status;
    begin_hash(loader, tensor);
    for (size_t i = 0; i < 2; i++) loader->pieces[i].status = SL_OK;
    sl_team_run(loader->team, read_and_pack, &p);
    status = loader->pieces[0].status != SL_OK ? loader->pieces[0].status
                                               : loader->pieces[1].status;
    if (status == SL_OK) *hash_out = XXH3_64bits_digest(loader->hash);
    return status;
}

void sl_widen_vector(const sl_gguf_tensor *tensor, const void *bytes, float *out)
{
    sl_matrix row = {.data = bytes, .type = tensor->type, .n_out = 1, .n_in = tensor->dims[0]};
    sl_matrix_row(&row, 0, out);
}

sl_status sl_load_vector(sl_tensor_loader *loader, const sl_gguf_tensor *tensor, float *out,
                         uint64_t *hash_out)
{
    sl_status status = find_room(loader, tensor->data_bytes);
    if (status != SL_OK) return status;
    status = sl_load_plain(loader, tensor, loader->pieces[0].bytes, hash_out);
    if (status == SL_OK) sl_widen_vector(tensor, loader->pieces[0].bytes, out);
    return status;
}

/* ---- open, close ---- */

sl_status sl_tensor_loader_open(const sl_gguf *gguf, sl_team *team, sl_tensor_loader **loader_out)
{
    *loader_out = NULL;
    sl_tensor_loader *l = calloc(1, sizeof *l);
    XXH3_state_t *hash = XXH3_createState();
    if (!l || !hash) {
        sl_error("%s: no memory to load tensors", sl_gguf_path(gguf));
        free(l);
        XXH3_freeState(hash);
        return SL_ERR_MEMORY;
    }
    *l = (sl_tensor_loader){.gguf = gguf, .team = team, .hash = hash};
    *loader_out = l;
    return SL_OK;
}

void sl_tensor_loader_close(sl_tensor_loader *loader)
{
    if (!loader) return;
    for (size_t i = 0; i < 2; i++) free(loader->pieces[i].bytes);
    XXH3_freeState(loader->hash);
    free(loader);
}
