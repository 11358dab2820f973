/* runtime/text/jinja/jinja_print.c - see jinja_print.h. */
#include "runtime/text/jinja/jinja_print.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers ---- */

/* The shortest digits that read back as the number: "d.ddde+xx". */
static void shortest(double number, char *out, size_t out_bytes)
{
    for (int precision = 0; precision <= 16; precision++) {
        snprintf(out, out_bytes, "%.*e", precision, number);
        if (strtod(out, NULL) == number) return;
    }
}

void sl_jinja_float_text(double number, char out[SL_JINJA_FLOAT_BYTES])
{
    if (isnan(number) || isinf(number)) {
        snprintf(out, SL_JINJA_FLOAT_BYTES, "%s",
                 isnan(number) ? "nan"
                 : number > 0  ? "inf"
                               : "-inf");
        return;
    }
    char digits[SL_JINJA_FLOAT_BYTES];
    shortest(number, digits, sizeof digits);
    const int exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
    const int n_digits = (int)strspn(digits + (digits[0] == '-'), "0123456789.");
    const int precision = n_digits > 1 ? n_digits - 2 : 0; /* digits after the first */
    if (exponent >= -4 && exponent < 16) {
        const int places = precision > exponent ? precision - exponent : 1;
        snprintf(out, SL_JINJA_FLOAT_BYTES, "%.*f", places, number);
    } else {
        memcpy(out, digits, sizeof digits); /* C writes exponents as Python does */
    }
}

/* ---- strings as Python writes them ---- */

static bool is_printable(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {{0, 0x1F},        {0x7F, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},
                  {0x61C, 0x61C},   {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x1680, 0x1680},
                  {0x180E, 0x180E}, {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},
                  {0x3000, 0x3000}, {0xD800, 0xF8FF},   {0xFEFF, 0xFEFF},   {0xFFF0, 0xFFFB},
                  {0xFFFE, 0xFFFF}, {0x1D173, 0x1D17A}, {0xE0000, 0xE00FF}, {0xE01F0, 0x10FFFF}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i].first && c <= hidden[i].last) return false;
    return true;
}

/* What stands for a character in a string with these quotes. */
static size_t escape(const void *context, uint32_t code, char out[SL_JINJA_MAPPED_BYTES])
{
    const char quote = *(const char *)context;
    const size_t most = SL_JINJA_MAPPED_BYTES;
    if (code == '\n') return (size_t)snprintf(out, most, "\\n");
    if (code == '\r') return (size_t)snprintf(out, most, "\\r");
    if (code == '\t') return (size_t)snprintf(out, most, "\\t");
    if (code == '\\' || code == (uint32_t)quote)
        return (size_t)snprintf(out, most, "\\%c", (char)code);
    if (is_printable(code)) return 0;
    if (code < 0x100) return (size_t)snprintf(out, most, "\\x%02x", code);
    return (size_t)(code < 0x10000 ? snprintf(out, most, "\\u%04x", code)
                                   : snprintf(out, most, "\\U%08x", code));
}

static void repr_text(sl_jinja_builder *out, sl_jinja_text text)
{
    const bool doubles = text.bytes > 0 && memchr(text.data, '\'', text.bytes) &&
                         !memchr(text.data, '"', text.bytes);
    const char quote[2] = {doubles ? '"' : '\''};
    sl_jinja_add_string(out, quote);
    sl_jinja_add_mapped(out, text, escape, quote, SL_JINJA_OWN);
    sl_jinja_add_string(out, quote);
}

/* ---- values ---- */

static void repr_list(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_value value)
{
    const bool tuple = value.kind == SL_JINJA_TUPLE;
    sl_jinja_add_string(out, tuple ? "(" : "[");
    for (size_t i = 0; i < value.list->n && !c->failed; i++) {
        if (i > 0) sl_jinja_add_string(out, ", ");
        sl_jinja_print_repr(c, out, value.list->items[i]);
    }
    sl_jinja_add_string(out, tuple ? value.list->n == 1 ? ",)" : ")" : "]");
}

static void repr_dict(sl_jinja_context *c, sl_jinja_builder *out, const sl_jinja_dict *dict)
{
    sl_jinja_add_string(out, "{");
    for (size_t i = 0; i < dict->n && !c->failed; i++) {
        if (i > 0) sl_jinja_add_string(out, ", ");
        sl_jinja_print_repr(c, out, dict->entries[i].key);
        sl_jinja_add_string(out, ": ");
        sl_jinja_print_repr(c, out, dict->entries[i].value);
    }
    sl_jinja_add_string(out, "}");
}

/* Finding the shortest digits takes microseconds. */
enum { FLOAT_STEPS = 100 };

static void print_scalar(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_value value)
{
    char digits[SL_JINJA_FLOAT_BYTES];
    switch (value.kind) {
    case SL_JINJA_NONE: sl_jinja_add_string(out, "None"); break;
    case SL_JINJA_BOOLEAN: sl_jinja_add_string(out, value.boolean ? "True" : "False"); break;
    case SL_JINJA_INTEGER:
        snprintf(digits, sizeof digits, "%" PRId64, value.integer);
        sl_jinja_add_string(out, digits);
        break;
    case SL_JINJA_FLOAT:
        if (!sl_jinja_spend(c, FLOAT_STEPS)) break;
        sl_jinja_float_text(value.number, digits);
        sl_jinja_add_string(out, digits);
        break;
    default: sl_jinja_fail_kind(c, "printing", value);
    }
}

void sl_jinja_print_repr(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_value value)
{
    if (sl_jinja_enter(c) && !out->failed) {
        switch (value.kind) {
        case SL_JINJA_UNDEFINED: sl_jinja_add_string(out, "Undefined"); break;
        case SL_JINJA_STRING:
            if (sl_jinja_spend_on(c, value.text->bytes)) repr_text(out, *value.text);
            break;
        case SL_JINJA_LIST:
        case SL_JINJA_TUPLE: repr_list(c, out, value); break;
        case SL_JINJA_DICT: repr_dict(c, out, value.dict); break;
        default: print_scalar(c, out, value);
        }
    }
    sl_jinja_leave(c);
}

void sl_jinja_print(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_value value)
{
    if (sl_jinja_is_string(value)) {
        if (sl_jinja_spend_on(c, value.text->bytes)) sl_jinja_add(out, *value.text);
    } else if (value.kind != SL_JINJA_UNDEFINED) {
        sl_jinja_print_repr(c, out, value);
    }
}

sl_jinja_text sl_jinja_str(sl_jinja_context *c, sl_jinja_value value)
{
    if (sl_jinja_is_string(value)) return *value.text;
    sl_jinja_builder out;
    sl_jinja_build(&out, &c->memory);
    sl_jinja_print(c, &out, value);
    return sl_jinja_built(&out);
}
