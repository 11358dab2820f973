/* runtime/text/jinja/jinja_text.h - texts of a template: bytes that remember whether the template
 * said them or whoever sent the request, and what Python's strings can do with them. A text is
 * never changed: a slice points into the text it is of, and what is new is put together by a
 * builder. Positions are in bytes here; characters are counted where Python would. */
#ifndef SL_JINJA_TEXT_H
#define SL_JINJA_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/text/jinja/jinja_memory.h"

/* Who said it. Special tokens are looked for in the template's own text only. */
typedef enum {
    SL_JINJA_OWN,   /* the template, or a token of the file */
    SL_JINJA_GIVEN, /* the request */
    SL_JINJA_MIXED, /* both: see sl_jinja_text.origins */
} sl_jinja_origin;

typedef struct {
    const char *data;
    size_t bytes;
    sl_jinja_origin origin;
    const uint8_t *origins; /* of a mixed text, SL_JINJA_OWN or SL_JINJA_GIVEN for each byte */
    bool safe;              /* Jinja's Markup: what is added to it by "+" is escaped for HTML */
} sl_jinja_text;

/* A text of the template's own. */
sl_jinja_text sl_jinja_text_own(const char *text);
sl_jinja_text sl_jinja_slice(sl_jinja_text text, size_t from, size_t bytes);
bool sl_jinja_text_equal(sl_jinja_text a, sl_jinja_text b);
bool sl_jinja_text_is(sl_jinja_text text, const char *other);
/* Below, equal or above 0, by code points. */
int sl_jinja_text_compare(sl_jinja_text a, sl_jinja_text b);

/* ---- characters; what is no UTF-8 counts as one each ---- */

/* The bytes of the character at a place before the end. */
size_t sl_jinja_char_bytes(sl_jinja_text text, size_t at);
size_t sl_jinja_count_chars(sl_jinja_text text);
/* The place of the character with this number, at most the end. */
size_t sl_jinja_char_place(sl_jinja_text text, size_t index);

/* ---- finding ---- */

/* The place of the first, or last, `part` at or after `from`; SIZE_MAX: it is not in. */
size_t sl_jinja_find(sl_jinja_text text, sl_jinja_text part, size_t from);
size_t sl_jinja_find_last(sl_jinja_text text, sl_jinja_text part);
bool sl_jinja_begins_with(sl_jinja_text text, sl_jinja_text part);
bool sl_jinja_ends_with(sl_jinja_text text, sl_jinja_text part);

typedef enum { SL_JINJA_LEFT = 1, SL_JINJA_RIGHT = 2, SL_JINJA_BOTH = 3 } sl_jinja_side;
/* Without the characters of `set` at its ends; NULL: white space. */
sl_jinja_text sl_jinja_strip(sl_jinja_text text, sl_jinja_side side, const sl_jinja_text *set);
/* The first line, which is taken off *rest, without its end, as str.splitlines has it. False: there
 * is none. */
bool sl_jinja_take_line(sl_jinja_text *rest, sl_jinja_text *line_out);

/* ---- building ---- */

typedef struct {
    sl_jinja_memory *memory;
    char *data;
    uint8_t *origins; /* once both have said something */
    size_t bytes, capacity;
    sl_jinja_origin origin;
    size_t bytes_max; /* more than this is refused; 0: only memory is the bound */
    bool failed;      /* it did not fit: what comes after is left out */
} sl_jinja_builder;

void sl_jinja_build(sl_jinja_builder *builder, sl_jinja_memory *memory);
/* So many bytes will be added, so room is taken once. */
void sl_jinja_reserve(sl_jinja_builder *builder, size_t bytes);
void sl_jinja_add(sl_jinja_builder *b, sl_jinja_text text);
void sl_jinja_add_string(sl_jinja_builder *builder, const char *text); /* the template's own */
void sl_jinja_add_code(sl_jinja_builder *builder, uint32_t code, sl_jinja_origin origin);
/* What was added; the builder is not used after it. */
sl_jinja_text sl_jinja_built(const sl_jinja_builder *b);

enum { SL_JINJA_MAPPED_BYTES = 16 };

/* How letters change. Those of ASCII, Latin-1, Greek and Cyrillic; others stay. */
typedef enum { SL_JINJA_LOWER, SL_JINJA_UPPER } sl_jinja_case;
void sl_jinja_add_cased(sl_jinja_builder *builder, sl_jinja_text text, sl_jinja_case to);
/* "&", "<", ">" and quotes as HTML has them. */
void sl_jinja_add_escaped(sl_jinja_builder *builder, sl_jinja_text text);
/* What stands for a character, as UTF-8: its bytes; 0: the character itself. */
typedef size_t (*sl_jinja_mapping)(const void *context, uint32_t code,
                                   char out[SL_JINJA_MAPPED_BYTES]);
/* The text with its characters mapped; what is no UTF-8 stays. What stands for a character is the
 * template's own, or with SL_JINJA_MIXED of whoever said the character. */
void sl_jinja_add_mapped(sl_jinja_builder *builder, sl_jinja_text text, sl_jinja_mapping mapping,
                         const void *context, sl_jinja_origin origin);
/* Every `old` becomes `new`, at most `most` of them. An empty `old` is between all characters. */
void sl_jinja_add_replaced(sl_jinja_builder *builder, sl_jinja_text text, sl_jinja_text old,
                           sl_jinja_text new, size_t most);

#endif
