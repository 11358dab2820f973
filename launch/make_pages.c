/* launch/make_pages.c - a program of the build: the man page and the bash completion, printed from
 * what the commands and the table of settings say of themselves. */
#include <stdio.h>
#include <string.h>

#include "launch/commands.h"
#include "launch/machine/process.h"

/* ---- man page (groff_man) ---- */

/* Text in which no character means anything to roff. */
static void print_roff(const char *text)
{
    bool line_begins = true;
    for (const char *c = text; *c; c++) {
        if (line_begins && (*c == '.' || *c == '\'')) fputs("\\&", stdout);
        if (*c == '\\')
            fputs("\\e", stdout);
        else if (*c == '-')
            fputs("\\-", stdout);
        else
            putchar(*c);
        line_begins = *c == '\n';
    }
}

static void print_option(const sl_option *option)
{
    printf(".TP\n");
    if (option->letter) printf("\\fB\\-%c\\fR, ", option->letter);
    printf("\\fB\\-\\-");
    print_roff(option->name);
    printf("\\fR");
    if (option->argument) {
        printf("=\\fI");
        print_roff(option->argument);
        printf("\\fR");
    }
    putchar('\n');
    print_roff(option->help);
    if (option->initial && strcmp(option->initial, "0") != 0) {
        printf(" [");
        print_roff(option->initial);
        printf("]");
    }
    putchar('\n');
}

static void print_command(const sl_command *command)
{
    printf(".SS \"sluice %s [OPTION...] ", command->name);
    print_roff(command->usage);
    printf("\"\n");
    print_roff(command->about);
    printf("\n.PP\n.nf\n");
    print_roff(command->examples);
    printf("\n.fi\n");
    const sl_option *option;
    for (size_t i = 0; (option = sl_command_option(command, i)); i++) print_option(option);
}

static void print_man(void)
{
    printf(".TH SLUICE 1\n.SH NAME\n"
           "sluice \\- long\\-context LLM batch inference over MPI ranks, on CPUs\n"
           ".SH SYNOPSIS\n.B sluice\n.I COMMAND\n[\\fIOPTION\\fR...]\n.br\n"
           ".B mpirun \\-n\n.I RANKS\n.B sluice\n.I COMMAND\n[\\fIOPTION\\fR...]\n"
           ".SH DESCRIPTION\nAlone it is one rank; under mpirun or srun the same line is a "
           "pipeline of many. Results go to standard output, talk to standard error.\n"
           ".SH COMMANDS\n");
    for (int i = 0; sl_commands[i]; i++) print_command(sl_commands[i]);
    printf(
        ".SH ENVIRONMENT\nEvery option is also a variable: \\fB\\-\\-peer\\-timeout\\fR is "
        "\\fBSLUICE_PEER_TIMEOUT\\fR; an option on the command line comes before it.\n"
        ".TP\n.B SLUICE_KERNELS\nref, avx2, avx512 or amx: a kernel set other than the best this "
        "CPU has; amx\\-emulated: amx with its tiles in software, for tests\n"
        ".SH EXIT STATUS\n"
        ".IP %d\nsuccess\n.IP %d\na bug: please report the line it printed\n.IP %d\na wrong "
        "option\n.IP %d\nsome requests ended as error records\n.IP %d\na file is missing, "
        "malformed or not supported\n.IP %d\nit does not fit in memory; nothing was started\n"
        ".IP %d\ninterrupted: run the same line again\n.IP 128+N\nended by signal N\n",
        SL_EXIT_OK, SL_EXIT_BUG, SL_EXIT_USAGE, SL_EXIT_SOME_FAILED, SL_EXIT_INPUT, SL_EXIT_MEMORY,
        SL_EXIT_INTERRUPTED);
}

/* ---- bash completion ---- */

static void print_words(const sl_command *command)
{
    const sl_option *option;
    for (size_t i = 0; (option = sl_command_option(command, i)); i++) {
        printf(" --%s", option->name);
        if (option->letter) printf(" -%c", option->letter);
    }
    printf(" --help");
}

static bool takes_file(const sl_option *option)
{
    return option->argument && strcmp(option->argument, "FILE") == 0;
}

/* Options after which a file's name comes, of all commands, each once. */
static void print_file_options(void)
{
    char seen[1024] = "|";
    for (int c = 0; sl_commands[c]; c++) {
        const sl_option *option;
        for (size_t i = 0; (option = sl_command_option(sl_commands[c], i)); i++) {
            char item[64];
            snprintf(item, sizeof item, "|--%s|", option->name);
            if (!takes_file(option) || strstr(seen, item)) continue;
            strncat(seen, item + 1, sizeof seen - strlen(seen) - 1);
            printf("%s--%s", strcmp(seen, item) == 0 ? "" : "|", option->name);
            if (option->letter) printf("|-%c", option->letter);
        }
    }
}

/* How many bytes of a command's name are its first word. */
static int first_word(const sl_command *command) { return (int)strcspn(command->name, " "); }

static bool same_first(const sl_command *a, const sl_command *b)
{
    int n = first_word(a);
    return n == first_word(b) && strncmp(a->name, b->name, (size_t)n) == 0;
}

static bool first_of_its_word(int i)
{
    for (int k = 0; k < i; k++)
        if (same_first(sl_commands[k], sl_commands[i])) return false;
    return true;
}

static void print_second_words(void)
{
    for (int i = 0; sl_commands[i]; i++) {
        if (!first_of_its_word(i)) continue;
        printf("        %.*s) words='", first_word(sl_commands[i]), sl_commands[i]->name);
        for (int k = i; sl_commands[k]; k++)
            if (same_first(sl_commands[k], sl_commands[i]) && strchr(sl_commands[k]->name, ' '))
                printf("%s ", strchr(sl_commands[k]->name, ' ') + 1);
        printf("' ;;\n");
    }
}

static void print_completion(void)
{
    printf("# bash completion for sluice\n"
           "_sluice()\n{\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
           "        COMPREPLY=($(compgen -W '");
    for (int i = 0; sl_commands[i]; i++)
        if (first_of_its_word(i)) printf("%.*s ", first_word(sl_commands[i]), sl_commands[i]->name);
    printf("--help --version' -- \"$word\"))\n        return\n    fi\n"
           "    if [ \"$COMP_CWORD\" = 2 ] && [[ $word != -* ]]; then\n"
           "        case $before in\n");
    print_second_words();
    printf("        esac\n"
           "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "        [ ${#COMPREPLY[@]} = 0 ] || return\n    fi\n"
           "    case $before in\n    ");
    print_file_options();
    printf(
        ")\n        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n        return\n        ;;\n"
        "    esac\n"
        "    case \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n");
    for (int two = 1; two >= 0; two--) { /* names of two words before those of one */
        for (int i = 0; sl_commands[i]; i++) {
            if ((strchr(sl_commands[i]->name, ' ') != NULL) != two) continue;
            printf("    '%s'%s) words='", sl_commands[i]->name, two ? "" : "\\ *");
            print_words(sl_commands[i]);
            printf("' ;;\n");
        }
    }
    printf("    esac\n"
           "    case $word in\n"
           "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$word\")) ;;\n"
           "    *) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
           "    esac\n}\n"
           "complete -o filenames -F _sluice sluice\n");
}

int main(int argc, char **argv)
{
    sl_process_begin();
    if (argc == 2 && !strcmp(argv[1], "man")) {
        print_man();
    } else if (argc == 2 && !strcmp(argv[1], "completion")) {
        print_completion();
    } else {
        fprintf(stderr, "usage: make_pages man|completion\n");
        return 2;
    }
    return sl_process_end(0);
}
