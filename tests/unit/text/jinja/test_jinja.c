/* tests/unit/text/jinja/test_jinja.c - statements, white space, bounds, errors and origins of the
 * Jinja of chat templates. What is printed was printed by jinja2 3.1.6, set up as transformers does
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/text/jinja/jinja_cases.h"

/* ---- white space ---- */

static void test_white_space(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"", ""},
        {"a\n", "a"},
        {"a\n\n", "a\n"},
        {"a\r\nb\rc\n", "a\nb\nc"},
        {"a {{ 1 }} b", "a 1 b"},
        {"a {{- 1 -}} b", "a1b"},
        {"  {% if true %}\nx\n  {% endif %}\ny", "x\ny"},
        {"  {%+ if true %}\nx\n  {%- endif %}\ny", "  xy"},
        {"a  {% if true %} x {% endif %}\ny", "a   x y"},
        {"{% if true +%}\nx{% endif %}", "\nx"},
        {"a\n  {# c #}\nb", "a\nb"},
        {"a {#- c -#} b", "ab"},
        {"a {# }} {{ %} #} b", "a  b"},
        {"{{ 1 }}\nb", "1\nb"},
        {"  {{ 1 }}", "  1"},
        {"{% raw %}{{ x }}{% endraw %}", "{{ x }}"},
        {"a {%- raw -%}  {% if %}  {%- endraw -%}  b", "a{% if %}b"},
        {"{{ {'a': {}} }}", "{'a': {}}"},
        {"\xc2\xa0{%- if true -%}\xe3\x80\x80x{% endif %}", "x"},
        {"{", "{"},
        {"{a}%}}}", "{a}%}}}"},
    };
    JINJA_CHECK(cases);
}

/* ---- statements ---- */

static void test_if_and_for(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{% if 0 %}a{% elif '' %}b{% elif [0] %}c{% else %}d{% endif %}", "c"},
        {"{% if none %}a{% else %}d{% endif %}", "d"},
        {"{% for x in [1,2,3] %}{{ x }}{{ ',' if not loop.last }}{% endfor %}", "1,2,3"},
        {"{% for x in [] %}a{% else %}none{% endfor %}", "none"},
        {"{% for x in range(6) if x is odd %}{{ loop.index }}/{{ loop.length }}:{{ x }} "
         "{% endfor %}",
         "1/3:1 2/3:3 3/3:5 "},
        {"{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;"},
        {"{% for k in {'a': 1, 'b': 2} %}{{ k }}{% endfor %}", "ab"},
        {"{% for c in 'z\xc3\xa9' %}[{{ c }}]{% endfor %}", "[z][\xc3\xa9]"},
        {"{% for x in 'abc' %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{% endfor %}",
         "03True12False21False"},
        {"{% for x in 'abc' %}{{ loop.previtem }}<{{ loop.nextitem }} {% endfor %}", "<b a<c b< "},
        {"{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 3 %}"
         "{% break %}{% endif %}{{ x }}{% endfor %}",
         "02"},
        {"{% for x in missing %}a{% endfor %}b", "b"},
        {"{% for x in [1] %}{% for y in [2] %}{{ loop.index }}{{ loop.depth }}{% endfor %}"
         "{{ loop.depth }}{% endfor %}",
         "111"},
    };
    JINJA_CHECK(cases);
}

/* What is set in a loop is gone after it; an "if" is no scope of its own. */
static void test_set_and_scopes(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{% set a = 1 %}{{ a }}", "1"},
        {"{% set a, b = 1, 'x' %}{{ b }}{{ a }}", "x1"},
        {"{% set a = 1, 2 %}{{ a }}", "(1, 2)"},
        {"{% if true %}{% set a = 1 %}{% endif %}{{ a }}", "1"},
        {"{% set a = 0 %}{% for x in [1,2] %}{{ a }}{% set a = x %}{{ a }}{% endfor %}{{ a }}",
         "01020"},
        {"{% set n = namespace(a=0) %}{% for x in [1,2] %}{% set n.a = n.a + x %}{% endfor %}"
         "{{ n.a }}{{ n.b is defined }}",
         "3False"},
        {"{% set x %}a{{ 1 }}{% endset %}{{ x }}", "a1"},
        {"{% set x | upper | trim %} b {% endset %}{{ x }}", "B"},
        {"{% filter upper | replace('B', 'x') %}abc{% endfilter %}", "AxC"},
        {"{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}", "211"},
        {"{% generation %}a{% endgeneration %}{% print 3 %}", "a3"},
        {"{% set true_ = 1 %}{% set loop = 5 %}{{ loop }}", "5"},
    };
    JINJA_CHECK(cases);
}

