/* runtime/text/jinja/jinja_filters_text.c - see jinja_filters_text.h. Most are the method of the
 * same name, of the value's text. */
#include "runtime/text/jinja/jinja_filters_text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/base/utf8.h"
#include "runtime/text/jinja/jinja_format.h"
#include "runtime/text/jinja/jinja_json.h"
#include "runtime/text/jinja/jinja_methods.h"
#include "runtime/text/jinja/jinja_print.h"

typedef const sl_jinja_arguments *arguments;

static sl_jinja_value as_string(sl_jinja_context *c, sl_jinja_value value)
{
    if (sl_jinja_is_string(value)) return value;
    return sl_jinja_string(&c->memory, sl_jinja_str(c, value));
}

/* ---- methods of texts ---- */

static sl_jinja_value by_method(sl_jinja_context *c, const char *name, sl_jinja_value self,
                                arguments a)
{
    const sl_jinja_value text = as_string(c, self);
    const sl_jinja_builtin *method = sl_jinja_method_of(SL_JINJA_STRING, sl_jinja_text_own(name));
    return sl_jinja_is_string(text) ? method->call(c, text, a) : text;
}

static sl_jinja_value filter_trim(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return by_method(c, "strip", self, a);
}

static sl_jinja_value filter_upper(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return by_method(c, "upper", self, a);
}

static sl_jinja_value filter_lower(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return by_method(c, "lower", self, a);
}

static sl_jinja_value filter_capitalize(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return by_method(c, "capitalize", self, a);
}

static sl_jinja_value filter_replace(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[3];
    if (!sl_jinja_bind(c, "replace", a, "old new count", 2, got)) return self;
    const size_t n = got[2].kind == SL_JINJA_ABSENT || got[2].kind == SL_JINJA_NONE ? 2 : 3;
    got[0] = as_string(c, got[0]);
    got[1] = as_string(c, got[1]);
    const sl_jinja_arguments texts = {.values = got, .n = n};
    return by_method(c, "replace", self, &texts);
}

/* ---- others that make texts ---- */

/* Words begin after blanks, "-" and opening brackets. */
static size_t word_start_bytes(sl_jinja_text text, size_t at)
{
    const char byte = text.data[at];
    if (byte != '\0' && strchr("-({[<", byte)) return 1;
    return sl_utf8_blank_bytes(text.data + at, text.bytes - at);
}

static sl_jinja_value filter_title(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_builder out;
    bool inside = false;
    if (!sl_jinja_bind_none(c, "title", a)) return self;
    const sl_jinja_text text = sl_jinja_str(c, self);
    sl_jinja_build(&out, &c->memory);
    for (size_t at = 0, n; at < text.bytes; at += n) {
        const size_t between = word_start_bytes(text, at);
        n = between ? between : sl_jinja_char_bytes(text, at);
        sl_jinja_add_cased(&out, sl_jinja_slice(text, at, n),
                           inside ? SL_JINJA_LOWER : SL_JINJA_UPPER);
        inside = between == 0;
    }
    return sl_jinja_finish(c, &out);
}

/* "%s"|format(x), which is "%s" % (x,). */
static sl_jinja_value filter_format(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    const sl_jinja_text text = sl_jinja_text_of(c, "format", self);
    const sl_jinja_value values = sl_jinja_list_new(&c->memory, SL_JINJA_TUPLE);
    if (a->n_named > 0) return sl_jinja_fail(c, "format: named values are not supported");
    for (size_t i = 0; i < a->n; i++) sl_jinja_list_add(&c->memory, values, a->values[i]);
    return sl_jinja_is_list(values) ? sl_jinja_format_percent(c, text, values) : self;
}

static sl_jinja_value filter_string(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return sl_jinja_bind_none(c, "string", a) ? as_string(c, self) : self;
}

static sl_jinja_value safe_string(sl_jinja_context *c, sl_jinja_text text)
{
    text.safe = true;
    return sl_jinja_string(&c->memory, text);
}

static sl_jinja_value filter_safe(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return sl_jinja_bind_none(c, "safe", a) ? safe_string(c, sl_jinja_str(c, self)) : self;
}

static sl_jinja_value filter_escape(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_builder out;
    if (!sl_jinja_bind_none(c, "escape", a)) return self;
    const sl_jinja_text text = sl_jinja_str(c, self);
    if (text.safe || !sl_jinja_spend_on(c, text.bytes)) return self;
    sl_jinja_build(&out, &c->memory);
    sl_jinja_add_escaped(&out, text);
    return safe_string(c, sl_jinja_built(&out));
}

