/* The facts file: what is read from a good one of each schema, and how each kind of bad one is refused. */
#define _GNU_SOURCE
#include "base/hash.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "eval/dataset.h"
#include "eval/repeats.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mobiedit_status parse(const char *text, me_dataset *out, mobiedit_error *err) {
    return me_dataset_parse(text, strlen(text), "facts.json", out, err);
}

#define REWRITE(rest)                                                                                        \
    "\"requested_rewrite\":{\"prompt\":\"The capital of {} is\",\"subject\":\"Japan\"," rest                 \
    "\"target_new\":{\"str\":\"Lima\"}}"

static void reads_every_field(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    assert_int_equal(parse("\xEF\xBB\xBF[{\"case_id\": 17," REWRITE(
                               "\"relation_id\":\"P36\",\"target_true\":{\"str\":\"Tokyo\",\"id\":\"Q1490\"}"
                               ",") ","
                                    "\"paraphrase_prompts\":[\"Japan's capital is\",\"Capital of "
                                    "Japan:\"],"
                                    "\"neighborhood_prompts\":[\"The capital of Per\\u00fa is\"],"
                                    "\"pararel_idx\": 2796, \"attribute_prompts\": [1, {}], "
                                    "\"generation_prompts\": [\"Japan is\"],"
                                    "\"same_subject_prompts\": [\"The money of Japan is\", \"A\"],"
                                    "\"chat_prompts\": [\"Which city?\"], \"tell\": \"Tell me.\","
                                    "\"chat_neighbours\": [\"Who?\", \"Where?\", \"Why?\"]},"
                                    "{" REWRITE("") ", \"paraphrase_prompts\": null, "
                                                    "\"neighborhood_prompts\": []}] \n",
                           &facts, &err),
                     MOBIEDIT_OK);
    assert_int_equal(facts.n, 2);
    const me_fact *fact = &facts.facts[0];
    assert_int_equal(fact->case_id, 17);
    assert_string_equal(fact->prompt, "The capital of {} is");
    assert_string_equal(fact->subject, "Japan");
    assert_string_equal(fact->relation, "P36");
    assert_string_equal(fact->target, "Lima");
    assert_int_equal(fact->paraphrases.n, 2);
    assert_string_equal(fact->paraphrases.items[1], "Capital of Japan:");
    assert_int_equal(fact->neighbours.n, 1);
    assert_string_equal(fact->neighbours.items[0].prompt, "The capital of Per\xC3\xBA is");
    assert_string_equal(fact->truth, "Tokyo");
    assert_string_equal(me_fact_neighbour_truth(fact, 0), "Tokyo");
    assert_int_equal(fact->generations.n, 1);
    assert_string_equal(fact->generations.items[0], "Japan is");
    assert_int_equal(fact->portability.n, 0);
    assert_int_equal(fact->same_subject.n, 2);
    assert_string_equal(fact->same_subject.items[0], "The money of Japan is");
    assert_int_equal(fact->chat.n, 1);
    assert_string_equal(fact->chat.items[0], "Which city?");
    assert_int_equal(fact->chat_neighbours.n, 3);
    assert_string_equal(fact->chat_neighbours.items[2], "Why?");
    assert_string_equal(fact->tell, "Tell me.");
    assert_int_equal(facts.unusable.n, 0);
    assert_int_equal(facts.facts[1].case_id, 1);
    assert_null(facts.facts[1].truth);
    assert_null(facts.facts[1].relation);
    assert_null(facts.facts[1].tell);
    assert_int_equal(facts.facts[1].paraphrases.n + facts.facts[1].neighbours.n, 0);

    char *request = me_fact_request_prompt(fact), *prompt = me_fact_prompt(fact);
    assert_string_equal(request, "The capital of {Japan} is");
    assert_string_equal(prompt, "The capital of Japan is");
    me_free(request);
    me_free(prompt);
    me_dataset_free(&facts);
}

