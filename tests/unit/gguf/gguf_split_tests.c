/* tests/unit/gguf/gguf_split_tests.c - models in several files: read as one, and refused where a
 * part is missing, of another model, or not what its name says. */
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/base/log.h"
#include "tests/support/capture.h"
#include "tests/unit/gguf/gguf_trial.h"

enum { PARTS = 3, TENSORS = 4, FLOATS = 2048 };

/* Two pages each, so that one of them may be a hole. */
static const struct {
    const char *name;
    int part;
} LIST[TENSORS] = {{"a", 0}, {"b", 1}, {"c", 1}, {"d", 2}};

static char folder[] = "/tmp/test_gguf_split.XXXXXX";

static const char *path_of(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
    return path;
}

static const char *part_path(int part)
{
    char name[64];
    snprintf(name, sizeof name, "model-%05d-of-%05d", part + 1, PARTS);
    return path_of(name);
}

/* Keys that a part has; those of the first part of a good model at first. */
typedef struct {
    uint32_t no, count;
    int32_t n_tensors;
    const char *left_out; /* a key that is not there */
} split_keys;

static void put_split_keys(sl_gguf_writer *w, const split_keys *k)
{
    static const char *const KEYS[] = {"split.no", "split.count", "split.tensors.count"};
    for (size_t i = 0; i < 3; i++) {
        if (k->left_out && strcmp(KEYS[i], k->left_out) == 0) continue;
        if (i == 2)
            sl_gguf_put_i32(w, KEYS[i], k->n_tensors);
        else
            sl_gguf_put_u16(w, KEYS[i], (uint16_t)(i == 0 ? k->no : k->count));
    }
}

static void put_floats(sl_gguf_writer *w, const char *name, float first)
{
    float data[FLOATS];
    for (int i = 0; i < FLOATS; i++) data[i] = first + (float)i;
    sl_gguf_put_tensor(w, name, SL_TYPE_F32, (const uint64_t[]){FLOATS}, 1, data, sizeof data);
}

static void save(sl_gguf_writer *w, const char *path)
{
    assert_int_equal(sl_gguf_writer_save(w, path), SL_OK);
    sl_gguf_writer_fini(w);
}

/* A part of the good model, with other keys than it should have. */
static void save_part_as(int part, const split_keys *keys, const char *path)
{
    sl_gguf_writer w = {0};
    if (part == 0) sl_gguf_put_string(&w, "general.name", "split");
    put_split_keys(&w, keys);
    for (int i = 0; i < TENSORS; i++)
        if (LIST[i].part == part) put_floats(&w, LIST[i].name, (float)(1000 * i));
    save(&w, path);
}

static split_keys good_keys(int part)
{
    return (split_keys){.no = (uint32_t)part, .count = PARTS, .n_tensors = TENSORS};
}

static void save_model(void)
{
    for (int part = 0; part < PARTS; part++) {
        split_keys keys = good_keys(part);
        save_part_as(part, &keys, part_path(part));
    }
}

static sl_gguf *open_model(void)
{
    sl_gguf *gguf = NULL;
    assert_int_equal(sl_gguf_open(part_path(0), &gguf), SL_OK);
    return gguf;
}

/* It is refused with one error, which has all these words. */
static void check_refused(const char *path, sl_status status, const char *word, const char *other)
{
    char said[2048];
    capture talk;
    sl_gguf *gguf = NULL;
    int errors = sl_log_errors();
    sl_log_set_level(SL_LOG_ERROR);
    capture_begin(&talk);
    sl_status found = sl_gguf_open(path, &gguf);
    capture_end(&talk, said, sizeof said);
    sl_log_set_level(SL_LOG_NONE);
    if (found != status || !strstr(said, word) || !strstr(said, other))
        fail_msg("status %d, expected %d with '%s' and '%s': %s", found, status, word, other, said);
    assert_null(gguf);
    assert_int_equal(sl_log_errors() - errors, 1);
}

/* ---- good models ---- */

static void check_tensors(const sl_gguf *gguf)
{
    assert_int_equal(sl_gguf_n_tensors(gguf), TENSORS);
    for (int i = 0; i < TENSORS; i++) {
        float data[FLOATS];
        const sl_gguf_tensor *t = sl_gguf_find(gguf, LIST[i].name);
        assert_ptr_equal(t, sl_gguf_tensor_at(gguf, (size_t)i));
        assert_int_equal(t->part, LIST[i].part);
        assert_int_equal(sl_gguf_read(gguf, t, 0, sizeof data, data), SL_OK);
        assert_true(data[0] == (float)(1000 * i) && data[FLOATS - 1] == data[0] + FLOATS - 1);
        assert_int_equal(sl_gguf_read_once(gguf, t, 4, 4, data), SL_OK);
        assert_true(data[0] == (float)(1000 * i) + 1);
        assert_false(sl_gguf_has_hole(gguf, t));
    }
}

