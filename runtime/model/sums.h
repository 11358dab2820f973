/* runtime/model/sums.h - what the tensors of a model hash to, in groups: each layer, and each
 * tensor beside the layers. Ranks compare what they loaded by it, and a file beside the model,
 * MODEL.sums, keeps it. All groups and the header of the file add up to the model's hash.
 *
 * MODEL.sums is text, one group a line, named as in the file:
 *     # sluice sums 1: XXH3-64 of the tensors of model.gguf
 *     header 0123456789abcdef        everything before the tensors, of all parts
 *     token_embd 0123456789abcdef
 *     blk.0 0123456789abcdef
 *     ...
 *     model 0123456789abcdef         the sum of the above
 *     checksum 0123456789abcdef      XXH3-64 of all bytes before this line */
#ifndef SL_SUMS_H
#define SL_SUMS_H

#include <stdatomic.h>

#include "runtime/gguf/gguf.h"

enum {
    SL_SUM_TOKEN_EMBD,
    SL_SUM_OUTPUT_NORM,
    SL_SUM_OUTPUT,
    SL_SUM_ROPE_FREQS,
    SL_SUM_LAYERS, /* of layer i: SL_SUM_LAYERS + i */
    SL_SUM_NAME_BYTES = 32,
    SL_SUM_NAMES_BYTES = 256,
};

typedef struct {
    uint64_t header;
    uint32_t n;     /* SL_SUM_LAYERS + layers */
    uint64_t *sums; /* [n]; 0: the file has no such tensor */
    bool *known;    /* [n]; set by who fills a sum in */
} sl_sums;

/* None known yet, but the header's. SL_ERR_MEMORY, logged. */
sl_status sl_sums_init(const sl_gguf *gguf, uint32_t n_layers, sl_sums *sums_out);
void sl_sums_fini(sl_sums *sums); /* all zero is fine */

/* "token_embd", "blk.12"; into out[SL_SUM_NAME_BYTES]. */
void sl_sum_name(uint32_t group, char *out);
/* "blk.3, blk.4 and 7 more", of the groups that are picked[n], and, where the model is split, the
 * parts that have them, " (parts 2, 3 of 3)"; into out[SL_SUM_NAMES_BYTES], empty: none. */
void sl_sum_names(const sl_gguf *gguf, const bool *picked, uint32_t n, char *out);
/* The group of a tensor of this name; false: none. */
bool sl_sum_group(sl_text name, uint32_t n_groups, uint32_t *group_out);
/* A tensor's hash begins with its name: XXH3 of its bytes with this seed, added to its group's
 * sum. */
uint64_t sl_sum_seed(sl_text name);
/* The sum of all groups, without the header: what the tensors alone say. */
uint64_t sl_sums_tensors(const sl_sums *sums);
/* With it: the model's hash. */
uint64_t sl_sums_model(const sl_sums *sums);

/* Read all groups of the file that are not known yet, and note them. Those with bytes that cannot
 * be read (logged) or were never written (a warning) stay unknown, and the rest goes on. Stops
 * early, quietly, when *stop is set. SL_ERR_MEMORY, logged. */
sl_status sl_sums_read(const sl_gguf *gguf, const atomic_bool *stop, sl_sums *sums);
/* Whether known groups have bytes that were never written, as far as the file system tells;
 * holed_out[sums->n] says which. */
bool sl_sums_have_holes(const sl_gguf *gguf, const sl_sums *sums, bool *holed_out);
/* All groups, or SL_ERR_FILE, logged; the caller ends it with sl_sums_fini. Holes are as they
 * read. */
sl_status sl_sums_whole(const sl_gguf *gguf, uint32_t n_layers, sl_sums *sums_out);

/* ---- MODEL.sums ---- */

/* The text of sums that are all known; malloc'd. NULL: no memory. */
char *sl_sums_text(const sl_gguf *gguf, const sl_sums *sums, size_t *bytes_out);
/* Read such a text into `sums`, made for the model it shall be of. SL_ERR_FORMAT, logged with
 * `path`: damaged, or of another model. */
sl_status sl_sums_parse(const char *path, const char *text, size_t bytes, sl_sums *sums);
/* The file's name: the model's (its first part's), and ".sums". false: too long. */
bool sl_sums_path(const sl_gguf *gguf, char *out, size_t out_bytes);
/* Read MODEL.sums. SL_END, quietly: there is none, or it is empty. SL_ERR_FILE, SL_ERR_FORMAT:
 * logged. */
sl_status sl_sums_load(const sl_gguf *gguf, sl_sums *sums);

#endif
