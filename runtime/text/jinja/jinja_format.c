/* runtime/text/jinja/jinja_format.c - see jinja_format.h. */
#include "runtime/text/jinja/jinja_format.h"

#include <stdio.h>
#include <string.h>

#include "runtime/text/jinja/jinja_error.h"
#include "runtime/text/jinja/jinja_print.h"

/* ---- braces ---- */

/* "{}" in order, "{0}" by number, "{name}" by name, without a form of its own. */
static const sl_jinja_value *format_argument(const sl_jinja_arguments *a, sl_jinja_text field,
                                             size_t *next)
{
    size_t number = 0;
    bool digits = field.bytes > 0;
    for (size_t i = 0; i < field.bytes; i++) {
        digits = digits && field.data[i] >= '0' && field.data[i] <= '9' && number < 1000;
        number = 10 * number + (size_t)(field.data[i] - '0');
    }
    if (field.bytes == 0) number = (*next)++;
    if (digits || field.bytes == 0) return number < a->n ? &a->values[number] : NULL;
    for (size_t i = 0; i < a->n_named; i++)
        if (sl_jinja_text_equal(a->named[i].name, field)) return &a->named[i].value;
    return NULL;
}

/* The field that opens at a brace: added, and its bytes. 0: it failed. */
static size_t add_field(sl_jinja_context *c, sl_jinja_builder *out, sl_jinja_text text, size_t at,
                        const sl_jinja_arguments *a, size_t *next)
{
    const size_t end = sl_jinja_find(text, sl_jinja_text_own("}"), at);
    const sl_jinja_value *value = NULL;
    if (end != SIZE_MAX)
        value = format_argument(a, sl_jinja_slice(text, at + 1, end - at - 1), next);
    if (!value) {
        sl_jinja_fail(c, "format: the field at '%.*s' has no value, or is not supported",
                      SL_JINJA_SHOWN(sl_jinja_slice(text, at, text.bytes - at)));
        return 0;
    }
    sl_jinja_print(c, out, *value);
    return end + 1 - at;
}

sl_jinja_value sl_jinja_format_braces(sl_jinja_context *c, sl_jinja_text text,
                                      const sl_jinja_arguments *arguments)
{
    sl_jinja_builder out;
    size_t next = 0, done = 0;
    sl_jinja_build(&out, &c->memory);
    for (size_t at = 0; at < text.bytes;) {
        const char brace = text.data[at];
        if (brace != '{' && brace != '}') {
            at++;
            continue;
        }
        const bool twice = at + 1 < text.bytes && text.data[at + 1] == brace;
        if (!twice && brace == '}') return sl_jinja_fail(c, "format: a '}' is alone");
        sl_jinja_add(&out, sl_jinja_slice(text, done, at - done + twice));
        const size_t n = twice ? 2 : add_field(c, &out, text, at, arguments, &next);
        if (n == 0) return sl_jinja_undefined_value;
        done = at += n;
    }
    sl_jinja_add(&out, sl_jinja_slice(text, done, text.bytes - done));
    return sl_jinja_finish(c, &out);
}

/* ---- percent ---- */

enum { WIDTH_MAX = 1000, NUMBER_BYTES = 2048 };

/* "%-5.2f": what stands between the percent sign and the letter. */
typedef struct {
    bool left, zeros, plus, blank, other;
    int width, precision; /* -1: none */
    char letter;
} percent_form;

static int read_count(sl_jinja_text text, size_t *at)
{
    int n = 0;
    for (; *at < text.bytes && text.data[*at] >= '0' && text.data[*at] <= '9'; (*at)++)
        if (n <= WIDTH_MAX) n = 10 * n + text.data[*at] - '0';
    return n < WIDTH_MAX ? n : WIDTH_MAX;
}

/* The form behind a percent sign, which is passed. */
static percent_form read_form(sl_jinja_text text, size_t *at)
{
    percent_form f = {.precision = -1};
    for (; *at < text.bytes && text.data[*at] != '\0' && strchr("-0+ #", text.data[*at]); (*at)++) {
        f.left |= text.data[*at] == '-';
        f.zeros |= text.data[*at] == '0';
        f.plus |= text.data[*at] == '+';
        f.blank |= text.data[*at] == ' ';
        f.other |= text.data[*at] == '#';
    }
    f.width = read_count(text, at);
    if (*at < text.bytes && text.data[*at] == '.') {
        ++*at;
        f.precision = read_count(text, at);
    }
    if (*at < text.bytes) f.letter = text.data[(*at)++];
    return f;
}

static void add_blanks(sl_jinja_builder *out, size_t n)
{
    for (; n > 0; n--) sl_jinja_add_string(out, " ");
}

/* Within its width. */
static void add_aligned(sl_jinja_builder *out, const percent_form *f, sl_jinja_text text)
{
    const size_t n = sl_jinja_count_chars(text), width = (size_t)f->width;
    if (!f->left && n < width) add_blanks(out, width - n);
    sl_jinja_add(out, text);
    if (f->left && n < width) add_blanks(out, width - n);
}

static void add_words(sl_jinja_context *c, sl_jinja_builder *out, const percent_form *f,
                      sl_jinja_value value)
{
    sl_jinja_builder words;
    sl_jinja_build(&words, &c->memory);
    if (f->letter == 'r')
        sl_jinja_print_repr(c, &words, value);
    else
        sl_jinja_print(c, &words, value);
    sl_jinja_text text = sl_jinja_built(&words);
    if (!sl_jinja_spend_on_each(c, text.bytes)) return;
    if (f->precision >= 0)
        text = sl_jinja_slice(text, 0, sl_jinja_char_place(text, (size_t)f->precision));
    add_aligned(out, f, text);
}

