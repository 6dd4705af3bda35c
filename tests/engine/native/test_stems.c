/* Which sequences of a batch share what they begin with. */
#include "engine/native/stems.h"

#include "base/random.h"
#include "engine/sequences.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MOST = 6, LENGTH = 8 };

static int columns_with(const me_sequence *sequences, int n, const me_stems *stems) {
    int columns = 0;
    for (int i = 0; i < stems->n; i++)
        columns += stems->stems[i].n;
    for (int i = 0; i < n; i++)
        columns += me_sequence_columns(&sequences[i]) -
                   (stems->stem_of[i] < 0 ? 0 : stems->stems[stems->stem_of[i]].n);
    return columns;
}

/* Tokens that the sequences of a group begin with and none of them reads; 0 for a group of one. */
static int common_of(const me_sequence *sequences, int n, const int *group_of, int group) {
    int first = -1, common = 0, members = 0;
    for (int i = 0; i < n; i++) {
        if (group_of[i] != group) continue;
        if (members++ == 0) {
            first = i;
            common = sequences[i].read_pos;
        }
        int same = 0;
        while (same < common && same < sequences[i].read_pos &&
               sequences[i].tokens[same] == sequences[first].tokens[same])
            same++;
        common = same;
    }
    return members > 1 ? common : 0;
}

/* The fewest columns over all ways to part the sequences from number `at` on into groups. */
static int fewest(const me_sequence *sequences, int n, int *group_of, int at, int n_groups) {
    if (at == n) {
        int columns = 0;
        for (int i = 0; i < n; i++)
            columns += me_sequence_columns(&sequences[i]);
        for (int g = 0; g < n_groups; g++) {
            int members = 0;
            for (int i = 0; i < n; i++)
                members += group_of[i] == g;
            columns -= (members - 1) * common_of(sequences, n, group_of, g);
        }
        return columns;
    }
    int best = INT32_MAX;
    for (int g = 0; g <= n_groups; g++) {
        group_of[at] = g;
        const int columns = fewest(sequences, n, group_of, at + 1, g == n_groups ? n_groups + 1 : n_groups);
        if (columns < best) best = columns;
    }
    return best;
}

static void check_stems(const me_sequence *sequences, int n, const me_stems *stems) {
    for (int i = 0; i < n; i++) {
        assert_in_range(stems->stem_of[i] + 1, 0, stems->n);
        if (stems->stem_of[i] < 0) continue;
        const me_stem *stem = &stems->stems[stems->stem_of[i]];
        assert_in_range(stem->n, 1, sequences[i].read_pos);
        for (int t = 0; t < stem->n; t++)
            assert_int_equal(sequences[i].tokens[t], sequences[stem->sequence].tokens[t]);
    }
}

/* Short sequences of few different tokens: many begin alike, some are the same, and some end within others. */
static void stems_save_the_most_columns(void **state) {
    (void)state;
    me_random random;
    me_random_seed(&random, 3);
    for (int round = 0; round < 200; round++) {
        int32_t tokens[MOST][LENGTH];
        me_sequence sequences[MOST];
        const int n = 1 + (int)(me_random_bits(&random) % MOST);
        for (int i = 0; i < n; i++) {
            const int length = 1 + (int)(me_random_bits(&random) % LENGTH);
            for (int t = 0; t < length; t++)
                tokens[i][t] = (int32_t)(me_random_bits(&random) % 2);
            const int read = (int)(me_random_bits(&random) % (uint64_t)length);
            sequences[i] = (me_sequence){
                .tokens = tokens[i], .n_tokens = length, .read_pos = read, .n_read = length - read};
        }
        me_stems stems;
        int group_of[MOST];
        assert_int_equal(me_stems_find(sequences, n, false, &stems, NULL), MOBIEDIT_OK);
        check_stems(sequences, n, &stems);
        assert_int_equal(columns_with(sequences, n, &stems), fewest(sequences, n, group_of, 0, 0));
        me_stems_free(&stems);
    }
}

static void two_kinds_have_two_stems(void **state) {
    (void)state;
    static const int32_t texts[4][4] = {{1, 2, 3, 4}, {9, 8, 7, 1}, {1, 2, 3, 5}, {9, 8, 7, 2}};
    me_sequence sequences[4];
    for (int i = 0; i < 4; i++)
        sequences[i] = (me_sequence){.tokens = texts[i], .n_tokens = 4, .read_pos = 3, .n_read = 1};
    me_stems stems;
    assert_int_equal(me_stems_find(sequences, 4, false, &stems, NULL), MOBIEDIT_OK);
    assert_int_equal(stems.n, 2);
    assert_int_equal(columns_with(sequences, 4, &stems), 10);
    assert_int_equal(stems.stem_of[0], stems.stem_of[2]);
    assert_int_equal(stems.stem_of[1], stems.stem_of[3]);
    me_stems_free(&stems);
}

/* A stem may go on behind an edited position only where that is no matter. */
static void a_stem_ends_before_the_edit(void **state) {
    (void)state;
    static const int32_t text[] = {1, 2, 3, 4, 5};
    me_sequence sequences[2];
    for (int i = 0; i < 2; i++)
        sequences[i] =
            (me_sequence){.tokens = text, .n_tokens = 5, .edit_pos = 3 - i, .read_pos = 4, .n_read = 1};
    for (int unedited = 0; unedited <= 1; unedited++) {
        me_stems stems;
        assert_int_equal(me_stems_find(sequences, 2, unedited, &stems, NULL), MOBIEDIT_OK);
        assert_int_equal(stems.n, 1);
        assert_int_equal(stems.stems[0].n, unedited ? 2 : 4);
        me_stems_free(&stems);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stems_save_the_most_columns),
        cmocka_unit_test(two_kinds_have_two_stems),
        cmocka_unit_test(a_stem_ends_before_the_edit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
