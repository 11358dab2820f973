/* runtime/base/plain.h - text of others, made safe to show: names and values of files, prompts,
 * options, what a peer says. What could command a terminal or mislead its reader is seen as \xHH,
 * byte by byte: control characters (C0, DEL, and C1 in UTF-8), marks that turn the direction of
 * writing, line and paragraph separators, and whatever is no UTF-8. All else is as it was. log.c
 * does this to every line; who prints on stdout does it to what is not his own. */
#ifndef SL_PLAIN_H
#define SL_PLAIN_H

#include <stddef.h>
#include <stdio.h>

enum { SL_PLAIN_BYTES = 4200 }; /* the longest path the system takes is shown whole */

typedef struct {
    char text[SL_PLAIN_BYTES];
} sl_plain_room;

/* text[bytes] as one line in out[out_bytes], ended by a zero; returns its length. What does not fit
 * is left out, and "..." says so. Nothing is shown where out_bytes is less than 8. */
size_t sl_plain(const char *text, size_t bytes, char *out, size_t out_bytes);
/* The same in a room, whose text is returned: for an argument of printf. */
const char *sl_plain_in(const char *text, size_t bytes, sl_plain_room *room);
const char *sl_plain_string(const char *text, sl_plain_room *room); /* zero-terminated */

/* Bytes of the longest beginning of at most bytes_max that cuts no character in two. */
size_t sl_plain_prefix(const char *text, size_t bytes, size_t bytes_max);

/* The whole text to a terminal: its newlines and tabs stay. */
void sl_plain_write(FILE *out, const char *text, size_t bytes);

#endif
