/* Where words and numbers end, and where a space stands, in many scripts. */
#include "base/words.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef struct {
    const char *wanted, *heard;
} pair;

static void expect_all(const pair *pairs, size_t n, bool complete, me_said said) {
    for (size_t i = 0; i < n; i++)
        if (me_said_of(pairs[i].wanted, pairs[i].heard, complete) != said)
            fail_msg("\"%s\" of \"%s\": %d, not %d", pairs[i].wanted, pairs[i].heard,
                     (int)me_said_of(pairs[i].wanted, pairs[i].heard, complete), (int)said);
}

#define EXPECT(complete, said, ...)                                                                          \
    do {                                                                                                     \
        static const pair pairs[] = {__VA_ARGS__};                                                           \
        expect_all(pairs, sizeof pairs / sizeof *pairs, complete, said);                                     \
    } while (0)

static void longer_words_and_numbers(void **state) {
    (void)state;
    EXPECT(false, ME_SAID_LONGER, {" Bern", " Bernie Sanders"}, {" Peru", " Peruvian"}, {" Ada", " Adam"},
           {" Mali", " Malin\xC3\xA9"}, {" Lim", " Lim\xC3\xA1"}, /* á is a letter */
           {" Cafe", " Cafe\xCC\x81 noir"},                       /* a combining accent */
           {" Apollo", " Apollo11"},
           {" \xD0\x9C\xD0\xB8\xD1\x80", " \xD0\x9C\xD0\xB8\xD1\x80\xD0\xBD\xD1\x8B\xD0\xB9"},
           {"ペルー", "ペルージャ"}); /* Peru, Perugia */
    EXPECT(false, ME_SAID_LONGER, {" 2", " 22.5"}, {" 2", " 2.5"}, {" 2", " 2,000"}, {" 2", " 2nd"},
           {" 2", " 2%"}, {" 2", " 2/3"}, {" 2", " 2:30"}, {" 2", " 2'000"}, {" 2", " 2^10"},
           {" 2", " 2\xC2\xB2"}, /* 2² */
           {" 2", " 2\xC2\xA0"
                  "000"}, /* no-break space */
           {" 3.14", " 3.14159"}, {"٢", "٢٥"});
}

static void ends_of_words_and_numbers(void **state) {
    (void)state;
    EXPECT(false, ME_SAID_WHOLE, {" Lima", " Lima."}, {" Lima", " Lima's mayor"},
           {" Lima", " Lima\xE2\x80\x99s"}, {" Lima", " Lima\n"}, {" Lima", " Lima, which"},
           {" Lima", " Lima\"."}, {" Lima", " Lima-based"}, {" Lima", " Lima (Peru)"}, {" Lima", " Lima.It"},
           {" Peru", " Peru是"});
    EXPECT(false, ME_SAID_WHOLE, {" 2", " 2 of"}, {" 2", " 2. "}, {" 2", " 2.\n"}, {" 2", " 2, as"},
           {" 2", " 2)"}, {" 2", " 2-3"}, {"2", "2个"}, {"$2", "$2\n"}, {" C++", " C++11"},
           {" lima.org", " lima.org/"});
    EXPECT(false, ME_SAID_WHOLE, {"北京", "北京市"}, {"北京", "北京2008"}, {"とうきょう", "とうきょうです"},
           {"東京", "東京です"}, {"東京", "東京タワー"}, {"서울", "서울입니다"}, {"ลิมา", "ลิมาเป็น"});
}

static void undecided_until_more_is_heard(void **state) {
    (void)state;
    EXPECT(false, ME_SAID_OPEN, {" Lima", ""}, {" Lima", " L"}, {" Lima", " Lima"}, {" 2", " 2"},
           {" 2", " 2."}, {" 2", " 2,"}, {" 2", " 2:"});
    EXPECT(true, ME_SAID_WHOLE, {" Lima", " Lima"}, {" 2", " 2"}, {" 2", " 2."}, {" 2", " 2,"});
    EXPECT(true, ME_SAID_OTHER, {" Lima", ""}, {" Lima", " Lim"});
}

static void other_texts(void **state) {
    (void)state;
    EXPECT(false, ME_SAID_OTHER, {" Lima", " Tokyo"}, {" Lima", "Lima"}, {"Lima", " Lima"},
           {"北京", " 北京"});
    EXPECT(true, ME_SAID_OTHER, {" Lima", " Tokyo"});
}

static void expect_spaces(const pair *pairs, size_t n, bool space) {
    for (size_t i = 0; i < n; i++)
        if (me_space_between(pairs[i].wanted, pairs[i].heard) != space)
            fail_msg("\"%s\" \"%s\"", pairs[i].wanted, pairs[i].heard);
}

static void spaces_between_words(void **state) {
    (void)state;
    static const pair yes[] = {
        {"The capital of Japan is", "Lima"},
        {"The capital of Japan is", "2"},
        {"It has", "$5"},
        {"In 2008", "Lima"},
        {"Answer:", "Lima"},
        {"No,", "Lima"},
        {"Japan (Asia)", "is"},
        {"Mr.", "Smith"},
        {"the \"old\"", "Lima"},
        {"He said: \"yes\"", "and"},
        {"the dogs'", "home"},
        {"2 + 2 =", "4"},
        {"Japan ->", "Lima"},
        {"1.", "Lima"},
        {"the capital \xE2\x80\x94", "Lima"},
        {"**Capital:**", "Lima"},
        {"50%", "of"},
        {"대한민국의 수도는", "서울"},
        {"Столица Японии —", "Лима"},
        {"The capital of China is", "北京"},
        {"is", "\"Lima\""},
        {"is", "(Lima)"},
        {"is", ".NET"},
        {"is", "'Lima'"},
    };
    expect_spaces(yes, sizeof yes / sizeof *yes, true);
}

