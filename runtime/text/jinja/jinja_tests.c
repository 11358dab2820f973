/* runtime/text/jinja/jinja_tests.c - see jinja_tests.h. What is undefined counts as an empty
 * sequence, as Jinja's Undefined does. */
#include "runtime/text/jinja/jinja_tests.h"

#include "runtime/text/jinja/jinja_operators.h"
#include "runtime/text/jinja/jinja_print.h"

typedef const sl_jinja_arguments *arguments;

/* A test that asks of the value alone. */
#define TEST(name, condition)                                                                \
    static sl_jinja_value test_##name(sl_jinja_context *c, sl_jinja_value self, arguments a) \
    {                                                                                        \
        return sl_jinja_bind_none(c, #name, a) ? sl_jinja_boolean(condition) : self;         \
    }

TEST(defined, self.kind != SL_JINJA_UNDEFINED)
TEST(undefined, self.kind == SL_JINJA_UNDEFINED)
TEST(none, self.kind == SL_JINJA_NONE)
TEST(string, sl_jinja_is_string(self))
TEST(number, sl_jinja_is_number(self))
TEST(integer, self.kind == SL_JINJA_INTEGER)
TEST(float, self.kind == SL_JINJA_FLOAT)
TEST(boolean, self.kind == SL_JINJA_BOOLEAN)
TEST(mapping, self.kind == SL_JINJA_DICT)
TEST(sequence, self.kind == SL_JINJA_UNDEFINED || self.kind == SL_JINJA_STRING ||
                   self.kind == SL_JINJA_DICT || sl_jinja_is_list(self))
TEST(iterable, self.kind == SL_JINJA_UNDEFINED || self.kind == SL_JINJA_STRING ||
                   self.kind == SL_JINJA_DICT || self.kind == SL_JINJA_LOOP ||
                   sl_jinja_is_list(self))
TEST(callable,
     self.kind == SL_JINJA_MACRO || self.kind == SL_JINJA_FUNCTION || self.kind == SL_JINJA_METHOD)
TEST(true, self.kind == SL_JINJA_BOOLEAN && self.boolean)
TEST(false, self.kind == SL_JINJA_BOOLEAN && !self.boolean)

/* A test that compares the value with one argument. */
static sl_jinja_value holds(sl_jinja_context *c, sl_jinja_operation operation, sl_jinja_value self,
                            arguments a)
{
    sl_jinja_value other;
    if (!sl_jinja_bind(c, "a comparing test", a, "other", 1, &other)) return self;
    return sl_jinja_boolean(sl_jinja_holds(c, operation, self, other));
}

#define COMPARING_TEST(name, operation)                                                      \
    static sl_jinja_value test_##name(sl_jinja_context *c, sl_jinja_value self, arguments a) \
    {                                                                                        \
        return holds(c, operation, self, a);                                                 \
    }

COMPARING_TEST(eq, SL_JINJA_EQUAL)
COMPARING_TEST(ne, SL_JINJA_NOT_EQUAL)
COMPARING_TEST(lt, SL_JINJA_LESS)
COMPARING_TEST(le, SL_JINJA_LESS_EQUAL)
COMPARING_TEST(gt, SL_JINJA_GREATER)
COMPARING_TEST(ge, SL_JINJA_GREATER_EQUAL)
COMPARING_TEST(in, SL_JINJA_IN)

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
