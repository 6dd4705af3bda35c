/* Does the model say the target already? Asked after the prompt, and in a chat: a fact that holds in one of the
 * two only is worth an edit. */
#include "api/asides.h"
#include "api/edit_job.h"
#include "api/target.h"
#include "edit/question.h"

#include <string.h>

enum { DEFAULT_AFTER_TOKENS = 24 };

mobiedit_status me_job_continuation(const me_edit_job *job, me_runtime *runtime, char **out,
                                    mobiedit_error *err) {
    const int max = job->options.max_after_tokens;
    const me_generate_options options = {.max_tokens = max ? max : DEFAULT_AFTER_TOKENS,
                                         .stop_at_newline = true,
                                         .stop_at_sentence = true,
                                         .least_bytes = strlen(job->ask.prompt->target)};
    me_tokens tokens = {0};
    ME_TRY(me_tokenize(me_runtime_vocab(runtime), job->ask.prompt->text, &tokens, err));
    const mobiedit_status status = me_runtime_generate(runtime, tokens.ids, tokens.n, &options, out, err);
    me_tokens_free(&tokens);
    return status;
}

/* With what is added to it, a longer text does not fit the context that an edit is verified in, and what a solve
 * costs grows with the target. Either would be solved for minutes before. */
enum { MAX_PROMPT = ME_RUNTIME_CONTEXT - 128, MAX_TARGET = 20 };

static mobiedit_status check_tokens(int n, int most, const char *what, const char *can, mobiedit_error *err) {
    if (n <= most) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s has %d tokens, but at most %d can be %s", what, n, most,
                   can);
}

static mobiedit_status check_texts(const me_edit_job *job, const char *const *texts, size_t n,
                                   const char *what, mobiedit_error *err) {
    for (size_t i = 0; i < n; i++) {
        me_tokens tokens = {0};
        ME_TRY(me_tokenize(job->handle->vocab, texts[i], &tokens, err));
        const int length = tokens.n;
        me_tokens_free(&tokens);
        ME_TRY(check_tokens(length, MAX_PROMPT, what, "asked", err));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status check_length(const me_edit_job *job, mobiedit_error *err) {
    const me_prompt *prompt = job->ask.prompt;
    const mobiedit_request *request = job->ask.request;
    me_session *session; /* which comes with the vocabulary */
    me_tokens tokens = {0};
    int n_prompt;
    ME_TRY(me_handle_session(job->handle, &session, err));
    ME_TRY(me_tokenize_pair(job->handle->vocab, prompt->text, prompt->target, &tokens, &n_prompt, err));
    const int n_target = tokens.n - n_prompt;
    me_tokens_free(&tokens);
    ME_TRY(check_tokens(n_prompt, MAX_PROMPT, "the prompt", "edited", err));
    ME_TRY(check_tokens(n_target, MAX_TARGET, "the target", "edited: shorten it", err));
    ME_TRY(check_texts(job, request->also, request->n_also, "another wording", err));
    return check_texts(job, request->keep, request->n_keep, "a prompt to keep", err);
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static mobiedit_status ask_runtime(me_edit_job *job, bool *already, mobiedit_error *err) {
    me_runtime *runtime;
    me_said said;
    int in_chat = 1;
    ME_TRY(me_handle_runtime(job->handle, &runtime, err));
    ME_TRY(me_prompt_said(runtime, job->ask.prompt, &said, err));
    *already = said == ME_SAID_WHOLE;
    if (*already) ME_TRY(me_prompt_said_in_chat(runtime, job->ask.prompt, &in_chat, err));
    *already = *already && in_chat != 0;
    if (!*already) return MOBIEDIT_OK;
    job->result->solve.stop = MOBIEDIT_STOP_ALREADY_SAID;
    return job->ask.with_texts ? me_job_continuation(job, runtime, &job->result->before, err) : MOBIEDIT_OK;
}

/* How the answer to a question begins is taught with it. */
static mobiedit_status find_opening(me_edit_job *job, mobiedit_error *err) {
    me_session *session;
    ME_TRY(me_handle_session(job->handle, &session, err));
    return me_prompt_find_opening(session, &job->prompt, &job->solved.solve.evaluations, err);
}

/* Looks in our own engine first: most edits are of facts the model does not say, and for those libllama need
 * not be loaded twice; but where in its answer to a question a model says the target, only libllama shows. Sets
 * result->solve.stop to ALREADY_SAID if the runtime agrees that the target is said without an edit. */
mobiedit_status me_job_is_said(me_edit_job *job, bool *already, mobiedit_error *err) {
    const bool asked = job->prompt.question != NULL;
    me_target_view view;
    ME_TRY(check_length(job, err));
    ME_TRY(find_opening(job, err));
    ME_TRY(me_target_look(job->handle, &job->prompt, &view, err));
    job->has_follow = view.has_follow;
    job->prompt.follow = view.follow;
    job->prompt.teach_follow = view.prolonged && view.has_follow;
    *already = !job->options.force && (asked || view.said == ME_SAID_WHOLE || view.said == ME_SAID_OPEN);
    return *already ? ask_runtime(job, already, err) : MOBIEDIT_OK;
}