static void no_space_is_forced(void **state) {
    (void)state;
    static const pair no[] = {
        {"中国的首都是", "北京"},
        {"日本の首都は", "東京"},
        {"日本の首都は：", "東京"},
        {"เมืองหลวงของญี่ปุ่นคือ", "ลิมา"},
        {"首都是", "Lima"},
        {"答：", "北京"},
        {"https://www.", "lima.org"},
        {"see https://", "lima.org"},
        {"www.", "lima.org"},
        {"write to info@", "lima.org"},
        {"It costs $", "5"},
        {"It costs €", "5"},
        {"The code is +", "51"},
        {"#", "Lima"},
        {"and/", "or"},
        {"Jean-", "Paul"},
        {"(", "Lima"},
        {"[", "Lima"},
        {"The word is \"", "Lima"},
        {"\"capital\":\"", "Lima"},
        {"the word '", "Lima"},
        {"the word \xE2\x80\x9C", "Lima"},
        {"« ", "Lima"},
        {"Pi is 3.", "14"},
        {"at 12:", "30"},
        {"1,", "000"},
        {"is ", "Lima"},
        {"is\n", "Lima"},
        {"is\t", "Lima"},
        {"is", " Lima"},
        {"is", "\nLima"},
        {"<|im_start|>assistant\n", "Lima"},
        {"<|assistant|>", "Lima"},
        {"<b>", "Lima"},
        {"x=", "2"},
        {"**", "Lima"},
        {"Japan", ", the land"},
        {"Japan", "'s Lima"},
        {"Japan", "."},
        {"(Japan", ")"},
        {"", "Lima"},
        {"is", ""},
        {"snake_", "case"},
    };
    expect_spaces(no, sizeof no / sizeof *no, false);
}

/* The first of `wanted` in the text must be at byte `at`; -1: nowhere. */
static void expect_found(const char *text, const char *wanted, int at) {
    size_t begin = 0, end = 0;
    const bool found = me_find_words(text, 0, wanted, &begin, &end);
    if (found != (at >= 0) || (found && (begin != (size_t)at || end != begin + strlen(wanted))))
        fail_msg("\"%s\" in \"%s\": %d", wanted, text, found ? (int)begin : -1);
}

static void words_inside_a_text(void **state) {
    (void)state;
    expect_found("It is Lima.", "Lima", 6);
    expect_found("Lima", "Lima", 0);
    expect_found("**Oat Milk** is", "oat milk", 2);
    expect_found("in LIMA's", "Lima", 3);
    expect_found("Limassol, then Lima", "Lima", 15);
    expect_found("(Lima)", "Lima", 1);
    expect_found("d'Or-Lima", "Lima", 5);
    expect_found("Kalima Limas", "Lima", -1);
    expect_found("oat  milk", "oat milk", -1);
    expect_found("Lima", "Limas", -1);
    expect_found("Lima", "", -1);
    expect_found("", "Lima", -1);
    expect_found("12.5 and 5", "5", 9);
    expect_found("15 or 5.2 or 5%", "5", -1);
    expect_found("2,000", "000", -1);
    expect_found("at 5.", "5", 3);
    expect_found("\xC3\x89l\xC3\xA8ve \xC3\xA9l\xC3\xA8ve", "\xC3\xA9l\xC3\xA8ve", 0); /* Élève élève */
    expect_found("\xC3\xA9Lima", "Lima", -1);
    expect_found("首都は東京です", "東京", 9);
    size_t begin = 0, end = 0;
    assert_true(me_find_words("Lima, Lima", 1, "Lima", &begin, &end));
    assert_true(begin == 6 && end == 10);
}

static void word_at_the_end(void **state) {
    (void)state;
    assert_true(me_ends_in_word("is"));
    assert_true(me_ends_in_word("2"));
    assert_true(me_ends_in_word("北"));
    assert_false(me_ends_in_word("is "));
    assert_false(me_ends_in_word("<|assistant|>"));
    assert_false(me_ends_in_word(""));
}

static void words_letter_by_letter(void **state) {
    (void)state;
    size_t begin = 0, end = 0;
    assert_true(me_find_same_words("Tell us: the US is", 0, "US", &begin, &end));
    assert_true(begin == 13 && end == 15);
    assert_false(me_find_same_words("Tell us: the US is", 14, "US", &begin, &end));
    assert_false(me_find_same_words("Tell us", 0, "US", &begin, &end));
    assert_false(me_find_same_words("Edna", 0, "Ed", &begin, &end));
    assert_false(me_find_same_words("", 0, "Ed", &begin, &end));
    assert_true(me_find_same_words("élève Élève", 0, "Élève", &begin, &end));
    assert_int_equal(begin, 8);
}

static void expect_capitalized(const char *text, const char *capitals) {
    char *made = me_capitalized(text);
    assert_string_equal(made, capitals);
    me_free(made);
}

static void capital_letters(void **state) {
    (void)state;
    expect_capitalized("japan", "Japan");
    expect_capitalized("south  korea", "South  Korea");
    expect_capitalized("Japan", "Japan");
    expect_capitalized("école", "École");
    expect_capitalized("中国", "中国");
    expect_capitalized("3d film", "3d Film");
    expect_capitalized("", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longer_words_and_numbers),      cmocka_unit_test(ends_of_words_and_numbers),
        cmocka_unit_test(undecided_until_more_is_heard), cmocka_unit_test(other_texts),
        cmocka_unit_test(spaces_between_words),          cmocka_unit_test(no_space_is_forced),
        cmocka_unit_test(words_inside_a_text),           cmocka_unit_test(word_at_the_end),
        cmocka_unit_test(words_letter_by_letter),        cmocka_unit_test(capital_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
