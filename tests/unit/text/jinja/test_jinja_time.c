/* tests/unit/text/jinja/test_jinja_time.c - a hostile template of each kind ends within seconds,
 * whether it comes to an end or to a bound: what costs time costs steps, or memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/text/jinja/jinja_cases.h"

/* A loop of a billion rounds around a statement. */
#define AGAIN(set, body)                                                                      \
    set "{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}" body \
        "{% endfor %}{% endfor %}{% endfor %}"
#define LONG   "{% set s = 'a' * 4000000 %}"
#define LISTS  "{% set a = [0] * 90000 %}{% set b = [0] * 90000 %}"
#define NESTED "{% set a = [[0] * 30000, [0] * 30000] %}{% set b = [[0] * 30000, [0] * 30000] %}"
/* A hundred keys of 100,000 bytes, which differ at their ends and are parts of one text. */
#define KEYS                                                                            \
    "{% set t = 'a' * 100000 ~ 'b' * 100 %}{% set l = [] %}"                            \
    "{% for i in range(100) %}{% set _ = l.append([t[i:100000 + i], i]) %}{% endfor %}" \
    "{% set d = dict(l) %}{% set k = t[:100000] %}"

static const char *const HOSTILE[] = {
    AGAIN("", ""),
    AGAIN("", "{% set x = 1 + 2 %}"),
    AGAIN("", "{% set x = 'a' | upper | lower | trim %}"),
    AGAIN("", "{{ i is divisibleby(3) }}"),
    AGAIN("", "{% if 'b' in ['a', 'c', 'd'] %}{% endif %}"),
    AGAIN("", "{% set x = (0.1 + i) | string %}"),
    AGAIN("", "{% set x = 2.0 ** 0.3 %}"),
    AGAIN("{% macro f(x) %}{{ x }}{% endmacro %}", "{% set x = f(i) %}"),
    AGAIN(LISTS, "{% if a == b %}{% endif %}"),
    AGAIN(LISTS, "{% if a < b %}{% endif %}"),
    AGAIN(LISTS, "{% if 1 in a %}{% endif %}"),
    AGAIN(LISTS "{% set _ = a.append(1) %}", "{% set x = a.index(1) %}"),
    AGAIN(NESTED, "{% if a == b %}{% endif %}"),
    AGAIN(NESTED, "{% if a < b %}{% endif %}"),
    AGAIN(LISTS, "{% set x = a | length + a | first %}"),
    AGAIN(LISTS, "{% set x = a | min + a | max %}"),
    AGAIN(LISTS, "{% set x = a | unique %}"),
    AGAIN(LISTS, "{% set x = a | sort %}"),
    AGAIN(LISTS, "{% set x = a.pop(0) %}"),
    AGAIN(LISTS, "{% set x = a | sum %}"),
    AGAIN(LISTS, "{% set x = a | select('odd') %}"),
    AGAIN(LONG "{% set u = 'a' * 4000000 %}", "{% if s == u %}{% endif %}"),
    AGAIN(LONG "{% set u = 'a' * 4000000 %}", "{% if s < u %}{% endif %}"),
    AGAIN(LONG "{% set u = 'a' * 2000000 %}", "{% if s.startswith(u) %}{% endif %}"),
    AGAIN(LONG "{% set u = 'a' * 2000000 %}", "{% if s.endswith((u, u)) %}{% endif %}"),
    AGAIN(LONG, "{% if 'b' in s %}{% endif %}"),
    AGAIN(LONG "{% set u = 'a' * 1000 ~ 'b' %}", "{% set x = s.rsplit(u) %}"),
    AGAIN(LONG "{% set u = 'b' ~ 'a' * 1000 %}", "{% set x = s.rsplit(u, 1) %}"),
    AGAIN(LONG "{% set u = 'a' * 1000 ~ 'b' %}", "{% set x = s.rfind(u) %}"),
    AGAIN(LONG "{% set u = 'a' * 1000 ~ 'b' %}", "{% set x = s.find(u) + s.count(u) %}"),
    AGAIN(LONG, "{% set x = s.split() %}"),
    AGAIN(LONG, "{% set x = s.splitlines() %}"),
    AGAIN(LONG, "{% set x = s.strip('a') %}"),
    AGAIN(LONG "{% set u = 'bcdefghijklmnopqrstuvwxyz' * 2 ~ 'a' %}", "{% set x = s.strip(u) %}"),
    AGAIN("{% set s = ' ' * 4000000 %}", "{% set x = s.strip() %}"),
    AGAIN("{% set s = ' ' * 4000000 %}", "{% set x = s.split() %}"),
    AGAIN("{% set s = '_' * 4000000 %}", "{% set x = s | int + s | float %}"),
    AGAIN(LONG, "{% set x = s | length %}"),
    AGAIN(LONG, "{% set x = s[3999999] %}"),
    AGAIN(LONG, "{% set x = s[3999998:] %}"),
    AGAIN(LONG, "{% set x = s.isdigit() or s.isalpha is defined %}"),
    AGAIN("{% set s = '1' * 4000000 %}", "{% set x = s.isdigit() %}"),
    AGAIN("{% set s = '\xc3\xa9' * 2000000 %}", "{% set x = s | length %}"),
    AGAIN(LONG, "{% set x = s is lower %}"),
    AGAIN(LONG, "{% set x = s.replace('b', 'c') %}"),
    AGAIN(LONG "{% set l = [{}] * 90000 %}", "{% set x = l | map(attribute=s) | list %}"),
    AGAIN(KEYS, "{% set x = d[k] %}"),
    AGAIN(KEYS, "{% set x = d.get(k) %}"),
    AGAIN(KEYS, "{% if k in d %}{% endif %}"),
    AGAIN(KEYS, "{% set x = d | tojson(sort_keys=true) %}"),
    AGAIN(KEYS "{% set e = dict(l) %}", "{% if d == e %}{% endif %}"),
    AGAIN("{% set l = [] %}{% set _ = l.append(l) %}{% set _ = l.append(l) %}"
          "{% set m = [] %}{% set _ = m.append(m) %}{% set _ = m.append(m) %}",
          "{% if l == m %}{% endif %}"),
};

/* Of this process, however busy the host is. */
static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_hostile_templates(void **state)
{
    (void)state;
    double worst = 0;
    for (size_t i = 0; i < sizeof HOSTILE / sizeof *HOSTILE; i++) {
        sl_jinja_output out = {0};
        sl_jinja_error error;
        const double start = cpu_seconds();
        const sl_status status = jinja_render(HOSTILE[i], sl_jinja_none, NULL, &out, &error);
        const double seconds = cpu_seconds() - start;
        print_message("%.2f s: %.160s\n", seconds, HOSTILE[i]);
        if (status == SL_OK) fail_msg("%.200s ended by itself", HOSTILE[i]);
        if (seconds > worst) worst = seconds;
        if (seconds > 20) fail_msg("%.1f s", seconds); /* sanitizers, too */
    }
    print_message("the slowest of %zu: %.2f s\n", sizeof HOSTILE / sizeof *HOSTILE, worst);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hostile_templates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
