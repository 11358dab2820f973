/* runtime/text/jinja/jinja_tests.c - see jinja_tests.h. What is undefined counts as an empty
 * sequence, as Jinja's Undefined does. */
#include "runtime/text/jinja/jinja_tests.h"

#include "runtime/text/jinja/jinja_operators.h"
#include "runtime/text/jinja/jinja_print.h"

typedef const sl_jinja_arguments *arguments;

/* ---- kinds ---- */

#define BIT(kind) (1u << SL_JINJA_##kind)
#define SEQUENCES (BIT(UNDEFINED) | BIT(STRING) | BIT(DICT) | BIT(LIST) | BIT(TUPLE))

/* The value is of one of these kinds. */
static sl_jinja_value is_kind(sl_jinja_context *c, const char *what, sl_jinja_value self,
                              arguments a, unsigned kinds)
{
    return sl_jinja_bind_none(c, what, a) ? sl_jinja_boolean(kinds >> self.kind & 1) : self;
}

static sl_jinja_value test_defined(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "defined", self, a, ~BIT(UNDEFINED));
}

static sl_jinja_value test_undefined(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "undefined", self, a, BIT(UNDEFINED));
}

static sl_jinja_value test_none(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "none", self, a, BIT(NONE));
}

static sl_jinja_value test_string(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "string", self, a, BIT(STRING));
}

static sl_jinja_value test_number(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "number", self, a, BIT(BOOLEAN) | BIT(INTEGER) | BIT(FLOAT));
}

static sl_jinja_value test_integer(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "integer", self, a, BIT(INTEGER));
}

static sl_jinja_value test_float(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "float", self, a, BIT(FLOAT));
}

static sl_jinja_value test_boolean(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "boolean", self, a, BIT(BOOLEAN));
}

static sl_jinja_value test_mapping(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "mapping", self, a, BIT(DICT));
}

static sl_jinja_value test_sequence(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "sequence", self, a, SEQUENCES);
}

static sl_jinja_value test_iterable(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "iterable", self, a, SEQUENCES | BIT(LOOP));
}

static sl_jinja_value test_callable(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return is_kind(c, "callable", self, a, BIT(MACRO) | BIT(FUNCTION) | BIT(METHOD));
}

static sl_jinja_value test_true(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    if (!sl_jinja_bind_none(c, "true", a)) return self;
    return sl_jinja_boolean(self.kind == SL_JINJA_BOOLEAN && self.boolean);
}

static sl_jinja_value test_false(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    if (!sl_jinja_bind_none(c, "false", a)) return self;
    return sl_jinja_boolean(self.kind == SL_JINJA_BOOLEAN && !self.boolean);
}

/* ---- comparisons with one argument ---- */

static sl_jinja_value holds(sl_jinja_context *c, sl_jinja_operation operation, sl_jinja_value self,
                            arguments a)
{
    sl_jinja_value other;
    if (!sl_jinja_bind(c, "a comparing test", a, "other", 1, &other)) return self;
    return sl_jinja_boolean(sl_jinja_holds(c, operation, self, other));
}

static sl_jinja_value test_eq(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return holds(c, SL_JINJA_EQUAL, self, a);
}

static sl_jinja_value test_ne(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return holds(c, SL_JINJA_NOT_EQUAL, self, a);
}

static sl_jinja_value test_lt(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return holds(c, SL_JINJA_LESS, self, a);
}

static sl_jinja_value test_le(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return holds(c, SL_JINJA_LESS_EQUAL, self, a);
}

static sl_jinja_value test_gt(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return holds(c, SL_JINJA_GREATER, self, a);
}

static sl_jinja_value test_ge(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return holds(c, SL_JINJA_GREATER_EQUAL, self, a);
}

static sl_jinja_value test_in(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return holds(c, SL_JINJA_IN, self, a);
}

/* ---- others ---- */

static sl_jinja_value remainder_is(sl_jinja_context *c, sl_jinja_value self, int64_t divisor,
                                   int64_t expected)
{
    const sl_jinja_value rest = sl_jinja_calculate(c, SL_JINJA_MODULO, self,
                                                   sl_jinja_integer(divisor));
    return sl_jinja_boolean(sl_jinja_same(rest, sl_jinja_integer(expected)));
}

static sl_jinja_value test_odd(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return sl_jinja_bind_none(c, "odd", a) ? remainder_is(c, self, 2, 1) : self;
}

static sl_jinja_value test_even(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return sl_jinja_bind_none(c, "even", a) ? remainder_is(c, self, 2, 0) : self;
}

static sl_jinja_value test_divisibleby(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value divisor;
    if (!sl_jinja_bind(c, "divisibleby", a, "num", 1, &divisor)) return self;
    return remainder_is(c, self, sl_jinja_integer_or(c, "divisibleby", divisor, 1), 0);
}

static sl_jinja_value test_sameas(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    sl_jinja_value other;
    if (!sl_jinja_bind(c, "sameas", a, "other", 1, &other)) return self;
    return sl_jinja_boolean(self.kind == other.kind && sl_jinja_same(self, other));
}

/* Whether the text has letters, and all of them are of one case. */
static sl_jinja_value is_cased(sl_jinja_context *c, sl_jinja_value self, sl_jinja_case to)
{
    const sl_jinja_text text = sl_jinja_str(c, self);
    sl_jinja_builder same, other;
    sl_jinja_build(&same, &c->memory);
    sl_jinja_build(&other, &c->memory);
    sl_jinja_add_cased(&same, text, to);
    sl_jinja_add_cased(&other, text, to == SL_JINJA_LOWER ? SL_JINJA_UPPER : SL_JINJA_LOWER);
    return sl_jinja_boolean(sl_jinja_text_equal(sl_jinja_built(&same), text) &&
                            !sl_jinja_text_equal(sl_jinja_built(&other), text));
}

static sl_jinja_value test_lower(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return sl_jinja_bind_none(c, "lower", a) ? is_cased(c, self, SL_JINJA_LOWER) : self;
}

static sl_jinja_value test_upper(sl_jinja_context *c, sl_jinja_value self, arguments a)
{
    return sl_jinja_bind_none(c, "upper", a) ? is_cased(c, self, SL_JINJA_UPPER) : self;
}

static const sl_jinja_builtin tests[] = {
    {"defined", test_defined},
    {"undefined", test_undefined},
    {"none", test_none},
    {"string", test_string},
    {"number", test_number},
    {"integer", test_integer},
    {"float", test_float},
    {"boolean", test_boolean},
    {"mapping", test_mapping},
    {"sequence", test_sequence},
    {"iterable", test_iterable},
    {"callable", test_callable},
    {"true", test_true},
    {"false", test_false},
    {"equalto", test_eq},
    {"eq", test_eq},
    {"==", test_eq},
    {"ne", test_ne},
    {"!=", test_ne},
    {"lt", test_lt},
    {"lessthan", test_lt},
    {"<", test_lt},
    {"le", test_le},
    {"<=", test_le},
    {"gt", test_gt},
    {"greaterthan", test_gt},
    {">", test_gt},
    {"ge", test_ge},
    {">=", test_ge},
    {"in", test_in},
    {"odd", test_odd},
    {"even", test_even},
    {"divisibleby", test_divisibleby},
    {"sameas", test_sameas},
    {"lower", test_lower},
    {"upper", test_upper},
};

const sl_jinja_builtin *sl_jinja_find_test(sl_jinja_text name)
{
    return sl_jinja_find_builtin(tests, sizeof tests / sizeof *tests, name);
}
