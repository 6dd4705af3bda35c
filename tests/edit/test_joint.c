/* The joint solve, on keys of a small model: each edit answers to its own key and to no other's, in whatever
 * order they come, and taking one away is as if it had never been there. */
#define _GNU_SOURCE
#include "edit/joint.h"

#include "base/memory.h"
#include "edit/answer_keys.h"
#include "edit/neuron.h"
#include "opened_model.h"
#include "scratch.h"
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N = 5, N_KEYS = 3, LAYER = 1 };

static opened_model opened;
static me_model *model;
static me_session *session;

/* Two prompts share a key, and one has the same subject behind other text. */
static const char *const PROMPTS[N] = {"The capital of {Japan} is", "The capital of {Peru} is",
                                       "{Oslo} is in", "{Oslo} lies in", "The city of {Oslo} is in"};
static me_prompt prompts[N];
static me_key_set keys[N];
static float *deltas[N];
static me_joint_edit edits[N];
static me_joint all; /* the solve of all of them, for those tests that only look at it */

static void make_edit(int i) {
    static const char *const before[N_KEYS] = {"", "Well. ", "He says: "};
    const mobiedit_request request = {.prompt = PROMPTS[i], .target = "x"};
    assert_int_equal(me_prompt_parse(&request, &prompts[i], NULL), MOBIEDIT_OK);
    me_sequences sequences = {0};
    for (int j = 0; j < N_KEYS; j++) {
        char text[128];
        (void)snprintf(text, sizeof text, "%s%s", before[j], PROMPTS[i]);
        const mobiedit_request longer = {.prompt = text, .target = "x"};
        me_prompt prompt;
        assert_int_equal(me_prompt_parse(&longer, &prompt, NULL), MOBIEDIT_OK);
        assert_int_equal(me_session_add_prompt(session, &prompt, NULL, &sequences, NULL), MOBIEDIT_OK);
        me_prompt_free(&prompt);
    }
    assert_int_equal(me_session_keys(session, LAYER, &sequences, &keys[i], NULL), MOBIEDIT_OK);
    me_sequences_free(&sequences);
    deltas[i] = me_calloc((size_t)model->d_model, sizeof(float));
    for (int j = 0; j < model->d_model; j++)
        deltas[i][j] = sinf((float)(i * 100 + j));
    edits[i] = (me_joint_edit){
        .prompt = &prompts[i], .layer = LAYER, .delta = deltas[i], .keys = keys[i].keys, .n_keys = N_KEYS};
}

