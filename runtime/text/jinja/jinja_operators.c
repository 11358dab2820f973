/* runtime/text/jinja/jinja_operators.c - see jinja_operators.h. */
#include "runtime/text/jinja/jinja_operators.h"

#include <math.h>
#include <string.h>

#include "runtime/text/jinja/jinja_compare.h"
#include "runtime/text/jinja/jinja_format.h"
#include "runtime/text/jinja/jinja_methods.h"

/* ---- numbers ---- */

static sl_jinja_value too_large(sl_jinja_context *c)
{
    return sl_jinja_fail(c, "a number is too large");
}

static sl_jinja_value power(sl_jinja_context *c, int64_t base, int64_t exponent)
{
    if (exponent < 0) return sl_jinja_float(pow((double)base, (double)exponent));
    int64_t result = 1;
    if (base >= -1 && base <= 1) exponent = exponent > 1 ? 2 - exponent % 2 : exponent;
    for (; exponent > 0; exponent--)
        if (__builtin_mul_overflow(result, base, &result)) return too_large(c);
    return sl_jinja_integer(result);
}

/* Python rounds down, and what is left has the sign of the divisor. */
static sl_jinja_value divide_integers(sl_jinja_context *c, sl_jinja_operation operation, int64_t a,
                                      int64_t b)
{
    if (b == 0) return sl_jinja_fail(c, "division by zero");
    if (operation == SL_JINJA_DIVIDE) return sl_jinja_float((double)a / (double)b);
    if (b == -1) {
        int64_t negated;
        if (operation == SL_JINJA_MODULO) return sl_jinja_integer(0);
        return __builtin_sub_overflow((int64_t)0, a, &negated) ? too_large(c)
                                                               : sl_jinja_integer(negated);
    }
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    return sl_jinja_integer(operation == SL_JINJA_MODULO ? rest : quotient);
}

static sl_jinja_value calculate_integers(sl_jinja_context *c, sl_jinja_operation operation,
                                         int64_t a, int64_t b)
{
    int64_t result = 0;
    bool over = false;
    switch (operation) {
    case SL_JINJA_ADD: over = __builtin_add_overflow(a, b, &result); break;
    case SL_JINJA_SUBTRACT: over = __builtin_sub_overflow(a, b, &result); break;
    case SL_JINJA_MULTIPLY: over = __builtin_mul_overflow(a, b, &result); break;
    case SL_JINJA_POWER: return power(c, a, b);
    default: return divide_integers(c, operation, a, b);
    }
    return over ? too_large(c) : sl_jinja_integer(result);
}

static sl_jinja_value calculate_floats(sl_jinja_context *c, sl_jinja_operation operation, double a,
                                       double b)
{
    switch (operation) {
    case SL_JINJA_ADD: return sl_jinja_float(a + b);
    case SL_JINJA_SUBTRACT: return sl_jinja_float(a - b);
    case SL_JINJA_MULTIPLY: return sl_jinja_float(a * b);
    case SL_JINJA_POWER: return sl_jinja_float(pow(a, b));
    default: break;
    }
    if (b == 0) return sl_jinja_fail(c, "division by zero");
    if (operation == SL_JINJA_DIVIDE) return sl_jinja_float(a / b);
    double rest = fmod(a, b);
    if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
    return sl_jinja_float(operation == SL_JINJA_MODULO ? rest : floor((a - rest) / b + 0.5));
}

/* ---- sums and products of others ---- */

static sl_jinja_value join_lists(sl_jinja_context *c, sl_jinja_value a, sl_jinja_value b)
{
    sl_jinja_value list = sl_jinja_new_list(c);
    if (!sl_jinja_spend_on(c, 16 * (a.list->n + b.list->n))) return list;
    sl_jinja_list_reserve(&c->memory, list, a.list->n + b.list->n);
    for (size_t i = 0; i < a.list->n; i++) sl_jinja_list_add(&c->memory, list, a.list->items[i]);
    for (size_t i = 0; i < b.list->n; i++) sl_jinja_list_add(&c->memory, list, b.list->items[i]);
    if (sl_jinja_is_list(list)) list.kind = a.kind;
    return list;
}

