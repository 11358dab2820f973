/* test_kernels.c - which table is chosen. */
#include "runtime/base/log.h"
#include "tests/unit/kernels/kernel_cases.h"

static void ref_is_always_there(void **unused)
{
    (void)unused;
    assert_non_null(sl_kernels_named("ref"));
    assert_null(sl_kernels_named("sse9"));
    assert_null(sl_kernels_named(""));
}

static void tables_are_complete(void **unused)
{
    (void)unused;
    for (size_t s = 0; s < N_SETS; s++) {
        const sl_kernels *k = sl_kernels_named(set_names[s]);
        if (!k)
            print_message("set %s is not tested: this CPU has not what it needs\n", set_names[s]);
        if (!k) continue;
        assert_string_equal(k->name, set_names[s]);
        assert_true(k->quantize && k->matmul && k->rmsnorm && k->swiglu && k->geglu && k->add);
        for (int type = 0; type < SL_KV_TYPES; type++) {
            const sl_kv_layout *l = k->kv[type];
            sl_kv_type named = SL_KV_TYPES;
            assert_int_equal(sl_kv_type_named(l->name, &named), SL_OK);
            assert_int_equal(named, type);
            assert_int_equal(sl_kv_type_choose(l->name, k, 64, &named), SL_OK);
            assert_int_equal(named, type);
            assert_true(l->head_dim_step && l->page_bytes && l->put && l->copy && l->get &&
                        l->attend && l->scores && l->merge && l->finish);
        }
    }
}

static void obeys_the_environment(void **unused)
{
    (void)unused;
    const sl_kernels *kernels = NULL;
    for (size_t s = 0; s < N_SETS; s++) {
        if (!sl_kernels_named(set_names[s])) continue;
        setenv("SLUICE_KERNELS", set_names[s], 1);
        assert_int_equal(sl_kernels_choose(&kernels), SL_OK);
        assert_string_equal(kernels->name, set_names[s]);
    }
    const sl_kernels *best = kernels; /* the last that runs here */
    setenv("SLUICE_KERNELS", "", 1);
    assert_int_equal(sl_kernels_choose(&kernels), SL_OK);
    assert_ptr_equal(kernels, best);
    unsetenv("SLUICE_KERNELS");
    assert_int_equal(sl_kernels_choose(&kernels), SL_OK);
    assert_ptr_equal(kernels, best);
}

static void refuses_an_unknown_set(void **unused)
{
    (void)unused;
    const sl_kernels *kernels = NULL;
    int errors = sl_log_errors();
    setenv("SLUICE_KERNELS", "sse9", 1);
    assert_int_equal(sl_kernels_choose(&kernels), SL_ERR_OPTION);
    assert_null(kernels);
    assert_int_equal(sl_log_errors(), errors + 1);
    unsetenv("SLUICE_KERNELS");
}

static void refuses_an_unknown_layout(void **unused)
{
    (void)unused;
    sl_kv_type type = SL_KV_TYPES;
    int errors = sl_log_errors();
    assert_int_equal(sl_kv_type_named("q4_0", &type), SL_ERR_OPTION);
    assert_int_equal(type, SL_KV_TYPES);
    assert_int_equal(sl_log_errors(), errors + 1);
}

static void chooses_a_layout(void **unused)
{
    (void)unused;
    for (size_t s = 0; s < N_SETS; s++) {
        const sl_kernels *k = sl_kernels_named(set_names[s]);
        sl_kv_type type = SL_KV_TYPES;
        if (!k) continue;
        assert_int_equal(sl_kv_type_choose("auto", k, 64, &type), SL_OK);
        assert_int_equal(type, strncmp(k->name, "amx", 3) == 0 ? SL_KV_BF16 : SL_KV_F16);
        assert_int_equal(sl_kv_type_choose("auto", k, 80, &type), SL_OK);
        assert_int_equal(type, SL_KV_F16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ref_is_always_there),       cmocka_unit_test(tables_are_complete),
        cmocka_unit_test(obeys_the_environment),     cmocka_unit_test(refuses_an_unknown_set),
        cmocka_unit_test(refuses_an_unknown_layout), cmocka_unit_test(chooses_a_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
