/* runtime/text/jinja/jinja.h - the Jinja that chat templates are written in: a template is compiled
 * once and run for each conversation, and prints what Jinja2 prints as Hugging Face sets it up
 * (trim_blocks, lstrip_blocks, break and continue, tojson without escapes, raise_exception,
 * strftime_now). The front door of the room, which owns templates, their values and their runs, and
 * knows no models, tokens or requests.
 *
 * Run: text, comments, raw; if, for, set, macro, call, filter, with, break, continue, and
 * generation as if it were not there. Not run, an error with its line: blocks, imports, loops with
 * `recursive`, calls with *args. Numbers are 64 bits wide; letters change case that are of ASCII,
 * Latin-1, Greek or Cyrillic, and others stay as they are. What a template prints of the request
 * stays marked as such, whatever was done to it on the way (jinja_text.h).
 *
 * A hostile template costs its bounds and no more: steps, nesting, memory and output are counted
 * (sl_jinja_limits), and what goes beyond them ends the run with an error. */
#ifndef SL_JINJA_H
#define SL_JINJA_H

#include <time.h>

#include "runtime/base/status.h"
#include "runtime/text/jinja/jinja_value.h"

typedef struct sl_jinja sl_jinja; /* a compiled template: immutable, for any number of threads */

typedef struct {
    uint64_t steps;      /* one for each operation, and for some bytes copied or compared */
    uint32_t depth;      /* expressions, blocks and macros within one another */
    size_t memory_bytes; /* that values made by the run take, and its output */
    size_t output_bytes;
} sl_jinja_limits;
/* What templates of real models never come near: 20 million steps (seconds), 200 levels, 64 MB,
 * and as much output. */
sl_jinja_limits sl_jinja_limits_usual(void);

/* What callers may want to say in their own words. */
typedef enum {
    SL_JINJA_WRONG,     /* the template, or what it was given */
    SL_JINJA_TOO_LONG,  /* more was printed than output_bytes */
    SL_JINJA_TIME_UNSET /* strftime_now was called, and options->now is NULL */
} sl_jinja_cause;

/* What is wrong, and where: "chat template, line 12: the filter 'foo' is not known". */
typedef struct {
    sl_jinja_cause cause;
    uint32_t line;
    char text[400];
} sl_jinja_error;

/* A stretch of what was printed, up to a byte. */
typedef struct {
    size_t end;
    bool given; /* by the request; else the template's own words */
} sl_jinja_part;

typedef struct {
    char *text; /* ended with a zero */
    size_t bytes;
    sl_jinja_part *parts; /* one after the other, the last one's end is the text's */
    size_t n_parts;
} sl_jinja_output;

typedef struct {
    sl_jinja_limits limits;
    const struct tm *now; /* what strftime_now prints; NULL: it is undefined */
} sl_jinja_options;

/* Compile text[bytes], which need not outlive the call. SL_ERR_FORMAT and *error: it is no
 * template, or one that is not run here. SL_ERR_MEMORY. */
sl_status sl_jinja_open(const char *text, size_t bytes, sl_jinja **jinja_out,
                        sl_jinja_error *error);
void sl_jinja_close(sl_jinja *jinja); /* NULL is fine */

/* Render with the names of a dictionary, which is read only and outlives the call; *out is the
 * caller's, ended with sl_jinja_output_free, and on error untouched. SL_ERR_REQUEST and *error: the
 * template raised an exception, did what is an error in Jinja, or passed a limit. SL_ERR_MEMORY. */
sl_status sl_jinja_run(const sl_jinja *jinja, sl_jinja_value globals,
                       const sl_jinja_options *options, sl_jinja_output *out,
                       sl_jinja_error *error);
void sl_jinja_output_free(sl_jinja_output *out);

#endif
