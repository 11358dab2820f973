/* tests/fuzz/fuzz_records.c - the input is a file of instructions and answers for `train sft`; its
 * first byte says whether there is a chat template, and how long records may be. */
#include "launch/train/train_record_file.h"
#include "runtime/base/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

static tiny_model model;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    tiny_model_open(TINY_WITH_BOS, &model);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { CHAT = 1, LONG = 2 };
    if (size == 0) return 0;
    const sl_train_record_reading reading = {.tokenizer = model.tokenizer,
                                             .chat = data[0] & CHAT ? model.chat : NULL,
                                             .shortest = 4,
                                             .longest = data[0] & LONG ? 1024 : 64,
                                             .shortest_prompt = 2};
    sl_train_record_file file;
    sl_status status = sl_train_record_file_parse(&reading, "fuzz", (const char *)data + 1,
                                                  size - 1, &file);
    SL_ASSERT(status == SL_OK || status == SL_ERR_OPTION);
    size_t at = 0;
    for (size_t i = 0; i < file.n; i++) {
        const sl_train_record_place *place = &file.records[i];
        SL_ASSERT(place->begin == at);
        SL_ASSERT(place->n >= reading.shortest && place->n <= reading.longest);
        SL_ASSERT(place->n_prompt >= reading.shortest_prompt && place->n_prompt < place->n);
        at += place->n;
    }
    SL_ASSERT(at == file.tokens.n);
    for (size_t i = 0; i < file.tokens.n; i++)
        SL_ASSERT(file.tokens.ids[i] >= 0 &&
                  file.tokens.ids[i] < sl_tokenizer_n_tokens(model.tokenizer));
    sl_train_record_file_fini(&file);
    return 0;
}
