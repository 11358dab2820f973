/* tests/unit/text/jinja/test_jinja_values.c - expressions, filters, tests and methods of the Jinja
 * of chat templates. What is printed was printed by jinja2 3.1.6, set up as transformers does
 * it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/text/jinja/jinja_cases.h"

static void test_literals(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{{ 1 }} {{ 1_000 }} {{ 0x1F }} {{ 0b11 }} {{ 1.50 }} {{ 1e3 }} {{ 2.5e-7 }}",
         "1 1000 31 3 1.5 1000.0 2.5e-07"},
        {"{{ 0.1 }} {{ 1e16 }} {{ 123456789.125 }} {{ 1/3 }} {{ -0.0 }} {{ 1e22 }} {{ 5e-324 }}",
         "0.1 1e+16 123456789.125 0.3333333333333333 -0.0 1e+22 5e-324"},
        {"{{ 'a' \"b\" }}{{ 'it\\'s' }}{{ \"\\x41\\u00e9\\n\\t\\\\\\q\\101\" }}",
         "abit'sA\xc3\xa9\n\t\\\\qA"},
        {"{{ true }}{{ False }}{{ none }}{{ None }}", "TrueFalseNoneNone"},
        {"{{ [1, 'a', none,] }}{{ (1,) }}{{ () }}{{ {'a': 1, 2: [],} }}",
         "[1, 'a', None](1,)(){'a': 1, 2: []}"},
        {"{{ [\"it's\", 'say \"x\"', 'a\\n\\x07\\u200b', '\xc3\xa9'] }}",
         "[\"it's\", 'say \"x\"', 'a\\n\\x07\\u200b', '\xc3\xa9']"},
        {"{{ 1, 2 }}", "(1, 2)"},
        {"{{ missing }}|{{ [missing] }}", "|[Undefined]"},
    };
    JINJA_CHECK(cases);
}

static void test_operators(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }}",
         "7 9 3 -4 2 3.5"},
        {"{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** -1 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}",
         "64 4 0.5 3.0 0.5"},
        {"{{ 'a' + 'b' }}{{ 'ab' * 2 }}{{ [1] + [2] }}{{ [0] * 2 }}{{ 1 ~ 'x' ~ none }}",
         "ababab[1, 2][0, 0]1xNone"},
        {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ 'a' < 'b' }}",
         "True False True True True"},
        {"{{ [1, 'a'] == [1, 'a'] }} {{ {'a': [1]} == {'a': [1]} }} {{ (1,) == [1] }} "
         "{{ [1, 2] < [1, 3] }}",
         "True True False True"},
        {"{{ 1 in [1] }} {{ 'b' not in 'abc' }} {{ 'a' in {'a': 1} }} {{ 1 in missing }}",
         "True False True False"},
        {"{{ 1 and 2 }} {{ 0 and 2 }} {{ '' or 'x' }} {{ not 1 }} {{ not not '' }}",
         "2 0 x False False"},
        {"{{ 'a' if 1 else 'b' }}{{ 'a' if 0 }}{{ 'a' if 0 else 'b' if 0 else 'c' }}", "ac"},
        {"{{ 'x' + (1 ~ 2) }}{{ 'x' + 1 ~ 2 }}", "x12x12"},
        {"{{ -1 | abs }}", "1"},
        {"{{ 'a' + 'b' | upper }}", "aB"},
        {"{{ not 'a' is string }}", "False"},
        {"{{ 1 is not string and 2 is integer }}", "True"},
        {"{{ 'a-b'.split('-')[1] | upper ~ '!' }}", "B!"},
    };
    JINJA_CHECK(cases);
}

static void test_access(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{% set d = {'a': {'b': [1, 2]}, 'items': 3} %}{{ d.a.b[1] }}{{ d['a']['b'].0 }}"
         "{{ d['items'] }}{{ d.x }}{{ d['x'] is undefined }}",
         "213True"},
        {"{% set d = {'a': 1} %}{% for k, v in d['items']() %}{{ k }}{{ v }}{% endfor %}", "a1"},
        {"{{ [1, 2, 3][-1] }}{{ 'h\xc3\xa9llo'[1] }}{{ 'abc'[-1] }}{{ [1][5] }}", "3\xc3\xa9"
                                                                                  "c"},
        {"{{ [1, 2, 3, 4][1:3] }}{{ [1, 2, 3][::-1] }}{{ [1, 2, 3][:-1] }}{{ (1, 2, 3)[1:] }}",
         "[2, 3][3, 2, 1][1, 2](2, 3)"},
        {"{{ 'h\xc3\xa9llo'[1:3] }}{{ 'abc'[::-1] }}{{ 'abc'[5:] }}{{ 'abcd'[::2] }}"
         "{{ 'abc'[-9:2] }}",
         "\xc3\xa9lcbaacab"},
        {"{{ [1, 2, 3, 4][3:0:-2] }}{{ [1][9223372036854775807:] }}{{ none[1:] is undefined }}",
         "[4, 2][]True"},
        {"{% set n = namespace(a=1) %}{{ n.a }}{{ n['a'] }}{{ n.b is defined }}", "11False"},
        {"{{ none.x is undefined }}{{ 'a'.x is undefined }}{{ (1).x is defined }}",
         "TrueTrueFalse"},
    };
    JINJA_CHECK(cases);
}

/* What Python prints, looked up with Jinja2. */
static void test_formats(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{{ '%s-%s' % ('a', 1) }}|{{ '%s' % 1.0 }}|{{ '%s' % [1] }}|{{ '%r' % 'a' }}|"
         "{{ '%%' % () }}|{{ 'x' % {} }}",
         "a-1|1.0|[1]|'a'|%|x"},
        {"{{ '%5d|%-5d|%05d|%+d|% d' % (42, 42, 42, 42, 42) }}", "   42|42   |00042|+42| 42"},
        {"{{ '%.2f|%8.3f|%-8.1f|%08.2f' % (3.14159, 2.5, 1.25, -1.5) }}",
         "3.14|   2.500|1.2     |-0001.50"},
        {"{{ '%e|%g|%G|%E' % (12345.678, 0.0001, 1e20, 0.5) }}",
         "1.234568e+04|0.0001|1E+20|5.000000E-01"},
        {"{{ '%x|%X|%o|%i|%d|%f' % (255, 255, 8, -7, 3.9, 1) }}", "ff|FF|10|-7|3|1.000000"},
        {"{{ '%10s|%-10s|%.2s' % ('\xc3\xa9', 'ab', '\xc3\xa9\xc3\xa0\xc3\xbc') }}",
         "         \xc3\xa9|ab        |\xc3\xa9\xc3\xa0"},
        {"{{ '%s %s' | format('x', 5) }}|{{ '%.1f' | format(2.25) }}", "x 5|2.2"},
        {"{{ 'a=b=c'.partition('=') }}{{ 'a=b=c'.rpartition('=') }}{{ 'abc'.partition('x') }}"
         "{{ 'abc'.rpartition('x') }}",
         "('a', '=', 'b=c')('a=b', '=', 'c')('abc', '', '')('', '', 'abc')"},
        {"{{ 'prefix-x'.removeprefix('prefix-') }}|{{ 'ab'.removeprefix('b') }}|"
         "{{ 'ab'.removeprefix('ab') }}|{{ 'x.py'.removesuffix('.py') }}|"
         "{{ 'ab'.removesuffix('a') }}",
         "x|ab||x|ab"},
        {"{% for i in range(5) %}{{ loop.cycle('a', 'b') }}{% endfor %}", "ababa"},
    };
    static const jinja_case wrong[] = {
        {"{{ '%s' % () }}", "chat template, line 1: '%': there are not enough values"},
        {"{{ '%s' % (1, 2) }}",
         "chat template, line 1: '%': there are more values than the text wants"},
        {"{{ 'a%' % 1 }}", "chat template, line 1: '%': the form at '%' is not supported"},
        {"{{ '%(x)s' % {} }}", "chat template, line 1: '%': the form at '%(x)s' is not supported"},
        {"{{ '%d' % 'a' }}", "chat template, line 1: '%d' wants a number that fits, not a string"},
        {"{{ '%d' % 1e30 }}", "chat template, line 1: '%d' wants a number that fits, not a float"},
        {"{{ 'a'.partition('') }}", "chat template, line 1: partition: the separator is empty"},
        {"{{ 'a'.zfill(3) }}", "chat template, line 1: the method 'zfill' is not known"},
        {"{% for i in [1] %}{{ loop.cycle() }}{% endfor %}",
         "chat template, line 1: cycle needs an argument"},
    };
    JINJA_CHECK(cases);
    JINJA_CHECK_ERRORS(wrong);
}