static void test_macros(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{% macro f(a, b='x') %}[{{ a }}{{ b }}]{% endmacro %}{{ f(1) }}{{ f(1, 2) }}"
         "{{ f(b=3, a=4) }}{{ f() }}",
         "[1x][12][43][x]"},
        {"{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(7) }}", "7"},
        {"{% set x = 1 %}{% macro f() %}{{ x }}{% endmacro %}{% set x = 2 %}"
         "{% for x in [3] %}{{ f() }}{% endfor %}",
         "2"},
        {"{% macro f(n) %}{{ n }}{% if n > 1 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
         "321"},
        {"{% macro f() %}<{{ caller(1) }}>{% endmacro %}{% call(x) f() %}a{{ x }}{% endcall %}",
         "<a1>"},
        {"{% macro f(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, k=4) }}",
         "(2, 3){'k': 4}"},
        {"{% macro f() %} a {% endmacro %}[{{ f() | trim }}]{{ f() ~ 1 }}", "[a] a 1"},
        {"{% macro f() %}{% for x in [1, 2] %}{% break %}{% endfor %}b{% endmacro %}"
         "{% for x in [1, 2] %}{{ f() }}{% endfor %}",
         "bb"},
    };
    JINJA_CHECK(cases);
}

static void test_functions(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{{ range(3)|list }}{{ range(1, 4)|list }}{{ range(5, 0, -2)|list }}",
         "[0, 1, 2][1, 2, 3][5, 3, 1]"},
        {"{{ dict(a=1, b=none) }}{{ dict([('x', 1)], y=2) }}",
         "{'a': 1, 'b': None}{'x': 1, 'y': 2}"},
        {"{{ strftime_now('%d %b %Y, %-d %H:%M %%') }}", "06 Jul 2024, 6 09:00 %"},
        {"{{ strftime_now is defined }}{{ raise_exception is defined }}", "TrueTrue"},
    };
    JINJA_CHECK(cases);
}

/* ---- errors ---- */

#define AT(line) "chat template, line " #line ": "

static void test_syntax_errors(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"a\n{{ 1 +", AT(2) "'}}' is missing"},
        {"{{ }}", AT(1) "an expression is missing before '}}'"},
        {"{% if x %}", AT(1) "'endif' is missing at the end"},
        {"{% for x in y %}a{% else %}", AT(1) "'endfor' is missing at the end"},
        {"{% endif %}", AT(1) "the statement 'endif' is not known or stands in a wrong place"},
        {"{% include 'x' %}",
         AT(1) "the statement 'include' is not known or stands in a wrong place"},
        {"{{ (1 }}", AT(1) "'}' is unexpected"},
        {"{{ 'a }}", AT(1) "a string has no end"},
        {"{# a", AT(1) "a comment has no end"},
        {"{% raw %}", AT(1) "'raw' has no 'endraw'"},
        {"\n\n{{ 1 ! }}", AT(3) "'!' is unexpected"},
        {"{{ 99999999999999999999 }}", AT(1) "the number '99999999999999999999' cannot be read"},
        {"{{ '\\ud800' }}", AT(1) "a string has an escape that is no character"},
        {"{{ f(a=1, 2) }}", AT(1) "an argument without a name stands behind one with a name"},
        {"{{ f(*a) }}", AT(1) "'*' in front of an argument is not supported"},
        {"{% for x in y recursive %}{% endfor %}", AT(1) "'recursive' loops are not supported"},
        {"{% break %}", AT(1) "'break' stands in no loop"},
        {"{% for x in y %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}",
         AT(1) "'break' stands in no loop"},
    };
    JINJA_CHECK_ERRORS(cases);
}

