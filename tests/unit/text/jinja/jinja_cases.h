/* tests/unit/text/jinja/jinja_cases.h - templates and what they print, as a table. */
#ifndef SL_TEST_JINJA_CASES_H
#define SL_TEST_JINJA_CASES_H

#include <string.h>

#include "runtime/text/jinja/jinja.h"

typedef struct {
    const char *template, *printed;
} jinja_case;

static const struct tm jinja_now = {.tm_year = 124, .tm_mon = 6, .tm_mday = 6, .tm_hour = 9};

/* Compile and run, and end the output with sl_jinja_output_free. */
static inline sl_status jinja_render(const char *template, sl_jinja_value names,
                                     const sl_jinja_limits *limits, sl_jinja_output *out,
                                     sl_jinja_error *error)
{
    sl_jinja *jinja;
    const sl_jinja_options options = {.limits = limits ? *limits : sl_jinja_limits_usual(),
                                      .now = &jinja_now};
    sl_status status = sl_jinja_open(template, strlen(template), &jinja, error);
    if (status != SL_OK) return status;
    status = sl_jinja_run(jinja, names, &options, out, error);
    sl_jinja_close(jinja);
    return status;
}

/* Each prints what its row says, without names from outside. */
static inline void jinja_check(const jinja_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sl_jinja_output out = {0};
        sl_jinja_error error;
        if (jinja_render(cases[i].template, sl_jinja_none, NULL, &out, &error) != SL_OK)
            fail_msg("%s: %s", cases[i].template, error.text);
        if (!out.text || strcmp(out.text, cases[i].printed) != 0)
            fail_msg("%s: '%s' instead of '%s'", cases[i].template, out.text, cases[i].printed);
        sl_jinja_output_free(&out);
    }
}

/* Each ends with an error that says this. */
static inline void jinja_check_errors(const jinja_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sl_jinja_output out = {0};
        sl_jinja_error error;
        if (jinja_render(cases[i].template, sl_jinja_none, NULL, &out, &error) == SL_OK)
            fail_msg("%s: printed '%s'", cases[i].template, out.text);
        if (strcmp(error.text, cases[i].printed) != 0)
            fail_msg("%s: '%s' instead of '%s'", cases[i].template, error.text, cases[i].printed);
    }
}

#define JINJA_CHECK(cases)        jinja_check(cases, sizeof(cases) / sizeof *(cases))
#define JINJA_CHECK_ERRORS(cases) jinja_check_errors(cases, sizeof(cases) / sizeof *(cases))

#endif