static void test_chains(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{{ 1 - 2 - 3 }}|{{ 2 ** 3 ** 2 }}|{{ 100 / 10 / 5 }}|{{ 1 + 2 * 3 - 4 }}|"
         "{{ 7 // 2 * 2 }}",
         "-4|64|2.0|3|6"},
        {"{{ 0 or '' or 3 }}|{{ 1 and 2 and 0 and 5 }}|{{ 1 and 0 or 4 }}|{{ none or 0 }}|"
         "{{ 1 or x.y }}",
         "3|0|4|0|1"},
    };
    JINJA_CHECK(cases);
    char template[4000], *at = template + sprintf(template, "{{ 0");
    for (int i = 0; i < 500; i++) at += sprintf(at, " + 1");
    sprintf(at, " }}");
    const jinja_case sum[] = {{template, "500"}};
    JINJA_CHECK(sum);
}

static void test_text_filters(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"[{{ ' \\n a ' | trim }}][{{ 'xax' | trim('x') }}][{{ missing | trim }}]", "[a][a][]"},
        {"{{ 'aB\xc3\xa9\xc3\x9f' | upper }}{{ 'AB\xc3\x89' | lower }}", "AB\xc3\x89SSab\xc3\xa9"},
        {"{{ 'hello wORLD-x (y' | title }} {{ 'hELLO' | capitalize }}", "Hello World-X (Y Hello"},
        {"{{ 'a.b.c' | replace('.', '-', 1) }}{{ 5 | replace('5', '6') }}"
         "{{ 'ab' | replace('', '.') }}",
         "a-b.c6.a.b."},
        {"{{ 1.5 | string ~ [1] | string }}", "1.5[1]"},
        {"{{ '12' | int }}{{ ' 7 ' | int }}{{ 'x' | int }}{{ 'x' | int(5) }}{{ 3.9 | int }}"
         "{{ '3.7' | int }}{{ 'ff' | int(0, 16) }}{{ none | int }}",
         "127053"
         "32550"},
        {"{{ '1.5' | float }} {{ 2 | float }} {{ 'x' | float }}", "1.5 2.0 0.0"},
        {"{{ -3 | abs }} {{ 2.5 | round }} {{ 2.675 | round(2) }} {{ 2.1 | round(0, 'ceil') }} "
         "{{ 7 | round }}",
         "3 2.0 2.67 3.0 7"},
        {"{{ '<a & \"b\">' | escape }}{{ '<' | safe }}{{ ('<' | safe) + '<' }}",
         "&lt;a &amp; &#34;b&#34;&gt;<<&lt;"},
        {"{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|"
         "{{ 'a\\n\\nb' | indent('>', blank=true) }}",
         "a\n    b\n\n    c|  a\n  b|a\n>\n>b"},
    };
    JINJA_CHECK(cases);
}

