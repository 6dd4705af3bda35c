/* A trial on a real model: what an edit is worth in words that its solver has not seen. */
#include "edit/trials.h"

#include "edit/problem.h"
#include "edit/texts.h"
#include "models.h"
#include "opened_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static char model_path[MODEL_PATH_MAX];

/* The loss of the fact in other words, in the model as it is. */
static float unedited_loss(me_session *session, const me_trial_fact *fact) {
    const mobiedit_request request = {.prompt = fact->reworded, .target = fact->target};
    me_prompt prompt;
    me_sequences sequences = {0};
    me_problem *problem;
    me_score score;
    enum { MOST = 4096 };
    static float nothing[MOST], hidden[MOST];
    assert_true(session->engine->model->d_model <= MOST);
    assert_int_equal(me_prompt_parse(&request, &prompt, NULL), MOBIEDIT_OK);
    assert_int_equal(me_session_add_prompt(session, &prompt, prompt.target, &sequences, NULL), MOBIEDIT_OK);
    assert_int_equal(sequences.items->n_read, 1);
    assert_int_equal(me_problem_open(session->engine, 0, sequences.items, 1, NULL,
                                     me_sequence_target(sequences.items), 1, &problem, NULL),
                     MOBIEDIT_OK);
    assert_int_equal(me_problem_hidden(problem, nothing, 1, NULL, 1, hidden, NULL), MOBIEDIT_OK);
    assert_int_equal(me_problem_score(problem, hidden, 1, &score, NULL), MOBIEDIT_OK);
    me_problem_close(problem);
    me_sequences_free(&sequences);
    me_prompt_free(&prompt);
    return score.nll;
}

static void a_trial_lowers_the_loss(void **state) {
    (void)state;
    opened_model opened;
    me_layer_trials trials;
    size_t evaluations = 0;
    assert_true(opened_model_open(&opened, model_path, 2));
    me_layer_trials_begin(opened.model, &trials);
    /* Below and at the usual layer. */
    while (trials.n_done <= trials.usual)
        assert_int_equal(me_layer_trials_step(opened.session, &trials, &evaluations, NULL), MOBIEDIT_OK);
    const float before = unedited_loss(opened.session, &me_texts_trials[0]);
    for (int i = 0; i < trials.n_done; i++)
        assert_true(trials.losses[i] < before - 1);
    /* The earlier layers have fewer evaluations: a delta there passes through more layers. */
    assert_true(evaluations <= (size_t)trials.n_done * 257);
    opened_model_close(&opened);
}

int main(void) {
    const char *name = "smollm2-135m-instruct-q4_1.gguf";
    if (!find_model(name, model_path)) {
        printf("skipped: no %s\n", name);
        return MODEL_MISSING;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_trial_lowers_the_loss)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