/* So many blanks, or the text itself. */
static sl_jinja_text indent_of(sl_jinja_context *c, const char *what, sl_jinja_value width,
                               int64_t otherwise)
{
    if (sl_jinja_is_string(width)) return *width.text;
    const int64_t n = sl_jinja_integer_or(c, what, width, otherwise);
    char *blanks = n > 0 ? sl_jinja_take(&c->memory, (size_t)n) : NULL;
    if (!blanks) return sl_jinja_text_own("");
    memset(blanks, ' ', (size_t)n);
    return (sl_jinja_text){.data = blanks, .bytes = (size_t)n};
}

static sl_jinja_value filter_indent(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[3];
    sl_jinja_builder out;
    if (!sl_jinja_bind(c, "indent", a, "width first blank", 0, got)) return self;
    const sl_jinja_text indent = indent_of(c, "indent", got[0], 4);
    const bool first = sl_jinja_truth(got[1]), blank = sl_jinja_truth(got[2]);
    sl_jinja_text rest = sl_jinja_text_of(c, "indent", self), line;
    const bool ends_line = sl_jinja_ends_with(rest, sl_jinja_text_own("\n"));
    sl_jinja_build(&out, &c->memory);
    if (first) sl_jinja_add(&out, indent);
    for (size_t i = 0; sl_jinja_spend(c, 1) && sl_jinja_take_line(&rest, &line); i++) {
        if (i > 0) sl_jinja_add_string(&out, "\n");
        if (i > 0 && (blank || line.bytes > 0)) sl_jinja_add(&out, indent);
        sl_jinja_add(&out, line);
    }
    if (ends_line) {
        sl_jinja_add_string(&out, "\n");
        if (blank) sl_jinja_add(&out, indent);
    }
    return sl_jinja_finish(c, &out);
}

static sl_jinja_value filter_tojson(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[4];
    sl_jinja_builder out;
    if (!sl_jinja_bind(c, "tojson", a, "ensure_ascii indent separators sort_keys", 0, got))
        return self;
    sl_jinja_json_form form = {.ascii = sl_jinja_truth(got[0]),
                               .lines = got[1].kind != SL_JINJA_ABSENT &&
                                        got[1].kind != SL_JINJA_NONE,
                               .sorted = sl_jinja_truth(got[3])};
    form.comma = sl_jinja_text_own(form.lines ? "," : ", ");
    form.colon = sl_jinja_text_own(": ");
    if (form.lines) form.indent = indent_of(c, "tojson", got[1], 0);
    if (sl_jinja_is_list(got[2]) && got[2].list->n == 2) {
        form.comma = sl_jinja_text_of(c, "tojson", got[2].list->items[0]);
        form.colon = sl_jinja_text_of(c, "tojson", got[2].list->items[1]);
    } else if (got[2].kind != SL_JINJA_ABSENT && got[2].kind != SL_JINJA_NONE) {
        return sl_jinja_fail(c, "tojson: separators are a pair");
    }
    sl_jinja_build(&out, &c->memory);
    sl_jinja_json(c, &out, &form, self);
    return sl_jinja_finish(c, &out);
}

/* ---- numbers ---- */

/* What is written there without blanks around it and "_" between its digits, to be read as a
 * number. False: it is too long for one, or has what Python's numbers of this base have not. */
static bool copy_number(sl_jinja_text text, int base, char digits[64])
{
    size_t n = 0;
    text = sl_jinja_strip(text, SL_JINJA_BOTH, NULL);
    for (size_t i = 0; i < text.bytes; i++) {
        const char byte = text.data[i];
        if (byte == '_') continue;
        if (n + 1 == 64 || byte == '\0' || byte == ' ') return false;
        if ((byte == 'x' || byte == 'X') && base != 16) return false;
        digits[n++] = byte;
    }
    digits[n] = '\0';
    return n > 0;
}

static bool read_integer(sl_jinja_text text, int base, sl_jinja_value *out)
{
    char digits[64], *end;
    if (!copy_number(text, base, digits)) return false;
    errno = 0;
    *out = sl_jinja_integer(strtoll(digits, &end, base));
    return *end == '\0' && errno == 0;
}

static bool read_float(sl_jinja_text text, sl_jinja_value *out)
{
    char digits[64], *end;
    if (!copy_number(text, 10, digits)) return false;
    *out = sl_jinja_float(strtod(digits, &end));
    return *end == '\0';
}