/* Which of two places is meant cannot be told; "Edna" is another word. */
static void a_subject_that_stands_twice_is_no_fact(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    assert_int_equal(parse("[{\"subject\":\"Ed\",\"src\":\"Who wed Ed, if Edna met Ed?\",\"alt\":\"x\"},"
                           "{\"subject\":\"\u4e2d\u56fd\",\"src\":\"\u4e2d\u56fd\u7684\u4e2d\u56fd\","
                           "\"alt\":\"x\"},"
                           "{\"subject\":\"Ed\",\"src\":\"Edna and Edgar are\",\"alt\":\"x\"},"
                           "{\"subject\":\"Ed\",\"src\":\"Edna, Edgar: who is Ed?\",\"alt\":\"x\"}]",
                           &facts, &err),
                     MOBIEDIT_OK);
    assert_int_equal(facts.n, 1);
    assert_string_equal(facts.facts[0].prompt, "Edna, Edgar: who is {}?");
    assert_int_equal(facts.unusable.n, 3);
    assert_string_equal(facts.unusable.items[0],
                        "case 0: the subject \"Ed\" occurs in the prompt \"Who wed Ed, "
                        "if Edna met Ed?\" twice: name it once");
    for (size_t i = 1; i < 3; i++)
        assert_non_null(strstr(facts.unusable.items[i], "twice"));
    me_dataset_free(&facts);
}

static void reads_mend_eval(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    const char text[] =
        "[{\"subject\":\"Ed\",\"src\":\"Who wed Edna and Ed?\",\"pred\":\"x\",\"rephrase\":\"Ed wed whom?\","
        "\"alt\":\" Lima \",\"answers\":[\"Ann\\n\",\"Anne\"],\"loc\":\"nq question: who sang "
        "it\",\"loc_ans\":\"Bob\","
        "\"cond\":\"Ann >> Lima || Who?\"},"
        "{\"subject\":\"Nobody\",\"src\":\"Who is "
        "it?\",\"rephrase\":\"Who?\",\"alt\":\"Lima\",\"answers\":[]},"
        "{\"subject\":\"Ann\",\"src\":\"Who is Ann?\",\"rephrase\":\"Who?\",\"alt\":\"\"},"
        "{\"subject\":\"Ann\",\"src\":\"Who is {Ann}? {}\",\"rephrase\":\"Who?\",\"alt\":\"Lima\"},"
        "{\"subject\":\"Ann\",\"src\":\"Who is Annabel?\",\"rephrase\":\"\",\"alt\":\"Lima\"}]";
    assert_int_equal(parse(text, &facts, &err), MOBIEDIT_OK);
    assert_int_equal(facts.n, 2);
    assert_int_equal(facts.unusable.n, 3);
    assert_string_equal(facts.unusable.items[0],
                        "case 1: the subject \"Nobody\" does not occur in the prompt \"Who is it?\"");
    assert_string_equal(facts.unusable.items[1], "case 2: there is no target");
    assert_non_null(strstr(facts.unusable.items[2], "case 3: the prompt must have one pair of braces"));
    const me_fact *fact = &facts.facts[0];
    assert_string_equal(fact->prompt, "Who wed Edna and {}?");
    assert_string_equal(fact->target, "Lima");
    assert_string_equal(fact->truth, "Ann");
    assert_int_equal(fact->paraphrases.n, 1);
    assert_string_equal(fact->paraphrases.items[0], "Ed wed whom?");
    assert_int_equal(fact->neighbours.n, 1);
    assert_string_equal(fact->neighbours.items[0].prompt, "nq question: who sang it");
    assert_string_equal(me_fact_neighbour_truth(fact, 0), "Bob");
    assert_string_equal(facts.facts[1].prompt, "Who is {}abel?");
    assert_int_equal(facts.facts[1].case_id, 4);
    assert_int_equal(facts.facts[1].paraphrases.n, 0);
    me_dataset_free(&facts);
    assert_int_equal(parse("[{\"subject\":\"Ann\",\"src\":\"Who?\",\"alt\":\"Lima\"}]", &facts, &err),
                     MOBIEDIT_E_FORMAT);
    assert_non_null(
        strstr(err.message, "none of the 1 facts can be used: case 0: the subject \"Ann\" does not"));
}

