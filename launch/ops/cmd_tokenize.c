/* launch/ops/cmd_tokenize.c - `sluice tokenize`: bytes on stdin to ids on stdout, or back. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/machine/process.h"
#include "launch/ops/ops_commands.h"
#include "launch/output/report.h"
#include "launch/setup/model_setup.h"
#include "launch/setup/rank0_command.h"
#include "runtime/base/log.h"
#include "runtime/base/read_file.h"
#include "runtime/text/tokenizer.h"

static sl_status print_ids(const sl_settings *s, const sl_tokens *tokens)
{
    if (s->json) {
        json_t *ids = json_array();
        for (size_t i = 0; i < tokens->n; i++)
            json_array_append_new(ids, json_integer(tokens->ids[i]));
        return sl_report_print(json_pack("{s:o}", "tokens", ids));
    }
    for (size_t i = 0; i < tokens->n; i++) printf("%s%d", i ? " " : "", tokens->ids[i]);
    putchar('\n');
    return SL_OK;
}

static sl_status encode(const sl_settings *s, const sl_tokenizer *tokenizer, const char *text,
                        size_t bytes)
{
    sl_tokens tokens = {0};
    sl_status status = s->no_special ? sl_tokenizer_encode(tokenizer, text, bytes,
                                                           SL_SPECIAL_AS_TEXT, &tokens)
                                     : sl_tokenizer_encode_whole(tokenizer, text, bytes,
                                                                 SL_SPECIAL_PARSED, &tokens);
    if (status == SL_OK) status = print_ids(s, &tokens);
    sl_tokens_free(&tokens);
    return status;
}

/* Ids are separated by blanks, commas and brackets; pieces are written as the bytes they are, but
 * to a terminal. */
static sl_status decode(const sl_settings *s, const sl_tokenizer *tokenizer, const char *text)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    FILE *out = open_memstream(&bytes, &n_bytes);
    if (!out) return SL_ERR_MEMORY;
    bool begins = true;
    sl_status status = SL_OK;
    for (const char *c = text + strspn(text, " \t\r\n,[]"); *c && status == SL_OK;
         c += strspn(c, " \t\r\n,[]")) {
        char *end;
        long id = strtol(c, &end, 10);
        if (end == c || id < 0 || id >= sl_tokenizer_n_tokens(tokenizer)) {
            sl_error("'%.12s' is no token id: expected 0 to %d", c,
                     sl_tokenizer_n_tokens(tokenizer) - 1);
            status = SL_ERR_OPTION;
            break;
        }
        sl_text piece = sl_tokenizer_text(tokenizer, &begins, (int32_t)id);
        fwrite(piece.data, 1, piece.bytes, out);
        c = end;
    }
    if (fclose(out) != 0) status = SL_ERR_MEMORY;
    if (status == SL_OK && s->json) {
        json_t *value = json_stringn(bytes, n_bytes);
        if (!value) sl_error("the bytes are not UTF-8, which JSON cannot say: leave --json out");
        status = value ? sl_report_print(json_pack("{s:o}", "text", value)) : SL_ERR_FORMAT;
    } else if (status == SL_OK) {
        sl_report_text(bytes, n_bytes);
    }
    free(bytes);
    return status;
}

static sl_status tokenize(const sl_settings *s)
{
    if (!s->model) {
        sl_error("no model: give one with -m FILE.gguf");
        return SL_ERR_OPTION;
    }
    sl_model_setup setup = {.model = s->model, .settings = s};
    char *text = NULL;
    size_t bytes = 0;
    sl_status status = sl_model_setup_open(&setup, SL_SETUP_TOKENIZER);
    if (status == SL_OK) status = sl_read_file("-", &text, &bytes);
    if (status == SL_OK)
        status = s->decode ? decode(s, setup.tokenizer, text)
                           : encode(s, setup.tokenizer, text, bytes);
    if (status == SL_OK) status = sl_process_flush_stdout();
    free(text);
    sl_model_setup_close(&setup);
    return status;
}

static int tokenize_command(sl_settings *settings)
{
    return sl_rank0_command_run(tokenize, settings);
}

static const sl_option OWN[] = {
    {"decode", 0, NULL, NULL, "ids on stdin to text", SL_SETS_FLAG(decode)},
    {"no-special", 0, NULL, NULL, "none is added, and those in the text are text",
     SL_SETS_FLAG(no_special)},
    {0},
};

const sl_command sl_cmd_tokenize = {
    .name = "tokenize",
    .summary = "text on stdin to token ids, and back",
    .usage = "-m MODEL",
    .about =
        "Text on stdin to token ids on stdout, separated by spaces, and back. The ids are those of "
        "a prompt: special tokens in the text count, and BOS and EOS are added where the model's "
        "file asks for them.",
    .examples = "  echo 'Hello world' | sluice tokenize -m model.gguf\n"
                "  echo '19556 905' | sluice tokenize -m model.gguf --decode",
    .groups = {sl_options_model, OWN, sl_options_talk},
    .run = tokenize_command,
};
