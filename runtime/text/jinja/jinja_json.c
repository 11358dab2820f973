/* runtime/text/jinja/jinja_json.c - see jinja_json.h. */
#include "runtime/text/jinja/jinja_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/text/jinja/jinja_print.h"

typedef struct {
    sl_jinja_context *c;
    sl_jinja_builder *out;
    const sl_jinja_json_form *form;
    size_t level;
} json_writer;

static void write_value(json_writer *w, sl_jinja_value value);

/* ---- strings ---- */

static size_t escape(const void *context, uint32_t code, char out[SL_JINJA_MAPPED_BYTES])
{
    static const char letters[] = "\"\\\n\r\t\b\f", names[] = "\"\\nrtbf";
    const sl_jinja_json_form *form = context;
    const char *found = code > 0 && code < 0x80 ? strchr(letters, (int)code) : NULL;
    const size_t most = SL_JINJA_MAPPED_BYTES;
    if (found) return (size_t)snprintf(out, most, "\\%c", names[found - letters]);
    if (code >= 0x20 && (code < 0x7F || !form->ascii)) return 0;
    if (code < 0x10000) return (size_t)snprintf(out, most, "\\u%04x", code);
    const uint32_t high = 0xD800 + ((code - 0x10000) >> 10), low = 0xDC00 + (code & 0x3FF);
    return (size_t)snprintf(out, most, "\\u%04x\\u%04x", high, low);
}

static void write_text(json_writer *w, sl_jinja_text text)
{
    if (!sl_jinja_spend_on(w->c, text.bytes)) return;
    sl_jinja_add_string(w->out, "\"");
    sl_jinja_add_mapped(w->out, text, escape, w->form, SL_JINJA_OWN);
    sl_jinja_add_string(w->out, "\"");
}

/* ---- lists and dictionaries ---- */

static void write_line(json_writer *w)
{
    if (!w->form->lines) return;
    sl_jinja_add_string(w->out, "\n");
    for (size_t i = 0; i < w->level; i++) sl_jinja_add(w->out, w->form->indent);
}

static void write_list(json_writer *w, const sl_jinja_list *list)
{
    sl_jinja_add_string(w->out, "[");
    w->level++;
    for (size_t i = 0; i < list->n && !w->c->failed; i++) {
        if (i > 0) sl_jinja_add(w->out, w->form->comma);
        write_line(w);
        write_value(w, list->items[i]);
    }
    w->level--;
    if (list->n > 0) write_line(w);
    sl_jinja_add_string(w->out, "]");
}

static void write_key(json_writer *w, sl_jinja_value key)
{
    if (sl_jinja_is_string(key)) {
        write_text(w, *key.text);
        return;
    }
    sl_jinja_add_string(w->out, "\"");
    write_value(w, key);
    sl_jinja_add_string(w->out, "\"");
}

static int compare_keys(const void *a, const void *b)
{
    const sl_jinja_entry *x = a, *y = b;
    return sl_jinja_text_compare(*x->key.text, *y->key.text);
}

/* Sorting looks at a key about as often as the number of keys can be halved. */
enum { COMPARED_EACH = 16 };

/* The entries in the order of their keys; NULL: that has no order, or there is no memory. */
static const sl_jinja_entry *in_order(json_writer *w, const sl_jinja_dict *dict)
{
    sl_jinja_entry *entries = sl_jinja_take(&w->c->memory, dict->n * sizeof *entries);
    if (!entries || !sl_jinja_spend(w->c, dict->n)) return NULL;
    size_t bytes = 0;
    for (size_t i = 0; i < dict->n; i++) {
        entries[i] = dict->entries[i];
        if (!sl_jinja_is_string(entries[i].key)) {
            sl_jinja_fail(w->c, "keys that are no strings cannot be sorted");
            return NULL;
        }
        bytes += entries[i].key.text->bytes;
    }
    if (!sl_jinja_spend_on(w->c, COMPARED_EACH * (64 * dict->n + bytes))) return NULL;
    qsort(entries, dict->n, sizeof *entries, compare_keys);
    return entries;
}

static void write_dict(json_writer *w, const sl_jinja_dict *dict)
{
    const bool sorts = w->form->sorted && dict->n > 0;
    const sl_jinja_entry *entries = sorts ? in_order(w, dict) : dict->entries;
    if (sorts && !entries) return;
    sl_jinja_add_string(w->out, "{");
    w->level++;
    for (size_t i = 0; i < dict->n && !w->c->failed; i++) {
        if (i > 0) sl_jinja_add(w->out, w->form->comma);
        write_line(w);
        write_key(w, entries[i].key);
        sl_jinja_add(w->out, w->form->colon);
        write_value(w, entries[i].value);
    }
    w->level--;
    if (dict->n > 0) write_line(w);
    sl_jinja_add_string(w->out, "}");
}

static void write_float(json_writer *w, double number)
{
    if (isnan(number) || isinf(number))
        sl_jinja_add_string(w->out, isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
    else
        sl_jinja_print(w->c, w->out, sl_jinja_float(number));
}

static void write_value(json_writer *w, sl_jinja_value value)
{
    if (sl_jinja_enter(w->c) && !w->out->failed) {
        switch (value.kind) {
        case SL_JINJA_NONE: sl_jinja_add_string(w->out, "null"); break;
        case SL_JINJA_BOOLEAN: sl_jinja_add_string(w->out, value.boolean ? "true" : "false"); break;
        case SL_JINJA_INTEGER: sl_jinja_print(w->c, w->out, value); break;
        case SL_JINJA_FLOAT: write_float(w, value.number); break;
        case SL_JINJA_STRING: write_text(w, *value.text); break;
        case SL_JINJA_LIST:
        case SL_JINJA_TUPLE: write_list(w, value.list); break;
        case SL_JINJA_DICT: write_dict(w, value.dict); break;
        default: sl_jinja_fail_kind(w->c, "tojson", value);
        }
    }
    sl_jinja_leave(w->c);
}

void sl_jinja_json(sl_jinja_context *c, sl_jinja_builder *out, const sl_jinja_json_form *form,
                   sl_jinja_value value)
{
    json_writer writer = {.c = c, .out = out, .form = form};
    write_value(&writer, value);
}
