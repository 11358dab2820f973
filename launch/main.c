/* launch/main.c - picks the command. */
#include <stdio.h>
#include <string.h>

#include "launch/alone.h"
#include "launch/commands.h"
#include "launch/engine.h"
#include "launch/version.h"
#include "runtime/base/log.h"

static void help(void)
{
    printf("Sluice %s: long-context LLM batch inference over MPI ranks, on CPUs.\n\n"
           "usage: sluice COMMAND [options]          (sluice COMMAND --help says more)\n\n",
           sl_version());
    for (int i = 0; sl_commands[i]; i++)
        printf("  %-10s %s\n", sl_commands[i]->name, sl_commands[i]->summary);
    printf("\nAlone it is one rank; under mpirun or srun the same line is a pipeline of many:\n"
           "  sluice batch -m model.gguf -i in.jsonl -o out.jsonl\n"
           "  mpirun -n 3 sluice batch -m model.gguf -i in.jsonl -o out.jsonl\n");
}

static int run(const sl_command_entry *command, int argc, char **argv)
{
    sl_settings settings;
    sl_status status = sl_settings_parse(command->command, command->usage, command->about,
                                         command->examples, argc, argv, &settings);
    return status == SL_OK ? command->run(&settings) : sl_exit_code(status);
}

int main(int argc, char **argv)
{
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help") ||
        !strcmp(argv[1], "-h")) {
        if (sl_alone_prints()) help();
        return argc < 2 ? SL_EXIT_USAGE : SL_EXIT_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        if (sl_alone_prints()) printf("sluice %s\n%s", sl_version(), sl_version_details());
        return SL_EXIT_OK;
    }
    for (int i = 0; sl_commands[i]; i++)
        if (!strcmp(argv[1], sl_commands[i]->name)) return run(sl_commands[i], argc - 1, argv + 1);
    sl_error("there is no command '%s': see sluice --help", argv[1]);
    return SL_EXIT_USAGE;
}
