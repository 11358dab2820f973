/* runtime/text/merges.h - which pairs of a vocabulary's tokens merge, and which first. */
#ifndef SL_MERGES_H
#define SL_MERGES_H

#include "runtime/base/status.h"
#include "runtime/text/bpe.h"
#include "runtime/text/vocabulary.h"

/* Both fill *merges, which the caller ends with sl_bpe_merges_fini, on error too.
 * SL_ERR_FORMAT, logged; SL_ERR_MEMORY. */

/* Byte-level BPE: as tokenizer.ggml.merges lists them, first ones first. */
sl_status sl_merges_read(const sl_vocabulary *v, sl_bpe_merges *merges);

/* SentencePiece: two tokens merge when their texts together are a token, and the higher its score
 * in tokenizer.ggml.scores the sooner. */
sl_status sl_merges_from_scores(const sl_vocabulary *v, sl_bpe_merges *merges);

#endif