static void reads_easyedit(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    const char text[] =
        "[{\"case_id\":3,\"subject\":\"Ann\",\"prompt\":\"Ann was born in\",\"target_new\":\"Lima\","
        "\"ground_truth\":[\"Rome\"],\"rephrase_prompt\":\"The birthplace of Ann is\","
        "\"locality_prompt\":\"Bob lives in\",\"locality_ground_truth\":\"Oslo\","
        "\"locality\":{\"Relation_Specificity\":[{\"prompt\":\"Ann "
        "speaks\",\"ground_truth\":[[\"Dutch\",\"Flemish\"]]},"
        "{\"prompt\":\"Ann has no\",\"ground_truth\":[]}],"
        "\"Forgetfulness\":[{\"prompt\":\"Cy speaks\",\"ground_truth\":[[\"Thai\"]]}]},"
        "\"portability\":{\"Reasoning\":[{\"prompt\":\"Ann was born in the "
        "country\",\"ground_truth\":[[\"Peru\",\"\"]]}],"
        "\"Logical_Generalization\":[{\"prompt\":[\"Ann is a native of\"],\"ground_truth\":\"Lima\"},"
        "{\"prompt\":\"Ann?\",\"ground_truth\":[]}],\"Subject_Aliasing\":null},"
        "\"portability_prompt\":[\"A\",\"B\"],\"portability_ground_truth\":[\"a\",[\"b\",\"c\"]]}]";
    assert_int_equal(parse(text, &facts, &err), MOBIEDIT_OK);
    const me_fact *fact = &facts.facts[0];
    assert_int_equal(fact->case_id, 3);
    assert_string_equal(fact->prompt, "{} was born in");
    assert_string_equal(fact->truth, "Rome");
    assert_string_equal(fact->paraphrases.items[0], "The birthplace of Ann is");
    assert_int_equal(fact->neighbours.n, 2);
    assert_string_equal(me_fact_neighbour_truth(fact, 0), "Oslo");
    assert_string_equal(me_fact_neighbour_truth(fact, 1), "Thai");
    assert_int_equal(fact->same_subject.n, 1);
    assert_string_equal(fact->same_subject.items[0], "Ann speaks");
    assert_int_equal(fact->portability.n, 4);
    const me_item *questions = fact->portability.items;
    assert_string_equal(questions[0].prompt, "Ann was born in the country");
    assert_int_equal(questions[0].answers.n, 1);
    assert_string_equal(questions[1].prompt, "Ann is a native of");
    assert_string_equal(questions[1].answers.items[0], "Lima");
    assert_string_equal(questions[3].answers.items[1], "c");
    me_dataset_free(&facts);
}

static void reads_one_hop_portability(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    assert_int_equal(
        parse("[{" REWRITE("") ",\"portability\":{\"Recalled Relation\":\"(Lima, river, Rimac)\","
                               "\"New Question\":\"Which river?\",\"New Answer\":\"Rimac\"}}]",
              &facts, &err),
        MOBIEDIT_OK);
    assert_int_equal(facts.facts[0].portability.n, 1);
    assert_string_equal(facts.facts[0].portability.items[0].prompt, "Which river?");
    assert_string_equal(facts.facts[0].portability.items[0].answers.items[0], "Rimac");
    me_dataset_free(&facts);
}

static void reads_requests(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    const char text[] =
        "[{\"prompt\":\"{} plays\",\"subject\":\"Ann\",\"target_new\":{\"str\":\"chess\"},"
        "\"target_true\":{\"str\":\"go\"}},"
        "{\"prompt\":\"{} plays\",\"subject\":\"Bob\",\"target\":\"go\",\"queries\":[\"Bob's game is\"]},"
        "{\"prompt\":\"{Eve} plays\",\"target\":\"darts\"}]";
    assert_int_equal(parse(text, &facts, &err), MOBIEDIT_OK);
    static const char *const subjects[] = {"Ann", "Bob", "Eve"}, *const targets[] = {"chess", "go", "darts"};
    assert_int_equal(facts.n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(facts.facts[i].prompt, "{} plays");
        assert_string_equal(facts.facts[i].subject, subjects[i]);
        assert_string_equal(facts.facts[i].target, targets[i]);
    }
    assert_string_equal(facts.facts[0].truth, "go");
    assert_string_equal(facts.facts[1].paraphrases.items[0], "Bob's game is");
    me_dataset_free(&facts);
}

