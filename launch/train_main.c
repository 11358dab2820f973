/* launch/train_main.c - the program sluice-train: `sluice train warm`, `train cpt` and `train sft`
 * become it (train_program.c), and their last word is its first. */
#include <stddef.h>
#include <string.h>

#include "launch/machine/process.h"
#include "launch/train/train_commands.h"
#include "launch/train/train_program.h"
#include "runtime/base/limits.h"
#include "runtime/base/log.h"

static int train(int argc, char **argv)
{
    static const struct {
        const char *word;
        const sl_command *command;
        int (*run)(sl_settings *settings); /* here, in the program that the command becomes */
    } rows[] = {{"warm", &sl_cmd_train_warm, sl_train_warm},
                {"cpt", &sl_cmd_train_cpt, sl_train_cpt},
                {"sft", &sl_cmd_train_sft, sl_train_sft}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (argc < 2 || strcmp(argv[1], rows[i].word) != 0) continue;
        sl_command command = *rows[i].command;
        command.run = rows[i].run;
        return sl_command_run(&command, argc - 1, argv + 1);
    }
    sl_error("sluice-train is what sluice train warm, train cpt and train sft become: call one of "
             "them");
    return SL_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    sl_process_begin();
    sl_status status = sl_limits_begin();
    return sl_process_end(status == SL_OK ? train(argc, argv) : sl_exit_code(status));
}
