/* Models that end libllama's process are noticed without it. */
#define _GNU_SOURCE
#include "runtime/trial.h"

#include "mobiedit.h"
#include "scratch.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Our own engines do not scale logits: only libllama runs the model. */
static void scale_logits(struct gguf_context *gguf, const void *user) {
    (void)user;
    gguf_set_val_f32(gguf, "llama.logit_scale", 0.5F);
}

/* libllama insists that a model without experts uses none. */
static void use_experts(struct gguf_context *gguf, const void *user) {
    (void)user;
    gguf_set_val_u32(gguf, "llama.expert_used_count", 2);
}

static me_model *open_model(void (*change)(struct gguf_context *gguf, const void *user)) {
    const tiny_model_options options = {.change = change};
    me_model *model = NULL;
    mobiedit_error err = {0};
    assert_true(tiny_model_write(scratch_path("model.gguf"), "llama", &options));
    if (me_model_open_any(scratch_path("model.gguf"), &model, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    return model;
}

static void a_sound_model_passes(void **state) {
    (void)state;
    me_model *model = open_model(scale_logits);
    assert_non_null(model->why_foreign);
    assert_int_equal(me_trial_run(model, NULL), MOBIEDIT_OK);
    me_model_close(model);
}

static void one_that_ends_the_process_does_not(void **state) {
    (void)state;
    mobiedit_error err = {0};
    me_model *model = open_model(use_experts);
    assert_non_null(model->why_foreign);
    assert_int_equal(me_trial_run(model, &err), MOBIEDIT_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "libllama ends its process at this llama model"));
    me_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_sound_model_passes),
                                       cmocka_unit_test(one_that_ends_the_process_does_not)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