static void test_json(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{{ {'a': [1, 2.0, none, true], 'b': {}, 'c': []} | tojson }}",
         "{\"a\": [1, 2.0, null, true], \"b\": {}, \"c\": []}"},
        {"{{ '<\xc3\xa9\\n\\x01\\\"/' | tojson }}", "\"<\xc3\xa9\\n\\u0001\\\"/\""},
        {"{{ '\xc3\xa9\xf0\x9f\x98\x80' | tojson(ensure_ascii=true) }}",
         "\"\\u00e9\\ud83d\\ude00\""},
        {"{{ {'b': 1, 'a': [1, {}]} | tojson(indent=2) }}",
         "{\n  \"b\": 1,\n  \"a\": [\n    1,\n    {}\n  ]\n}"},
        {"{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", "{\"a\": 2, \"b\": 1}"},
        {"{{ [1, {'a': 2}] | tojson(separators=(',', ':')) }}", "[1,{\"a\":2}]"},
        {"{{ {1: 2, true: 3, none: 4} | tojson }}", "{\"1\": 3, \"null\": 4}"},
        {"{{ (1, 2) | tojson }}{{ 'x' | tojson }}{{ 1e400 | tojson }}", "[1, 2]\"x\"Infinity"},
    };
    JINJA_CHECK(cases);
}

