/* runtime/text/jinja/jinja_context.h - one run of a template: what it may still use, what names
 * mean at the moment, and its first error, after which nothing it does counts. Functions of a run
 * return an undefined value after an error; whoever loops looks at `failed`. */
#ifndef SL_JINJA_CONTEXT_H
#define SL_JINJA_CONTEXT_H

#include "runtime/text/jinja/jinja.h"
#include "runtime/text/jinja/jinja_node.h"

/* Names that were set in a block, and where those around it are. */
typedef struct sl_jinja_scope {
    struct sl_jinja_scope *around;
    struct sl_jinja_binding {
        sl_jinja_text name;
        sl_jinja_value value;
    } * bindings;
    size_t n, capacity;
} sl_jinja_scope;

typedef struct {
    sl_jinja_memory memory;
    const sl_jinja_options *options;
    sl_jinja_error *error;
    sl_jinja_value globals;
    sl_jinja_scope *scope;
    sl_jinja_builder *out; /* what is printed now: the template's output, or that of a block */
    uint64_t steps_left;
    uint32_t depth, line;
    enum { SL_JINJA_GOES_ON, SL_JINJA_BREAKS, SL_JINJA_CONTINUES } flow;
    bool failed;
} sl_jinja_context;

/* What a function, filter, test or method is called with. */
typedef struct {
    const sl_jinja_value *values;
    size_t n;
    const struct sl_jinja_binding *named;
    size_t n_named;
} sl_jinja_arguments;

/* One of ours: a function (`self` is absent), filter or test (`self` is its input), or method. */
typedef struct sl_jinja_builtin {
    const char *name;
    sl_jinja_value (*call)(sl_jinja_context *c, sl_jinja_value self,
                           const sl_jinja_arguments *arguments);
} sl_jinja_builtin;
/* The row of this name, or NULL. */
const sl_jinja_builtin *sl_jinja_find_builtin(const sl_jinja_builtin *rows, size_t n,
                                              sl_jinja_text name);

/* The things that values of these kinds point at. */
typedef struct sl_jinja_method {
    sl_jinja_value self;
    const sl_jinja_builtin *builtin;
} sl_jinja_method;
typedef struct sl_jinja_macro {
    const sl_jinja_node *node;
    sl_jinja_scope *scope; /* where it was defined */
} sl_jinja_macro;
typedef struct sl_jinja_loop {
    const sl_jinja_value *items;
    size_t n, index;
} sl_jinja_loop;

/* ---- errors and bounds ---- */

/* End the run, if it has not failed before. Returns an undefined value. */
sl_jinja_value sl_jinja_fail(sl_jinja_context *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for a cause of its own. */
sl_jinja_value sl_jinja_fail_cause(sl_jinja_context *c, sl_jinja_cause cause, const char *format,
                                   ...) __attribute__((format(printf, 3, 4)));
/* "'x' is undefined". */
sl_jinja_value sl_jinja_fail_undefined(sl_jinja_context *c, sl_jinja_value value);
/* "WHAT cannot be done with a list", or that the value is undefined. */
sl_jinja_value sl_jinja_fail_kind(sl_jinja_context *c, const char *what, sl_jinja_value value);

/* Take steps; false: the run has failed, now or before. */
bool sl_jinja_spend(sl_jinja_context *c, uint64_t steps);
/* The steps that work on so many bytes takes: copied or compared at once, or looked at one by
 * one. */
bool sl_jinja_spend_on(sl_jinja_context *c, size_t bytes);
bool sl_jinja_spend_on_each(sl_jinja_context *c, size_t bytes);
/* One level deeper, ended with sl_jinja_leave whatever is returned; false: the run has failed. */
bool sl_jinja_enter(sl_jinja_context *c);
void sl_jinja_leave(sl_jinja_context *c);

/* ---- names ---- */

/* A scope within the one at hand, which becomes the one at hand. NULL: no memory. */
sl_jinja_scope *sl_jinja_scope_open(sl_jinja_context *c, sl_jinja_scope *around);
void sl_jinja_assign(sl_jinja_context *c, sl_jinja_text name, sl_jinja_value value);
/* NULL: it was not set in any scope, and is no global. */
const sl_jinja_value *sl_jinja_lookup(sl_jinja_context *c, sl_jinja_text name);

/* ---- keys: of a dictionary or namespace, looked for among all and paid for ---- */

/* Lent until the dictionary is changed; NULL: it has no such key, or the run has failed. */
const sl_jinja_value *sl_jinja_key_find(sl_jinja_context *c, const sl_jinja_dict *dict,
                                        sl_jinja_value key);
const sl_jinja_value *sl_jinja_key_find_text(sl_jinja_context *c, const sl_jinja_dict *dict,
                                             sl_jinja_text key);
/* False: the run has failed, or the dictionary found no memory. */
bool sl_jinja_key_set(sl_jinja_context *c, sl_jinja_value dict, sl_jinja_value key,
                      sl_jinja_value value);

/* ---- making values ---- */

sl_jinja_value sl_jinja_undefined(sl_jinja_context *c, sl_jinja_text name);
/* The string of a builder. */
sl_jinja_value sl_jinja_finish(sl_jinja_context *c, const sl_jinja_builder *builder);
sl_jinja_value sl_jinja_new_list(sl_jinja_context *c);
sl_jinja_value sl_jinja_new_pair(sl_jinja_context *c, sl_jinja_value first, sl_jinja_value second);

/* ---- arguments ---- */

/* Put the arguments in the order of "first second third": names in `names`, of which the first
 * n_needed must be given; out[] of those that are not is absent. False: the run has failed. */
bool sl_jinja_bind(sl_jinja_context *c, const char *what, const sl_jinja_arguments *arguments,
                   const char *names, size_t n_needed, sl_jinja_value *out);
/* No arguments are expected. */
bool sl_jinja_bind_none(sl_jinja_context *c, const char *what, const sl_jinja_arguments *arguments);
/* The integer that was given, or `otherwise`; anything else fails. */
int64_t sl_jinja_integer_or(sl_jinja_context *c, const char *what, sl_jinja_value value,
                            int64_t otherwise);
/* The text that was given; what is no string fails. */
sl_jinja_text sl_jinja_text_of(sl_jinja_context *c, const char *what, sl_jinja_value value);

#endif
