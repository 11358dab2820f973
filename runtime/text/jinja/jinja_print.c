/* runtime/text/jinja/jinja_print.c - see jinja_print.h. */
#include "runtime/text/jinja/jinja_print.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/utf8.h"

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

/* What stands for a character in a string with these quotes; false: the character itself. */
static bool escape(uint32_t code, char quote, char out[16])
{
    const char *const letter = code == '\n' ? "n" : code == '\r' ? "r" : code == '\t' ? "t" : NULL;
    if (letter)
        snprintf(out, 16, "\\%s", letter);
    else if (code == '\\' || code == (uint32_t)quote)
        snprintf(out, 16, "\\%c", (char)code);
    else if (is_printable(code))
        return false;
    else
        snprintf(out, 16, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    return true;
}

static void repr_text(sl_jinja_builder *out, sl_jinja_text text)
{
    const bool doubles = text.bytes > 0 && memchr(text.data, '\'', text.bytes) &&
                         !memchr(text.data, '"', text.bytes);
    const char quote[2] = {doubles ? '"' : '\''};
    size_t done = 0, n;
    sl_jinja_add_string(out, quote);
    for (size_t at = 0; at < text.bytes; at += n) {
        const uint8_t *s = (const uint8_t *)text.data + at;
        const bool whole = sl_utf8_next(s, text.bytes - at, &n) == SL_UTF8_WHOLE;
        char escaped[16];
        if (!whole || !escape(sl_utf8_code(s, n), quote[0], escaped)) continue;
        sl_jinja_add(out, sl_jinja_slice(text, done, at - done));
        sl_jinja_add_string(out, escaped);
        done = at + n;
    }
    sl_jinja_add(out, sl_jinja_slice(text, done, text.bytes - done));
    sl_jinja_add_string(out, quote);
}

/* ---- values ---- */

static void repr(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_value value);

static void repr_list(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_value value)
{
    const bool tuple = value.kind == SL_JINJA_TUPLE;
    sl_jinja_add_string(out, tuple ? "(" : "[");
    for (size_t i = 0; i < value.list->n && !c->failed; i++) {
        if (i > 0) sl_jinja_add_string(out, ", ");
        repr(c, out, value.list->items[i]);
    }
    sl_jinja_add_string(out, tuple ? value.list->n == 1 ? ",)" : ")" : "]");
}

static void repr_dict(sl_jinja_context *c, sl_jinja_builder *out, const sl_jinja_dict *dict)
{
    sl_jinja_add_string(out, "{");
    for (size_t i = 0; i < dict->n && !c->failed; i++) {
        if (i > 0) sl_jinja_add_string(out, ", ");
        repr(c, out, dict->entries[i].key);
        sl_jinja_add_string(out, ": ");
        repr(c, out, dict->entries[i].value);
    }
    sl_jinja_add_string(out, "}");
}

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
        sl_jinja_float_text(value.number, digits);
        sl_jinja_add_string(out, digits);
        break;
    default: sl_jinja_fail_kind(c, "printing", value);
    }
}

static void repr(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_value value)
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
        repr(c, out, value);
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
