/* launch/main.c - picks the command. */
#include <stdio.h>
#include <string.h>

#include "launch/commands.h"
#include "launch/machine/launcher.h"
#include "launch/machine/process.h"
#include "launch/machine/version.h"
#include "runtime/base/append.h"
#include "runtime/base/limits.h"
#include "runtime/base/log.h"

static void help(void)
{
    printf("Sluice %s: long-context LLM batch inference over MPI ranks, on CPUs.\n\n"
           "usage: sluice COMMAND [options]          (sluice COMMAND --help says more)\n\n",
           sl_version());
    for (int i = 0; sl_commands[i]; i++)
        printf("  %-16s %s\n", sl_commands[i]->name, sl_commands[i]->summary);
    printf("\nAlone it is one rank; under mpirun or srun the same line is a pipeline of many:\n"
           "  sluice batch -m model.gguf -i in.jsonl -o out.jsonl\n"
           "  mpirun -n 3 sluice batch -m model.gguf -i in.jsonl -o out.jsonl\n");
}

/* The command that argv[1], or argv[1] and argv[2], name: two words go before one. */
static const sl_command *find_command(int argc, char **argv, int *n_words_out)
{
    char two[64];
    snprintf(two, sizeof two, "%s %s", argv[1], argc > 2 ? argv[2] : "");
    const sl_command *found = NULL;
    for (int i = 0; sl_commands[i]; i++) {
        if (!strcmp(argv[1], sl_commands[i]->name)) found = sl_commands[i];
        if (strcmp(two, sl_commands[i]->name) != 0) continue;
        *n_words_out = 2;
        return sl_commands[i];
    }
    *n_words_out = 1;
    return found;
}

/* No such command; if some begin with the word, those are listed. */
static void refuse(const char *word)
{
    char known[512];
    size_t used = 0, n = strlen(word);
    for (int i = 0; sl_commands[i]; i++) {
        const char *name = sl_commands[i]->name;
        if (strncmp(name, word, n) != 0 || name[n] != ' ') continue;
        sl_append(known, sizeof known, &used, "%s%s", used ? ", " : "", name);
    }
    if (used > 0)
        sl_error("%s what? There are: %s", word, known);
    else
        sl_error("there is no command '%s': see sluice --help", word);
}

static int sluice(int argc, char **argv)
{
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help") ||
        !strcmp(argv[1], "-h")) {
        if (sl_launcher_prints()) help();
        return argc < 2 ? SL_EXIT_USAGE : SL_EXIT_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        if (sl_launcher_prints()) printf("sluice %s\n%s", sl_version(), sl_version_details());
        return SL_EXIT_OK;
    }
    int n_words;
    const sl_command *command = find_command(argc, argv, &n_words);
    if (command) return sl_command_run(command, argc - n_words, argv + n_words);
    refuse(argv[1]);
    return SL_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    sl_process_begin();
    sl_status status = sl_limits_begin();
    return sl_process_end(status == SL_OK ? sluice(argc, argv) : sl_exit_code(status));
}
