/* launch/options/written.h - no command writes over a file that it reads. Which files those are is
 * said by its options; of a model that is split, who opens it asks for the other parts. */
#ifndef SL_WRITTEN_H
#define SL_WRITTEN_H

#include "launch/options/option.h"

/* The name of the second file that an option has written, whose first is `text`: option.h. false:
 * it is too long. */
bool sl_written_second(const sl_option *option, const char *text, char *out, size_t out_bytes);

/* Add the option to settings->written, if it names a file to write and was given. */
void sl_written_note(const sl_option *option, sl_settings *settings);
/* Compare the files of this option, if it names some that are read, with all of settings->written.
 * SL_ERR_OPTION: one of them would be written over; logged. */
sl_status sl_written_check_option(const sl_settings *settings, const sl_option *option);
/* The same of a file that was read for an option, written as `name`: "-m". */
sl_status sl_written_check(const sl_settings *settings, const char *name, const char *path);

#endif