/* Beside a safe text, one that is not is escaped. */
static sl_jinja_value join_texts(sl_jinja_context *c, sl_jinja_text a, sl_jinja_text b)
{
    sl_jinja_builder out;
    sl_jinja_build(&out, &c->memory);
    if (!sl_jinja_spend_on(c, a.bytes + b.bytes)) return sl_jinja_none;
    sl_jinja_reserve(&out, a.bytes + b.bytes);
    if (b.safe && !a.safe)
        sl_jinja_add_escaped(&out, a);
    else
        sl_jinja_add(&out, a);
    if (a.safe && !b.safe)
        sl_jinja_add_escaped(&out, b);
    else
        sl_jinja_add(&out, b);
    sl_jinja_text text = sl_jinja_built(&out);
    text.safe = a.safe || b.safe;
    return sl_jinja_string(&c->memory, text);
}

static sl_jinja_value repeat(sl_jinja_context *c, sl_jinja_value value, int64_t times)
{
    const size_t each = sl_jinja_is_string(value) ? value.text->bytes : value.list->n;
    size_t all;
    if (times < 0 || each == 0) times = 0;
    if (__builtin_mul_overflow(each, (size_t)times, &all)) return too_large(c);
    if (!sl_jinja_spend(c, (uint64_t)times + all / 64)) return value;
    if (sl_jinja_is_list(value)) {
        const sl_jinja_value list = sl_jinja_new_list(c);
        for (int64_t t = 0; t < times && !c->memory.refused; t++)
            for (size_t i = 0; i < each; i++)
                sl_jinja_list_add(&c->memory, list, value.list->items[i]);
        return list;
    }
    sl_jinja_builder out;
    sl_jinja_build(&out, &c->memory);
    sl_jinja_reserve(&out, all);
    for (int64_t t = 0; t < times && !out.failed; t++) sl_jinja_add(&out, *value.text);
    return sl_jinja_finish(c, &out);
}

static sl_jinja_value refuse(sl_jinja_context *c, sl_jinja_operation operation, sl_jinja_value a,
                             sl_jinja_value b)
{
    static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (a.kind == SL_JINJA_UNDEFINED) return sl_jinja_fail_undefined(c, a);
    if (b.kind == SL_JINJA_UNDEFINED) return sl_jinja_fail_undefined(c, b);
    return sl_jinja_fail(c, "'%s' cannot be done with %s and %s", signs[operation],
                         sl_jinja_kind_name(a.kind), sl_jinja_kind_name(b.kind));
}

static bool can_repeat(sl_jinja_value v)
{
    return sl_jinja_is_string(v) || v.kind == SL_JINJA_LIST;
}

sl_jinja_value sl_jinja_calculate(sl_jinja_context *c, sl_jinja_operation operation,
                                  sl_jinja_value a, sl_jinja_value b)
{
    if (sl_jinja_is_integer(a) && sl_jinja_is_integer(b))
        return calculate_integers(c, operation, sl_jinja_as_integer(a), sl_jinja_as_integer(b));
    if (sl_jinja_is_number(a) && sl_jinja_is_number(b))
        return calculate_floats(c, operation, sl_jinja_as_float(a), sl_jinja_as_float(b));
    if (operation == SL_JINJA_ADD && sl_jinja_is_string(a) && sl_jinja_is_string(b))
        return join_texts(c, *a.text, *b.text);
    if (operation == SL_JINJA_MODULO && sl_jinja_is_string(a))
        return sl_jinja_format_percent(c, *a.text, b);
    if (operation == SL_JINJA_ADD && sl_jinja_is_list(a) && a.kind == b.kind)
        return join_lists(c, a, b);
    if (operation == SL_JINJA_MULTIPLY && can_repeat(a) && sl_jinja_is_integer(b))
        return repeat(c, a, sl_jinja_as_integer(b));
    if (operation == SL_JINJA_MULTIPLY && can_repeat(b) && sl_jinja_is_integer(a))
        return repeat(c, b, sl_jinja_as_integer(a));
    return refuse(c, operation, a, b);
}

sl_jinja_value sl_jinja_negate(sl_jinja_context *c, sl_jinja_value value)
{
    if (value.kind == SL_JINJA_FLOAT) return sl_jinja_float(-value.number);
    if (!sl_jinja_is_integer(value)) return sl_jinja_fail_kind(c, "'-'", value);
    return calculate_integers(c, SL_JINJA_SUBTRACT, 0, sl_jinja_as_integer(value));
}

