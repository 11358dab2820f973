/* JSON objects put together member by member: their order, and that one failure makes all of it
 * NULL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "launch/json/json_object.h"

static void members_keep_their_order(void **state)
{
    (void)state;
    sl_json_object object = sl_json_begin();
    sl_json_set_text(&object, "text", "b\n");
    sl_json_set_bytes(&object, "bytes", "a\0b", 3);
    sl_json_set_text_or_null(&object, "none", NULL);
    sl_json_set_number(&object, "number", 0.25);
    sl_json_set_integer(&object, "integer", -7);
    sl_json_set_count(&object, "count", 7);
    sl_json_set_flag(&object, "flag", true);
    sl_json_set_null(&object, "null");
    sl_json_set_item(&object, "array", sl_json_append(json_array(), json_integer(1)));
    json_t *value = sl_json_end(&object);
    char *line = json_dumps(value, JSON_COMPACT);
    assert_string_equal(line,
                        "{\"text\":\"b\\n\",\"bytes\":\"a\\u0000b\",\"none\":null,\"number\":0.25,"
                        "\"integer\":-7,\"count\":7,\"flag\":true,\"null\":null,\"array\":[1]}");
    free(line);
    json_decref(value);
}

static void one_failure_makes_it_null(void **state)
{
    (void)state;
    sl_json_object object = sl_json_begin();
    sl_json_set_count(&object, "count", 7);
    sl_json_set_text(&object, "text", "\xff");
    sl_json_set_item(&object, "item", json_array());
    assert_null(sl_json_end(&object));

    object = sl_json_begin();
    sl_json_set_item(&object, "item", NULL);
    assert_null(sl_json_end(&object));
    assert_null(sl_json_append(json_array(), NULL));
    assert_null(sl_json_append(NULL, json_array()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_keep_their_order),
        cmocka_unit_test(one_failure_makes_it_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