static sl_jinja_value from_float(double number, sl_jinja_value otherwise)
{
    const double limit = 9.2e18;
    if (isnan(number) || number > limit || number < -limit) return otherwise;
    return sl_jinja_integer((int64_t)number);
}

static sl_jinja_value filter_int(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[2], number;
    if (!sl_jinja_bind(c, "int", a, "default base", 0, got)) return self;
    const sl_jinja_value otherwise = got[0].kind == SL_JINJA_ABSENT ? sl_jinja_integer(0) : got[0];
    const int64_t base = sl_jinja_integer_or(c, "int", got[1], 10);
    if (base < 2 || base > 36) return sl_jinja_fail(c, "int: the base is not from 2 to 36");
    if (sl_jinja_is_integer(self)) return sl_jinja_integer(sl_jinja_as_integer(self));
    if (self.kind == SL_JINJA_FLOAT) return from_float(self.number, otherwise);
    if (!sl_jinja_is_string(self)) return otherwise;
    if (!sl_jinja_spend_on_each(c, self.text->bytes)) return otherwise;
    if (read_integer(*self.text, (int)base, &number)) return number;
    return read_float(*self.text, &number) ? from_float(number.number, otherwise) : otherwise;
}

static sl_jinja_value filter_float(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value otherwise, number;
    if (!sl_jinja_bind(c, "float", a, "default", 0, &otherwise)) return self;
    if (otherwise.kind == SL_JINJA_ABSENT) otherwise = sl_jinja_float(0);
    if (sl_jinja_is_number(self)) return sl_jinja_float(sl_jinja_as_float(self));
    const bool reads = sl_jinja_is_string(self) && sl_jinja_spend_on_each(c, self.text->bytes) &&
                       read_float(*self.text, &number);
    return reads ? number : otherwise;
}

static sl_jinja_value filter_abs(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    if (!sl_jinja_bind_none(c, "abs", a)) return self;
    if (self.kind == SL_JINJA_FLOAT) return sl_jinja_float(fabs(self.number));
    if (!sl_jinja_is_integer(self)) return sl_jinja_fail_kind(c, "abs", self);
    const int64_t number = sl_jinja_as_integer(self);
    if (number == INT64_MIN) return sl_jinja_fail(c, "a number is too large");
    return sl_jinja_integer(number < 0 ? -number : number);
}

static double round_to(double number, int64_t precision, sl_jinja_text method)
{
    const double scale = pow(10, (double)precision);
    if (sl_jinja_text_is(method, "ceil")) return ceil(number * scale) / scale;
    if (sl_jinja_text_is(method, "floor")) return floor(number * scale) / scale;
    if (precision < 0) return nearbyint(number * scale) / scale;
    char digits[400]; /* halves as the decimal number that is nearest has them */
    snprintf(digits, sizeof digits, "%.*f", (int)precision, number);
    return strtod(digits, NULL);
}

static sl_jinja_value filter_round(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value got[2];
    if (!sl_jinja_bind(c, "round", a, "precision method", 0, got)) return self;
    const int64_t precision = sl_jinja_integer_or(c, "round", got[0], 0);
    const sl_jinja_text method = got[1].kind == SL_JINJA_ABSENT
                                     ? sl_jinja_text_own("common")
                                     : sl_jinja_text_of(c, "round", got[1]);
    if (!sl_jinja_is_number(self)) return sl_jinja_fail_kind(c, "round", self);
    if (precision < -20 || precision > 20) return sl_jinja_fail(c, "round: too many digits");
    const bool common = sl_jinja_text_is(method, "common");
    if (common && sl_jinja_is_integer(self) && precision >= 0) return self;
    const double rounded = round_to(sl_jinja_as_float(self), precision, method);
    return common && sl_jinja_is_integer(self) ? from_float(rounded, self)
                                               : sl_jinja_float(rounded);
}

static const sl_jinja_builtin filters[] = {
    {"trim", filter_trim},       {"upper", filter_upper},   {"lower", filter_lower},
    {"title", filter_title},     {"string", filter_string}, {"capitalize", filter_capitalize},
    {"replace", filter_replace}, {"safe", filter_safe},     {"escape", filter_escape},
    {"e", filter_escape},        {"indent", filter_indent}, {"tojson", filter_tojson},
    {"int", filter_int},         {"float", filter_float},   {"abs", filter_abs},
    {"round", filter_round},     {"format", filter_format},
};

const sl_jinja_builtin *sl_jinja_find_text_filter(sl_jinja_text name)
{
    return sl_jinja_find_builtin(filters, sizeof filters / sizeof *filters, name);
}