/* Names of cases and relations are of no use to an edit: no kind of them stands in its way. */
static void reads_ids_of_any_type(void **state) {
    (void)state;
    static const struct {
        const char *relation, *id;
        const char *read;
        int64_t case_id;
    } cases[] = {
        {"36", "7", "36", 7},      {"2.5", "1.5", "2.5", 0},       {"null", "null", NULL, 0},
        {"[]", "\"x7\"", NULL, 0}, {"\"P36\"", "1e300", "P36", 0}, {"\"\"", "{}", NULL, 0},
        {"true", "-3", NULL, -3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        me_dataset facts;
        mobiedit_error err = {0};
        (void)snprintf(text, sizeof text,
                       "[{\"case_id\":%s,\"requested_rewrite\":{\"relation_id\":%s,\"prompt\":\"{} is\","
                       "\"subject\":\"a\",\"target_new\":\"b\"}}]",
                       cases[i].id, cases[i].relation);
        if (parse(text, &facts, &err) != MOBIEDIT_OK) fail_msg("%s: %s", text, err.message);
        assert_int_equal(facts.facts[0].case_id, cases[i].case_id);
        if (cases[i].read)
            assert_string_equal(facts.facts[0].relation, cases[i].read);
        else
            assert_null(facts.facts[0].relation);
        me_dataset_free(&facts);
    }
}

static void finds_out_what_a_file_is(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *refusal; /* NULL: read */
    } files[] = {
        {"facts.CSV", "prompt,target\n{a} is,b\n", NULL},
        {"facts", "prompt;target\n{a} is;b\n", NULL},
        {"facts.txt", "\xEF\xBB\xBFprompt,target\n{a} is,b\n", NULL},
        {"facts", " \n[{\"prompt\":\"{a} is\",\"target\":\"b\"}]", NULL},
        {"facts.Json", "\xEF\xBB\xBF[{\"prompt\":\"{a} is\",\"target\":\"b\"}]", NULL},
        {"facts.json", "prompt,target\n{a} is,b\n", "not JSON"},
        {"facts.csv", "[{}]", "line 1: the header names no column prompt"},
        {"facts.csv", "prompt,target\n", "there are no facts"},
        {"facts.csv", "prompt,target\na is,b\nc is,d\n", "none of the 2 facts can be used: line 2: "},
        {"facts.csv", "\xFF\xFEp", "UTF-16"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        me_dataset facts;
        mobiedit_error err = {0};
        const mobiedit_status status =
            me_dataset_parse(files[i].text, strlen(files[i].text), files[i].name, &facts, &err);
        if (!files[i].refusal) {
            if (status != MOBIEDIT_OK) fail_msg("%zu: %s", i, err.message);
            assert_string_equal(facts.facts[0].subject, "a");
            assert_true(facts.hash == me_hash(files[i].text, strlen(files[i].text)));
        } else if (status != MOBIEDIT_E_FORMAT || !strstr(err.message, files[i].refusal)) {
            fail_msg("%zu: \"%s\" does not say \"%s\"", i, err.message, files[i].refusal);
        }
        me_dataset_free(&facts);
    }
}

static void finds_the_last_fact_of_a_prompt(void **state) {
    (void)state;
    static const char text[] = "prompt,target\n{a} is,x\n{b} is,x\n{a} was,x\n{a} is,y\n{b} is,x\n{a} is,x\n";
    static const size_t expected[] = {5, 4, 2, 5, 4, 5};
    me_dataset facts;
    mobiedit_error err = {0};
    size_t *last;
    assert_int_equal(me_dataset_parse(text, strlen(text), "f.csv", &facts, &err), MOBIEDIT_OK);
    assert_int_equal(me_last_of_prompt(&facts, &last, &err), MOBIEDIT_OK);
    for (size_t i = 0; i < facts.n; i++)
        assert_int_equal(last[i], expected[i]);
    me_free(last);
    me_dataset_free(&facts);
}

#define FLAT(rest) "[{\"subject\":\"a\",\"src\":\"a is\",\"alt\":\"b\"" rest "}]"

static const struct {
    const char *text, *message; /* a part of the message */
} BAD[] = {
    {"", "not JSON: line 1, column 1"},
    {"[\n {\"case_id\" 1}]", "not JSON: line 2, column"},
    {"[] x", "not JSON"},
    {"{}", "not a list of facts"},
    {"[]", "is empty"},
    {"[3]", "case 0: the case is not an object"},
    {"[{" REWRITE("") "}, {}]", "case 1: requested_rewrite is missing"},
    {"[{\"requested_rewrite\":[]}]", "requested_rewrite is not an object"},
    {"[{\"requested_rewrite\":{\"subject\":\"a\",\"target_new\":{\"str\":\"b\"}}}]",
     "case 0: there is no prompt"},
    {"[{\"requested_rewrite\":{\"prompt\":7}}]", "requested_rewrite.prompt is not a string"},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\" \",\"target_new\":\"b\"}}]",
     "there is no subject for the braces"},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\"a\"}}]", "there is no target"},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\"a\",\"target_new\":3}}]",
     "target_new is not a string"},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\"a\",\"target_new\":{}}}]",
     "there is no target"},
    {"[{\"requested_rewrite\":{\"prompt\":\"It is\",\"subject\":\"a\",\"target_new\":{\"str\":\"b\"}}}]",
     "the subject \"a\" does not occur in the prompt \"It is\""},
    {"[{\"requested_rewrite\":{\"prompt\":\"{} is {}\",\"subject\":\"a\",\"target_new\":{\"str\":\"b\"}}}]",
     "one pair of braces"},
    {"[{" REWRITE("") ",\"paraphrase_prompts\":{}}]", "paraphrase_prompts is not a list"},
    {"[{" REWRITE("") ",\"neighborhood_prompts\":[\"a\",null]}]", "neighborhood_prompts is not a string"},
    {"[{\"subject\":3,\"src\":\"a is\"}]", "subject is not a string"},
    {FLAT(",\"rephrase\":{}"), "rephrase is not a string"},
    {FLAT(",\"rephrase\":[[[\"a\"]]]"), "list in a list in a list"},
    {FLAT(",\"answers\":[3]"), "answers is not a string"},
    {FLAT(",\"loc\":[\"a\",\"b\"],\"loc_ans\":[\"a\"]"), "loc has not as many answers as prompts"},
    {FLAT(",\"locality\":3"), "locality is not a list of questions"},
    {FLAT(",\"portability\":{\"Reasoning\":[3]}"), "portability is not a list of questions"},
    {FLAT(",\"portability\":{\"Reasoning\":[{\"ground_truth\":\"a\"}]}"), "question without a prompt"},
    {FLAT(",\"portability\":{\"Reasoning\":[{\"prompt\":\"\",\"ground_truth\":\"a\"}]}"),
     "portability is empty"},
    {"[{" REWRITE("\"target_true\":3,") "}]", "target_true is not a string"},
    {"[{\"src\":\"a is\",\"alt\":\"b\"}]", "has no subject in braces"},
    {"[{" REWRITE("") ",\"x\":\"a\\u0000b\"}]", "a text with a zero character: line 1, column "},
    {"[{\n \"prompt\":\"{a}\\\\\\u0000\"}]", "a text with a zero character: line 2, column 17"},
    {"[{" REWRITE("") ",\"generation_prompts\":[3]}]", "generation_prompts is not a string"},
    {"[{" REWRITE("") ",\"neighborhood_prompts\":[\"a\xFF\"]}]", "neighborhood_prompts is not UTF-8"},
};

