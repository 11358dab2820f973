/* tests/unit/launch/train/test_train_texts.c - pieces of texts are as the model's file asks: each
 * begins with BOS, where the file does, and a passage is repeated without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launch/train/train_texts.h"
#include "tests/support/tiny_model.h"

enum { PIECE = 64, PIECES = 40 };

static char path[] = "/tmp/test_train_texts.XXXXXX";

static int write_text(void **state)
{
    (void)state;
    FILE *file = fdopen(mkstemp(path), "w");
    for (int i = 0; file && i < 200; i++) fprintf(file, "Sentence %d of a text.\n", i);
    return file ? fclose(file) : -1;
}

static int remove_text(void **state)
{
    (void)state;
    return unlink(path);
}

/* All pieces of a run, those held out behind the others. */
static void take_pieces(tiny_bos bos, double repeat, int32_t pieces[2 * PIECES][PIECE])
{
    tiny_model model;
    sl_train_texts *texts;
    const sl_train_texts_options options = {
        .paths = path, .longest = PIECE, .seed = 3, .repeat = repeat};
    tiny_model_open(bos, &model);
    assert_int_equal(sl_train_texts_open(&options, model.tokenizer, model.chat, &texts), SL_OK);
    for (int i = 0; i < 2 * PIECES; i++)
        sl_train_texts_piece(texts, i < PIECES ? SL_TRAIN_PIECE : SL_HELD_OUT_PIECE,
                             (uint64_t)i % PIECES, PIECE, pieces[i]);
    sl_train_texts_close(texts);
    tiny_model_close(&model);
}

static void test_pieces_begin_with_bos(void **state)
{
    (void)state;
    static int32_t pieces[2 * PIECES][PIECE];
    for (int repeat = 0; repeat < 2; repeat++) {
        take_pieces(TINY_WITH_BOS, repeat, pieces);
        for (int i = 0; i < 2 * PIECES; i++)
            for (int at = 0; at < PIECE; at++)
                assert_int_equal(pieces[i][at] == TINY_IM_START, at == 0);
    }
}

static void test_no_bos_where_none_is_asked(void **state)
{
    (void)state;
    static int32_t pieces[2 * PIECES][PIECE];
    take_pieces(TINY_WITHOUT_BOS, 0, pieces);
    for (int i = 0; i < 2 * PIECES; i++)
        for (int at = 0; at < PIECE; at++) assert_int_not_equal(pieces[i][at], TINY_IM_START);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_begin_with_bos),
        cmocka_unit_test(test_no_bos_where_none_is_asked),
    };
    return cmocka_run_group_tests(tests, write_text, remove_text);
}