bool sl_jinja_holds(sl_jinja_context *c, sl_jinja_operation operation, sl_jinja_value a,
                    sl_jinja_value b)
{
    switch (operation) {
    case SL_JINJA_EQUAL: return sl_jinja_equal(c, a, b);
    case SL_JINJA_NOT_EQUAL: return !sl_jinja_equal(c, a, b);
    case SL_JINJA_LESS: return sl_jinja_order(c, a, b) < 0;
    case SL_JINJA_LESS_EQUAL: return sl_jinja_order(c, a, b) <= 0;
    case SL_JINJA_GREATER: return sl_jinja_order(c, a, b) > 0;
    case SL_JINJA_GREATER_EQUAL: return sl_jinja_order(c, a, b) >= 0;
    case SL_JINJA_IN: return sl_jinja_contains(c, b, a);
    default: return !sl_jinja_contains(c, b, a);
    }
}

/* ---- attributes and items ---- */

static sl_jinja_value loop_attribute(sl_jinja_context *c, const sl_jinja_loop *loop,
                                     sl_jinja_text name)
{
    const int64_t i = (int64_t)loop->index, n = (int64_t)loop->n;
    if (sl_jinja_text_is(name, "index")) return sl_jinja_integer(i + 1);
    if (sl_jinja_text_is(name, "index0")) return sl_jinja_integer(i);
    if (sl_jinja_text_is(name, "first")) return sl_jinja_boolean(i == 0);
    if (sl_jinja_text_is(name, "last")) return sl_jinja_boolean(i == n - 1);
    if (sl_jinja_text_is(name, "length")) return sl_jinja_integer(n);
    if (sl_jinja_text_is(name, "revindex")) return sl_jinja_integer(n - i);
    if (sl_jinja_text_is(name, "revindex0")) return sl_jinja_integer(n - i - 1);
    if (sl_jinja_text_is(name, "depth")) return sl_jinja_integer(1);
    if (sl_jinja_text_is(name, "depth0")) return sl_jinja_integer(0);
    if (sl_jinja_text_is(name, "previtem") && i > 0) return loop->items[i - 1];
    if (sl_jinja_text_is(name, "nextitem") && i + 1 < n) return loop->items[i + 1];
    return sl_jinja_undefined(c, name);
}

static sl_jinja_value new_method(sl_jinja_context *c, sl_jinja_value self,
                                 const sl_jinja_builtin *builtin)
{
    sl_jinja_method *method = sl_jinja_new(&c->memory, sl_jinja_method);
    if (!method) return sl_jinja_none;
    *method = (sl_jinja_method){self, builtin};
    return (sl_jinja_value){.kind = SL_JINJA_METHOD, .method = method};
}

sl_jinja_value sl_jinja_attribute(sl_jinja_context *c, sl_jinja_value value, sl_jinja_text name)
{
    if (value.kind == SL_JINJA_UNDEFINED) return sl_jinja_fail_undefined(c, value);
    const sl_jinja_builtin *method = sl_jinja_method_of(value.kind, name);
    if (method) return new_method(c, value, method);
    if (value.kind == SL_JINJA_LOOP) return loop_attribute(c, value.loop, name);
    if (value.kind == SL_JINJA_DICT || value.kind == SL_JINJA_NAMESPACE) {
        const sl_jinja_value *entry = sl_jinja_key_find_text(c, value.dict, name);
        if (entry) return *entry;
    }
    return sl_jinja_undefined(c, name);
}

static sl_jinja_value no_item(sl_jinja_context *c, sl_jinja_value value, sl_jinja_value key)
{
    if (sl_jinja_is_string(key)) {
        const sl_jinja_builtin *method = sl_jinja_method_of(value.kind, *key.text);
        return method ? new_method(c, value, method) : sl_jinja_undefined(c, *key.text);
    }
    return sl_jinja_undefined(c, sl_jinja_text_own("an item"));
}

sl_jinja_value sl_jinja_item(sl_jinja_context *c, sl_jinja_value value, sl_jinja_value key)
{
    if (value.kind == SL_JINJA_UNDEFINED) return sl_jinja_fail_undefined(c, value);
    if (value.kind == SL_JINJA_LOOP && sl_jinja_is_string(key))
        return loop_attribute(c, value.loop, *key.text);
    if (value.kind == SL_JINJA_DICT || value.kind == SL_JINJA_NAMESPACE) {
        const sl_jinja_value *entry = sl_jinja_key_find(c, value.dict, key);
        return entry ? *entry : no_item(c, value, key);
    }
    const bool text = sl_jinja_is_string(value);
    if (!sl_jinja_is_integer(key) || (!text && !sl_jinja_is_list(value)))
        return no_item(c, value, key);
    if (text && !sl_jinja_spend_on_each(c, 2 * value.text->bytes)) return value;
    const size_t n = text ? sl_jinja_count_chars(*value.text) : value.list->n;
    int64_t index = sl_jinja_as_integer(key);
    if (index < 0) index += (int64_t)n;
    if (index < 0 || index >= (int64_t)n) return no_item(c, value, key);
    if (!text) return value.list->items[index];
    const size_t at = sl_jinja_char_place(*value.text, (size_t)index);
    return sl_jinja_string(&c->memory,
                           sl_jinja_slice(*value.text, at, sl_jinja_char_bytes(*value.text, at)));
}