static void test_read(void **state)
{
    (void)state;
    sl_text name;
    size_t bytes = 0;
    save_model();
    sl_gguf *gguf = open_model();
    assert_int_equal(sl_gguf_n_parts(gguf), PARTS);
    assert_string_equal(sl_gguf_path(gguf), part_path(0));
    for (int i = 0; i < PARTS; i++) {
        struct stat info;
        assert_string_equal(sl_gguf_part_path(gguf, (size_t)i), part_path(i));
        assert_int_equal(stat(part_path(i), &info), 0);
        assert_int_equal(sl_gguf_part_bytes(gguf, (size_t)i), info.st_size);
        bytes += (size_t)info.st_size;
    }
    assert_int_equal(sl_gguf_bytes(gguf), bytes);
    assert_true(sl_gguf_text(gguf, "general.name", &name) && sl_text_is(name, "split"));
    assert_int_equal(sl_gguf_n_keys(gguf), 4);
    check_tensors(gguf);
    assert_int_equal(sl_gguf_load(gguf), SL_OK);
    check_tensors(gguf);
    sl_gguf_close(gguf);
}

/* --no-tensor-first-split of gguf-split. */
static void test_first_without_tensors(void **state)
{
    (void)state;
    save_model();
    sl_gguf_writer w = {0};
    split_keys keys = good_keys(0);
    keys.n_tensors = TENSORS - 1;
    put_split_keys(&w, &keys);
    save(&w, part_path(0));
    for (int part = 1; part < PARTS; part++) {
        keys.no = (uint32_t)part;
        save_part_as(part, &keys, part_path(part));
    }
    sl_gguf *gguf = open_model();
    assert_int_equal(sl_gguf_n_tensors(gguf), TENSORS - 1);
    assert_int_equal(sl_gguf_find(gguf, "b")->part, 1);
    sl_gguf_close(gguf);
}

/* What was split into one file, or merged, keeps the keys. */
static void test_not_split(void **state)
{
    (void)state;
    for (uint32_t count = 0; count < 2; count++) {
        sl_gguf *gguf;
        split_keys keys = {.count = count, .n_tensors = 77};
        save_part_as(1, &keys, path_of("merged"));
        assert_int_equal(sl_gguf_open(path_of("merged"), &gguf), SL_OK);
        assert_true(sl_gguf_n_parts(gguf) == 1 && sl_gguf_n_tensors(gguf) == 2);
        sl_gguf_close(gguf);
    }
}

/* The headers of all parts are in it. */
static void test_header_hash(void **state)
{
    (void)state;
    save_model();
    sl_gguf *gguf = open_model();
    uint64_t hash = sl_gguf_header_hash(gguf);
    sl_gguf_close(gguf);
    gguf = open_model();
    assert_true(sl_gguf_header_hash(gguf) == hash);
    sl_gguf_close(gguf);
    sl_gguf_writer w = {0};
    split_keys keys = good_keys(2);
    put_split_keys(&w, &keys);
    put_floats(&w, "e", 0);
    save(&w, part_path(2));
    gguf = open_model();
    assert_true(sl_gguf_header_hash(gguf) != hash);
    sl_gguf_close(gguf);
}

static void test_changes(void **state)
{
    (void)state;
    const char *changed = NULL;
    save_model();
    sl_gguf *gguf = open_model();
    const sl_gguf_tensor *c = sl_gguf_find(gguf, "c");
    assert_int_equal(sl_gguf_change(gguf, &changed), SL_FILE_SAME);
    assert_int_equal(truncate(part_path(1), (off_t)c->offset + 4096), 0);
    assert_int_equal(sl_gguf_change(gguf, &changed), SL_FILE_CUT);
    assert_string_equal(changed, part_path(1));
    assert_int_equal(truncate(part_path(1), (off_t)(c->offset + c->data_bytes)), 0);
    assert_true(sl_gguf_has_hole(gguf, c));
    assert_false(sl_gguf_has_hole(gguf, sl_gguf_find(gguf, "a")));
    assert_false(sl_gguf_has_hole(gguf, sl_gguf_find(gguf, "d")));
    sl_gguf_close(gguf);

    save_model();
    gguf = open_model();
    unlink(part_path(2));
    assert_int_equal(sl_gguf_change(gguf, &changed), SL_FILE_GONE);
    assert_string_equal(changed, part_path(2));
    check_tensors(gguf); /* the file is still open */
    sl_gguf_close(gguf);
}