/* The digits of a number without its sign, as C writes them. */
static int put_digits(const percent_form *f, sl_jinja_value value, char *out, size_t out_bytes)
{
    const double number = sl_jinja_as_float(value), size = number < 0 ? -number : number;
    const int precision = f->precision < 0 ? 6 : f->precision;
    switch (f->letter) {
    case 'f':
    case 'F': return snprintf(out, out_bytes, "%.*f", precision, size);
    case 'e': return snprintf(out, out_bytes, "%.*e", precision, size);
    case 'E': return snprintf(out, out_bytes, "%.*E", precision, size);
    case 'g': return snprintf(out, out_bytes, "%.*g", precision, size);
    case 'G': return snprintf(out, out_bytes, "%.*G", precision, size);
    default: break;
    }
    const int64_t whole = sl_jinja_is_integer(value) ? sl_jinja_as_integer(value) : (int64_t)number;
    const unsigned long long digits = whole < 0 ? 0 - (unsigned long long)whole
                                                : (unsigned long long)whole;
    const int least = f->precision < 0 ? 1 : f->precision;
    switch (f->letter) {
    case 'x': return snprintf(out, out_bytes, "%.*llx", least, digits);
    case 'X': return snprintf(out, out_bytes, "%.*llX", least, digits);
    case 'o': return snprintf(out, out_bytes, "%.*llo", least, digits);
    default: return snprintf(out, out_bytes, "%.*llu", least, digits);
    }
}

static void add_number(sl_jinja_context *c, sl_jinja_builder *out, percent_form f,
                       sl_jinja_value value)
{
    char digits[NUMBER_BYTES];
    enum { NUMBER_STEPS = 20 };
    const double number = sl_jinja_is_number(value) ? sl_jinja_as_float(value) : 0;
    const bool wants_integer = strchr("diuxXo", f.letter) != NULL;
    const bool fits = !wants_integer || sl_jinja_is_integer(value) ||
                      (number > -0x1p62 && number < 0x1p62);
    if (!sl_jinja_is_number(value) || !fits) {
        sl_jinja_fail(c, "'%%%c' wants a number that fits, not %s", f.letter,
                      sl_jinja_kind_name(value.kind));
        return;
    }
    if (!sl_jinja_spend(c, NUMBER_STEPS)) return;
    const int n = put_digits(&f, value, digits, sizeof digits);
    const char *sign = number < 0 ? "-" : f.plus ? "+" : f.blank ? " " : "";
    const int n_zeros = f.zeros && !f.left ? f.width - n - (int)strlen(sign) : 0;
    sl_jinja_builder all;
    sl_jinja_build(&all, &c->memory);
    sl_jinja_add_string(&all, sign);
    for (int i = 0; i < n_zeros; i++) sl_jinja_add_string(&all, "0");
    sl_jinja_add_string(&all, digits);
    add_aligned(out, &f, sl_jinja_built(&all));
}

/* The value of a percent sign. False: it is not known. */
static bool add_percent(sl_jinja_context *c, sl_jinja_builder *out, percent_form f,
                        sl_jinja_value value)
{
    if (f.letter == '\0' || f.other || !strchr("srdiuxXofFeEgG", f.letter)) return false;
    if (f.letter == 's' || f.letter == 'r')
        add_words(c, out, &f, value);
    else
        add_number(c, out, f, value);
    return true;
}

sl_jinja_value sl_jinja_format_percent(sl_jinja_context *c, sl_jinja_text text,
                                       sl_jinja_value values)
{
    const bool several = values.kind == SL_JINJA_TUPLE;
    const size_t n_values = several ? values.list->n : 1;
    size_t next = 0, done = 0, at = 0;
    sl_jinja_builder out;
    sl_jinja_build(&out, &c->memory);
    while (at < text.bytes && sl_jinja_spend(c, 1)) {
        const size_t sign = sl_jinja_find(text, sl_jinja_text_own("%"), at);
        if (sign == SIZE_MAX) break;
        sl_jinja_add(&out, sl_jinja_slice(text, done, sign - done));
        at = sign + 1;
        const percent_form f = read_form(text, &at);
        done = at;
        if (f.letter == '%') {
            sl_jinja_add_string(&out, "%");
            continue;
        }
        if (next == n_values) return sl_jinja_fail(c, "'%%': there are not enough values");
        const sl_jinja_value value = several ? values.list->items[next] : values;
        next++;
        if (!add_percent(c, &out, f, value))
            return sl_jinja_fail(c, "'%%': the form at '%.*s' is not supported",
                                 SL_JINJA_SHOWN(sl_jinja_slice(text, sign, text.bytes - sign)));
    }
    /* one value that is no tuple may go unused where it is a list or dictionary, as in Python */
    if (next < n_values && (several || (values.kind != SL_JINJA_DICT && !sl_jinja_is_list(values))))
        return sl_jinja_fail(c, "'%%': there are more values than the text wants");
    sl_jinja_add(&out, sl_jinja_slice(text, done, text.bytes - done));
    return sl_jinja_finish(c, &out);
}