/* ---- slices ---- */

static int64_t bound(int64_t given, int64_t n, int64_t least, int64_t most)
{
    if (given < 0) given += n;
    return given < least ? least : given > most ? most : given;
}

typedef struct {
    int64_t from, to, step;
} slice_range;

/* What Python's slice.indices() makes of the bounds for n items. */
static slice_range range_of(const sl_jinja_value bounds[3], int64_t n)
{
    const bool has_step = sl_jinja_is_integer(bounds[2]);
    slice_range r = {.step = has_step ? sl_jinja_as_integer(bounds[2]) : 1};
    const bool back = r.step < 0;
    const int64_t least = back ? -1 : 0, most = back ? n - 1 : n;
    r.from = back ? most : least;
    r.to = back ? least : most;
    if (sl_jinja_is_integer(bounds[0]))
        r.from = bound(sl_jinja_as_integer(bounds[0]), n, least, most);
    if (sl_jinja_is_integer(bounds[1]))
        r.to = bound(sl_jinja_as_integer(bounds[1]), n, least, most);
    if (r.step > n) r.step = n + 1;
    if (r.step < -n) r.step = -n - 1;
    return r;
}

static sl_jinja_value slice_text(sl_jinja_context *c, sl_jinja_text text, slice_range r)
{
    if (r.step == 1) {
        const size_t from = sl_jinja_char_place(text, (size_t)r.from);
        const size_t to = r.to > r.from ? sl_jinja_char_place(text, (size_t)r.to) : from;
        return sl_jinja_string(&c->memory, sl_jinja_slice(text, from, to - from));
    }
    const sl_jinja_list chars = sl_jinja_items(
        c, (sl_jinja_value){.kind = SL_JINJA_STRING, .text = &text});
    sl_jinja_builder out;
    sl_jinja_build(&out, &c->memory);
    for (int64_t i = r.from; (r.step > 0 ? i < r.to : i > r.to) && i < (int64_t)chars.n;
         i += r.step)
        if (sl_jinja_is_string(chars.items[i])) sl_jinja_add(&out, *chars.items[i].text);
    return sl_jinja_finish(c, &out);
}

static sl_jinja_value slice_list(sl_jinja_context *c, sl_jinja_value value, slice_range r)
{
    sl_jinja_value list = sl_jinja_new_list(c);
    for (int64_t i = r.from; r.step > 0 ? i < r.to : i > r.to; i += r.step) {
        if (!sl_jinja_spend(c, 1)) break;
        sl_jinja_list_add(&c->memory, list, value.list->items[i]);
    }
    if (sl_jinja_is_list(list)) list.kind = value.kind;
    return list;
}

sl_jinja_value sl_jinja_slice_of(sl_jinja_context *c, sl_jinja_value value,
                                 const sl_jinja_value bounds[3])
{
    if (value.kind == SL_JINJA_UNDEFINED) return sl_jinja_fail_undefined(c, value);
    const bool text = sl_jinja_is_string(value);
    bool fits = text || sl_jinja_is_list(value);
    for (int i = 0; i < 3; i++)
        fits = fits && (bounds[i].kind == SL_JINJA_NONE || sl_jinja_is_integer(bounds[i]));
    if (!fits) return sl_jinja_undefined(c, sl_jinja_text_own("a slice"));
    if (sl_jinja_is_integer(bounds[2]) && sl_jinja_as_integer(bounds[2]) == 0)
        return sl_jinja_fail(c, "a slice's step is zero");
    if (text && !sl_jinja_spend_on_each(c, 3 * value.text->bytes)) return value;
    const size_t n = text ? sl_jinja_count_chars(*value.text) : value.list->n;
    const slice_range range = range_of(bounds, (int64_t)n);
    return text ? slice_text(c, *value.text, range) : slice_list(c, value, range);
}
