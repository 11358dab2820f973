/* launch/main.c - picks the command. */
#include <stdio.h>
#include <string.h>

#include "launch/alone.h"
#include "launch/commands.h"
#include "launch/engine.h"
#include "launch/version.h"
#include "runtime/base/log.h"

typedef struct {
    const char *name, *about;
    int (*run)(int argc, char **argv);
} command;

static const command COMMANDS[] = {
    {"batch", "answer a JSONL file of requests (OpenAI batch format)", sl_cmd_batch},
    {"run", "complete one prompt, text on stdout", sl_cmd_run},
    {"eval", "measure a model: eval perplexity", sl_cmd_eval},
    {"show", "say what is in a file: show model FILE", sl_cmd_show},
    {"tokenize", "text on stdin to token ids, and back", sl_cmd_tokenize},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static void help(void)
{
    printf("Sluice %s: long-context LLM batch inference over MPI ranks, on CPUs.\n\n"
           "usage: sluice COMMAND [options]          (sluice COMMAND --help says more)\n\n",
           sl_version());
    for (int i = 0; i < N_COMMANDS; i++)
        printf("  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].about);
    printf("\nAlone it is one rank; under mpirun or srun the same line is a pipeline of many:\n"
           "  sluice batch -m model.gguf -i in.jsonl -o out.jsonl\n"
           "  mpirun -n 3 sluice batch -m model.gguf -i in.jsonl -o out.jsonl\n");
}

int main(int argc, char **argv)
{
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help") ||
        !strcmp(argv[1], "-h")) {
        if (sl_alone_prints()) help();
        return argc < 2 ? SL_EXIT_USAGE : SL_EXIT_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        if (sl_alone_prints()) printf("sluice %s\n", sl_version());
        return SL_EXIT_OK;
    }
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(argv[1], COMMANDS[i].name)) return COMMANDS[i].run(argc - 1, argv + 1);
    sl_error("there is no command '%s': see sluice --help", argv[1]);
    return SL_EXIT_USAGE;
}