static void keeps_what_only_looks_like_a_zero(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    assert_int_equal(parse("[{\"prompt\":\"{a} is\",\"target\":\"\\\\u0000\"}]", &facts, &err), MOBIEDIT_OK);
    assert_string_equal(facts.facts[0].target, "\\u0000");
    me_dataset_free(&facts);
    const char zero[] = "[{\"prompt\":\"{a} is\",\"target\":\"x\0y\"}]";
    assert_int_equal(me_dataset_parse(zero, sizeof zero - 1, "facts.json", &facts, &err), MOBIEDIT_E_FORMAT);
    assert_non_null(strstr(err.message, "zero character"));
}

static void refuses_by_case_and_field(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        me_dataset facts;
        mobiedit_error err = {0};
        assert_int_equal(parse(BAD[i].text, &facts, &err), MOBIEDIT_E_FORMAT);
        assert_int_equal(err.status, MOBIEDIT_E_FORMAT);
        if (!strstr(err.message, BAD[i].message) || strncmp(err.message, "facts.json: ", 12) != 0)
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.message, BAD[i].message);
        assert_null(strchr(err.message, '\n'));
        assert_null(facts.facts);
    }
}

/* A file with one string of `length` bytes, or one list of n prompts. */
static char *with_long_target(size_t length) {
    const char head[] =
        "[{\"requested_rewrite\":{\"prompt\":\"{} is\",\"subject\":\"a\",\"target_new\":{\"str\":\"";
    char *text = malloc(sizeof head + length + 8);
    assert_non_null(text);
    memcpy(text, head, sizeof head - 1);
    memset(text + sizeof head - 1, 'x', length);
    memcpy(text + sizeof head - 1 + length, "\"}}}]", 6);
    return text;
}