static me_joint solve(const me_joint_edit *list, int n) {
    me_joint joint;
    mobiedit_error err = {0};
    if (me_joint_solve(session, list, n, &joint, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    return joint;
}

static int set_up(void **state) {
    if (scratch_open(state) != 0) return -1;
    const tiny_model_options options = {.n_layer = 3, .d_model = 512, .d_ff = 256};
    const char *path = scratch_path("model.gguf");
    if (!tiny_model_write(path, "llama", &options) || !opened_model_open(&opened, path, 1)) return -1;
    model = opened.model;
    session = opened.session;
    for (int i = 0; i < N; i++)
        make_edit(i);
    all = solve(edits, N);
    return 0;
}

static int tear_down(void **state) {
    me_joint_free(&all);
    for (int i = 0; i < N; i++) {
        me_prompt_free(&prompts[i]);
        me_free(keys[i].keys);
        me_free(deltas[i]);
    }
    opened_model_close(&opened);
    return scratch_close(state);
}

static float dot(const float *a, const float *b) {
    double sum = 0;
    for (int i = 0; i < model->d_model; i++)
        sum += (double)a[i] * b[i];
    return (float)sum;
}

static float response(const me_joint *joint, int unit, const float *key) {
    return dot(joint->layers[0].left + (size_t)unit * (size_t)model->d_model, key);
}

static float share(const me_joint *joint, int unit, const float *key) {
    const me_joint_layer *l = &joint->layers[0];
    const float v = dot(l->veto + (size_t)unit * (size_t)model->d_model, key);
    return me_neuron_share(model->activation, response(joint, unit, key), dot(l->constant, key), v);
}

static void edits_with_one_key_are_one_unit(void **state) {
    (void)state;
    assert_int_equal(all.n_layers, 1);
    assert_int_equal(all.layers[0].layer, LAYER);
    assert_int_equal(all.layers[0].n_units, 4);
    assert_int_equal(all.unit_of[2], all.unit_of[3]);
    const float *delta = all.layers[0].delta + (size_t)all.unit_of[2] * (size_t)model->d_model;
    for (int j = 0; j < model->d_model; j++)
        assert_true(fabsf(delta[j] - deltas[2][j] - deltas[3][j]) < 1e-5F);
}

/* left_i.k_j is 1 where i is j, else 0, also for one subject behind two texts; what the neurons make of that
 * is closer still. */
static void each_answers_to_its_own_key(void **state) {
    (void)state;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            const float want = all.unit_of[i] == all.unit_of[j] ? 1 : 0;
            const float got = response(&all, all.unit_of[i], edits[j].keys);
            if (!(fabsf(got - want) < 0.3F)) fail_msg("left %d on key %d: %.3f", i, j, (double)got);
            const float opens = share(&all, all.unit_of[i], edits[j].keys);
            if (!(fabsf(opens - want) < (want > 0 ? 0.15F : 0.03F)))
                fail_msg("neuron %d on key %d: %.3f", i, j, (double)opens);
        }
}

static void check_same(const me_joint *a, const me_joint *b) {
    const size_t n = (size_t)a->layers[0].n_units;
    assert_int_equal(n, b->layers[0].n_units);
    assert_memory_equal(a->layers[0].left, b->layers[0].left, n * (size_t)model->d_model * sizeof(float));
    assert_memory_equal(a->layers[0].delta, b->layers[0].delta, n * (size_t)model->d_model * sizeof(float));
}

static void order_does_not_matter(void **state) {
    (void)state;
    const me_joint_edit turned[N] = {edits[3], edits[1], edits[4], edits[2], edits[0]};
    me_joint b = solve(turned, N);
    check_same(&all, &b);
    assert_int_equal(all.unit_of[4], b.unit_of[2]);
    me_joint_free(&b);
}

/* Whatever else was solved before in the session. */
static void taking_away_is_as_if_it_had_not_been(void **state) {
    (void)state;
    me_joint before = solve(edits, 3), with = solve(edits, N), after = solve(edits, 3);
    assert_int_not_equal(with.layers[0].n_units, after.layers[0].n_units);
    check_same(&before, &after);
    me_joint_free(&before);
    me_joint_free(&with);
    me_joint_free(&after);
}

/* Each layer has its own units, which are silent at the subjects of the other's. */
static void layers_know_of_each_other(void **state) {
    (void)state;
    const me_joint_edit low = {
        .prompt = &prompts[1], .layer = 0, .delta = deltas[1], .keys = keys[1].keys, .n_keys = N_KEYS};
    const me_joint_edit two[] = {edits[0], low};
    me_joint joint = solve(two, 2), alone = solve(edits, 1);
    assert_int_equal(joint.n_layers, 2);
    assert_int_equal(joint.layers[0].layer, 0);
    assert_int_equal(joint.layers[1].layer, LAYER);
    assert_int_equal(joint.layer_of[0], 1);
    assert_int_equal(joint.layer_of[1], 0);
    const float *left = joint.layers[1].left;
    assert_true(dot(left, edits[0].keys) > 0.8F);
    assert_true(fabsf(dot(left, edits[1].keys)) < 0.7F * fabsf(dot(alone.layers[0].left, edits[1].keys)));
    me_joint_free(&joint);
    me_joint_free(&alone);
}

/* At the shared key there is the other edit's delta; from all others next to nothing. */
static void offset_is_what_others_add(void **state) {
    (void)state;
    float *offset = me_calloc((size_t)model->d_model, sizeof *offset);
    me_joint_offset(model, &all, edits, 2, offset);
    double error = 0, norm = 0;
    for (int j = 0; j < model->d_model; j++) {
        error += (offset[j] - deltas[3][j]) * (offset[j] - deltas[3][j]);
        norm += deltas[3][j] * deltas[3][j];
    }
    assert_true(error < 0.1 * norm);
    me_free(offset);
}

static void a_longer_delta_is_all_that_differs(void **state) {
    (void)state;
    me_joint_edit longer[N];
    float *twice = me_calloc((size_t)model->d_model, sizeof *twice);
    memcpy(longer, edits, sizeof longer);
    for (int j = 0; j < model->d_model; j++)
        twice[j] = 2 * deltas[3][j];
    longer[3].delta = twice;
    me_joint want = solve(longer, N), joint = solve(edits, N);
    me_joint_add(model, &joint, 3, 1, deltas[3]);
    const size_t n = (size_t)joint.layers[0].n_units;
    assert_memory_equal(joint.layers[0].left, want.layers[0].left,
                        n * (size_t)model->d_model * sizeof(float));
    for (size_t j = 0; j < n * (size_t)model->d_model; j++)
        assert_true(fabsf(joint.layers[0].delta[j] - want.layers[0].delta[j]) < 1e-5F);
    me_free(twice);
    me_joint_free(&want);
    me_joint_free(&joint);
}

/* A prompt to keep is not answered to, unless it names what is edited. */
static void what_is_kept_is_silent(void **state) {
    (void)state;
    const char *const keep[] = {"The capital of Chile is", "The capital of Peru is"};
    me_joint_edit kept[] = {edits[0], edits[1]};
    kept[0].keep = keep;
    kept[0].n_keep = 2;
    me_joint joint = solve(kept, 2);
    me_key_set chile = {0};
    assert_int_equal(me_session_text_keys(session, LAYER, keep, 1, &chile, NULL), MOBIEDIT_OK);
    for (int i = 0; i < chile.n; i++)
        assert_true(fabsf(share(&joint, 0, chile.keys + (size_t)i * (size_t)model->d_model)) < 0.02F);
    assert_true(share(&joint, joint.unit_of[1], edits[1].keys) > 0.8F);
    me_free(chile.keys);
    me_joint_free(&joint);
}

/* At the answer the key knows the whole prompt: what is one unit at the subject is two there. */
static void at_the_answer_each_prompt_is_a_unit(void **state) {
    (void)state;
    const int which[] = {2, 3, 0};
    enum { ANSWERS = sizeof which / sizeof which[0] };
    me_prompt asked[ANSWERS];
    me_key_set found[ANSWERS] = {{0}};
    me_joint_edit list[ANSWERS];
    for (int i = 0; i < ANSWERS; i++) {
        me_sequences sequence = {0};
        asked[i] = prompts[which[i]];
        asked[i].at_answer = true;
        assert_int_equal(me_session_add_prompt(session, &asked[i], NULL, &sequence, NULL), MOBIEDIT_OK);
        assert_int_equal(sequence.items[0].edit_pos, sequence.items[0].n_tokens - 1);
        assert_int_equal(me_session_keys(session, LAYER, &sequence, &found[i], NULL), MOBIEDIT_OK);
        me_sequences_free(&sequence);
        list[i] = edits[which[i]];
        list[i].prompt = &asked[i];
        list[i].keys = found[i].keys;
        list[i].n_keys = 1;
    }
    me_joint joint = solve(list, ANSWERS);
    assert_int_equal(joint.layers[0].n_units, ANSWERS);
    for (int i = 0; i < ANSWERS; i++)
        for (int j = 0; j < ANSWERS; j++) {
            const float opens = share(&joint, joint.unit_of[i], found[j].keys);
            if (!(fabsf(opens - (i == j ? 1.0F : 0.0F)) < 0.15F))
                fail_msg("neuron %d on key %d: %.3f", i, j, (double)opens);
        }
    me_joint_free(&joint);
    /* Beside an edit of the same prompt at the subject too. */
    list[1] = edits[2];
    joint = solve(list, 2);
    assert_int_equal(joint.layers[0].n_units, 2);
    me_joint_free(&joint);
    for (int i = 0; i < ANSWERS; i++)
        me_free(found[i].keys);
}

/* "My sister" begins a sentence and "my sister" stands inside one; their keys are two all the same. */
static void a_sentence_begins_with_the_same_subject(void **state) {
    (void)state;
    static const struct {
        const char *first, *second;
        bool same;
    } cases[] = {{"{My sister} works as a", "The job of {my sister} is", true},
                 {"{The Hague} lies in", "At {the Hague}", true},
                 {"{My sister} works as a", "The job of {my sisters} is", false},
                 {"{My Sister} works as a", "The job of {my sister} is", false},
                 {"{Apple} makes", "Eat an {apple}", false},
                 {"{Japan} is", "In {Japan}", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        me_prompt a, b;
        const mobiedit_request first = {.prompt = cases[i].first, .target = "x"},
                               second = {.prompt = cases[i].second, .target = "x"};
        assert_int_equal(me_prompt_parse(&first, &a, NULL), MOBIEDIT_OK);
        assert_int_equal(me_prompt_parse(&second, &b, NULL), MOBIEDIT_OK);
        if (me_same_subject(&a, &b) != cases[i].same) fail_msg("%s", cases[i].second);
        assert_false(me_same_key(&a, &b));
        me_prompt_free(&a);
        me_prompt_free(&b);
    }
}

static void check_same_keys(const me_key_set *a, const me_key_set *b) {
    assert_true(a->n > 0);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->keys, b->keys, (size_t)a->n * (size_t)model->d_model * sizeof(float));
}

/* What is asked for again is read once, and is what it was, also where it is asked for by itself; so are the answers
 * that it goes on with. */
static void what_was_read_is_not_read_again(void **state) {
    (void)state;
    const mobiedit_request request = {.prompt = "The capital of {Peru} is", .target = "x"};
    const me_text_choice all_texts = {.step = 1};
    const me_name_choice some_names = {.step = 40};
    const me_answer_choice both = {.others = &all_texts, .names = &some_names}, few = {.others = &all_texts};
    me_prompt parsed, prompt;
    assert_int_equal(me_prompt_parse(&request, &parsed, NULL), MOBIEDIT_OK);
    assert_int_equal(me_prompt_settle(session->vocab, &parsed, &prompt, NULL), MOBIEDIT_OK);
    me_memo_free(&session->memo);
    me_answer_keys first, again, others;
    assert_int_equal(me_answer_keys_read(session, LAYER, &prompt, &both, &first, NULL), MOBIEDIT_OK);
    const int n_entries = session->memo.n;
    assert_true(n_entries > 0);
    assert_int_equal(me_answer_keys_read(session, LAYER, &prompt, &both, &again, NULL), MOBIEDIT_OK);
    assert_int_equal(me_answer_keys_read(session, LAYER, &prompt, &few, &others, NULL), MOBIEDIT_OK);
    assert_int_equal(session->memo.n, n_entries);
    check_same_keys(&first.others, &again.others);
    check_same_keys(&first.others, &others.others);
    check_same_keys(&first.asked, &again.asked);
    assert_int_equal(first.said.n + others.asked.n, 0);
    me_answer_keys_free(&first);
    me_answer_keys_free(&again);
    me_answer_keys_free(&others);
    me_prompt_free(&parsed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_with_one_key_are_one_unit),
        cmocka_unit_test(each_answers_to_its_own_key),
        cmocka_unit_test(at_the_answer_each_prompt_is_a_unit),
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(taking_away_is_as_if_it_had_not_been),
        cmocka_unit_test(layers_know_of_each_other),
        cmocka_unit_test(offset_is_what_others_add),
        cmocka_unit_test(a_longer_delta_is_all_that_differs),
        cmocka_unit_test(what_is_kept_is_silent),
        cmocka_unit_test(a_sentence_begins_with_the_same_subject),
        cmocka_unit_test(what_was_read_is_not_read_again),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
