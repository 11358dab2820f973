/* tests/golden/templates/render_templates.c - chat templates printed by us, for compare.py: each
 * line of stdin is {"template": TEXT, "globals": {...}}, each line of stdout {"text": TEXT} or
 * {"error": TEXT}. strftime_now tells the fourth of March 2025, 05:06:07. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/json/jinja_from_json.h"
#include "runtime/base/log.h"
#include "runtime/text/jinja/jinja.h"

static const struct tm now = {.tm_year = 125,
                              .tm_mon = 2,
                              .tm_mday = 4,
                              .tm_hour = 5,
                              .tm_min = 6,
                              .tm_sec = 7,
                              .tm_wday = 2,
                              .tm_yday = 62};

static json_t *render(const json_t *template, const json_t *globals)
{
    sl_jinja *jinja;
    sl_jinja_error error;
    sl_jinja_output output = {0};
    sl_jinja_memory memory;
    const sl_jinja_options options = {.limits = sl_jinja_limits_usual(), .now = &now};
    if (sl_jinja_open(json_string_value(template), json_string_length(template), &jinja, &error) !=
        SL_OK)
        return json_pack("{s:s}", "error", error.text);
    sl_jinja_memory_init(&memory, (size_t)64 << 20);
    const sl_jinja_value values = sl_jinja_from_json(&memory, globals);
    json_t *result = NULL;
    if (sl_jinja_run(jinja, values, &options, &output, &error) == SL_OK)
        result = json_pack("{s:s%}", "text", output.text, output.bytes);
    else
        result = json_pack("{s:s}", "error", error.text);
    SL_ASSERT(output.n_parts == 0 || output.parts[output.n_parts - 1].end == output.bytes);
    sl_jinja_output_free(&output);
    sl_jinja_memory_fini(&memory);
    sl_jinja_close(jinja);
    return result;
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) > 0) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        SL_ASSERT(row);
        json_t *result = render(json_object_get(row, "template"), json_object_get(row, "globals"));
        SL_ASSERT(result);
        json_dumpf(result, stdout, JSON_COMPACT);
        printf("\n");
        fflush(stdout);
        json_decref(result);
        json_decref(row);
    }
    free(line);
    return 0;
}