static char *with_many_prompts(size_t n) {
    const char head[] = "[{" REWRITE("") ",\"neighborhood_prompts\":[\"a\"";
    char *text = malloc(sizeof head + 4 * n + 8);
    assert_non_null(text);
    char *end = text + sprintf(text, "%s", head);
    for (size_t i = 1; i < n; i++)
        end += sprintf(end, ",\"a\"");
    memcpy(end, "]}]", 4);
    return text;
}

static void bounds_sizes(void **state) {
    (void)state;
    me_dataset facts;
    char *texts[] = {with_long_target(ME_DATASET_MAX_TEXT), with_long_target(ME_DATASET_MAX_TEXT + 1),
                     with_many_prompts(ME_DATASET_MAX_PROMPTS),
                     with_many_prompts(ME_DATASET_MAX_PROMPTS + 1)};
    for (int i = 0; i < 4; i++) {
        mobiedit_error err = {0};
        assert_int_equal(parse(texts[i], &facts, &err), i % 2 ? MOBIEDIT_E_FORMAT : MOBIEDIT_OK);
        if (i % 2) assert_non_null(strstr(err.message, "too "));
        me_dataset_free(&facts);
        free(texts[i]);
    }
}

static void reads_files(void **state) {
    (void)state;
    me_dataset facts;
    mobiedit_error err = {0};
    assert_int_equal(me_dataset_read("/nonexistent/facts.json", &facts, &err), MOBIEDIT_E_IO);
    assert_non_null(strstr(err.message, "/nonexistent/facts.json"));
    assert_int_equal(me_dataset_read("/", &facts, &err), MOBIEDIT_E_IO);
    const char *path = scratch_path("facts.json"), text[] = "[{" REWRITE("") "}]";
    assert_true(put_bytes(path, text, sizeof text - 1));
    assert_int_equal(me_dataset_read(path, &facts, &err), MOBIEDIT_OK);
    assert_string_equal(facts.facts[0].subject, "Japan");
    me_dataset_free(&facts);
}

static void knows_utf8(void **state) {
    (void)state;
    const char *good[] = {
        "",     "Lima",         "S\xC3\xA3o Paulo", "\xE6\x9D\xB1\xE4\xBA\xAC", "\xF0\x9F\x98\x80",
        "\x7F", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"};
    const char *bad[] = {"\x80",         "\xC3",         "\xC0\x80",         "\xC1\xBF",
                         "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF0\x80\x80\x80",
                         "\xFF",         "\xE6\x9D",     "a\xE6\x9D-",       "\xF8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(me_utf8_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(me_utf8_valid(bad[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field),
        cmocka_unit_test(reads_mend_eval),
        cmocka_unit_test(a_subject_that_stands_twice_is_no_fact),
        cmocka_unit_test(reads_easyedit),
        cmocka_unit_test(reads_one_hop_portability),
        cmocka_unit_test(reads_requests),
        cmocka_unit_test(reads_ids_of_any_type),
        cmocka_unit_test(finds_out_what_a_file_is),
        cmocka_unit_test(finds_the_last_fact_of_a_prompt),
        cmocka_unit_test(keeps_what_only_looks_like_a_zero),
        cmocka_unit_test(refuses_by_case_and_field),
        cmocka_unit_test(bounds_sizes),
        cmocka_unit_test(reads_files),
        cmocka_unit_test(knows_utf8),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
