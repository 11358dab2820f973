/* launch/json/json_object.h - a JSON object that is put together member by member, in the order in
 * which it is written out. What cannot be added (there is no memory, or a text is no UTF-8, or a
 * number is not finite) makes the whole object NULL at its end, so that callers check once.
 * Owns the object until its end. Knows nothing of what the members mean, and prints nothing. */
#ifndef SL_JSON_OBJECT_H
#define SL_JSON_OBJECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    json_t *value; /* NULL once a member could not be added */
} sl_json_object;

/* An empty object. Ended with sl_json_end. */
sl_json_object sl_json_begin(void);
/* The object, which is the caller's from here on; NULL if any member could not be added. */
json_t *sl_json_end(sl_json_object *object);

/* Add a member, or change the one of this name. `name` is ASCII. */
void sl_json_set_text(sl_json_object *object, const char *name, const char *text);
/* NULL where there is no text. */
void sl_json_set_text_or_null(sl_json_object *object, const char *name, const char *text);
/* A text that may contain NUL bytes. */
void sl_json_set_bytes(sl_json_object *object, const char *name, const char *text, size_t bytes);
void sl_json_set_number(sl_json_object *object, const char *name, double number);
void sl_json_set_integer(sl_json_object *object, const char *name, int64_t integer);
void sl_json_set_count(sl_json_object *object, const char *name, uint64_t count);
void sl_json_set_flag(sl_json_object *object, const char *name, bool flag);
void sl_json_set_null(sl_json_object *object, const char *name);
/* Takes the reference; NULL counts as a member that could not be made. */
void sl_json_set_item(sl_json_object *object, const char *name, json_t *item);

/* The array with one more item, whose reference is taken; NULL, and both are given up, if either is
 * NULL or there is no memory. */
json_t *sl_json_append(json_t *array, json_t *item);

#endif