static void test_run_errors(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"a\n{{ x | foo }}", AT(2) "the filter 'foo' is not known"},
        {"{{ x is foo }}", AT(1) "the test 'foo' is not known"},
        {"{{ [1] | map('foo') }}", AT(1) "the filter 'foo' is not known"},
        {"{{ x.y }}", AT(1) "'x' is undefined"},
        {"{% set x = {} %}\n{{ x.y.z }}", AT(2) "'y' is undefined"},
        {"{{ x() }}", AT(1) "'x' is undefined"},
        {"{{ 'a' + 1 }}", AT(1) "'+' cannot be done with a string and an integer"},
        {"{{ 'a' + x }}", AT(1) "'x' is undefined"},
        {"{{ 1 // 0 }}", AT(1) "division by zero"},
        {"{{ 9223372036854775807 + 1 }}", AT(1) "a number is too large"},
        {"{{ 1 < 'a' }}", AT(1) "an integer and a string have no order"},
        {"{% for x in 1 %}{% endfor %}", AT(1) "a loop cannot be done with an integer"},
        {"{% set a, b = [1] %}", AT(1) "1 values cannot be given to these names"},
        {"{% set x = 1 %}{% set x.y = 2 %}",
         AT(1) "'x' is no namespace: its attributes cannot be set"},
        {"\n{{ raise_exception('Roles must alternate') }}", AT(2) "Roles must alternate"},
        {"{{ x | tojson }}", AT(1) "'x' is undefined"},
        {"{{ 'a'.strip(1, 2) }}", AT(1) "strip takes 1 arguments, not 2"},
        {"{{ 'a' | replace('a') }}", AT(1) "replace needs 2 arguments"},
        {"{{ 'a' | trim(x=1) }}", AT(1) "strip: the argument 'x' is not known"},
        {"{% macro f() %}{% endmacro %}{{ f(1) }}", AT(1) "the macro 'f' takes 0 arguments, not 1"},
        {"{% macro f() %}{% endmacro %}{{ f(a=1) }}", AT(1) "the macro 'f' has no parameter 'a'"},
        {"{{ range(100001) }}", AT(1) "range: more than 100000 numbers"},
        {"{{ [1][::0] }}", AT(1) "a slice's step is zero"},
        {"{{ {[]: 1} }}", AT(1) "a key cannot be done with a list"},
        {"{{ strftime_now('%Q') }}", AT(1) "strftime_now: '%Q' is not known"},
        {"{{ range }}", AT(1) "printing cannot be done with a function"},
    };
    JINJA_CHECK_ERRORS(cases);
}

/* A message of the template is cut where no character is. */
static void test_long_messages(void **state)
{
    (void)state;
    sl_jinja_output out = {0};
    sl_jinja_error error;
    for (int i = 0; i < 2; i++) { /* whichever byte the room ends at */
        static const char *const templates[] = {
            "{{ raise_exception('x' ~ '\xc3\xa9' * 500) }}",
            "{{ raise_exception('\xc3\xa9' * 500) }}",
        };
        assert_int_equal(jinja_render(templates[i], sl_jinja_none, NULL, &out, &error),
                         SL_ERR_REQUEST);
        const size_t n = strlen(error.text);
        assert_true(n > 300 && n < sizeof error.text);
        assert_string_equal(error.text + n - 2, "\xc3\xa9");
    }
}

/* ---- bounds ---- */

static void assert_bound(const char *template, const sl_jinja_limits *limits, const char *words)
{
    sl_jinja_output out = {0};
    sl_jinja_error error;
    const sl_status status = jinja_render(template, sl_jinja_none, limits, &out, &error);
    if (status == SL_OK || !strstr(error.text, words))
        fail_msg("%.60s: %s, not '%s'", template, error.text, words);
}

static void test_bounds(void **state)
{
    (void)state;
    const sl_jinja_limits small = {
        .steps = 20000, .depth = 50, .memory_bytes = 1 << 20, .output_bytes = 1000};
    static const char endless[] = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert_bound("{% for x in range(99999) %}{% for y in range(99999) %}{% endfor %}{% endfor %}",
                 &small, "more than 20000 steps are needed");
    assert_bound(endless, &small, "more than 50 levels within one another");
    assert_bound(endless, NULL, "more than 200 levels within one another");
    assert_bound("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", NULL, "levels");
    assert_bound("{% set l = [] %}{% set _ = l.append(l) %}{{ l | tojson }}", NULL, "levels");
    assert_bound("{{ 'a' * 1001 }}", &small, "more than 1000 bytes are printed");
    assert_bound("{{ ('a' * 1000000) * 100 }}", &small, "more than");
    assert_bound("{{ 'a' * 9223372036854775807 }}", NULL, "more than");
    assert_bound("{{ 'a' | indent(9999999999, true) }}", &small, "bytes of memory are needed");
    assert_bound("{{ [1] * 99999999999 }}", NULL, "more than");
    assert_bound("{{ ('a' * 100000 ~ 'b').rsplit('a' * 50000 ~ 'c') }}", &small, "");
}

