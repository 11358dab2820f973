/* runtime/text/piece_text.h - from a token's text as vocabularies write it to the bytes it stands
 * for. Two spellings: GPT-2's printable form, where each byte is a character, and SentencePiece's,
 * where U+2581 is the space and <0x0A> a byte. */
#ifndef SL_PIECE_TEXT_H
#define SL_PIECE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/gguf/gguf.h"

enum { SL_PRINTABLE_MAX = 512 }; /* all characters of the printable form are below */

/* The byte each character stands for, or -1. */
typedef struct {
    int16_t bytes[SL_PRINTABLE_MAX];
} sl_printable_map;
void sl_printable_map_init(sl_printable_map *map);

/* Each writes at most text.bytes to `out`; false: the text is not of this form. */
bool sl_piece_from_printable(sl_text text, const sl_printable_map *map, char *out, size_t *n_out);
bool sl_piece_from_hex(sl_text text, char *out, size_t *n_out); /* <0x0A> */
void sl_piece_from_spaces(sl_text text, char *out, size_t *n_out);

/* Bytes of U+2581 at data[n], or 0. */
size_t sl_piece_space_mark(const char *data, size_t n);

#endif