static void test_list_filters(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{{ 'h\xc3\xa9' | length }}{{ [1, 2] | count }}{{ {} | length }}{{ missing | length }}",
         "2200"},
        {"{{ [1, 2] | first }}{{ 'ab' | last }}{{ [] | first }}{{ {'k': 1} | first }}", "1bk"},
        {"{{ [1, 'a', none] | join('-') }}{{ 'abc' | join(',') }}{{ [{'n': 1}, {'n': 2}] | "
         "join('+', attribute='n') }}",
         "1-a-Nonea,b,c1+2"},
        {"{{ 'ab' | list }}{{ {'a': 1} | list }}{{ {'a': 1} | items | list }}",
         "['a', 'b']['a'][('a', 1)]"},
        {"{{ {'b': 1, 'A': 2} | dictsort }}{{ {'b': 1, 'a': 2} | dictsort(by='value') }}"
         "{{ {'b': 1, 'A': 2} | dictsort(true, reverse=true) }}",
         "[('A', 2), ('b', 1)][('b', 1), ('a', 2)][('b', 1), ('A', 2)]"},
        {"{{ [3, 1, 2] | sort }}{{ ['b', 'A', 'c'] | sort }}{{ ['b', 'A'] | sort(true, true) }}"
         "{{ [{'n': 2}, {'n': 1}] | sort(attribute='n') }}",
         "[1, 2, 3]['A', 'b', 'c']['b', 'A'][{'n': 1}, {'n': 2}]"},
        {"{{ ['b', 'B', 'a', 'b'] | unique | list }}{{ [1, 1.0, 2] | unique | list }}",
         "['b', 'a'][1, 2]"},
        {"{{ [3, 1, 2] | min }}{{ ['a', 'B'] | max }}{{ [1, 2.5] | sum }}"
         "{{ [{'n': 2}] | sum('n', 1) }}{{ [] | min }}",
         "1B3.53"},
        {"{{ [1, 2] | reverse | list }}{{ 'a\xc3\xa9' | reverse }}", "[2, 1]\xc3\xa9"
                                                                     "a"},
    };
    JINJA_CHECK(cases);
}

static void test_map_and_select(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{{ ['a', 'b'] | map('upper') | list }}{{ ['x1', 'x2'] | map('replace', 'x', 'y') | list "
         "}}",
         "['A', 'B']['y1', 'y2']"},
        {"{{ [{'a': 1}, {}] | map(attribute='a', default=0) | list }}", "[1, 0]"},
        {"{{ [0, 1, 2] | select | list }}{{ [1, 2, 3] | select('odd') | list }}"
         "{{ [1, none] | reject('none') | list }}{{ none | select | list }}",
         "[1, 2][1, 3][1][]"},
        {"{% set m = [{'r': 'u', 'n': 1}, {'r': 's'}] %}"
         "{{ m | selectattr('r', 'equalto', 'u') | list }}{{ m | rejectattr('n') | list }}"
         "{{ m | selectattr('n', 'defined') | map(attribute='r') | first }}",
         "[{'r': 'u', 'n': 1}][{'r': 's'}]u"},
        {"{{ missing | default('x') }}{{ '' | default('x') }}{{ '' | default('x', true) }}"
         "{{ none | d(1) }}{{ missing | default }}",
         "xxNone"},
        {"{{ {'a': 1} | attr('b') is undefined }}", "True"},
    };
    JINJA_CHECK(cases);
}

static void test_tests(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{{ x is defined }}{{ x is undefined }}{{ x is not defined }}{{ none is none }}",
         "FalseTrueTrueTrue"},
        {"{{ 'a' is string }}{{ 1 is number }}{{ true is number }}{{ true is integer }}"
         "{{ 1.0 is float }}{{ false is boolean }}",
         "TrueTrueTrueFalseTrueTrue"},
        {"{{ {} is mapping }}{{ [] is mapping }}{{ 'a' is sequence }}{{ {} is sequence }}"
         "{{ 1 is sequence }}{{ x is sequence }}",
         "TrueFalseTrueTrueFalseTrue"},
        {"{{ 'a' is iterable }}{{ none is iterable }}{{ x is iterable }}{{ x is mapping }}",
         "TrueFalseTrueFalse"},
        {"{{ true is true }}{{ 1 is true }}{{ false is false }}{{ range is callable }}",
         "TrueFalseTrueTrue"},
        {"{{ 1 is eq 1 }}{{ 1 is equalto(2) }}{{ 2 is in [1, 2] }}{{ 3 is gt 2 }}{{ 3 is ne 3 }}",
         "TrueFalseTrueTrueFalse"},
        {"{{ 3 is odd }}{{ 3 is even }}{{ 9 is divisibleby 3 }}{{ none is sameas none }}",
         "TrueFalseTrueTrue"},
        {"{{ 'a' is lower }}{{ 'aB' is lower }}{{ '1' is upper }}", "TrueFalseFalse"},
    };
    JINJA_CHECK(cases);
}

