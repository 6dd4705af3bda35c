/* What was read before is recalled whole, and only that. */
#include "edit/memo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void what_is_kept_is_recalled(void **state) {
    (void)state;
    me_memo memo = {0};
    int out[2] = {0};
    assert_false(me_memo_recall(&memo, 1, out, sizeof out));
    me_memo_keep(&memo, 1, (int[]){3, 4}, sizeof out);
    me_memo_keep(&memo, 2, (int[]){5, 6}, sizeof out);
    assert_true(me_memo_recall(&memo, 1, out, sizeof out));
    assert_int_equal(out[1], 4);
    assert_true(me_memo_recall(&memo, 2, out, sizeof out));
    assert_int_equal(out[0], 5);
    assert_false(me_memo_recall(&memo, 2, out, sizeof out[0])); /* of another size */
    assert_false(me_memo_recall(&memo, 3, out, sizeof out));
    me_memo_free(&memo);
}

/* More entries than there is room for: the oldest go, in their order. */
static void the_oldest_make_room(void **state) {
    (void)state;
    me_memo memo = {0};
    for (int i = 0; i < ME_MEMO_ENTRIES + 2; i++)
        me_memo_keep(&memo, (uint64_t)i, &i, sizeof i);
    int out;
    assert_false(me_memo_recall(&memo, 0, &out, sizeof out));
    assert_false(me_memo_recall(&memo, 1, &out, sizeof out));
    for (int i = 2; i < ME_MEMO_ENTRIES + 2; i++) {
        assert_true(me_memo_recall(&memo, (uint64_t)i, &out, sizeof out));
        assert_int_equal(out, i);
    }
    assert_int_equal(memo.n, ME_MEMO_ENTRIES);
    me_memo_free(&memo);
    assert_int_equal(memo.bytes, 0);
}

static void bytes_are_bounded(void **state) {
    (void)state;
    const size_t half = ME_MEMO_BYTES / 2 + 1;
    me_memo memo = {0};
    char *data = calloc(2, half);
    assert_non_null(data);
    me_memo_keep(&memo, 1, data, half);
    me_memo_keep(&memo, 2, data, half);
    assert_false(me_memo_recall(&memo, 1, data, half));
    assert_true(me_memo_recall(&memo, 2, data, half));
    me_memo_keep(&memo, 3, data, 2 * half); /* no room at all: what is there stays */
    assert_false(me_memo_recall(&memo, 3, data, 2 * half));
    assert_true(me_memo_recall(&memo, 2, data, half));
    me_memo_free(&memo);
    free(data);
}

static void whatever_is_read_tells_hashes_apart(void **state) {
    (void)state;
    const int32_t tokens[] = {1, 2, 3}, others[] = {1, 2, 4};
    const me_sequence one = {.tokens = tokens, .n_tokens = 3, .read_pos = 1, .n_read = 2};
    me_sequence changed = one;
    const uint64_t hash = me_memo_hash(ME_MEMO_KEYS, 5, &one, 1);
    assert_true(hash == me_memo_hash(ME_MEMO_KEYS, 5, &changed, 1));
    assert_true(hash != me_memo_hash(ME_MEMO_ANSWERS, 5, &one, 1));
    assert_true(hash != me_memo_hash(ME_MEMO_KEYS, 6, &one, 1));
    changed.tokens = others;
    assert_true(hash != me_memo_hash(ME_MEMO_KEYS, 5, &changed, 1));
    changed = one;
    changed.read_pos = 0;
    assert_true(hash != me_memo_hash(ME_MEMO_KEYS, 5, &changed, 1));
    changed = one;
    changed.n_read = 1;
    assert_true(hash != me_memo_hash(ME_MEMO_KEYS, 5, &changed, 1));
    changed = one;
    changed.n_tokens = 2;
    assert_true(hash != me_memo_hash(ME_MEMO_KEYS, 5, &changed, 1));
    const me_sequence two[] = {one, one};
    assert_true(hash != me_memo_hash(ME_MEMO_KEYS, 5, two, 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_recalled),
        cmocka_unit_test(the_oldest_make_room),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(whatever_is_read_tells_hashes_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