/* ---- what is wrong ---- */

static void test_missing(void **state)
{
    (void)state;
    save_model();
    unlink(part_path(2));
    check_refused(part_path(0), SL_ERR_FILE,
                  "model-00003-of-00003.gguf is missing: ", "Copy all of them");
    unlink(part_path(1));
    check_refused(part_path(0), SL_ERR_FILE, "model-00002-of-00003.gguf is missing, and 1 more",
                  "first of 3 parts");
    save_model();
    unlink(part_path(1));
    assert_int_equal(mkdir(part_path(1), 0700), 0);
    check_refused(part_path(0), SL_ERR_FILE, "cannot open ", "model-00002-of-00003.gguf");
    assert_int_equal(rmdir(part_path(1)), 0);
}

/* Another part than the first, and a first one under another name. */
static void test_not_the_first(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"model", "model-00001-of-00004", "model-00002-of-00003",
                                        "-00001-of-00003x", "model-0001-of-0003"};
    save_model();
    check_refused(part_path(1), SL_ERR_FORMAT, "model-00002-of-00003.gguf is part 2 of 3",
                  "/model-00001-of-00003.gguf, instead");
    split_keys keys = good_keys(1);
    save_part_as(1, &keys, path_of("other"));
    check_refused(path_of("other"), SL_ERR_FORMAT, "other.gguf is part 2 of 3",
                  " NAME-00001-of-00003.gguf, instead");
    keys = good_keys(0);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        save_part_as(0, &keys, path_of(NAMES[i]));
        check_refused(path_of(NAMES[i]), SL_ERR_FORMAT, "must be called NAME-00001-of-00003.gguf",
                      NAMES[i]);
        unlink(path_of(NAMES[i]));
    }
}

