/* A file of facts that memory does not suffice for is not read by half: a fact that was not read for want of
 * memory is not one that cannot be used. Linked with me_calloc wrapped. */
#include "eval/dataset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int left; /* allocations until one fails; below 0: none does */

/* The linker's names for me_calloc itself, and for what is called in its place. */
void *real_calloc(size_t n, size_t size) __asm__("__real_me_calloc");
void *failing_calloc(size_t n, size_t size) __asm__("__wrap_me_calloc");

void *failing_calloc(size_t n, size_t size) {
    return left-- == 0 ? NULL : real_calloc(n, size);
}

static const char JSON[] = "[{\"subject\":\"Ann\",\"src\":\"Who is Ann?\",\"alt\":\"Lima\"},"
                           "{\"subject\":\"Bob\",\"src\":\"Who is Bob?\",\"alt\":\"Oslo\"}]";
static const char CSV[] = "prompt,subject,target\nWho is Ann?,Ann,Lima\nWho is Bob?,Bob,Oslo\n";

/* Whether all allocations were made. */
static bool read_with(const char *text, const char *name, int allocations) {
    me_dataset facts;
    mobiedit_error err = {0};
    left = allocations;
    const mobiedit_status status = me_dataset_parse(text, strlen(text), name, &facts, &err);
    const bool enough = left >= 0;
    if (!enough) {
        if (status != MOBIEDIT_E_MEMORY)
            fail_msg("%s, %d: %d %s", name, allocations, (int)status, err.message);
        return false;
    }
    assert_int_equal(status, MOBIEDIT_OK);
    assert_int_equal(facts.n, 2);
    assert_int_equal(facts.unusable.n, 0);
    me_dataset_free(&facts);
    return true;
}

static void want_of_memory_stops_the_reading(void **state) {
    (void)state;
    int n_json = 0, n_csv = 0;
    while (!read_with(JSON, "facts.json", n_json))
        n_json++;
    while (!read_with(CSV, "facts.csv", n_csv))
        n_csv++;
    assert_true(n_json > 2 && n_csv > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(want_of_memory_stops_the_reading)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