static void test_string_methods(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"[{{ ' a '.strip() }}][{{ ' a '.lstrip() }}][{{ ' a '.rstrip() }}]"
         "[{{ 'xyaxy'.strip('yx') }}][{{ '\\n\\na'.lstrip('\\n') }}]",
         "[a][a ][ a][a][a]"},
        {"{{ 'a,b,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ ' a  b '.split() }}"
         "{{ ''.split(',') }}{{ ''.split() }}{{ ' a b  c '.split(none, 1) }}",
         "['a', 'b', 'c']['a', 'b,c']['a', 'b'][''][]['a', 'b  c ']"},
        {"{{ 'a,b,c'.rsplit(',', 1) }}{{ 'a,b'.rsplit(',') }}{{ 'a\\nb\\r\\nc\\n'.splitlines() }}",
         "['a,b', 'c']['a', 'b']['a', 'b', 'c']"},
        {"{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ ''.startswith('a') }}",
         "TrueTrueFalse"},
        {"{{ 'aB'.upper() }}{{ 'aB'.lower() }}{{ \"it's a\".title() }}{{ 'aB c'.capitalize() }}",
         "ABabIt'S AAb c"},
        {"{{ 'aaa'.replace('a', 'b', 2) }}{{ '\xc3\xa9"
         "abc'.find('b') }}{{ 'a'.find('x') }}"
         "{{ 'abab'.rfind('ab') }}{{ 'aaa'.count('a') }}",
         "bba2-123"},
        {"{{ ', '.join(['a', 'b']) }}{{ '12'.isdigit() }}{{ '1x'.isdigit() }}", "a, bTrueFalse"},
        {"{{ '{}-{}'.format(1, 'x') }}{{ '{b}{{}}'.format(b=2) }}{{ '{1}{0}'.format(1, 2) }}",
         "1-x2{}21"},
    };
    JINJA_CHECK(cases);
}

static void test_other_methods(void **state)
{
    (void)state;
    static const jinja_case cases[] = {
        {"{% set d = {'a': 1, 'b': 2} %}{{ d.keys() | list }}{{ d.values() | list }}"
         "{{ d.get('a') }}{{ d.get('x') }}{{ d.get('x', 3) }}",
         "['a', 'b'][1, 2]1None3"},
        {"{% set l = [1] %}{% set _ = l.append(2) %}{{ l }}{{ l.pop(0) }}{{ l.pop() }}{{ l }}",
         "[1, 2]12[]"},
        {"{{ ['a', 'b'].index('b') }}", "1"},
    };
    JINJA_CHECK(cases);
}

/* What the caller gave is read by others, too. */
static void test_lists_given_are_not_changed(void **state)
{
    (void)state;
    sl_jinja_memory memory;
    sl_jinja_output out = {0};
    sl_jinja_error error;
    sl_jinja_memory_init(&memory, 1 << 16);
    const sl_jinja_value names = sl_jinja_dict_new(&memory),
                         list = sl_jinja_list_new(&memory, SL_JINJA_LIST);
    sl_jinja_dict_set_own(&memory, names, "messages", list);
    assert_int_equal(jinja_render("{{ messages.append(1) }}", names, NULL, &out, &error),
                     SL_ERR_REQUEST);
    assert_string_equal(error.text, "chat template, line 1: append: this list cannot be changed");
    assert_int_equal(list.list->n, 0);
    sl_jinja_memory_fini(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_operators),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_text_filters),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_list_filters),
        cmocka_unit_test(test_map_and_select),
        cmocka_unit_test(test_tests),
        cmocka_unit_test(test_string_methods),
        cmocka_unit_test(test_other_methods),
        cmocka_unit_test(test_lists_given_are_not_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