/* Brackets, blocks and chains far beyond what a stack takes. */
static void test_depth_of_templates(void **state)
{
    (void)state;
    static const char *const parts[][3] = {
        {"(", "1", ")"},   {"[", "", "]"},    {"not ", "1", ""},
        {"-", "1", ""},    {"{1:", "1", "}"}, {"1 if 1 else ", "1", ""},
        {"", "1", "|int"}, {"", "1", "+1"},   {"f(", "", ")"},
        {"", "x", "[0]"},  {"", "1", " ~ 1"}, {"1 if ", "1", ""},
    };
    enum { REPEATED = 20000, ROOM = 16 * REPEATED };
    char *template = malloc(ROOM * 2);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *at = template + sprintf(template, "{{ ");
        for (int n = 0; n < REPEATED; n++) at += sprintf(at, "%s", parts[i][0]);
        at += sprintf(at, "%s", parts[i][1]);
        for (int n = 0; n < REPEATED; n++) at += sprintf(at, "%s", parts[i][2]);
        sprintf(at, " }}");
        sl_jinja_output out = {0};
        sl_jinja_error error;
        if (jinja_render(template, sl_jinja_none, NULL, &out, &error) == SL_OK)
            sl_jinja_output_free(&out); /* a chain of operands has no depth */
        else
            assert_non_null(strstr(error.text, "chat template, line 1: "));
    }
    char *at = template;
    for (int n = 0; n < REPEATED; n++) at += sprintf(at, "{%% if 1 %%}");
    assert_bound(template, NULL, "more than 100 levels within one another");
    free(template);
}

/* ---- origins ---- */

/* The parts of what is printed: own text in angles, what was given in brackets. */
static void assert_parts(const char *template, const char *expected)
{
    sl_jinja_memory memory;
    sl_jinja_output out = {0};
    sl_jinja_error error;
    char said[512] = "";
    size_t used = 0, at = 0;
    sl_jinja_memory_init(&memory, 1 << 20);
    const sl_jinja_value names = sl_jinja_dict_new(&memory);
    sl_jinja_dict_set_own(&memory, names, "text",
                          sl_jinja_string_copy(&memory, " a-</s>b ", 9, SL_JINJA_GIVEN));
    if (jinja_render(template, names, NULL, &out, &error) != SL_OK) fail_msg("%s", error.text);
    for (size_t i = 0; i < out.n_parts; at = out.parts[i++].end)
        used += (size_t)snprintf(said + used, sizeof said - used,
                                 out.parts[i].given ? "[%.*s]" : "<%.*s>",
                                 (int)(out.parts[i].end - at), out.text + at);
    assert_string_equal(said, expected);
    sl_jinja_output_free(&out);
    sl_jinja_memory_fini(&memory);
}

static void test_origins(void **state)
{
    (void)state;
    assert_parts("", "");
    assert_parts("x{{ 'y' }}", "<xy>");
    assert_parts("{{ text }}", "[ a-</s>b ]");
    assert_parts("x{{ text }}y", "<x>[ a-</s>b ]<y>");
    assert_parts("{{ 'x' + text | trim + 'y' }}", "<x>[a-</s>b]<y>");
    assert_parts("{% set t = 'x' ~ text %}{{ t[1:] }}{{ t[0] }}", "[ a-</s>b ]<x>");
    assert_parts("{{ ('x' ~ text ~ '</s>').split('</s>') | join('|') }}", "<x>[ a-]<|>[b ]<|>");
    assert_parts("{{ text | replace('-', '+') | upper }}", "[ A]<+>[</S>B ]");
    assert_parts("{{ [text] | tojson }}", "<[\">[ a-</s>b ]<\"]>");
    assert_parts("{% macro f(x) %}({{ x }}){% endmacro %}{{ f(text) | trim }}",
                 "<(>[ a-</s>b ]<)>");
    assert_parts("{% for c in (text ~ 'z')[-3:] %}{{ c }}.{% endfor %}", "[b]<.>[ ]<.z.>");
    assert_parts("{{ text | length }}", "<9>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_white_space),    cmocka_unit_test(test_if_and_for),
        cmocka_unit_test(test_set_and_scopes), cmocka_unit_test(test_macros),
        cmocka_unit_test(test_functions),      cmocka_unit_test(test_syntax_errors),
        cmocka_unit_test(test_run_errors),     cmocka_unit_test(test_long_messages),
        cmocka_unit_test(test_bounds),         cmocka_unit_test(test_depth_of_templates),
        cmocka_unit_test(test_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
