/* launch/options/option.h - an option of a command: how it is written and described, and which
 * setting it gives a value. Options stand in groups. Those that commands of several rooms share are
 * in option_groups.h, those of one command beside that command. */
#ifndef SL_OPTION_H
#define SL_OPTION_H

#include "launch/options/settings.h"

typedef enum {
    SL_OPTION_TEXT,   /* const char *, lent by argv or the environment */
    SL_OPTION_FLAG,   /* bool; the option takes no argument */
    SL_OPTION_COUNT,  /* uint32_t: a whole number in a range */
    SL_OPTION_REAL,   /* double: a number in a range */
    SL_OPTION_COUNTS, /* sl_counts: whole numbers in a range, with commas between */
    SL_OPTION_REALS,  /* sl_rates: numbers in a range, with commas between */
    SL_OPTION_SEED,   /* uint64_t: any whole number */
    SL_OPTION_SIZE    /* uint64_t: bytes, as 512M or 8G */
} sl_option_kind;

/* What the text of an option names. */
typedef enum {
    SL_FILE_NONE, /* no file, or a prefix of file names */
    SL_FILE_READ,
    SL_FILE_LIST_READ, /* with commas between */
    SL_FILE_WRITTEN,
    SL_FILE_WRITTEN_AFTER_GATE, /* may be --gate's, which has been read by then */
} sl_file_use;

/* A group is an array of options that ends with one without a name. */
typedef struct sl_option {
    const char *name;     /* --name, and the variable SLUICE_NAME */
    char letter;          /* the short option; 0: it has none */
    const char *argument; /* what --help calls its argument; NULL: it takes none */
    const char *initial;  /* its default; NULL: it has none, the setting stays as it was */
    const char *help;

    /* One of the macros below fills in the rest. */
    sl_option_kind kind;
    size_t offset;      /* of the setting in sl_settings */
    double least, most; /* the range of a number */
    sl_file_use file;
    /* What the name of a second file ends with, written beside it, or NULL; and what goes from the
     * end of the first one's before it, or NULL. */
    const char *beside, *instead;
} sl_option;

/* What an option sets: a member of sl_settings, of the type that belongs to the kind, and the range
 * of a number. Such a macro ends each option's row. */
#define SL_SETS_TEXT(member)             SL_SETS_(SL_OPTION_TEXT, member, 0, 0)
#define SL_SETS_READ(member)             SL_SETS_TEXT(member), .file = SL_FILE_READ
#define SL_SETS_LIST_READ(member)        SL_SETS_TEXT(member), .file = SL_FILE_LIST_READ
#define SL_SETS_WRITTEN(member)          SL_SETS_TEXT(member), .file = SL_FILE_WRITTEN
#define SL_SETS_FLAG(member)             SL_SETS_(SL_OPTION_FLAG, member, 0, 0)
#define SL_SETS_COUNT(member, from, to)  SL_SETS_(SL_OPTION_COUNT, member, from, to)
#define SL_SETS_REAL(member, from, to)   SL_SETS_(SL_OPTION_REAL, member, from, to)
#define SL_SETS_COUNTS(member, from, to) SL_SETS_(SL_OPTION_COUNTS, member, from, to)
#define SL_SETS_REALS(member, from, to)  SL_SETS_(SL_OPTION_REALS, member, from, to)
#define SL_SETS_SEED(member)             SL_SETS_(SL_OPTION_SEED, member, 0, 0)
#define SL_SETS_SIZE(member)             SL_SETS_(SL_OPTION_SIZE, member, 0, 0)
#define SL_SETS_(its_kind, member, from, to) \
    .kind = (its_kind), .offset = offsetof(sl_settings, member), .least = (from), .most = (to)

/* Read `value` into the option's setting; NULL sets a flag. `source` says in messages where the
 * value comes from: "--name" or "SLUICE_NAME". SL_ERR_OPTION: logged with what was expected. */
sl_status sl_option_set(const sl_option *option, const char *source, const char *value,
                        sl_settings *settings);

/* "512M", "8G", a plain number: bytes. false: it is no size. */
bool sl_option_size(const char *text, uint64_t *bytes_out);

#endif
