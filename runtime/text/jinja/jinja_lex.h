/* runtime/text/jinja/jinja_lex.h - a template's text as tokens, one at a time. White space around
 * blocks is gone as trim_blocks, lstrip_blocks and the signs in "{%-", "-%}" and "{%+" ask for.
 * Knows where text ends and expressions begin, not what they mean. */
#ifndef SL_JINJA_LEX_H
#define SL_JINJA_LEX_H

#include "runtime/text/jinja/jinja.h"

typedef enum {
    SL_JINJA_T_END,
    SL_JINJA_T_DATA,
    SL_JINJA_T_BLOCK_BEGIN, /* {% */
    SL_JINJA_T_BLOCK_END,
    SL_JINJA_T_PRINT_BEGIN, /* {{ */
    SL_JINJA_T_PRINT_END,
    SL_JINJA_T_NAME,
    SL_JINJA_T_STRING, /* value */
    SL_JINJA_T_NUMBER, /* value */
    SL_JINJA_T_OPERATOR,
    SL_JINJA_T_ERROR, /* error was filled in */
} sl_jinja_token_kind;

typedef struct {
    sl_jinja_token_kind kind;
    uint32_t line;
    sl_jinja_text text;   /* as it stands there; of an operator or a name, what to compare */
    sl_jinja_value value; /* of a string or number */
} sl_jinja_token;

enum { SL_JINJA_BRACKETS_MAX = 200 };

typedef struct {
    sl_jinja_memory *memory; /* for texts with escapes; outlives the tokens */
    sl_jinja_error *error;
    const char *text; /* newlines normalized */
    size_t bytes, at;
    uint32_t line;
    enum { SL_JINJA_IN_TEXT, SL_JINJA_IN_BLOCK, SL_JINJA_IN_PRINT } state;
    bool line_starts; /* what was read last ended with a newline */
    char brackets[SL_JINJA_BRACKETS_MAX];
    size_t n_brackets;
} sl_jinja_lexer;

/* The text, whose newlines are normalized into `memory`. False: no memory. */
bool sl_jinja_lex_init(sl_jinja_lexer *l, sl_jinja_memory *memory, sl_jinja_error *error,
                       const char *text, size_t bytes);
/* After the end, or an error, the end comes again and again. */
sl_jinja_token sl_jinja_lex_next(sl_jinja_lexer *l);

#endif
