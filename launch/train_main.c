/* launch/train_main.c - the program sluice-train: `sluice train warm` becomes it
 * (train_program.c). */
#include "launch/machine/process.h"
#include "launch/train/train_commands.h"
#include "launch/train/train_program.h"
#include "runtime/base/limits.h"

static int train(int argc, char **argv)
{
    sl_command command = sl_cmd_train_warm;
    command.run = sl_train_warm; /* this is the program that it becomes */
    return sl_command_run(&command, argc, argv);
}

int main(int argc, char **argv)
{
    sl_process_begin();
    sl_status status = sl_limits_begin();
    return sl_process_end(status == SL_OK ? train(argc, argv) : sl_exit_code(status));
}