/* Part 2 has keys that it should not have. */
static void test_foreign_keys(void **state)
{
    (void)state;
    static const struct {
        split_keys keys;
        const char *said;
    } ROWS[] = {
        {{1, 4, TENSORS, NULL}, "is one of 4 parts, but "},
        {{1, 0, TENSORS, NULL}, "is one of 0 parts, but "},
        {{2, PARTS, TENSORS, NULL}, "is part 3 of the model, not part 2"},
        {{0, PARTS, TENSORS, NULL}, "is part 1 of the model once more, not part 2"},
        {{65535, PARTS, TENSORS, NULL}, "is part 65536 of the model, not part 2"},
        {{1, PARTS, TENSORS + 1, NULL}, "is of a model of 5 tensors, but "},
        {{1, PARTS, -1, NULL}, "key split.tensors.count is not a count"},
        {{1, PARTS, TENSORS, "split.no"}, "key split.no is missing"},
        {{1, PARTS, TENSORS, "split.count"}, "key split.count is missing"},
        {{1, PARTS, TENSORS, "split.tensors.count"}, "key split.tensors.count is missing"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        save_model();
        save_part_as(1, &ROWS[i].keys, part_path(1));
        check_refused(part_path(0), SL_ERR_FORMAT, ROWS[i].said, "model-00002-of-00003.gguf");
    }
    save_model();
    sl_gguf_writer w = {0};
    sl_gguf_put_string(&w, "split.count", "three");
    save(&w, part_path(0));
    check_refused(part_path(0), SL_ERR_FORMAT, "key split.count is not a count", "00001-of-00003");
    split_keys keys = good_keys(0);
    keys.count = 60000;
    save_part_as(0, &keys, path_of("model-00001-of-60000"));
    check_refused(path_of("model-00001-of-60000"), SL_ERR_UNSUPPORTED, "60000 files",
                  "llama-gguf-split --merge");
}

/* Part 2 repeats keys of the model, or says something else. */
static void test_model_keys(void **state)
{
    (void)state;
    static const struct {
        const char *key, *text;
        bool is_fine;
    } ROWS[] = {
        {"general.name", "split", true},
        {"general.alignment", "32", true},
        {"general.name", "splat", false},
        {"general.name", "splits", false},
        {"llama.block_count", "4", false}, /* the first part does not have it */
        {"splits", "1", false},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        sl_gguf_writer w = {0};
        split_keys keys = good_keys(1);
        save_model();
        put_split_keys(&w, &keys);
        if (strcmp(ROWS[i].key, "general.alignment") == 0)
            sl_gguf_put_u32(&w, ROWS[i].key, 32);
        else
            sl_gguf_put_string(&w, ROWS[i].key, ROWS[i].text);
        for (int k = 0; k < TENSORS; k++)
            if (LIST[k].part == 1) put_floats(&w, LIST[k].name, (float)(1000 * k));
        save(&w, part_path(1));
        if (ROWS[i].is_fine)
            sl_gguf_close(open_model());
        else
            check_refused(part_path(0), SL_ERR_FORMAT, ROWS[i].key,
                          "model-00002-of-00003.gguf: key ");
    }
    save_model();
    sl_gguf_writer w = {0};
    split_keys keys = good_keys(1);
    put_split_keys(&w, &keys);
    sl_gguf_put_u32(&w, "general.name", 5); /* of another kind */
    for (int k = 0; k < TENSORS; k++)
        if (LIST[k].part == 1) put_floats(&w, LIST[k].name, (float)(1000 * k));
    save(&w, part_path(1));
    check_refused(part_path(0), SL_ERR_FORMAT, "key general.name is not as in ",
                  "model-00002-of-00003.gguf");
}

/* Part 3 as its keys should be, with these tensors. */
static void save_third(const char *const *names, size_t n)
{
    sl_gguf_writer w = {0};
    split_keys keys = good_keys(2);
    put_split_keys(&w, &keys);
    for (size_t i = 0; i < n; i++) put_floats(&w, names[i], 0);
    save(&w, part_path(2));
}

static void test_foreign_tensors(void **state)
{
    (void)state;
    save_model();
    save_third(NULL, 0);
    check_refused(part_path(0), SL_ERR_FORMAT, "have 3 tensors together",
                  "split.tensors.count is 4");
    save_third((const char *const[]){"d", "e"}, 2);
    check_refused(part_path(0), SL_ERR_FORMAT, "have 5 tensors together", "00001-of-00003");
    save_third((const char *const[]){"b"}, 1);
    check_refused(part_path(0), SL_ERR_FORMAT, "tensor b is also in ", "another model");
    save_third((const char *const[]){"d", "d"}, 2);
    check_refused(part_path(0), SL_ERR_FORMAT, "tensors together", "00001-of-00003");
}

/* The parts are no way around the limits of one file: part 2 has the last key too many. */
static void test_limits(void **state)
{
    (void)state;
    save_model();
    sl_gguf_writer w = {0};
    split_keys keys = good_keys(0);
    put_split_keys(&w, &keys);
    for (int i = 0; i < (1 << 16) - 5; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        sl_gguf_put_bool(&w, key, true);
    }
    put_floats(&w, "a", 0);
    save(&w, part_path(0));
    check_refused(part_path(0), SL_ERR_FORMAT, "model-00002-of-00003.gguf: ", "more keys");
}

static void test_hostile_part(void **state)
{
    (void)state;
    save_model();
    assert_int_equal(truncate(part_path(1), 5000), 0);
    check_refused(part_path(0), SL_ERR_FORMAT, "model-00002-of-00003.gguf: tensor b",
                  "beyond the end");
    assert_int_equal(truncate(part_path(1), 30), 0);
    check_refused(part_path(0), SL_ERR_FORMAT, "model-00002-of-00003.gguf: ", "more keys");
    assert_int_equal(truncate(part_path(1), 0), 0);
    check_refused(part_path(0), SL_ERR_FILE, "model-00002-of-00003.gguf", "it is empty");
}

/* The others of a part in memory are nowhere. */
static void test_in_memory(void **state)
{
    (void)state;
    size_t n_bytes;
    sl_gguf_writer w = {0};
    split_keys keys = good_keys(0);
    put_split_keys(&w, &keys);
    uint8_t *bytes = sl_gguf_writer_encode(&w, &n_bytes);
    sl_gguf_writer_fini(&w);
    assert_int_equal(trial_run(bytes, n_bytes), SL_ERR_UNSUPPORTED);
    free(bytes);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info, (void)type, (void)place;
    return remove(path);
}

int gguf_split_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),          cmocka_unit_test(test_first_without_tensors),
        cmocka_unit_test(test_not_split),     cmocka_unit_test(test_header_hash),
        cmocka_unit_test(test_changes),       cmocka_unit_test(test_missing),
        cmocka_unit_test(test_not_the_first), cmocka_unit_test(test_foreign_keys),
        cmocka_unit_test(test_model_keys),    cmocka_unit_test(test_foreign_tensors),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_hostile_part),
        cmocka_unit_test(test_in_memory),
    };
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests_name("gguf split", tests, NULL, NULL);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed;
}
